package jail

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// toy puts the runtime of testdata/parked.c into the image. PARKED_TOY names one made before, for machines without a compiler.
func (b *bench) toy(t testing.TB) {
	t.Helper()
	target := filepath.Join(b.root, "bin/toy")
	source := os.Getenv("PARKED_TOY")
	if source == "" {
		source = filepath.Join(t.TempDir(), "toy")
		const parked = "../../rootfs/parked"
		out, err := exec.Command("gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-static", "-I", parked, "-o", source,
			"testdata/parked.c", parked+"/parked.c").CombinedOutput()
		if err != nil {
			t.Fatalf("gcc: %v: %s", err, out)
		}
	}
	data, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(target, data, 0o755); err != nil {
		t.Fatal(err)
	}
}

// runParked is run with the toy loaded.
func (b *bench) runParked(t testing.TB, env []string, argv ...string) outcome {
	t.Helper()
	return b.runLoaded(t, "", func(_ *Spec, job *Job, _ *Jail) { job.Argv, job.Env = argv, env }, []string{"/bin/toy"}, nil)
}

func TestParkedRuntimeTakesOver(t *testing.T) {
	b := newBench(t)
	b.toy(t)
	for name, c := range map[string]struct {
		argv   []string
		env    []string
		stdout string
		status unix.WaitStatus
	}{
		"words":                {[]string{"/bin/toy", "show", "a b", ""}, []string{"A=1", "LONG=" + strings.Repeat("x", 3000)}, "A=1|LONG=" + strings.Repeat("x", 3000) + "|\nA=1|LONG=" + strings.Repeat("x", 3000) + "|\n/bin/toy|show|a b||\n", 0},
		"no environment":       {[]string{"/bin/toy", "show"}, nil, "\n\n/bin/toy|show|\n", 0},
		"ours is hidden":       {[]string{"/bin/toy", "show"}, []string{"A=1", "LD_PRELOAD=/usr/lib/runtools/envkeep.so", "B=2"}, "A=1|B=2|\nA=1|B=2|\n/bin/toy|show|\n", 0},
		"descriptors":          {[]string{"/bin/toy", "descriptors"}, nil, "0 1 2 ", 0},
		"exit code, handlers":  {[]string{"/bin/toy", "exit", "7"}, nil, "buffered handler ", 7 << 8},
		"exit code 0":          {[]string{"/bin/toy", "exit", "0"}, nil, "buffered handler ", 0},
		"exit code 256 + 1":    {[]string{"/bin/toy", "exit", "257"}, nil, "buffered handler ", 1 << 8},
		"a child's exit":       {[]string{"/bin/toy", "child exits"}, nil, "child 9", 0},
		"a child is left":      {[]string{"/bin/toy", "leaves a child"}, nil, "left", 0},
		"death by signal":      {[]string{"/bin/toy", "signal"}, nil, "", unix.WaitStatus(unix.SIGSEGV)},
		"its own SIGSTOP":      {[]string{"/bin/toy", "stop"}, nil, "went on", 0},
		"another program":      {[]string{"/bin/echo", "cold"}, nil, "cold\n", 0},
		"another variable":     {[]string{"/bin/toy", "exit", "7"}, []string{"TOY=1"}, "buffered handler ", 7 << 8},
		"the loader's":         {[]string{"/bin/toy", "descriptors"}, []string{"LD_DEBUG="}, "0 1 2 ", 0},
		"descriptors, if cold": {[]string{"/bin/toy", "descriptors"}, []string{"TOY=1"}, "0 1 2 ", 0},
	} {
		t.Run(name, func(t *testing.T) {
			o := b.runParked(t, c.env, c.argv...)
			if o.err != nil || o.stdout != c.stdout || o.stderr != "" || o.exit.Status != c.status {
				t.Errorf("got %q, stderr %q, status %#x, error %v; want %q, %#x", o.stdout, o.stderr, o.exit.Status, o.err, c.stdout, c.status)
			}
			if o.exit.Started == 0 || o.exit.Ended < o.exit.Started {
				t.Errorf("started %v, ended %v", o.exit.Started, o.exit.Ended)
			}
		})
	}
}

// What a runtime has open, and the signals that it ignores, are not the program's that it executes.
func TestParkedExecHandsNothingOn(t *testing.T) {
	b := newBench(t)
	b.toy(t)
	for _, c := range []struct {
		argv []string
		want string
	}{
		{[]string{"/bin/sh", "-c", "echo /proc/self/fd/*"}, "/proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3\n"}, // 3: the folder
		{[]string{"/bin/grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"}, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"},
	} {
		o := b.runLoaded(t, "", func(_ *Spec, job *Job, _ *Jail) { job.Argv = c.argv }, []string{"/bin/toy"}, []string{"OPEN=1"})
		if o.err != nil || o.stdout != c.want {
			t.Errorf("%q: %q, %q, %v; want %q", c.argv, o.stdout, o.stderr, o.err, c.want)
		}
	}
}

func TestParkedFailures(t *testing.T) {
	b := newBench(t)
	b.toy(t)
	for name, c := range map[string]struct {
		load     []string
		env      []string
		patience time.Duration
		job      []string
		want     string
	}{
		"no such runtime": {load: []string{"/bin/none"}, want: "jail: park /bin/none: no such file or directory"},
		"it ends":         {load: []string{"/bin/toy"}, env: []string{"BROKEN=1"}, want: "jail: park /bin/toy: it ended before it was ready"},
		"it is slow":      {load: []string{"/bin/toy"}, env: []string{"SLOW=1"}, patience: 100 * time.Millisecond, want: "jail: park /bin/toy: not ready after 100ms"},
		"another version": {load: []string{"/bin/toy"}, env: []string{"OLD=1"}, want: "jail: park /bin/toy: it speaks version 0 of the protocol, not 2: build the image anew"},
		"not parkable":    {load: []string{"/bin/true"}, want: "jail: park /bin/true: it ended before it was ready"},
		"job's program":   {load: []string{"/bin/toy"}, job: []string{"/bin/none"}, want: "jail: exec /bin/none: no such file or directory"},
	} {
		t.Run(name, func(t *testing.T) {
			o := b.runLoaded(t, "", func(_ *Spec, job *Job, j *Jail) {
				if c.job != nil {
					job.Argv = c.job
				}
			}, c.load, c.env, cmp.Or(c.patience, time.Minute))
			if o.err == nil || o.err.Error() != c.want {
				t.Errorf("got %v, want %s", o.err, c.want)
			}
		})
	}
}

// A program that stops and never says that it has ended runs until it is killed.
func TestParkedStopIsNoEnd(t *testing.T) {
	b := newBench(t)
	b.toy(t)
	b.patience = 300 * time.Millisecond
	o := b.runLoaded(t, "", func(_ *Spec, job *Job, _ *Jail) { job.Argv = []string{"/bin/toy", "hang"} }, []string{"/bin/toy"}, nil)
	if !errors.Is(o.err, ErrKilled) {
		t.Errorf("got %+v, want ErrKilled", o)
	}
}

// What the job left in its workspace is compared after a parked end, too.
func TestParkedCompare(t *testing.T) {
	b := newBench(t)
	b.toy(t)
	for _, argv := range [][]string{{"/bin/toy", "exit", "0"}, {"/bin/touch", "new"}} {
		o := b.runLoaded(t, "", func(_ *Spec, job *Job, _ *Jail) { job.Argv, job.Compare = argv, true }, []string{"/bin/toy"}, nil)
		if want := argv[0] == "/bin/toy"; o.err != nil || o.exit.Same != want {
			t.Errorf("%v: same %v, %v; want %v", argv, o.exit.Same, o.err, want)
		}
	}
}

// again runs one job that leaves the jail to be renewed.
func (b *bench) again(t *testing.T, j *Jail, argv ...string) (exit Exit, stdout, workspace string) {
	t.Helper()
	return b.againWith(t, j, nil, argv...)
}

// againWith is again for a job that has these variables.
func (b *bench) againWith(t *testing.T, j *Jail, env []string, argv ...string) (exit Exit, stdout, workspace string) {
	t.Helper()
	work, path := b.volume(t, j, false)
	build, _ := b.volume(t, j, false)
	out, outWrite := pipe(t)
	contents := memfd(t, "text")
	err := j.Start(&Job{
		Workspace: work, Build: build, Argv: argv, Env: env, Stdout: outWrite, Stderr: outWrite, Again: true,
		Files: []File{{Name: "source", Size: 4}}, Contents: contents,
	})
	outWrite.Close()
	if err != nil {
		t.Fatal(err)
	}
	guard := time.AfterFunc(2*time.Minute, j.Kill)
	defer guard.Stop()
	exit, err = j.Wait()
	if err != nil {
		t.Fatal(err)
	}
	work.Close() // they hold the mounts
	build.Close()
	// The output ends while the process lives on.
	return exit, drain(t, out), path
}

// A compiler serves one job after another, and finds of the one before: nothing.
func TestRenew(t *testing.T) {
	b := newBench(t)
	b.toy(t)
	j := b.loaded(t)
	for i, want := range []string{"job 1 source ", "job 2 source ", "job 3 source "} {
		exit, out, workspace := b.again(t, j, "/bin/toy", "write")
		if out != want || exit.Status != 5<<8 || !exit.Renewable || exit.Started == 0 || exit.Ended < exit.Started {
			t.Fatalf("job %d: got %q, %+v; want %q", i, out, exit, want)
		}
		var st unix.Stat_t
		if err := unix.Stat(workspace+"/source", &st); err != nil || st.Mode&0o777 != fileMode || st.Uid != UserID {
			t.Errorf("the file: %v, mode %o, uid %d", err, st.Mode, st.Uid)
		}
		if err := errors.Join(j.Clear(), j.Renew(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(workspace + "/source"); err != nil {
			t.Errorf("the workspace is gone: %v", err)
		}
	}
}

// A compiler whose other threads wait for ever, as a JVM's do, goes on whenever it is wanted: each time it has stopped itself before it could miss that.
func TestRenewOfThreads(t *testing.T) {
	b := newBench(t)
	b.toy(t)
	j := b.loaded(t, "THREAD=1")
	for i := range 30 {
		if exit, out, _ := b.again(t, j, "/bin/toy"); !exit.Renewable {
			t.Fatalf("job %d: %q, %+v", i, out, exit)
		}
		if err := errors.Join(j.Clear(), j.Renew(30*time.Second)); err != nil {
			t.Fatalf("after job %d: %v", i, err)
		}
	}
}

// Whatever else a compiler does, its jail is not used again.
func TestRenewRefused(t *testing.T) {
	b := newBench(t)
	b.toy(t)
	for what, c := range map[string]struct {
		renewable bool
		want      string
	}{
		"hold":   {true, "jail: unmount /home/user: device or resource busy"},
		"map":    {true, "jail: unmount /home/user: device or resource busy"},
		"litter": {false, ""},
		"exit":   {false, ""},
		"signal": {false, ""},
	} {
		t.Run(what, func(t *testing.T) {
			j := b.loaded(t)
			exit, _, _ := b.again(t, j, "/bin/toy", what)
			if exit.Renewable != c.renewable {
				t.Fatalf("got %+v, want renewable %v", exit, c.renewable)
			}
			if !c.renewable {
				return
			}
			if err := j.Clear(); err == nil || err.Error() != c.want {
				t.Errorf("clear: got %v, want %s", err, c.want)
			}
		})
	}
	// A command that the runtime does not take over is executed and gone.
	j := b.loaded(t)
	if exit, out, _ := b.again(t, j, "/bin/echo", "cold"); out != "cold\n" || exit.Renewable {
		t.Errorf("cold: got %q, %+v", out, exit)
	}
	// Nor does a runtime that was started without a variable take over a job that has it, in its first job or a later one.
	for _, variable := range []string{"TOY=1", "LD_PRELOAD=/home/user/evil.so", "LD_LIBRARY_PATH=.", "MALLOC_PERTURB_=1", "GLIBC_TUNABLES=", "LC_ALL=C"} {
		for jobs := range 2 {
			j := b.loaded(t)
			if jobs > 0 {
				b.again(t, j, "/bin/toy")
				if err := errors.Join(j.Clear(), j.Renew(time.Minute)); err != nil {
					t.Fatal(err)
				}
			}
			if exit, out, _ := b.againWith(t, j, []string{variable}, "/bin/toy"); exit.Renewable || strings.Contains(out, "job") {
				t.Errorf("%s after %d jobs: got %q, %+v", variable, jobs, out, exit)
			}
		}
	}
	// A program cannot have its jail kept: the flag is of the job.
	o := b.runLoaded(t, "", func(_ *Spec, job *Job, _ *Jail) { job.Argv = []string{"/bin/toy", "exit", "0"} }, []string{"/bin/toy"}, nil)
	if o.exit.Renewable {
		t.Error("a program's jail is renewable")
	}
}

// parked is a jail that waits for a job, or a runtime.
func (b *bench) parked(t *testing.T) *Jail {
	t.Helper()
	j, err := b.spawner.Spawn(testIDs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(j.Close)
	if err := j.Build(b.spec(t, j)); err != nil {
		t.Fatal(err)
	}
	return j
}

// loaded is a jail in which the toy waits.
func (b *bench) loaded(t *testing.T, env ...string) *Jail {
	t.Helper()
	j := b.parked(t)
	if err := j.Load([]string{"/bin/toy"}, env, time.Minute); err != nil {
		t.Fatal(err)
	}
	return j
}

// While a job runs, PID 1 has no capability left, and shows nobody its memory; behind a compiler's it keeps some for Clear, of which none is effective: it
// places foreign files without any.
func TestPID1DuringAJob(t *testing.T) {
	b := newBench(t)
	b.toy(t)
	for again, permitted := range map[bool]uint64{false: 0, true: initCaps} {
		j := b.loaded(t)
		work, _ := b.volume(t, j, false)
		out, outWrite := pipe(t)
		if err := j.Start(&Job{Workspace: work, Argv: []string{"/bin/toy", "hang"}, Stdout: outWrite, Stderr: outWrite, Again: again}); err != nil {
			t.Fatal(err)
		}
		outWrite.Close()
		for start := time.Now(); ; time.Sleep(time.Millisecond) {
			if _, ok := j.Started(); ok {
				break
			}
			if time.Since(start) > time.Minute {
				t.Fatal("the job does not start")
			}
		}
		pid := strconv.Itoa(pidOf(t, j.pidfd))
		status, err := os.ReadFile("/proc/" + pid + "/status")
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"\nCapEff:\t0000000000000000\n", fmt.Sprintf("\nCapPrm:\t%016x\n", permitted), "\nCapBnd:\t0000000000000000\n", "\nNoNewPrivs:\t1\n", "\nSeccomp:\t2\n"} {
			if !strings.Contains(string(status), want) {
				t.Errorf("PID 1 has no %q:\n%s", want, status)
			}
		}
		var owner unix.Stat_t // the host's root, and not the jail's, if it cannot be dumped: proc(5)
		if err := unix.Stat("/proc/"+pid+"/environ", &owner); err != nil || owner.Uid != 0 {
			t.Errorf("PID 1 can be dumped: its files are uid %d's, %v", owner.Uid, err)
		}
		if err := j.end.Truncate(0); !errors.Is(err, unix.EPERM) { // who is in the jail has no descriptor of it: this is the second wall
			t.Errorf("the page in which the runtime says that it has ended can be cut: %v", err)
		}
		j.Kill()
		drain(t, out)
	}
}
