package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/runtools/runtools/pkg/wire"
)

// selftestCommand is `sandboxd selftest`. Its error means that something was not as it should be.
func selftestCommand(c *config, w io.Writer) error {
	client := &wire.Client{Path: c.Socket}
	checks, err := client.Selftest(context.Background())
	if errors.Is(err, wire.ErrAway) {
		fmt.Fprintf(w, "no sandboxd at %s: starting one for the test\n", c.Socket)
		checks, err = selftestOnce(c)
	}
	if err != nil {
		return err
	}
	return printChecks(w, checks)
}

// selftestOnce starts a sandboxd that serves nobody, without pools, and ends it. The lock of cgroup_parent keeps it from meeting another one;
// its socket is its own, so that sessions which the last one left for the next stay as they are.
func selftestOnce(c *config) (checks []wire.Check, err error) {
	own := *c
	own.Socket, own.SelftestEvery, own.unpooled = c.Socket+"-selftest", 0, true
	if problems := checkHost(&own); len(problems) > 0 {
		return nil, errHost(problems)
	}
	d, err := start(&own, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return nil, err
	}
	checks = d.server.selftest.run()
	return checks, errors.Join(d.close(), forget(&own))
}

func printChecks(w io.Writer, checks []wire.Check) error {
	passed := 0
	for _, c := range checks {
		mark := "FAIL"
		switch {
		case c.Inconclusive:
			mark = "?"
		case c.Problem == "":
			mark, passed = "ok", passed+1
		}
		fmt.Fprintf(w, "%-4s  %-10s  %-18s  %s\n", mark, c.Name, c.Template, c.About)
		if c.Problem != "" {
			fmt.Fprintf(w, "      %s\n", c.Problem)
		}
	}
	fmt.Fprintf(w, "%d of %d held\n", passed, len(checks))
	if passed < len(checks) || passed == 0 {
		return errors.New("selftest: the sandbox is not as it should be, or could not be tested: see above")
	}
	return nil
}
