package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"

	"github.com/runtools/runtools/pkg/client"
)

// interact runs the program with our own input and output. Between two terminals it has one of its own, of the same size, and ours is a mere window
// to it: keys, Ctrl-C among them, go to the program. Else it has pipes, and Ctrl-C ends runtools as ever.
func (a *app) interact(ctx context.Context, c *client.Client, req *client.Request) (*client.Result, error) {
	out, isFile := a.stdout.(*os.File)
	if !isFile || !term.IsTerminal(int(a.stdin.Fd())) || !term.IsTerminal(int(out.Fd())) {
		x, err := c.Interactive(ctx, req, nil)
		if err != nil {
			return nil, err
		}
		return a.converse(x)
	}
	cols, rows, err := term.GetSize(int(out.Fd()))
	if err != nil {
		return nil, err
	}
	// The terminal must not be left as it is now, whatever ends us.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT)
	defer stop()
	x, err := c.Interactive(ctx, req, &client.PTY{Cols: max(1, cols), Rows: max(1, rows)})
	if err != nil {
		return nil, err
	}
	before, err := term.MakeRaw(int(a.stdin.Fd()))
	if err != nil {
		return nil, err
	}
	defer term.Restore(int(a.stdin.Fd()), before)
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	defer signal.Stop(resized)
	go func() { // until runtools ends, as it does with the program
		for range resized {
			if cols, rows, err := term.GetSize(int(out.Fd())); err == nil {
				_ = x.Resize(cols, rows)
			}
		}
	}()
	return a.converse(x)
}

// converse moves bytes both ways until the program has ended.
func (a *app) converse(x *client.Interactive) (*client.Result, error) {
	defer x.Close()
	go func() {
		// The end of the program ends the process, and this with it.
		if _, err := io.Copy(x, a.stdin); err == nil {
			_ = x.CloseInput()
		}
	}()
	for event, err := range x.Events() {
		if err != nil {
			return nil, err
		}
		switch event.Name {
		case "compile":
			err = a.printCompile(event.Compile)
		case "stdout":
			_, err = a.stdout.Write(event.Output)
		case "stderr":
			_, err = a.stderr.Write(event.Output)
		case "result":
			return event.Result, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, errors.New("the server closed before the result")
}
