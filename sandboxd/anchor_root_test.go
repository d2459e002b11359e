package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/wire"
)

func inWorkspace(v wire.Volume) func(*wire.Job) { return func(j *wire.Job) { j.Workspace = v } }

// Workspaces that a client was told of outlive the daemon, any number of times, and nothing else does.
func TestWorkspacesOutliveTheDaemon(t *testing.T) {
	td := startDaemon(t, nil)
	for _, id := range []string{"a", "b", "gone"} {
		if r := td.run("echo "+id+" >f; ln f g; chmod 600 f", inWorkspace(wire.Volume{ID: id, New: true, DropUnchanged: true})); r.err != nil {
			t.Fatal(r.err)
		}
	}
	if r := td.run("true", inWorkspace(wire.Volume{ID: "unchanged", New: true, DropUnchanged: true})); r.err != nil {
		t.Fatal(r.err)
	}
	if r := td.run("echo x >/build/x", func(j *wire.Job) { j.Build = wire.Volume{ID: "artifact", New: true} }); r.err != nil {
		t.Fatal(r.err)
	}
	if err := td.client.Forget(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		td.stop()
		td.start()
		if ids, err := td.client.List(t.Context()); err != nil || !slices.Equal(ids, []string{"a", "b"}) {
			t.Fatalf("volumes %q, %v", ids, err)
		}
		for _, id := range []string{"a", "b"} {
			r := td.run("cat g; stat -c '%a %h %u' f; echo again >>f; echo "+id+" >f", inWorkspace(wire.Volume{ID: id}))
			if r.stdout != id+"\n600 2 1000\n" {
				t.Errorf("%+v", r)
			}
		}
		wantCode(t, td.run("", func(j *wire.Job) { j.Build = wire.Volume{ID: "artifact"} }).err, wire.CodeUnknownBuild)
		// New ones must not get in the way of the old.
		if r := td.run("ls; echo new >f", inWorkspace(wire.Volume{ID: "new", New: true})); r.err != nil || r.stdout != "" {
			t.Errorf("%+v", r)
		}
		if err := td.client.Forget(t.Context(), "new"); err != nil {
			t.Fatal(err)
		}
	}
	if err := td.client.Forget(t.Context(), "a", "b"); err != nil {
		t.Fatal(err)
	}
	td.stop()
	if _, err := os.Stat(anchorFolder(&td.config)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("anchors are left when no workspace is: %v", err)
	}
	td.start()
}

// A crash may come between any two steps: what is half made is removed, and what is whole is found.
func TestAnchorsAfterACrash(t *testing.T) {
	t.Run("detached", func(t *testing.T) { testAnchorsAfterACrash(t, canCloneDetached()) })
	t.Run("before Linux 6.15", func(t *testing.T) { testAnchorsAfterACrash(t, false) })
}

func testAnchorsAfterACrash(t *testing.T, clones bool) {
	folder := filepath.Join(t.TempDir(), "vaults")
	open := func() *volumes {
		t.Helper()
		a, namespaces, err := openAnchors(folder)
		if err != nil {
			t.Fatal(err)
		}
		vs := newVolumes(100, quota{1 << 20, 100}, quota{1 << 20, 100}, a)
		vs.clones, vs.mostNear = clones, mostNear
		if err := vs.adopt(namespaces); err != nil {
			t.Fatal(err)
		}
		return vs
	}
	crash := func(vs *volumes) {
		for _, v := range vs.vaults.all {
			v.close()
		}
		for _, v := range vs.byID {
			if v.mount != nil {
				v.mount.Close()
			}
		}
	}
	make := func(vs *volumes, id string) *volume {
		t.Helper()
		v, err := vs.create(workspaceVolume)
		if err == nil {
			err = vs.name(v, id)
		}
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	t.Cleanup(func() {
		if err := dropAnchors(folder); err != nil {
			t.Error(err)
		}
	})
	vs := open()
	if err := vs.last(make(vs, "whole")); err != nil {
		t.Fatal(err)
	}
	make(vs, "not answered for")
	half := vs.vaults.all[0]
	if err := errors.Join(
		half.do(func() error { return unix.Mkdir("/77", 0o700) }), // add: before the mount
		unix.Symlinkat("none", int(half.root.Fd()), "78.id"),      // a name of nothing
		os.WriteFile(filepath.Join(folder, "9"), nil, 0o600),      // anchors.add: before the mount
	); err != nil {
		t.Fatal(err)
	}
	crash(vs)
	vs = open()
	if ids := vs.ids(); !slices.Equal(ids, []string{"whole"}) || vs.count != 1 {
		t.Errorf("found %q, %d in all", ids, vs.count)
	}
	if entries, _ := os.ReadDir(folder); len(entries) != 1 {
		t.Errorf("anchors: %v", entries)
	}
	if next := make(vs, "next"); next.path == "/77" || next.path == "/1" {
		t.Errorf("the path %s is used twice", next.path)
	}
	if err := vs.forget("whole"); err != nil {
		t.Error(err)
	}
	crash(vs)
	if vs = open(); vs.count != 0 {
		t.Errorf("%d volumes found after the last was dropped", vs.count)
	}
	if err := vs.close(); err != nil {
		t.Error(err)
	}
}

// Who may not, does not get at other sessions' files by way of the anchors; and a running daemon's are not dropped.
func TestAnchorsAreRoots(t *testing.T) {
	td := startDaemon(t, nil)
	info, err := os.Lstat(anchorFolder(&td.config))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if err := forget(&td.config); err == nil || !strings.Contains(err.Error(), "another sandboxd") {
		t.Errorf("forget beside a running daemon: %v", err)
	}
	if r := td.run("grep -c vaults /proc/self/mountinfo", nil); r.stdout != "0\n" {
		t.Errorf("a jail sees %q", r.stdout)
	}
	if err := td.client.ForgetAll(context.Background()); err != nil {
		t.Error(err)
	}
}

// What an older sandboxd left is found where that had it: all names are written out here, for what today's code makes it finds itself, whatever it is called.
func TestVolumesOfAnOlderDaemon(t *testing.T) {
	td := startDaemon(t, nil)
	td.stop()
	folder := td.config.Socket + ".vaults"
	a, _, err := openAnchors(folder)
	if err != nil {
		t.Fatal(err)
	}
	v, err := (&vaults{anchors: a}).anchored()
	if err != nil {
		t.Fatal(err)
	}
	if err := v.do(func() error {
		for _, name := range []string{"7", "12"} {
			// SAFETY: the vault's thread is in a namespace where nothing is but what is made here.
			if err := errors.Join(unix.Mkdir("/"+name, 0o700), unix.Mount("volume", "/"+name, "tmpfs", 0, "mode=755,uid=1000,gid=1000"),
				os.WriteFile("/"+name+"/f", []byte(name), 0o644), unix.Symlink("of-"+name, "/"+name+".id")); err != nil {
				return err
			}
		}
		return errors.Join(unix.Mkdir("/13", 0o700), unix.Mount("volume", "/13", "tmpfs", 0, "mode=755,uid=1000,gid=1000")) // without a name: nobody was told of it
	}); err != nil {
		t.Fatal(err)
	}
	v.close()
	td.start()
	if ids, err := td.client.List(t.Context()); err != nil || !slices.Equal(ids, []string{"of-12", "of-7"}) {
		t.Errorf("found %q %v", ids, err)
	}
	for _, name := range []string{"7", "12"} {
		if r := td.run("cat f; echo more >g; cat g", inWorkspace(wire.Volume{ID: "of-" + name})); r.err != nil || r.stdout != name+"more\n" {
			t.Errorf("the volume %s: %q %+v", name, r.stdout, r)
		}
	}
	// And one that still runs is seen: of each of its locks.
	td.stop()
	for _, name := range []string{td.config.Socket + ".lock", "/run/runtools-cgroup-" + td.config.CgroupParent + ".lock"} {
		held, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Flock(int(held.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			t.Errorf("lock %s: %v", name, err)
		}
		if _, err := start(&td.config, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "another sandboxd") {
			t.Errorf("beside one that has %s: %v", name, err)
		}
		held.Close()
	}
	td.start()
	if err := td.client.Forget(t.Context(), "of-7", "of-12"); err != nil {
		t.Error(err)
	}
}
