package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/jail"
	"github.com/runtools/runtools/pkg/seccomp"
	"github.com/runtools/runtools/pkg/wire"
)

const compileThenRun = `{"templates": {"compile": {"pool": 2, "pool_max": 2, "pids": 32, "then": "run"}, "run": {"pool": 2, "pool_max": 2, "pids": 32}}}`

func startFollowed(t *testing.T) *testDaemon {
	td := startDaemon(t, func(c *config) {
		if err := os.WriteFile(filepath.Join(c.Image, "languages/toy/jail.json"), []byte(compileThenRun), 0o644); err != nil {
			t.Fatal(err)
		}
	})
	td.awaitCompilers()
	return td
}

func (td *testDaemon) awaitCompilers() {
	td.t.Helper()
	p := td.d.server.pools.all["toy/compile"]
	for start := time.Now(); len(p.ready) != 2; time.Sleep(5 * time.Millisecond) {
		if time.Since(start) > hang {
			td.t.Fatal("the pool of compilers does not fill")
		}
	}
	td.awaitReady(2)
}

// made runs a script that fills a build volume.
func (td *testDaemon) made(id, script string) ran {
	td.t.Helper()
	return td.run(script, func(j *wire.Job) {
		j.Template, j.Build = "toy/compile", wire.Volume{ID: id, New: true}
	})
}

// inNewJail is told by the PID of a script's first child, which is 3 where nothing ran before.
func inNewJail(r ran) bool { return strings.HasPrefix(r.stdout, "child 3\n") }

const tellChild = "sh -c 'echo child $$'; :; " // with nothing behind it sh would not fork

// The program has the jail of its compiler, once, and no file, memory or time of that job.
func TestProgramFollowsItsCompiler(t *testing.T) {
	td := startFollowed(t)
	made := td.made("b1", "echo made >/build/f; echo x >junk; dd bs=40000000 count=1 if=/dev/zero of=/dev/null 2>/dev/null; i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done")
	if made.err != nil || made.Code != 0 || made.MemoryPeak < 38<<20 {
		t.Fatalf("%+v, %v", made.Result, made.err)
	}
	program := func() ran {
		return td.run(tellChild+"cat /build/f; ls -A . /tmp; echo x 2>/dev/null >/build/f || echo $$", func(j *wire.Job) { j.Build = wire.Volume{ID: "b1"} })
	}
	first, second := program(), program()
	const want = "made\n.:\n\n/tmp:\n2\n"
	td.awaitCompilers()
	large := td.made("b2", "dd bs=1000000 count=6 if=/dev/zero of=/build/large 2>/dev/null")
	beside := td.run(tellChild, func(j *wire.Job) { j.Build = wire.Volume{ID: "b2"} })
	if large.err != nil || beside.err != nil || inNewJail(beside) || beside.MemoryPeak > 4<<20 {
		t.Errorf("beside 6 MB: %q, %+v, %v, %v", beside.stdout, beside.Result, large.err, beside.err)
	}
	for i, r := range []ran{first, second} {
		if r.err != nil || !strings.HasSuffix(r.stdout, want) || !r.PoolHit || inNewJail(r) != (i == 1) {
			t.Errorf("run %d: %q, %+v, %v", i+1, r.stdout, r.Result, r.err)
		}
		if r.MemoryPeak > 8<<20 || r.CPUNS >= made.CPUNS || r.MemoryPeak <= 0 {
			t.Errorf("run %d took %d bytes and %d ns, its compiler %d and %d", i+1, r.MemoryPeak, r.CPUNS, made.MemoryPeak, made.CPUNS)
		}
	}
}

// Where the runner of a program could not be cloned there are two jails, and the log says so.
func TestProfileWithoutSetsid(t *testing.T) {
	profiles := profilesWith(t, without("setsid"))
	td := startDaemon(t, func(c *config) {
		c.Profiles = profiles
		writeFile(t, filepath.Join(c.Image, "languages/toy/jail.json"), compileThenRun)
	})
	if log := td.log.take(); !strings.Contains(log, "programs do not follow their compiler") || !strings.Contains(log, "template=toy/compile") {
		t.Errorf("the log: %s", log)
	}
	td.awaitCompilers()
	made := td.made("b", "echo x >/build/f")
	if r := td.run(tellChild, func(j *wire.Job) { j.Build = wire.Volume{ID: "b"} }); made.err != nil || r.err != nil || !inNewJail(r) {
		t.Errorf("%v, %q, %+v, %v", made.err, r.stdout, r.Result, r.err)
	}
}

// Whatever else the compiler does, and whatever it cannot be for, the program has a new jail, and is the same.
func TestProgramDoesNotFollow(t *testing.T) {
	td := startFollowed(t)
	type change = func(*wire.Job)
	variable := func(v string) change { return func(j *wire.Job) { j.Env = append(j.Env, v) } }
	for name, c := range map[string]struct {
		compiler      string
		wait          time.Duration
		first, second change
	}{
		"litter":             {compiler: "echo x >/tmp/f"},
		"litter, later":      {compiler: "(setsid sh -c 'while kill -0 3; do :; done; echo x >/tmp/f' >/dev/null 2>&1 &)"},
		"straggler":          {compiler: "(setsid sleep 100 >/dev/null 2>&1 &)"},
		"runner stopped":     {compiler: "kill -STOP 2"},
		"runner killed":      {compiler: "kill -KILL 2"},
		"everybody killed":   {compiler: "kill -TERM -1"},
		"nobody came":        {compiler: ":", wait: followWait + 500*time.Millisecond},
		"noise is wanted":    {compiler: ":", second: func(j *wire.Job) { j.Noise = true }},
		"meters are wanted":  {compiler: ":", second: func(j *wire.Job) { j.Explain = true }},
		"of the compiler":    {compiler: ":", first: func(j *wire.Job) { j.Explain = true }},
		"loader's variable":  {compiler: ":", first: variable("LD_DEBUG=")},
		"gcc's variable":     {compiler: ":", first: variable("GCC_EXEC_PREFIX=/home/user/")},
		"another path":       {compiler: ":", first: func(j *wire.Job) { j.Env = []string{"PATH=/home/user:/bin"} }},
		"session's old work": {compiler: ":", first: func(j *wire.Job) { j.Workspace = wire.Volume{ID: "old"} }},
	} {
		t.Run(name, func(t *testing.T) {
			td.awaitCompilers()
			if name == "session's old work" {
				if r := td.run(":", func(j *wire.Job) { j.Workspace = wire.Volume{ID: "old", New: true} }); r.err != nil {
					t.Fatal(r.err)
				}
			}
			id := strings.Map(func(r rune) rune {
				if r >= 'a' && r <= 'z' {
					return r
				}
				return '-'
			}, name)
			made := td.run("echo made >/build/f; "+c.compiler, func(j *wire.Job) {
				j.Template, j.Build = "toy/compile", wire.Volume{ID: id, New: true}
				if c.first != nil {
					c.first(j)
				}
			})
			if made.err != nil || made.Code != 0 && made.Signal == 0 {
				t.Fatalf("%+v, %v", made.Result, made.err)
			}
			time.Sleep(c.wait)
			r := td.run(tellChild+"cat /build/f", func(j *wire.Job) {
				j.Build = wire.Volume{ID: id}
				if c.second != nil {
					c.second(j)
				}
			})
			if r.err != nil || r.stdout != "child 3\nmade\n" {
				t.Errorf("%q, %+v, %v", r.stdout, r.Result, r.err)
			}
		})
	}
}

// Jails that wait are few, whatever is compiled and not run, and one that was made for an id is not the next one's of that id.
func TestFewWaitForPrograms(t *testing.T) {
	s := newSuccessors()
	if s.offer("a") == nil || s.offer("a") != nil {
		t.Error("an offer is overwritten")
	}
	for i := range mostWaiting - 1 {
		if s.offer(fmt.Sprint(i)) == nil {
			t.Errorf("%d wait, and no more may", i+1)
		}
	}
	if s.offer("b") != nil {
		t.Error("too many wait")
	}
	if s.accept("a") == nil || s.accept("a") != nil || s.withdraw("a") || s.offer("b") == nil || !s.withdraw("b") {
		t.Error("an offer is accepted once")
	}
}

// A program whose runner could not begin has not run, and may be sent again.
func TestRunnerThatCannotBegin(t *testing.T) {
	td := startFollowed(t)
	td.made("b", ":")
	s := td.d.server.pools.successors
	came := s.accept("b")
	if came == nil {
		t.Fatal("no jail is offered")
	}
	r := <-came
	failed := make(chan error)
	go func() { // a thread of the jail's user, which ends
		runtime.LockOSThread()
		id := uintptr(td.d.server.builder.slots.ids(r.slot).First + jail.UserID)
		for _, call := range []uintptr{unix.SYS_SETRESGID, unix.SYS_SETRESUID} {
			if _, _, errno := unix.RawSyscall(call, id, id, id); errno != 0 {
				failed <- errno
				return
			}
		}
		failed <- unix.Prlimit(r.jail.RunnerPID(), unix.RLIMIT_NOFILE, &unix.Rlimit{}, nil)
	}()
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	again := s.offer("b")
	go func() { again <- r }()
	got := td.run("echo ran", func(j *wire.Job) { j.Build = wire.Volume{ID: "b"} })
	wantCode(t, got.err, wire.CodeNotBegun)
}

// The limits are the program's.
func TestFollowerHasItsOwnLimits(t *testing.T) {
	td := startFollowed(t)
	made := td.run("echo >/build/f", func(j *wire.Job) {
		j.Template, j.Build, j.Limits.MemoryBytes = "toy/compile", wire.Volume{ID: "b", New: true}, 8<<20
	})
	r := td.run(tellChild+"dd bs=40000000 count=1 if=/dev/zero of=/dev/null 2>&1", func(j *wire.Job) { j.Build = wire.Volume{ID: "b"} })
	if made.err != nil || r.err != nil || r.Limit != "" || r.Code != 0 || inNewJail(r) {
		t.Errorf("with the default limit: %q, %+v, %v, %v", r.stdout, r.Result, made.err, r.err)
	}
	td.awaitCompilers()
	made = td.made("c", "dd bs=40000000 count=1 if=/dev/zero of=/dev/null; echo >/build/f")
	r = td.run("dd bs=40000000 count=1 if=/dev/zero of=/dev/null; sleep 10", func(j *wire.Job) {
		j.Build, j.Limits.MemoryBytes = wire.Volume{ID: "c"}, 16<<20
	})
	if made.err != nil || r.err != nil || r.Limit != wire.LimitMemory {
		t.Errorf("with 16 MiB: %+v, %v, %v", r.Result, made.err, r.err)
	}
	// An artifact counts for the compiler alone.
	td.awaitCompilers()
	made = td.made("d", "dd bs=1000000 count=7 if=/dev/zero of=/build/large 2>/dev/null")
	for run := range 2 {
		r = td.run(tellChild+"dd bs=12000000 count=1 if=/dev/zero of=/dev/null", func(j *wire.Job) {
			j.Build, j.Limits.MemoryBytes = wire.Volume{ID: "d"}, 16<<20
		})
		if made.err != nil || r.err != nil || r.Code != 0 || r.Limit != "" || inNewJail(r) != (run == 1) {
			t.Errorf("run %d beside a large artifact: %q, %+v, %v, %v", run, r.stdout, r.Result, made.err, r.err)
		}
	}
}

// Many compile and run at one time, some that nobody runs; nothing stays.
func TestManyFollow(t *testing.T) {
	td := startFollowed(t)
	done := make(chan error)
	for i := range 8 {
		go func() {
			for n := range 10 {
				id, script := fmt.Sprint("many-", i, "-", n), fmt.Sprintf("echo %d-%d >/build/f", i, n)
				if r := td.made(id, script); r.err != nil || r.Code != 0 {
					done <- fmt.Errorf("%s: %+v, %w", id, r.Result, r.err)
					return
				}
				if n%3 == 2 {
					continue
				}
				r := td.run("cat /build/f", func(j *wire.Job) { j.Build = wire.Volume{ID: id} })
				if r.err != nil || r.stdout != fmt.Sprintf("%d-%d\n", i, n) {
					done <- fmt.Errorf("%s: %q, %w", id, r.stdout, r.err)
					return
				}
			}
			done <- nil
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// A jail goes to a job only if the compiler in it had the very filter that the job is to have.
func TestFollowsUnderOneFilter(t *testing.T) {
	f, other := &seccomp.Filter{}, &seccomp.Filter{}
	compile, run := &template{name: "toy/compile", spec: templateSpec{Then: "run"}}, &template{name: "toy/run"}
	mine := &variant{filter: f}
	for name, c := range map[string]struct {
		inForce map[string]*variant
		onTrial map[string]*variant
		follows bool
	}{
		"one":             {map[string]*variant{"toy/compile": mine, "toy/run": {filter: f}}, nil, true},
		"another":         {map[string]*variant{"toy/compile": mine, "toy/run": {filter: other}}, nil, false},
		"a newer":         {map[string]*variant{"toy/compile": {filter: f}, "toy/run": {filter: f}}, nil, false},
		"one on trial":    {map[string]*variant{"toy/compile": mine, "toy/run": {filter: f}}, map[string]*variant{"toy/run": {filter: other}}, false},
		"another's trial": {map[string]*variant{"toy/compile": mine, "toy/run": {filter: f}}, map[string]*variant{"x/run": {filter: other}}, true},
	} {
		p := &policy{inForce: c.inForce, onTrial: c.onTrial}
		if v := p.follows(&readyJail{template: compile, variant: mine}, run); (v != nil) != c.follows || v != nil && v != c.inForce["toy/run"] {
			t.Errorf("%s: got %v, want one: %v", name, v, c.follows)
		}
	}
	p := &policy{inForce: map[string]*variant{"toy/compile": mine, "toy/run": {filter: f}, "toy/other": {filter: f}}}
	if p.follows(&readyJail{template: compile, variant: mine}, &template{name: "toy/other"}) != nil {
		t.Error("a job of another template follows")
	}
}
