package main

import (
	"sync"
	"testing"
	"time"

	"github.com/runtools/runtools/pkg/wire"
)

const compilerToy = `{"pool": 2, "pool_max": 2, "pids": 32, "parked": {"argv": ["/bin/toy"], "again": true}}`

// compileJob is one of an owner's; the toy tells how many it has had.
func compileJob(owner string, argv ...string) func(*wire.Job) {
	return func(j *wire.Job) {
		toyJob(argv...)(j)
		j.Owner = owner
	}
}

// awaitKept waits until so many compiler jails wait for their owners.
func (td *testDaemon) awaitKept(want int) {
	td.t.Helper()
	k := td.d.server.pools.kept
	for start := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		k.mu.Lock()
		n, lent := len(k.jails), len(k.lent)
		k.mu.Unlock()
		if n == want && lent == 0 {
			return
		}
		if time.Since(start) > hang {
			td.t.Fatalf("%d jails kept and %d lent, want %d and 0", n, lent, want)
		}
	}
}

func startCompiler(t *testing.T, jobs int) *testDaemon {
	td := startParked(t, compilerToy, func(c *config) { c.CompilerJobs = jobs })
	td.awaitReady(2)
	return td
}

// A compiler serves its owner again, and nobody else.
func TestCompilerIsKeptForItsOwner(t *testing.T) {
	td := startCompiler(t, 3)
	for _, c := range []struct {
		owner, want string
		kept        int
	}{
		{"alice", "job 1 ", 1},
		{"alice", "job 2 ", 1},
		{"bob", "job 1 ", 2},
		{"alice", "job 3 ", 1}, // its last: compiler_jobs
		{"bob", "job 2 ", 1},
		{"alice", "job 1 ", 2},
	} {
		td.awaitReady(2)
		r := td.run("", compileJob(c.owner))
		if r.err != nil || r.stdout != c.want || r.Code != 5 || !r.Parked || !r.PoolHit {
			t.Errorf("%s: got %q, %+v, %v; want %q", c.owner, r.stdout, r.Result, r.err, c.want)
		}
		td.awaitKept(c.kept)
	}
}

// What the last job had is not there in the next.
func TestKeptCompilerFindsNothing(t *testing.T) {
	td := startCompiler(t, 100)
	first := td.run("", func(j *wire.Job) {
		compileJob("alice", "write")(j)
		j.Build = wire.Volume{ID: "b1", New: true}
		j.Workspace = wire.Volume{ID: "w1", New: true}
	})
	td.awaitKept(1)
	second := td.run("", compileJob("alice")) // with fewer words
	if first.err != nil || second.err != nil || first.stdout != "job 1 " || second.stdout != "job 2 " {
		t.Errorf("got %q, %v, then %q, %v", first.stdout, first.err, second.stdout, second.err)
	}
	// The session of the first goes on in other jails.
	if r := td.run("ls", func(j *wire.Job) { j.Workspace = wire.Volume{ID: "w1"} }); r.err != nil {
		t.Errorf("the workspace: %v", r.err)
	}
}

// Whatever is not a plain end of a compiler's job ends its jail.
func TestCompilerIsNotKept(t *testing.T) {
	td := startCompiler(t, 100)
	for name, change := range map[string]func(*wire.Job){
		"no owner":    compileJob(""),
		"file open":   compileJob("alice", "hold"),
		"file mapped": compileJob("alice", "map"),
		"litter":      compileJob("alice", "litter"),
		"exit":        compileJob("alice", "exit"),
		"signal":      compileJob("alice", "signal"),
		"child left":  compileJob("alice", "child"),
		"not its own": func(j *wire.Job) { j.Owner, j.Argv = "alice", []string{"/bin/echo"} },
		"time limit":  func(j *wire.Job) { compileJob("alice", "hang")(j); j.Limits.WallMS = 100 },
	} {
		t.Run(name, func(t *testing.T) {
			td.awaitReady(2)
			td.run("", change)
			td.awaitKept(0)
			for start := time.Now(); td.d.server.builder.live.Load() != 2; time.Sleep(5 * time.Millisecond) {
				if time.Since(start) > hang {
					t.Fatal("the jail lives on")
				}
			}
		})
	}
}

// One key's crowd waits for the compilers that are warm.
func TestCrowdOfCompileJobs(t *testing.T) {
	td := startCompiler(t, 1000)
	var crowd sync.WaitGroup
	for range 4 {
		crowd.Go(func() {
			for range 10 {
				if r := td.run("", compileJob("alice")); r.err != nil {
					t.Error(r.err)
				}
			}
		})
	}
	crowd.Wait()
	k := td.d.server.pools.kept
	k.mu.Lock()
	waiting := len(k.waiting)
	k.mu.Unlock()
	if waiting != 0 {
		t.Errorf("%d owners still wait", waiting)
	}
}

func TestIdleCompilersAreGivenUp(t *testing.T) {
	td := startCompiler(t, 100)
	if r := td.run("", compileJob("alice")); r.err != nil {
		t.Fatal(r.err)
	}
	td.awaitKept(1)
	ps := td.d.server.pools
	ps.destroyKept(ps.kept.expire(time.Now().Add(-keptIdle)))
	td.awaitKept(1) // it has not waited for so long
	ps.destroyKept(ps.kept.expire(time.Now()))
	td.awaitKept(0)
}

// One whose memory has grown is not used again.
func TestCompilerThatGrowsIsGivenUp(t *testing.T) {
	td := startCompiler(t, 100)
	if r := td.run("", compileJob("alice")); r.err != nil {
		t.Fatal(r.err)
	}
	td.awaitKept(1)
	k := td.d.server.pools.kept
	k.mu.Lock()
	k.jails[0].first = 1 // as if it had taken a byte at first
	k.mu.Unlock()
	if r := td.run("", compileJob("alice")); r.err != nil || r.stdout != "job 2 " {
		t.Fatalf("%q, %v", r.stdout, r.err)
	}
	td.awaitKept(0)
}
