// Runtools is the command line client of the Code Execution API.
//
// The path of `runtools execute`:
//
//	flags -> inputs (files, stdin) -> language -> request -> answer -> output -> exit status
//	         input.go                 language.go  execute.go           output.go
//
// Two worlds are kept apart. What the program did goes to stdout, stderr and the exit status as if it had been run here.
// What we failed at is one message on stderr, which names a remedy (errors.go), and exit status 125.
package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/runtools/runtools/pkg/client"
)

// app is what the commands share: the process' surroundings and the flags of every command.
type app struct {
	stdin  *os.File
	stdout io.Writer
	stderr io.Writer

	url    string
	apiKey string
	color  colorFlag
}

func main() {
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, color: "auto"}
	os.Exit(a.finish(a.command().Execute()))
}

// finish says what went wrong, if anything, and returns the exit status.
//
// Signals are left to their default effect. Ctrl-C ends the process, the kernel hangs up for it, and the server then kills
// the job; a shell sees a death by SIGINT (status 130) and so stops its loop too, which an exit(130) would not tell it.
func (a *app) finish(err error) int {
	var status exitStatus
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return int(status)
	case isBrokenOutput(err):
		return exitPipe
	}
	fmt.Fprintln(a.stderr, a.paint(a.stderr, red, "runtools:")+" "+visible(a.explain(err)))
	return exitFailure
}

// isBrokenOutput tells a reader that has seen enough, such as head, from a broken connection to the server. Go dies of
// SIGPIPE by itself where the parent did not make us ignore it; this is the other case.
func isBrokenOutput(err error) bool {
	var write *fs.PathError
	return errors.As(err, &write) && errors.Is(write, syscall.EPIPE)
}

func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:           "runtools",
		Short:         "Run code in sandboxes by way of the Code Execution API",
		Args:          onlyCommands,
		SilenceErrors: true, // finish reports, once
		SilenceUsage:  true,
		Version:       version(),
		Long: `Run code in sandboxes by way of the Code Execution API.

Environment:
  RUNTOOLS_URL      the server (default ` + client.DefaultURL + `)
  RUNTOOLS_API_KEY  the key, rt_live_...`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate("runtools {{.Version}}\n")
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if cmd.HasSubCommands() { // most likely the flags are those of a command whose name has a slip
			if wrong := cmd.ValidateArgs(cmd.Flags().Args()); wrong != nil {
				return wrong
			}
		}
		return usagef("%v (see %s --help)", err, cmd.CommandPath())
	})
	flags := root.PersistentFlags()
	flags.StringVar(&a.url, "url", "", "`URL` of the server (default $RUNTOOLS_URL, else "+client.DefaultURL+")")
	flags.StringVar(&a.apiKey, "api-key", "", "API `KEY` (default $RUNTOOLS_API_KEY, which other users cannot see in ps)")
	flags.Var(&a.color, "color", "colours of runtools' own lines: auto (at a terminal, unless NO_COLOR is set), always or never")
	_ = root.RegisterFlagCompletionFunc("color", cobra.FixedCompletions([]string{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp))
	root.AddCommand(a.executeCommand(), a.casesCommand(), a.benchCommand(), a.sessionCommand(), a.executionCommand(), a.mcpCommand(), versionCommand(), manCommand())
	return root
}

func (a *app) serverURL() string { return cmp.Or(a.url, os.Getenv("RUNTOOLS_URL"), client.DefaultURL) }

func (a *app) key() string { return cmp.Or(a.apiKey, os.Getenv("RUNTOOLS_API_KEY")) }

func (a *app) client() (*client.Client, error) {
	c, err := client.New(a.serverURL(), a.key())
	if err != nil {
		return nil, fmt.Errorf("%w (set RUNTOOLS_URL and RUNTOOLS_API_KEY, or --url and --api-key)", err)
	}
	c.UserAgent = "runtools-cli/" + version()
	c.MaxRetries = 0 // who waits at a terminal, or has a script that decides, is told at once
	return c, nil
}
