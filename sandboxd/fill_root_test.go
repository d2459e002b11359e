package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/runtools/runtools/pkg/wire"
)

// An apid that was taken over makes volume after volume, and fills one after the other: the sum is bounded, across restarts, and files without
// contents count as well. What leaves nothing goes on.
func TestVolumesAreBoundedTogether(t *testing.T) {
	td := startDaemon(t, func(c *config) { c.MaxVolumeBytes, c.MaxJails = 4<<20, 20 })
	const fill = "head -c 1500000 /dev/zero >f"
	named := func(id string, isNew bool) func(*wire.Job) { return inWorkspace(wire.Volume{ID: id, New: isNew}) }
	for _, id := range []string{"a", "b", "c"} {
		if r := td.run("true", named(id, true)); r.err != nil {
			t.Fatal(r.err)
		}
	}
	for _, id := range []string{"a", "b", "c"} {
		if r := td.run(fill, named(id, false)); r.err != nil {
			t.Fatal(r.err)
		}
	}
	refused := func(when string) {
		t.Helper()
		for name, change := range map[string]func(*wire.Job){
			"a new workspace":  named("d", true),
			"one that is kept": named("a", false),
			"a build":          func(j *wire.Job) { j.Build = wire.Volume{ID: "e", New: true} },
		} {
			t.Log(when, name)
			wantCode(t, td.run("true", change).err, wire.CodeOverloaded)
		}
		if r := td.run(fill, nil); r.err != nil || r.Code != 0 {
			t.Errorf("%s: a job that leaves nothing: %+v", when, r)
		}
	}
	refused("full")
	td.stop()
	td.start()
	refused("after a restart")
	if err := td.client.Forget(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if r := td.run("i=0; while [ $i -lt 2000 ]; do : >$i; i=$((i+1)); done", named("a", true)); r.err != nil || r.Code != 0 {
		t.Fatalf("after one is gone: %+v", r)
	}
	refused("full of empty files")
	if err := td.client.ForgetAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	vs, left := td.d.server.volumes, ""
	for deadline := time.Now().Add(hang); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) { // the last job's jail may still be on its way out
		vs.mu.Lock()
		left = fmt.Sprint(len(vs.byID), " volumes, ", vs.filled, " bytes")
		vs.mu.Unlock()
		if left == "0 volumes, 0 bytes" {
			return
		}
	}
	t.Error("left: " + left)
}
