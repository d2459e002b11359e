package main

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/runtools/runtools/pkg/seccomp"
)

// A recorded program runs as ever, and what it called is written down, with what it was denied.
func TestRecord(t *testing.T) {
	dir := t.TempDir()
	rec := &recorder{dir: dir, uses: map[string]*seccomp.Use{}}
	td := startDaemon(t, func(c *config) { c.recorder = rec })
	r := td.run("cat /proc/self/status | head -c 4; chroot /tmp sh; hostname x; (exit 7)", nil)
	if r.err != nil || r.stdout != "Name" || r.Code != 7 || r.stderr != "chroot: can't change root directory to '/tmp': Operation not permitted\nhostname: sethostname: Operation not permitted\n" {
		t.Errorf("%v %+v %q %q", r.err, r.Result, r.stdout, r.stderr)
	}
	if err := rec.write(); err != nil {
		t.Fatal(err)
	}
	u, err := seccomp.ReadUse(filepath.Join(dir, "toy.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"execve", "openat", "wait4", "exit_group"} {
		if c := u.Calls[name]; c.Count == 0 || c.Denied > 0 || !slices.Equal(c.By, []string{"run"}) {
			t.Errorf("%s: %+v", name, c)
		}
	}
	if c := u.Calls["chroot"]; u.Jobs != 1 || c.Count != 1 || c.Denied != 1 || c.Example != `"/tmp"` {
		t.Errorf("%d jobs, chroot %+v", u.Jobs, c)
	}
}
