package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/runtools/runtools/pkg/client"
)

// start begins a program and prints the id of its execution, for `runtools execution`.
func (a *app) start(ctx context.Context, c *client.Client, form outputForm, req *client.Request) error {
	e, err := c.Start(ctx, req)
	if err != nil {
		return err
	}
	if form.json {
		return writeJSON(a.stdout, e.Raw)
	}
	_, err = fmt.Fprintln(a.stdout, e.ID)
	return err
}

// executionCommand is for programs that `runtools execute --async` began.
func (a *app) executionCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "execution",
		Short: "Programs that run without a connection: execute --async",
		Example: `  id=$(runtools execute --async --file train.py)
  runtools execution get $id
  runtools execution wait $id
  runtools execution cancel $id`,
		Args: onlyCommands,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	get := &cobra.Command{Use: "get ID", Short: "Print how it stands, JSON on one line: status pending, done with the result, or failed"}
	get.RunE = a.withExecution(get, func(ctx context.Context, c *client.Client, id string) error {
		e, err := c.Execution(ctx, id, 0)
		if err != nil {
			return err
		}
		return writeJSON(a.stdout, e.Raw)
	})
	cancel := &cobra.Command{Use: "cancel ID", Short: "Kill it if it runs, and have the server forget it"}
	cancel.RunE = a.withExecution(cancel, func(ctx context.Context, c *client.Client, id string) error { return c.Forget(ctx, id) })
	root.AddCommand(get, a.waitCommand(), cancel)
	return root
}

func (a *app) waitCommand() *cobra.Command {
	f := new(executeFlags)
	wait := &cobra.Command{
		Use:   "wait ID",
		Short: "Wait for its end, and show output and exit status as execute does",
		Long: `Wait for the end of an execution, and show its output and leave with its exit status as execute does.
Ctrl-C ends the wait, not the program. The server keeps a result for some minutes; until then it can be asked for again.`,
	}
	wait.Flags().SortFlags = false
	f.defineResult(wait.Flags())
	wait.RunE = a.withExecution(wait, func(ctx context.Context, c *client.Client, id string) error {
		c.MaxRetries = client.DefaultRetries // a question may be asked again, and a long wait meets more than a short one
		res, err := a.await(ctx, c, f.form, id)
		if err != nil {
			return err
		}
		if err := a.print(f.form, res); err != nil {
			return err
		}
		return a.conclude(f, res)
	})
	return wait
}

// await asks until the execution has ended.
func (a *app) await(ctx context.Context, c *client.Client, form outputForm, id string) (*client.Result, error) {
	defer a.progress(form).tick("waiting for the program")()
	for {
		e, err := c.Execution(ctx, id, client.MaxWait)
		switch {
		case err != nil:
			return nil, err
		case e.Error != nil:
			return nil, &client.Error{Code: e.Error.Code, Message: e.Error.Message, Field: e.Error.Field, RequestID: e.Error.RequestID}
		case e.Result != nil:
			return e.Result, nil
		}
	}
}

// withExecution makes what a command does of what is done with one execution.
func (a *app) withExecution(cmd *cobra.Command, do func(ctx context.Context, c *client.Client, id string) error) func(*cobra.Command, []string) error {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usagef("want one id (usage: runtools execution %s)", cmd.Use)
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		err = do(cmd.Context(), c, args[0])
		if refused := new(client.Error); errors.As(err, &refused) && refused.Code == client.CodeNotFound {
			return fmt.Errorf("there is no execution %q: it was cancelled, or its result is older than the server keeps them", args[0])
		}
		return err
	}
}
