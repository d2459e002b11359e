package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/wire"
)

// toyRuntime is that of pkg/jail/testdata/parked.c. PARKED_TOY names one made before, for machines without a compiler.
var toyRuntime = sync.OnceValues(func() ([]byte, error) {
	if toy := os.Getenv("PARKED_TOY"); toy != "" {
		return os.ReadFile(toy)
	}
	dir, err := os.MkdirTemp("", "toy")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	const parked = "../rootfs/parked"
	toy := filepath.Join(dir, "toy")
	out, err := exec.Command("gcc", "-std=gnu11", "-O2", "-static", "-I", parked, "-o", toy, "../pkg/jail/testdata/parked.c", parked+"/parked.c").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("gcc: %w: %s", err, out)
	}
	return os.ReadFile(toy)
})

// startParked starts a daemon whose template toy/run holds toyRuntime.
func startParked(t *testing.T, template string, change func(*config)) *testDaemon {
	t.Helper()
	data, err := toyRuntime()
	if err != nil {
		t.Fatal(err)
	}
	return startDaemon(t, func(c *config) {
		for name, content := range map[string]string{
			"rootfs/bin/toy":          string(data),
			"languages/toy/jail.json": fmt.Sprintf(`{"templates": {"run": %s}}`, template),
		} {
			if err := os.WriteFile(filepath.Join(c.Image, name), []byte(content), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if change != nil {
			change(c)
		}
	})
}

func toyJob(argv ...string) func(*wire.Job) {
	return func(j *wire.Job) { j.Argv, j.Env = append([]string{"/bin/toy"}, argv...), nil }
}

// awaitReady waits until the pool holds so many jails.
func (td *testDaemon) awaitReady(want int) {
	td.t.Helper()
	p := td.d.server.pools.all["toy/run"]
	for start := time.Now(); len(p.ready) != want; time.Sleep(5 * time.Millisecond) {
		if time.Since(start) > hang {
			td.t.Fatalf("%d jails ready, want %d", len(p.ready), want)
		}
	}
}

const parkedToy = `{"pool": 2, "pool_max": 2, "pids": 32, "parked": {"argv": ["/bin/toy"]}}`

func TestParkedJobs(t *testing.T) {
	td := startParked(t, parkedToy, nil)
	td.awaitReady(2)
	for name, c := range map[string]struct {
		change func(*wire.Job)
		stdout string
		code   int
		parked bool
	}{
		"taken over":  {toyJob("exit", "7"), "buffered handler ", 7, true},
		"executed":    {func(j *wire.Job) { j.Argv = []string{"/bin/echo", "x"} }, "x\n", 0, true},
		"descriptors": {toyJob("descriptors"), "0 1 2 ", 0, true},
		// The loaded runtime would take too much of it.
		"little memory": {func(j *wire.Job) { toyJob("exit", "7")(j); j.Limits.MemoryBytes = 100 << 10 }, "", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			td.awaitReady(2)
			r := td.run("", c.change)
			if !c.parked {
				if r.err == nil && r.Parked {
					t.Errorf("got %+v, want a cold jail", r.Result)
				}
				return
			}
			if r.err != nil || r.stdout != c.stdout || r.Code != c.code || !r.Parked || !r.PoolHit || r.Limit != "" {
				t.Errorf("got %+v, %q, %v", r.Result, r.stdout, r.err)
			}
		})
	}
}

// An artifact can be had with the answer, while the memory of its compiler is still being freed; and nobody is left then who could write to it.
func TestArtifactIsHandedOver(t *testing.T) {
	td := startParked(t, parkedToy, nil)
	for id, argv := range map[string][]string{"alone": {"large"}, "accompanied": {"large", "child"}} {
		td.awaitReady(2)
		r := td.run("", func(j *wire.Job) {
			toyJob(argv...)(j)
			j.Limits.MemoryBytes, j.Build = 1<<30, wire.Volume{ID: id, New: true}
		})
		if held := td.holders(id); r.err != nil || r.Code != 0 || !r.Parked || held != 0 {
			t.Errorf("%s: %+v; the volume has %d holders, want none", id, r, held)
		}
		if r := td.run("", func(j *wire.Job) { toyJob("exit", "0")(j); j.Build = wire.Volume{ID: id} }); r.err != nil {
			t.Errorf("%s: %v", id, r.err)
		}
	}
}

// Who is left beside a compiler, or says that it has ended and is not, cannot change what it made once that was measured. With Ruby's profile: base.json has no timer
// that could send SIGCONT.
func TestNobodyWritesToAnArtifact(t *testing.T) {
	td := startParked(t, `{"seccomp": "ruby", "pool": 2, "pool_max": 2, "pids": 32, "parked": {"argv": ["/bin/toy"]}}`, nil)
	for name, change := range map[string]func(*wire.Job){
		"woken": toyJob("wakes"),
		// It waits for the end of the program, and writes from then on.
		"left": func(j *wire.Job) {
			j.Argv[2] = `(setsid sh -c "while kill -0 $$; do :; done; yes >>/build/f" >/dev/null 2>&1 &); echo x >/build/f; sleep 0.02`
		},
	} {
		for n := range 20 {
			v := wire.Volume{ID: fmt.Sprint(name, n), New: true}
			td.awaitReady(2)
			made := td.run("", func(j *wire.Job) { change(j); j.Build = v })
			v.New = false
			found := td.run("stat -c %b /build/f", func(j *wire.Job) { j.Build = v }) // blocks of 512 bytes
			blocks, err := strconv.ParseInt(strings.TrimSpace(found.stdout), 10, 64)
			if err := errors.Join(made.err, found.err, err); err != nil || made.BuildBytes != 512*blocks {
				t.Fatalf("%s: %d bytes were counted, there are %d: %v", name, made.BuildBytes, 512*blocks, err)
			}
		}
	}
}

// A session's workspace is dropped, kept and found again as with a cold jail.
func TestParkedWorkspaces(t *testing.T) {
	td := startParked(t, parkedToy, nil)
	td.awaitReady(2)
	unchanged := td.run("", func(j *wire.Job) {
		toyJob("exit", "0")(j)
		j.Workspace = wire.Volume{ID: "one", New: true, DropUnchanged: true}
	})
	if unchanged.err != nil || !unchanged.WorkspaceDropped {
		t.Errorf("%+v, %v", unchanged.Result, unchanged.err)
	}
	td.awaitReady(2)
	left := td.run("echo 1 >f", func(j *wire.Job) { j.Workspace = wire.Volume{ID: "two", New: true, DropUnchanged: true} })
	again := td.run("cat f", func(j *wire.Job) { j.Workspace = wire.Volume{ID: "two"} })
	if left.err != nil || left.WorkspaceDropped || again.stdout != "1\n" {
		t.Errorf("%+v, then %q, %v", left.Result, again.stdout, again.err)
	}
}

// Limits end a parked program as they end any other.
func TestParkedLimits(t *testing.T) {
	td := startParked(t, parkedToy, nil)
	td.awaitReady(2)
	r := td.run("", func(j *wire.Job) { toyJob("hang")(j); j.Limits.WallMS = 200 })
	if r.err != nil || r.Limit != wire.LimitWall || !r.Parked {
		t.Errorf("%+v, %v", r.Result, r.err)
	}
	if ms := r.WallNS / 1e6; ms < 150 || ms > 20_000 { // counted from the takeover, not from the start of the runtime
		t.Errorf("ended after %d ms", ms)
	}
}

// A runtime that cannot be loaded costs speed, never an answer.
func TestBrokenParkedRuntimeDegradesToCold(t *testing.T) {
	td := startParked(t, `{"pool": 2, "pids": 32, "parked": {"argv": ["/bin/toy"], "env": {"BROKEN": "1"}}}`, nil)
	for range 3 {
		r := td.run("", toyJob("exit", "7"))
		if r.err != nil || r.Code != 7 || r.Parked || r.PoolHit {
			t.Errorf("%+v, %v", r.Result, r.err)
		}
	}
}

func TestParkedCanBeTurnedOff(t *testing.T) {
	td := startParked(t, parkedToy, func(c *config) { c.Parked = false })
	td.awaitReady(2)
	if r := td.run("", toyJob("exit", "7")); r.err != nil || r.Code != 7 || r.Parked || !r.PoolHit {
		t.Errorf("%+v, %v", r.Result, r.err)
	}
}

// A burst of ten times the pool is answered, whatever is ready; the pool grows to what was asked for, within its ceiling, and shrinks again.
func TestBurst(t *testing.T) {
	td := startParked(t, `{"pool": 2, "pool_max": 6, "pids": 32, "parked": {"argv": ["/bin/toy"]}}`, nil)
	td.awaitReady(2)
	var jobs sync.WaitGroup
	for range 20 {
		jobs.Go(func() {
			if r := td.run("", toyJob("exit", "7")); r.err != nil || r.Code != 7 || r.stdout != "buffered handler " {
				td.t.Errorf("%+v, %q, %v", r.Result, r.stdout, r.err)
			}
		})
	}
	jobs.Wait()
	td.awaitReady(6)
	// A minute without a job takes it back to its floor.
	ps := td.d.server.pools
	p := ps.all["toy/run"]
	p.demand.roll(int64(monotonic()/time.Second) + 61)
	ps.trim(p)
	td.awaitReady(2)
}

// All pools together stay within pool_memory, however many load at one time what nobody has seen the size of.
func TestPoolsStayWithinTheirMemory(t *testing.T) {
	const one = `{"pool": 0, "pool_max": 1, "pids": 32, "parked": {"argv": ["/bin/toy"]}}`
	td := startParked(t, one+`, "second": `+one+`, "third": `+one, nil)
	ps := td.d.server.pools
	for range 2 { // the first of all may have file pages counted as its own
		r, err := ps.builder.build(ps.all["toy/run"].template)
		if err != nil {
			t.Fatal(err)
		}
		err = ps.builder.load(r, loadWeight)
		ps.budget = r.bytes * 3 / 2 // room for one; no filler has looked at it, for nothing was asked for yet
		ps.builder.release(r)
		if err != nil {
			t.Fatal(err)
		}
	}
	wanted := []*pool{ps.all["toy/run"], ps.all["toy/second"], ps.all["toy/third"]}
	for _, p := range wanted {
		p.demand.add(int64(monotonic() / time.Second))
		p.poke()
	}
	for start, settled := time.Now(), false; !settled; time.Sleep(5 * time.Millisecond) {
		if settled = true; time.Since(start) > hang {
			t.Fatal("not every pool has made a jail")
		}
		for _, p := range wanted {
			p.demand.add(int64(monotonic() / time.Second)) // or it would be of no interest after a minute
			settled = settled && p.bytes.Load() > 0 && p.stock.Load() == int64(len(p.ready))
		}
	}
	ready, fits := 0, false
	for _, p := range wanted {
		ready += len(p.ready)
		fits = fits || p.bytes.Load() <= ps.budget // the kernel counts by 64 pages, and the toy has few
	}
	if fits && ready < 1 || ps.held.Load() > ps.budget {
		t.Errorf("%d jails are ready, which take %d bytes of %d", ready, ps.held.Load(), ps.budget)
	}
}

// A template that says so has no other jobs than parked ones, however empty its pool: those that find none load the runtime themselves.
func TestLoadOnMiss(t *testing.T) {
	td := startParked(t, `{"pool": 1, "pool_max": 1, "pids": 32, "parked": {"argv": ["/bin/toy"], "on_miss": true}}`, nil)
	td.awaitReady(1)
	var jobs sync.WaitGroup
	var misses atomic.Int64
	for range 12 {
		jobs.Go(func() {
			r := td.run("", toyJob("exit", "7"))
			if r.err != nil || r.Code != 7 || !r.Parked || r.stdout != "buffered handler " {
				td.t.Errorf("%+v, %q, %v", r.Result, r.stdout, r.err)
			}
			if !r.PoolHit {
				misses.Add(1)
			}
		})
	}
	jobs.Wait()
	if misses.Load() == 0 {
		t.Error("no job found the pool empty")
	}
}

// What kills a jail while it waits costs no job: the next one gets another.
func TestKilledReadyJails(t *testing.T) {
	td := startParked(t, parkedToy, nil)
	for _, victim := range []string{"PID 1", "runner"} {
		t.Run(victim, func(t *testing.T) {
			td.awaitReady(2)
			runners, inits := td.processes()
			pids := runners
			if victim == "PID 1" {
				pids = inits
			}
			if len(pids) < 2 {
				t.Fatalf("%d of them", len(pids))
			}
			for _, pid := range pids {
				killAndWait(t, pid)
			}
			for range 3 {
				if r := td.run("", toyJob("hello")); r.err != nil {
					t.Errorf("%+v", r)
				}
			}
		})
	}
}

func killAndWait(t *testing.T, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil {
		t.Fatal(err)
	}
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 60_000); n != 1 {
		t.Fatalf("%d does not die: %v", pid, err)
	}
}

// processes are the main processes of all jails, and their PIDs 1, in our own numbering.
func (td *testDaemon) processes() (runners, inits []int) {
	td.t.Helper()
	spawner := td.d.server.builder.spawner.PID()
	files, _ := filepath.Glob("/proc/[0-9]*/status")
	for _, file := range files {
		status, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		fields := map[string][]string{}
		for line := range strings.Lines(string(status)) {
			name, value, _ := strings.Cut(line, ":")
			fields[name] = strings.Fields(value)
		}
		pid, _ := strconv.Atoi(fields["Pid"][0])
		parent, _ := strconv.Atoi(fields["PPid"][0])
		if len(fields["NSpid"]) == 2 && (parent == spawner || parent == os.Getpid()) {
			inits = append(inits, pid)
		}
	}
	for _, init := range inits {
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", init, init))
		for _, word := range strings.Fields(string(children)) {
			pid, _ := strconv.Atoi(word)
			runners = append(runners, pid)
		}
	}
	return runners, inits
}
