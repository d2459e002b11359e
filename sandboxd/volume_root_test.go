package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/wire"
)

// A volume is in a vault when it has to outlive us, or when there are more than shall have a descriptor; and its files are there wherever it is.
func TestVolumesAreInVaultsWhenTheyMust(t *testing.T) {
	td := startDaemon(t, nil)
	vs := td.d.server.volumes
	if !vs.clones {
		var u unix.Utsname
		var major, minor int
		if err := unix.Uname(&u); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); err != nil || major*100+minor >= 615 {
			t.Fatalf("Linux %d.%d cannot clone detached mounts: %v", major, minor, err)
		}
	}
	vs.mu.Lock()
	vs.mostNear = 3
	vs.mu.Unlock()
	use := func(what string, workspace, build wire.Volume) {
		t.Helper()
		change := func(j *wire.Job) { j.Workspace, j.Build = workspace, build }
		if r := td.run(what, change); r.err != nil || r.Code != 0 {
			t.Fatalf("%s: %+v", what, r)
		}
	}
	for i := range 3 {
		w, b := fmt.Sprint("w", i), fmt.Sprint("b", i)
		use("echo "+w+" >f; echo "+b+" >/build/f", wire.Volume{ID: w, New: true}, wire.Volume{ID: b, New: true})
	}
	for i := range 3 {
		w, b := fmt.Sprint("w", i), fmt.Sprint("b", i)
		use("read w <f; read b </build/f; test $w = "+w+" -a $b = "+b, wire.Volume{ID: w}, wire.Volume{ID: b})
	}
	where := func(id string) string {
		vs.mu.Lock()
		defer vs.mu.Unlock()
		v := vs.byID[id]
		return fmt.Sprintf("near %t, descriptor %t, vault %t", v.near, v.mount != nil, v.vault != nil)
	}
	const both, detached, vault = "near true, descriptor true, vault true", "near true, descriptor true, vault false", "near false, descriptor false, vault true"
	for id, want := range map[string]string{"w0": both, "b0": detached, "w1": both, "b1": vault, "w2": vault, "b2": vault} {
		if !vs.clones {
			want = vault
		}
		if got := where(id); got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
	if err := td.client.ForgetAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	left := ""
	for deadline := time.Now().Add(hang); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) { // the last job's jail may still be on its way out
		used := 0
		vs.vaults.mu.Lock()
		for _, v := range vs.vaults.all {
			used += v.used
		}
		vs.vaults.mu.Unlock()
		vs.mu.Lock()
		left = fmt.Sprint(vs.near, " near, ", used, " in vaults")
		vs.mu.Unlock()
		if left == "0 near, 0 in vaults" {
			return
		}
	}
	t.Error("left: " + left)
}

// What a host cannot do at the end of each session's first request, it is asked at the start, where somebody reads the answer.
func TestStartNeedsAVault(t *testing.T) {
	td := startDaemon(t, nil)
	td.stop()
	defer td.start()
	folder := anchorFolder(&td.config)
	if err := errors.Join(os.Mkdir(folder, 0o700), unix.Mount("vaults", folder, "tmpfs", 0, "nr_inodes=1,mode=700")); err != nil {
		t.Fatal(err)
	}
	d, err := start(&td.config, slog.New(slog.DiscardHandler))
	if err == nil {
		d.close()
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Errorf("started where no vault can be anchored: %v", err)
	}
	if err := dropAnchors(folder); err != nil {
		t.Error(err)
	}
}

// A session that could not be put into a vault at the end of its first request, for want of memory, is at the end of the next.
func TestWorkspaceIsPutIntoAVaultLater(t *testing.T) {
	td := startDaemon(t, nil)
	vs := td.d.server.volumes
	lasts := func(isNew bool) bool {
		t.Helper()
		if r := td.run("true", inWorkspace(wire.Volume{ID: "w", New: isNew})); r.err != nil {
			t.Fatal(r.err)
		}
		vs.mu.Lock()
		defer vs.mu.Unlock()
		return vs.byID["w"].lasting
	}
	if !vs.clones { // then each is in a vault before its first request, or there is none
		if !lasts(true) {
			t.Error("it is in no vault")
		}
		return
	}
	good := vs.vaults.anchors.folder
	vs.vaults.mu.Lock()
	full := vs.vaults.all
	vs.vaults.all, vs.vaults.anchors.folder = nil, "/none"
	vs.vaults.mu.Unlock()
	if lasts(true) {
		t.Error("it is in a vault, and there is none")
	}
	vs.vaults.mu.Lock()
	vs.vaults.all, vs.vaults.anchors.folder = full, good
	vs.vaults.mu.Unlock()
	if !lasts(false) {
		t.Error("it is in no vault")
	}
}
