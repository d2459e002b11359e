package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/wire"
)

// What happens while a runtime loads. The toy stops itself until somebody lets it go on.

// stopped are the toys that do not go on.
func (td *testDaemon) stopped() (pids []int) {
	runners, _ := td.processes()
	for _, pid := range runners {
		if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && strings.Contains(string(stat), ") T ") {
			pids = append(pids, pid)
		}
	}
	return pids
}

func (td *testDaemon) awaitStopped() (pids []int) {
	td.t.Helper()
	for start := time.Now(); len(pids) == 0; time.Sleep(5 * time.Millisecond) {
		if pids = td.stopped(); time.Since(start) > hang {
			td.t.Fatal("no toy has stopped")
		}
	}
	return pids
}

func (td *testDaemon) goOn() {
	for _, pid := range td.stopped() {
		unix.Kill(pid, unix.SIGCONT)
	}
}

// weights are the CPU weights of the jails' leaves, as the kernel has them.
func (td *testDaemon) weights() (weights []string) {
	v1, _ := filepath.Glob("/sys/fs/cgroup/cpu/" + td.config.CgroupParent + "/job-*/cpu.shares")
	v2, _ := filepath.Glob("/sys/fs/cgroup/" + td.config.CgroupParent + "/job-*/cpu.weight")
	for _, path := range append(v1, v2...) {
		if weight, err := os.ReadFile(path); err == nil {
			weights = append(weights, strings.TrimSpace(string(weight)))
		}
	}
	return weights
}

// While the first runtime loads it has the lowest weight, jobs are answered without it, and no compiler is made; then all is as ever.
func TestFirstRuntimeLoads(t *testing.T) {
	over := make(chan struct{})
	t.Cleanup(func() { close(over) }) // after the daemon's end, which waits for what loads
	td := startParked(t, `{"pool": 1, "pool_max": 1, "pids": 32, "parked": {"argv": ["/bin/toy"], "env": {"STOP": "1"}}}`, func(c *config) {
		folder := filepath.Join(c.Image, "languages/compiler")
		compiler := `{"templates": {"compile": {"pool": 1, "pool_max": 1, "pids": 32, "parked": {"argv": ["/bin/toy"], "again": true}}}}`
		if err := errors.Join(os.Mkdir(folder, 0o755), os.WriteFile(filepath.Join(folder, "jail.json"), []byte(compiler), 0o644)); err != nil {
			t.Fatal(err)
		}
	})
	compilers := td.d.server.pools.all["compiler/compile"]
	td.awaitStopped()
	if w := td.weights(); len(w) != 1 || w[0] != "10" && w[0] != "1" { // of version 1, of version 2
		t.Errorf("while it loads: weights %v", w)
	}
	for range 2 {
		if r := td.run("", toyJob("exit", "7")); r.err != nil || r.Code != 7 || r.Parked || r.PoolHit {
			t.Errorf("%+v, %v", r.Result, r.err)
		}
	}
	if n := compilers.stock.Load(); n != 0 {
		t.Errorf("%d compilers are made already", n)
	}
	go func() {
		for {
			td.goOn()
			select {
			case <-over:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	td.awaitReady(1)
	for start := time.Now(); len(compilers.ready) != 1 || td.d.server.builder.live.Load() != 2; time.Sleep(5 * time.Millisecond) {
		if time.Since(start) > hang {
			t.Fatalf("%d compilers are ready, %d jails live", len(compilers.ready), td.d.server.builder.live.Load())
		}
	}
	if w := td.weights(); len(w) != 2 || w[0] != w[1] || w[0] != "1024" && w[0] != "100" {
		t.Errorf("when they have loaded: weights %v", w)
	}
	if r := td.run("", toyJob("exit", "7")); r.err != nil || r.Code != 7 || !r.Parked || !r.PoolHit {
		t.Errorf("%+v, %v", r.Result, r.err)
	}
}

// startOnMiss is a daemon whose jobs load their runtimes themselves.
func startOnMiss(t *testing.T, variable string) *testDaemon {
	td := startParked(t, `{"pool": 0, "pids": 32, "parked": {"argv": ["/bin/toy"], "on_miss": true, "env": {"`+variable+`": "1"}}}`,
		func(c *config) { c.Networks = 1 }) // more would still be filling up
	td.d.server.pools.all["toy/run"].bytes.Store(1) // as if one had been loaded: what it takes is known
	return td
}

// A job that would load its runtime, and cannot, starts its command.
func TestOnMissFallsBack(t *testing.T) {
	td := startOnMiss(t, "BROKEN")
	before := td.holding()
	r := td.run("", toyJob("exit", "7"))
	if r.err != nil || r.Code != 7 || r.stdout != "buffered handler " || r.Parked || r.PoolHit {
		t.Errorf("%q, %+v, %v", r.stdout, r.Result, r.err)
	}
	if log := td.log.take(); !strings.Contains(log, "load toy/run: jail: park /bin/toy: it ended before it was ready") {
		t.Errorf("the log does not say why: %s", log)
	}
	td.awaitNoMoreThan(before)
}

// A caller who hangs up while his job's runtime loads leaves nothing behind.
func TestCallerIsGoneWhileARuntimeLoads(t *testing.T) {
	td := startOnMiss(t, "STOP")
	before := td.holding()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	defer write.Close()
	ctx, cancel := context.WithCancel(context.Background())
	gone := make(chan error)
	go func() {
		job := &wire.Job{Template: "toy/run", Argv: []string{"/bin/toy", "hang"}, Workspace: wire.Volume{ID: "w", New: true}}
		_, err := td.client.Run(ctx, job, nil, write, write)
		gone <- err
	}()
	td.awaitStopped()
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	td.goOn()
	td.awaitNoMoreThan(before)
}

// awaitNoMoreThan waits until all is given back.
func (td *testDaemon) awaitNoMoreThan(before held) {
	td.t.Helper()
	td.awaitNoJail()
	after := td.holding()
	for deadline := time.Now().Add(hang); after.exceeds(before) && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		after = td.holding()
	}
	if after.exceeds(before) {
		td.t.Errorf("%+v are left, %+v before", after, before)
	}
}
