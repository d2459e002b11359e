package e2e

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestCommandLine runs the scripts of testdata/cli: what docs/cli.md promises of each command. What the client does with answers that no server
// can be made to give is in runtools/testdata/script.
func TestCommandLine(t *testing.T) {
	folder := filepath.Dir(commandLine(t))
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "cli"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", folder+string(filepath.ListSeparator)+env.Getenv("PATH"))
			env.Setenv("RUNTOOLS_URL", api.url)
			env.Setenv("RUNTOOLS_API_KEY", api.key)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status":   scriptStatus,
			"waitgrep": scriptWaitGrep,
		},
	})
}

// scriptStatus is exec for commands that must leave with a given status: status 124 runtools ...
func scriptStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N command...")
	}
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		ended := new(exec.ExitError)
		if !errors.As(err, &ended) {
			ts.Fatalf("%v", err)
		}
		got = ended.ExitCode()
	}
	if want, _ := strconv.Atoi(args[0]); got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// scriptWaitGrep waits until a file has a match: waitgrep REGEXP NAME
func scriptWaitGrep(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitgrep regexp name")
	}
	pattern := regexp.MustCompile(args[0])
	for deadline := time.Now().Add(hang); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if b, err := os.ReadFile(ts.MkAbs(args[1])); err == nil && pattern.Match(b) {
			return
		}
	}
	ts.Fatalf("%s did not come to match %s", args[1], args[0])
}
