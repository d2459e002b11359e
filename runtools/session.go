package main

import (
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/runtools/runtools/pkg/client"
)

// sessionCommand works on the files that a session keeps. Names of files are those in the session, relative to its working directory.
func (a *app) sessionCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "session",
		Short: "Files, copies and the end of a session",
		Example: `  runtools session info mine
  runtools session ls mine
  runtools session put mine data.csv < data.csv
  runtools session get mine out/plot.png > plot.png
  runtools session get mine big.log --offset 1000000 --length 4096
  runtools session cp data/ mine:in/
  runtools session cp mine:out .
  runtools session fork mine 3`,
		Args: onlyCommands,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, c := range []struct {
		use, short string
		args       cobra.PositionalArgs
		run        func(cmd *cobra.Command, c *client.Client, args []string) error
	}{
		{"info ID", "Say how large it is, whether a program runs in it, and when it ends", cobra.ExactArgs(1), a.sessionInfo},
		{"ls ID", "List its files: mode, size, time of change, name", cobra.ExactArgs(1), a.sessionList},
		{"get ID FILE", "Write a file of it, or a part of one, to standard output", cobra.ExactArgs(2), a.sessionGet},
		{"put ID FILE", "Make a file of standard input, and the session if it is not there", cobra.ExactArgs(2), a.sessionPut},
		{"cp SOURCE... TARGET", "Copy files and folders into it or out of it: ID:PATH is one in the session ID", cobra.MinimumNArgs(2), a.sessionCopy},
		{"rm ID [FILE...]", "Remove files and folders of it; without any, end the session", cobra.MinimumNArgs(1), a.sessionRemove},
		{"archive ID", "Write a tar of all its files to standard output, for tar xf -", cobra.ExactArgs(1), a.sessionArchive},
		{"fork ID [COUNT]", "Print the ids of new sessions that begin as it is", cobra.RangeArgs(1, 2), a.sessionFork},
	} {
		sub := &cobra.Command{Use: c.use, Short: c.short, RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.args(cmd, args); err != nil {
				return usagef("%v (usage: runtools session %s)", err, c.use)
			}
			api, err := a.client()
			if err != nil {
				return err
			}
			return c.run(cmd, api, args)
		}}
		switch sub.Name() {
		case "info":
			sub.Flags().Bool("json", false, "print the server's answer, JSON on one line")
		case "get":
			sub.Flags().Int64("offset", 0, "begin at this `BYTE`, from 0")
			sub.Flags().Int64("length", 0, "at most so many `BYTES` (default to its end)")
		}
		root.AddCommand(sub)
	}
	return root
}

func (a *app) sessionList(cmd *cobra.Command, c *client.Client, args []string) error {
	files, err := c.Files(cmd.Context(), args[0])
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, f := range files {
		name := strconv.Quote(f.Path) // it may hold anything: a terminal must not obey it
		if plain := name[1 : len(name)-1]; plain == f.Path {
			name = plain
		}
		if f.Type == "folder" {
			name += "/"
		}
		fmt.Fprintf(table, "%s\t%d\t%s\t%s\n", f.Mode, f.Size, time.Unix(int64(f.Modified), 0).UTC().Format(time.DateTime), name)
	}
	return table.Flush()
}

func (a *app) sessionPut(cmd *cobra.Command, c *client.Client, args []string) error {
	content, err := io.ReadAll(a.stdin)
	if err != nil {
		return err
	}
	return c.WriteFile(cmd.Context(), args[0], args[1], content)
}

func (a *app) sessionRemove(cmd *cobra.Command, c *client.Client, args []string) error {
	if len(args) == 1 {
		existed, err := c.DeleteSession(cmd.Context(), args[0])
		if err == nil && !existed {
			err = fmt.Errorf("there is no session %q", args[0])
		}
		return err
	}
	for _, name := range args[1:] {
		if err := c.RemoveFile(cmd.Context(), args[0], name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (a *app) sessionArchive(cmd *cobra.Command, c *client.Client, args []string) error {
	archive, err := c.Archive(cmd.Context(), args[0])
	if err != nil {
		return err
	}
	defer archive.Close()
	_, err = io.Copy(a.stdout, archive)
	return err
}

func (a *app) sessionFork(cmd *cobra.Command, c *client.Client, args []string) error {
	count := 1
	if len(args) == 2 {
		var err error
		if count, err = strconv.Atoi(args[1]); err != nil {
			return usagef("%q is not a number of copies", args[1])
		}
	}
	ids, err := c.Fork(cmd.Context(), args[0], count)
	if err != nil {
		return err
	}
	for _, id := range ids {
		fmt.Fprintln(a.stdout, id)
	}
	return nil
}
