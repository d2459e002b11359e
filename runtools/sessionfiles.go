package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/runtools/runtools/pkg/client"
)

// partSize is how much of a file is asked for at one time, bytes. The server hands over 32 MiB at most; an operator may have set less.
const partSize = 4 << 20

// sessionInfo is `runtools session info`: how large a session is, and when it ends.
func (a *app) sessionInfo(cmd *cobra.Command, c *client.Client, args []string) error {
	info, err := c.SessionInfo(cmd.Context(), args[0])
	if err != nil {
		return err
	}
	if asJSON, _ := cmd.Flags().GetBool("json"); asJSON {
		body, err := json.Marshal(info)
		if err != nil {
			return err
		}
		return writeJSON(a.stdout, body)
	}
	state := "idle"
	if info.Busy {
		state = "busy: a request of it runs or waits"
	}
	table := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "session\t%s\nfiles\t%d bytes\nenvironment\t%d bytes\nstate\t%s\nlast used\t%s\nexpires\t%s\n", info.SessionID, info.Bytes, info.EnvBytes, state,
		info.LastUsed.UTC().Format(time.DateTime), info.Expires.UTC().Format(time.DateTime))
	return table.Flush()
}

// sessionGet is `runtools session get`: a file, or a part of it.
func (a *app) sessionGet(cmd *cobra.Command, c *client.Client, args []string) error {
	offset, _ := cmd.Flags().GetInt64("offset")
	length, _ := cmd.Flags().GetInt64("length")
	if offset < 0 || cmd.Flags().Changed("length") && length < 1 {
		return usagef("--offset wants at least 0, --length at least 1")
	}
	return copyFile(cmd.Context(), c, args[0], args[1], offset, length, a.stdout)
}

// copyFile writes length bytes of a session's file from offset on, or all if length is 0. It asks for parts, so that a file of any size can be had and
// none is held in memory. Whoever changes the file meanwhile gets a mixture.
func copyFile(ctx context.Context, c *client.Client, id, name string, offset, length int64, to io.Writer) error {
	for left := length; ; {
		size := int64(partSize)
		if length > 0 {
			size = min(size, left)
		}
		part, err := c.ReadFilePart(ctx, id, name, offset, size)
		if err != nil {
			return err
		}
		if _, err := to.Write(part.Content); err != nil {
			return err
		}
		n := int64(len(part.Content))
		offset, left = offset+n, left-n
		if n == 0 || offset >= part.Total || length > 0 && left == 0 {
			return nil
		}
	}
}
