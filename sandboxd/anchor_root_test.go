package main

import (
	"context"
	"errors"
	"io/fs"
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
	folder := filepath.Join(t.TempDir(), "vaults")
	open := func() *volumes {
		t.Helper()
		a, namespaces, err := openAnchors(folder)
		if err != nil {
			t.Fatal(err)
		}
		vs := newVolumes(100, quota{1 << 20, 100}, quota{1 << 20, 100}, a)
		if err := vs.adopt(namespaces); err != nil {
			t.Fatal(err)
		}
		return vs
	}
	crash := func(vs *volumes) {
		for _, v := range vs.vaults.all {
			v.close()
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
