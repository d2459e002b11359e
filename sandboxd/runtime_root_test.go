package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/wire"
)

// The folder of the socket and of the anchors has no room for a byte, or for another file: no job needs any, with a session or without, nor does a start that can
// have its socket's place again. One that cannot says so, and where; nothing is lost. apid/e2e's TestDiskFull does the same to apid's folder.
func TestRuntimeFolderInTrouble(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "run")
	if err := errors.Join(os.Mkdir(folder, 0o755), unix.Mount("run", folder, "tmpfs", 0, "size=64k,nr_inodes=16,mode=755")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(folder, unix.MNT_DETACH) })
	td := startDaemon(t, func(c *config) { c.Socket = filepath.Join(folder, "s.sock") })
	if r := td.run("echo kept >f", inWorkspace(wire.Volume{ID: "kept", New: true})); r.err != nil {
		t.Fatal(r.err)
	}
	works := func(when string) {
		t.Helper()
		if r := td.run("cat f", inWorkspace(wire.Volume{ID: "kept"})); r.err != nil || r.stdout != "kept\n" {
			t.Errorf("%s: %+v", when, r)
		}
		if r := td.run("echo x", inWorkspace(wire.Volume{ID: "new", New: true})); r.err != nil || r.stdout != "x\n" {
			t.Errorf("%s, a new session: %+v", when, r)
		}
		if err := td.client.Forget(t.Context(), "new"); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	refuses := func(when, name string, reason error) {
		t.Helper()
		d, err := start(&td.config, slog.New(slog.NewTextHandler(t.Output(), nil)))
		if err == nil {
			d.close()
		}
		if !errors.Is(err, reason) || !strings.Contains(err.Error(), td.config.Socket+name) {
			t.Errorf("%s: %v", when, err)
		}
	}

	for trouble, bytes := range map[string]int{"no bytes": 4096, "no files": 0} {
		ballast := td.fill(folder, bytes)
		works(trouble)
		td.stop()
		td.start()
		works(trouble + ", after a restart")
		td.stop()
		if bytes == 0 { // somebody else is quicker
			ballast = append(ballast, td.fill(folder, 0)...)
			refuses(trouble, "", unix.ENOSPC)
		}
		for _, path := range ballast {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
		td.start()
		works("after " + trouble)
	}
	td.stop()
	remount := func(flags uintptr) {
		t.Helper()
		if err := unix.Mount("", folder, "", unix.MS_REMOUNT|flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	remount(unix.MS_RDONLY)
	refuses("read-only", ".lock", unix.EROFS)
	remount(0)
	td.start()
	works("after read-only")
}

// fill makes files of so many bytes until there is no room.
func (td *testDaemon) fill(folder string, bytes int) (made []string) {
	td.t.Helper()
	for n := 0; ; n++ {
		path := filepath.Join(folder, fmt.Sprint("ballast-", bytes, "-", n))
		if _, err := os.Stat(path); err == nil {
			continue
		}
		err := os.WriteFile(path, make([]byte, bytes), 0o600)
		if _, there := os.Stat(path); there == nil {
			made = append(made, path)
		}
		if errors.Is(err, unix.ENOSPC) {
			return made
		}
		if err != nil {
			td.t.Fatal(err)
		}
	}
}
