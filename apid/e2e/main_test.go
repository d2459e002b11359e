// Package e2e tests the two daemons as callers meet them: real processes, real jails, HTTP.
//
// TestMain builds sandboxd and apid, starts them on an image that was built before, and at the end has them stopped and looks for
// anything that they left on the machine. The top-level tests run one after another, so that some may count what the daemons hold;
// the cases inside a test run beside each other.
//
// It needs root and an image (`make rootfs`), and fails without: a test of a sandbox that can pass by not running is worse than none.
package e2e

import (
	"debug/elf"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// api is what nearly all tests talk to.
var api *stack

// cases is how many cases of one table run at a time. The daemons take four jobs a core; more would only make timeouts likelier.
const cases = "4"

var (
	repository string // its root
	image      string // the folder that `current` led to when we started: a rebuild meanwhile must not matter
	binaries   string // the folder with sandboxd and apid
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(runTests(m))
}

func runTests(m *testing.M) (code int) {
	if err := prepare(); err != nil {
		return broken(err)
	}
	defer os.RemoveAll(binaries)
	endOnSignal()
	var err error
	if api, err = startStack("main", ""); err != nil {
		return broken(err)
	}
	flag.Set("test.parallel", cases)
	code = m.Run()
	if told.Load() {
		select {} // until endOnSignal is done
	}
	if err := api.stop(); err != nil {
		return broken(fmt.Errorf("after the tests: %w", err))
	}
	return code
}

func broken(err error) int {
	fmt.Fprintf(os.Stderr, "e2e: %v\n", err)
	return 1
}

// prepare finds what the tests need and builds the daemons.
func prepare() (err error) {
	if os.Geteuid() != 0 {
		return fmt.Errorf("want root: sandboxd makes namespaces and cgroups")
	}
	if repository, err = filepath.Abs("../.."); err != nil {
		return err
	}
	if err := readDocument(); err != nil {
		return err
	}
	state := os.Getenv("RUNTOOLS_STATE")
	if state == "" {
		state = "/var/lib/runtools"
	}
	if image, err = filepath.EvalSymlinks(filepath.Join(state, "current")); err != nil {
		return fmt.Errorf("no image: build one with `make rootfs`: %w", err)
	}
	if binaries, err = os.MkdirTemp("", "rt-e2e-bin-"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(binaries)
		}
	}()
	// apid runs as another user.
	if err := os.Chmod(binaries, 0o755); err != nil {
		return err
	}
	build := exec.Command("make", "binaries", "BIN="+binaries)
	build.Dir = repository
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("make binaries: %w\n%s", err, out)
	}
	sandboxd, err := elf.Open(filepath.Join(binaries, "sandboxd"))
	if err != nil {
		return err
	}
	defer sandboxd.Close()
	for _, p := range sandboxd.Progs {
		if p.Type == elf.PT_INTERP {
			return errors.New("sandboxd is not static: each jail would map and free the host's libraries twice; see STATIC in the Makefile")
		}
	}
	return nil
}
