package main

import (
	"errors"
	"maps"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/jail"
)

// ourCalls are the system calls by which sandboxd itself makes leaves, volumes, vaults, anchors and terminals, loads runtimes and renews compilers. None is one that
// Go's runtime makes, and none keeps the garbage collector waiting, as socketpair does.
var ourCalls = []uint32{
	unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_TREE, unix.SYS_MOUNT_SETATTR, unix.SYS_MOUNT, unix.SYS_UMOUNT2,
	unix.SYS_MKDIR, unix.SYS_MKDIRAT, unix.SYS_RMDIR, unix.SYS_UNLINK, unix.SYS_UNLINKAT, unix.SYS_SYMLINKAT, unix.SYS_READLINKAT, unix.SYS_GETDENTS64,
	unix.SYS_FSTATFS, unix.SYS_LSTAT, unix.SYS_STAT, unix.SYS_NEWFSTATAT, unix.SYS_OPEN, unix.SYS_OPENAT, unix.SYS_IOCTL,
	unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_CHDIR, unix.SYS_PIVOT_ROOT,
	unix.SYS_MEMFD_CREATE, unix.SYS_FTRUNCATE, unix.SYS_FCNTL, unix.SYS_SENDMSG, unix.SYS_PREAD64, unix.SYS_PWRITE64, unix.SYS_PIDFD_OPEN, unix.SYS_PIDFD_SEND_SIGNAL,
	unix.SYS_EVENTFD2,
}

// worker is a thread of ours whose calls come to a saboteur.
type worker chan func()

func (s *saboteur) newWorker(t *testing.T) worker {
	w := make(worker)
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		failed <- s.sabotageThread(t)
		for f := range w {
			f()
		}
	}()
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { close(w) })
	return w
}

func (s *saboteur) sabotageThread(t *testing.T) error {
	fd, err := filterThread(ourCalls)
	if err == nil {
		go s.answer(t, fd, true)
	}
	return err
}

func (w worker) do(f func() error) (err error) {
	done := make(chan struct{})
	w <- func() { err = f(); close(done) }
	<-done
	return err
}

// failure is a call, which begins like that, and what the error says if it fails: "" where that is no failure.
type failure struct{ call, step string }

// faultsOf are the calls that fail, by what they are or what is said of them; nil: all of them.
var faultsOf *regexp.Regexp

// spared says that a call is not to fail.
func spared(call, step string) bool {
	return step == "" || faultsOf != nil && !faultsOf.MatchString(call) && !faultsOf.MatchString(step)
}

// fault is a piece of work whose calls are to fail, one at a time. prepare returns it with what undoes it, done or not.
type fault struct {
	td       *testDaemon
	saboteur *saboteur
	worker   worker
	known    []failure
	others   bool   // calls that are not known are another test's
	leaves   string // a call whose failure leaves what it should have taken away: that cannot be helped
	prepare  func() (do func() error, undo func())
}

func (f *fault) once(target string) (calls []string, err error) {
	do, undo := f.prepare()
	f.saboteur.begin(target)
	err = f.worker.do(do)
	calls = f.saboteur.begin("")
	undo()
	f.td.awaitNoJail()
	return calls, err
}

// run has each call fail once. The error names the step, nothing is left, and afterwards all is well.
func (f *fault) run(t *testing.T) {
	t.Helper()
	calls, err := f.once("")
	if err != nil {
		t.Fatalf("without a fault: %v", err)
	}
	used := map[string]bool{}
	before := f.td.holding()
	for _, call := range calls {
		key, text, ours := strings.Cut(call, "\t")
		if !ours {
			text = key
		}
		at := slices.IndexFunc(f.known, func(k failure) bool { return regexp.MustCompile("^" + k.call).MatchString(text) })
		if at < 0 {
			if !f.others {
				t.Errorf("%s is a call that is not known: say what its failure is called", text)
			}
			continue
		}
		used[f.known[at].call] = true
		step := f.known[at].step
		if spared(text, step) {
			continue
		}
		_, err := f.once(call)
		reason := injected.Error()
		if strings.Contains(step, ": ") {
			reason = ""
		}
		if err == nil || !strings.Contains(err.Error(), step) || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: want %s: %v, got %v", text, step, injected, err)
		}
		after := f.td.holding()
		helped := f.leaves == "" || !regexp.MustCompile("^"+f.leaves).MatchString(text)
		for deadline := time.Now().Add(hang); helped && after.exceeds(before) && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			after = f.td.holding()
		}
		if !helped {
			before = after
		}
		if after.exceeds(before) {
			t.Fatalf("after %s: %+v are left, %+v before", text, after, before)
		}
	}
	if _, err := f.once(""); err != nil {
		t.Errorf("without a fault, after all of them: %v", err)
	}
	for _, k := range f.known {
		if !used[k.call] && k.step != "" && !strings.Contains(k.step, "cgroup") { // both versions have calls of their own
			t.Errorf("no call begins like %s", k.call)
		}
	}
}

// startFaulty is a daemon whose pools are empty, and whose jails are made by a spawner and a thread that a saboteur listens to.
func startFaulty(t *testing.T) (*testDaemon, *saboteur, worker) {
	td := startParked(t, `{"pool": 0, "pids": 32, "parked": {"argv": ["/bin/toy"], "again": true}}`, func(c *config) { c.Networks, c.CompilerJobs = 1, 100 })
	b := td.d.server.builder
	spawner, s := startSabotaged(t)
	if err := td.d.cgroups.AddInit(spawner.PID()); err != nil {
		t.Fatal(err)
	}
	b.spawner = spawner
	p := *b.policy.Load()
	p.inForce = maps.Clone(p.inForce)
	for name, v := range p.inForce {
		filter := *v.filter
		filter.Notifies = false // a process has one listener, and this one's is ours
		p.inForce[name] = &variant{filter: &filter, id: v.id}
	}
	b.policy.Store(&p)
	return td, s, s.newWorker(t)
}

func (td *testDaemon) buildToy() *readyJail {
	td.t.Helper()
	r, err := td.d.server.builder.build(td.d.server.pools.all["toy/run"].template)
	if err != nil {
		td.t.Fatal(err)
	}
	return r
}

// loadCalls are those of sandboxd, of the runner and of the toy while a runtime is loaded.
var loadCalls = []failure{
	{`openat\(\d+, "job-\d+/cpu.(shares|weight)"`, "load toy/run: cgroup: set weight: open"}, {`pwrite64\(.*/cpu.(shares|weight)$`, "load toy/run: cgroup: set weight: write"},
	{`memfd_create\(`, "load toy/run: jail: memfd"}, {`ftruncate\(`, "jail: memfd"}, {`fcntl\(\d+, 1033, 0x7\)$`, "jail: seal memfd"},
	{`sendmsg\(.*\)$`, "jail: send steps"}, {`fcntl\(\d+, 1030, 0x0\)$`, "jail: receive reply"},
	{`sendmsg\(.*\) \d+$`, ""}, // replies: who cannot answer ends
	{`chdir\("/home/user"\)`, "chdir /home/user"},
	{`fcntl\(\d+, 1030, 0x10\)`, "park /bin/toy"}, {`close_range\(3, -1, 0x4\)`, "park /bin/toy"}, {`dup2\(`, "park /bin/toy"}, {`execve\("/bin/toy"`, "park /bin/toy"},
	{`fcntl\(3, 1030, 0x3f\)`, "park /bin/toy: it ended before it was ready"}, // the toy's own, in parked_init
	{`prlimit64\(`, ""}, {`openat\(AT_FDCWD, "/usr/lib/runtools/envkeep.so"`, ""}, {`openat\(AT_FDCWD, "/proc/self/stat"`, ""}, // it can do without
	{`pwrite64\(`, "cgroup: reset peak"}, {`pread64\(.*, 0\)`, "/sys/fs/cgroup/"}, {`pread64\(`, ""},
}

// renewCalls are those by which a compiler's jail is made ready for its owner's next job.
var renewCalls = []failure{
	{`openat\(AT_FDCWD, "/sys/fs/cgroup/`, "cgroup: open "},
	{`sendmsg\(.*\)$`, "jail: send steps"}, {`fcntl\(\d+, 1030, 0x0\)$`, "jail: receive reply"}, {`sendmsg\(.*\) \d+$`, ""},
	{`capset\(`, "set capabilities"},
	{`setfsgid\(`, "take our own file access: operation not permitted"}, {`setfsuid\(`, "take our own file access: operation not permitted"}, // they give no reasons
	{`prctl\(4, `, "take our own file access"}, {`chdir\("/"\)`, "chdir /"}, {`umount2\("/home/user"`, "unmount /home/user"}, {`umount2\("/build"`, "unmount /build"},
	{`openat\(\d+, "job-\d+/memory.`, "cgroup: set memory: open"}, {`pwrite64\(.*/memory.*(limit_in_bytes|max)$`, "cgroup: set memory: write"},
	{`pwrite64\(\d+, &, 4, `, "jail: clear the end page"}, {`pidfd_send_signal\(`, "jail: wake the runtime"},
	{`fsopen\(`, "fsopen tmpfs"}, {`fsconfig\(.*, "`, ""}, {`fsconfig\(`, "fsconfig tmpfs"}, {`fsmount\(`, "fsmount tmpfs"},
	{`pwrite64\(\d+, &, 1, `, "cgroup: reset peak"}, {`pread64\(.*, 0\)`, "/sys/fs/cgroup/"}, {`pread64\(`, ""},
}

// Each system call fails once by which a runtime is loaded, a compiler made ready for its next job, a volume made, used and dropped, a vault anchored and adopted, a
// terminal made. What the callers do when a runtime fails, TestOnMissFallsBack, TestBrokenParkedRuntimeDegradesToCold and TestCompilerIsNotKept show: no job does.
func TestEachCallOfAStepFails(t *testing.T) {
	td, s, w := startFaulty(t)
	b, vs := td.d.server.builder, td.d.server.volumes
	t.Run("load", (&fault{td: td, saboteur: s, worker: w, known: loadCalls, prepare: func() (func() error, func()) {
		r := td.buildToy()
		return func() error { return b.load(r, loadWeight) }, func() { b.release(r) }
	}}).run)
	known := renewCalls
	if vs.clones { // else a vault's thread does it
		known = append([]failure{{`open_tree\(`, "open_tree detached mount"}, {`mount_setattr\(`, "mount_setattr detached mount"}}, known...)
	}
	t.Run("renew", (&fault{td: td, saboteur: s, worker: w, known: known, prepare: func() (func() error, func()) {
		r := td.buildToy()
		if err := b.load(r, loadWeight); err != nil {
			t.Fatal(err)
		}
		td.compile(r)
		return func() error {
			if err := b.clear(r); err != nil {
				return err
			}
			return b.renew(r)
		}, func() { b.release(r) }
	}}).run)
	td.failVolumes(t, s, w)
	td.failVaults(t, s, w)
	td.failTerminals(t, s, w)
	if n, _, _ := vs.counts(); n != 0 {
		t.Errorf("%d volumes are left", n)
	}
}

// compile has a loaded toy do a compiler's job, and takes its volumes from it.
func (td *testDaemon) compile(r *readyJail) {
	td.t.Helper()
	vs := td.d.server.volumes
	build, err := vs.create(buildVolume)
	if err != nil {
		td.t.Fatal(err)
	}
	mount, err := vs.open(build, false, r.jail.UserNS())
	if err != nil {
		td.t.Fatal(err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		td.t.Fatal(err)
	}
	defer null.Close()
	job := &jail.Job{Workspace: r.mount, Build: mount, Argv: []string{"/bin/toy", "write"}, Stdin: null, Stdout: null, Stderr: null, Again: true}
	if err := r.jail.Start(job); err != nil {
		td.t.Fatal(err)
	}
	if exit, err := r.jail.Wait(); err != nil || !exit.Renewable {
		td.t.Fatalf("%+v, %v", exit, err)
	}
	mount.Close()
	r.mount.Close()
	if err := errors.Join(vs.release(build, false), vs.release(r.workspace, false)); err != nil {
		td.t.Fatal(err)
	}
	r.mount, r.workspace = nil, nil
}
