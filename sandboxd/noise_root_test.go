package main

import (
	"testing"

	"github.com/runtools/runtools/pkg/wire"
)

// What disturbed a job is counted, and only for who asks: a quota that holds it back, and CPUs that it had to share.
func TestNoise(t *testing.T) {
	td := startDaemon(t, func(c *config) { c.CPUsPerJob = 0.2 })
	const busy = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"
	ask := func(j *wire.Job) { j.Noise = true }
	if r := td.run(busy, nil); r.err != nil || r.Noise != nil {
		t.Errorf("nobody asked: %v %+v", r.err, r.Noise)
	}
	r := td.run(busy, ask)
	if r.err != nil || r.Noise == nil || r.Noise.Throttled == 0 || r.Noise.InvoluntarySwitches == 0 {
		t.Errorf("a job that has a fifth of a CPU and wants more: %v %+v", r.err, r.Noise)
	}
	// On a busy machine even its start may not fit into one period of the quota.
	r = td.run("exit 0", ask)
	for try := 1; try < 10 && r.err == nil && r.Noise != nil && r.Noise.Throttled != 0; try++ {
		r = td.run("exit 0", ask)
	}
	if r.err != nil || r.Noise == nil || r.Noise.Throttled != 0 {
		t.Errorf("a job that wants next to nothing: %v %+v", r.err, r.Noise)
	}
	if r := td.run("kill -9 $$", ask); r.err != nil || r.Noise == nil {
		t.Errorf("a job that died: %v %+v", r.err, r.Noise)
	}
}
