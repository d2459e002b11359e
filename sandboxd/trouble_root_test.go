package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/wire"
)

// While the kernel makes no cgroup no jail can be built: jobs are refused as not begun, nothing is left of them, and the next ones run when the
// trouble is over. apid/e2e/trouble_test.go has other troubles.
func TestNoMoreCgroups(t *testing.T) {
	td := startDaemon(t, func(c *config) {
		c.Networks = 1
		if err := os.WriteFile(filepath.Join(c.Image, "languages/toy/jail.json"), []byte(`{"templates": {"cold": {"pool": 0}}}`), 0o644); err != nil {
			t.Fatal(err)
		}
	})
	cold := func(j *wire.Job) { j.Template = "toy/cold" }
	if r := td.run("echo x", cold); r.err != nil || r.stdout != "x\n" {
		t.Fatalf("before: %+v", r)
	}
	for td.d.server.builder.live.Load() != 0 { // its jail is being destroyed
		time.Sleep(time.Millisecond)
	}
	before := td.holding()
	folders, _ := filepath.Glob("/sys/fs/cgroup/*/" + td.config.CgroupParent)
	if len(folders) == 0 { // v2
		folders = []string{filepath.Join("/sys/fs/cgroup", td.config.CgroupParent)}
	}
	for _, folder := range folders {
		readOnly(t, folder)
	}
	for range 3 {
		if r := td.run("echo x", cold); !errors.Is(r.err, wire.ErrAway) {
			t.Errorf("without cgroups: %+v", r)
		}
	}
	b := td.d.server.builder
	if _, err := b.build(td.d.server.pools.all["toy/cold"].template); err == nil || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("the error does not tell: %v", err)
	}
	if after := td.holding(); after.exceeds(before) || b.live.Load() != 0 {
		t.Errorf("%+v are left, %+v before, %d jails are live", after, before, b.live.Load())
	}
	for _, folder := range folders {
		if err := unix.Unmount(folder, unix.MNT_DETACH); err != nil {
			t.Fatal(err)
		}
	}
	if r := td.run("echo x", cold); r.err != nil || r.stdout != "x\n" {
		t.Errorf("afterwards: %+v", r)
	}
}

// readOnly lets nobody make anything in a folder, until it is unmounted.
func readOnly(t *testing.T, folder string) {
	t.Helper()
	if err := unix.Mount(folder, folder, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(folder, unix.MNT_DETACH) })
	if err := unix.Mount("", folder, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
}
