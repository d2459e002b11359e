package main

import (
	"fmt"
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
	for start := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		n, lent := td.kept()
		if n == want && lent == 0 {
			return
		}
		if time.Since(start) > hang {
			td.t.Fatalf("%d jails kept and %d lent, want %d and 0", n, lent, want)
		}
	}
}

// kept are how many jails wait for their owners, and how many owners have one out.
func (td *testDaemon) kept() (waiting, lent int) {
	k := td.d.server.pools.kept
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.jails), len(k.lent)
}

// keepOne runs jobs of alice's until a jail waits for her next: the kernel counts memory by the page or by 64, and the toy has so little that this may be three times as much.
func (td *testDaemon) keepOne(change func(*wire.Job)) {
	td.t.Helper()
	for start := time.Now(); time.Since(start) < hang; {
		td.awaitReady(2)
		if r := td.run("", change); r.err != nil {
			td.t.Fatal(r.err)
		}
		for time.Since(start) < hang {
			n, lent := td.kept()
			if n == 1 && lent == 0 {
				return
			}
			if lent == 0 {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	td.t.Fatal("no jail is kept")
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

// Whatever is not a plain end of a compiler's job ends its jail, be it its first or a later one.
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
		// Its process has the limit for itself, and fills it.
		"memory limit": func(j *wire.Job) { compileJob("alice", "fill")(j); j.Limits.MemoryBytes = 32 << 20 },
		// The runtime reads what begins with TOY, and the loader what begins with LD_: neither would be in force in a process that runs already.
		"its variable":   withEnv("TOY=1"),
		"the loader's":   withEnv("LD_PRELOAD=/home/user/evil.so"),
		"another locale": withEnv("LC_ALL=tr_TR.UTF-8"),
	} {
		for _, before := range []int{0, 1} {
			if name == "no owner" && before > 0 {
				continue // no jail of alice's would serve it
			}
			t.Run(fmt.Sprintf("%s, job %d", name, before+1), func(t *testing.T) {
				td.awaitReady(2)
				if before > 0 {
					td.keepOne(compileJob("alice"))
				}
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
}

// withEnv is a plain compile job with a variable of its own.
func withEnv(variable string) func(*wire.Job) {
	return func(j *wire.Job) { compileJob("alice")(j); j.Env = []string{variable} }
}

// A variable that neither the loader nor the runtime reads changes nothing: a compiler that met it is kept.
func TestCompilerIsKeptWithAnyOtherVariable(t *testing.T) {
	td := startCompiler(t, 100)
	for tries := 0; ; tries++ {
		td.keepOne(withEnv("A=1"))
		if r := td.run("", withEnv("A=1")); r.err == nil && r.stdout != "job 1 " {
			return
		}
		if tries > 10 {
			t.Fatal("no jail is kept that met the variable")
		}
		td.awaitKept(0)
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
