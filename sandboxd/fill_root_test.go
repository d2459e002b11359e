package main

import (
	"fmt"
	"testing"

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
	if vs := td.d.server.volumes; fmt.Sprint(vs.named(), " ", vs.filled) != "0 0" {
		t.Errorf("%d volumes are left, %d bytes", vs.named(), vs.filled)
	}
}
