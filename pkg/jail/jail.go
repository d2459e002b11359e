package jail

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Places inside a jail, see docs/languages.md.
const (
	WorkDir     = "/home/user"
	BuildDir    = "/build"
	PackagesDir = "/packages"
	environ     = "/tmp/.environ"
	UserID      = 1000 // uid and gid of the program, as the jail numbers them

	terminals = "/dev/pts" // where a job's terminal is mounted
	terminal  = terminals + "/0"

	buildRoot = "/jail" // where PID 1 puts the image together before it pivots
)

// maxEnviron bounds what is copied out of environ, bytes.
const maxEnviron = 128 << 10

// Jail is one jail, from Spawn to Close:
//
//	spawned --Build--> parked [--Load--> loaded] --Start--> running --Wait--> ended
//	                     ^                  ^---------------Renew-----------'  |
//	                     '---------------------Follow--------------------------'
//
// What a job leaves behind runs on until End or Close.
//
// It runs one job. After that of a compiler, which runs no foreign code, there may be another: its next (Job.Again), or the program that it made
// (Job.Then). One goroutine uses a jail, but Kill and Close may come from another.
type Jail struct {
	pidfd    *os.File // of PID 1
	init     *control // of PID 1
	runner   *runner
	next     *runner // the program's, while its compiler has the jail; or nil
	followed bool    // it had a compiler's job before
	limits   string  // of next, before the compiler began
	userNS   *os.File
	end      *os.File // after Load: the page in which the runtime says that its program has ended
	listener *os.File // of the runner's filter, or nil
	pidRun   *os.File // after a Start with Job.Again or Job.Signals: pidfd of the runner

	job   plan // what PID 1 was told by Start
	again bool // Job.Again of it
	built bool // it attached a build volume
	exec  plan // what the runner was

	startMu sync.Mutex
	start   *reply // of the runner, when it was about to exec; nil until it has come
}

// runner is a process that becomes a program.
type runner struct {
	*control
	pid   int   // in our PID namespace
	inner int32 // in the jail's
}

// Tmpfs bounds a tmpfs.
type Tmpfs struct {
	Bytes  int64
	Inodes int64
}

// Rlimit is one resource limit.
type Rlimit struct {
	Resource   int // unix.RLIMIT_*
	Soft, Hard uint64
}

// Spec is everything that is decided before a job is known. Every field is used; each has a test that fails when it is not.
type Spec struct {
	Root       *os.File // detached mount: the image
	Dev        *os.File // detached mount: a folder of devices, with an empty folder shm
	Packages   *os.File // detached mount: what is at PackagesDir, or nil
	Tmp        Tmpfs    // /tmp and, apart from it, /dev/shm
	Hostname   string
	Rlimits    []Rlimit
	InitFilter []byte // BPF for PID 1
	Filter     []byte // BPF for the program
	Listen     bool   // Filter sends calls to a listener: Jail.Listener
	// Doors are files of the job's cgroup: who writes "0" to each is in it.
	Doors []*os.File
}

// UserNS is the jail's user namespace, to id-map mounts for it.
func (j *Jail) UserNS() *os.File { return j.userNS }

// RunnerPID is the process that will be the program, in our own PID namespace; it is that process's until Start, for PID 1 does not reap
// before.
func (j *Jail) RunnerPID() int { return j.runner.pid }

// Build makes the jail ready for a job and parks it.
func (j *Jail) Build(s *Spec) error {
	ours, theirs, err := newControl(false)
	if err != nil {
		return err
	}
	j.runner = &runner{control: ours}
	if err = j.runner.greet(&plan{}); err == nil {
		err = j.buildInit(s, theirs)
	}
	theirs.Close() // PID 1 received a copy. As long as we had one, too, the end of the runner would not end our side
	if err != nil {
		return err
	}
	return j.buildRunner(s)
}

// greet sends the first plan, which waits for the runner: the reply tells the runner's PID, which only the kernel may tell us.
func (r *runner) greet(p *plan) error {
	if err := r.passCredentials(); err != nil {
		return fmt.Errorf("jail: pass credentials: %w", err)
	}
	return r.send(p)
}

// meet takes the reply to that plan.
func (r *runner) meet(p *plan) error {
	hello, _, err := r.receive()
	if err != nil {
		return err
	}
	r.pid = int(hello.sender)
	return p.result(hello)
}

// proveRunner says whether the PID that meet was told has been the runner's all the while: PID 1 does not reap while it waits for us, so as long as it lives it was nobody else's.
func (j *Jail) proveRunner() error {
	if !j.alive() {
		return errors.New("jail: PID 1 ended before its runner was known")
	}
	return nil
}

// initCaps are those of PID 1, of its own user namespace only: it may attach the mounts that we hand it, and take the file access of the jail's
// user.
const initCaps = 1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID

func (j *Jail) buildInit(s *Spec, runner *os.File) error {
	var p plan
	p.setIDs(0, 0)
	// Behind the filter: a namespace of its own would open most of the kernel to a program. What this file sets is the limit of whose user namespace one is in.
	p.add(step{op: opZero, s1: cstring("/proc/sys/user/max_user_namespaces"), what: "let no user namespace be made"})
	p.attach(s.Root, buildRoot)
	p.attach(s.Dev, buildRoot+"/dev")
	if s.Packages != nil {
		p.attach(s.Packages, buildRoot+PackagesDir)
	}
	options := fmt.Sprintf("mode=1777,size=%d,nr_inodes=%d", s.Tmp.Bytes, s.Tmp.Inodes)
	p.mount("tmpfs", buildRoot+"/tmp", unix.MS_NOSUID|unix.MS_NODEV, options)
	p.mount("tmpfs", buildRoot+"/dev/shm", unix.MS_NOSUID|unix.MS_NODEV, options)
	// subset=pid leaves out everything that is not about processes: sys, kcore, keys, sysrq-trigger, kallsyms and the rest.
	// hidepid=invisible hides PID 1, which is not dumpable.
	p.mount("proc", buildRoot+"/proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "subset=pid,hidepid=invisible")
	p.simple(opPivot, buildRoot, "pivot_root")
	p.simple(opHostname, s.Hostname, "set host name")
	p.add(step{op: opBounding, what: "empty bounding set"}) // before the runner, which inherits it
	p.spawn(runner, 0)
	p.caps(initCaps)
	p.add(step{op: opNoNewPrivs, what: "set no_new_privs"})
	p.filter(s.InitFilter, 0)
	spawned, _, err := j.init.do(&p)
	j.runner.inner = spawned.pid
	return err
}

func (j *Jail) buildRunner(s *Spec) error {
	if err := j.runner.meet(&plan{}); err != nil {
		return err
	}
	// When the host runs out of memory, jails go first, whatever we were started with.
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", j.runner.pid), []byte("1000"), 0); err != nil {
		return fmt.Errorf("jail: %w", err)
	}
	if err := j.proveRunner(); err != nil {
		return err
	}
	var p plan
	// The runner goes by itself: on v1, to move another process the kernel stops all forks, and waits until all CPUs know, 10 ms and more. It is our
	// code alone yet, these files lead into its own job's cgroup and nowhere else, and opKeepOnly closes them below, before anything foreign.
	for _, door := range s.Doors {
		p.add(step{op: opEnter, fd: door, what: "join cgroup"})
	}
	p.add(step{op: opUnshare, a: unix.CLONE_NEWCGROUP, what: "unshare cgroup namespace"})
	p.add(step{op: opSession, what: "setsid"})
	for _, l := range s.Rlimits {
		p.add(step{op: opRlimit, a: uint64(l.Resource), b: l.Soft, c: l.Hard, what: fmt.Sprintf("set rlimit %d", l.Resource)})
	}
	p.setIDs(UserID, UserID)
	p.caps(0)
	p.add(step{op: opNoNewPrivs, what: "set no_new_privs"})
	p.add(step{op: opKeepOnly, what: "close descriptors"})
	p.filter(s.Filter, listenFlags(s))
	_, listener, err := j.runner.do(&p)
	if err == nil && s.Listen && listener == nil {
		err = errors.New("jail: internal error: the runner sent no listener")
	}
	j.listener = listener
	return err
}

// listenFlags ask for a listener of the filter. Once a call was received from it, the caller waits for the answer alone: a signal must not
// show the program EINTR where it had been told an error at once. The flag is of Linux 5.19, older than any that we run on.
func listenFlags(s *Spec) uint64 {
	if !s.Listen {
		return 0
	}
	return unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
}

// Listener is where the kernel hands over the calls that Spec.Filter wants decided outside, from Build to Close; nil without Spec.Listen.
// When it is closed, calls that wait for an answer and all later ones get ENOSYS. It does not block.
func (j *Jail) Listener() *os.File { return j.listener }

// Load turns the parked runner into a runtime that waits for the job (rootfs/parked): argv is executed with the environment env, inside the
// finished jail, in the place where the workspace will be. The runtime says itself when it is ready.
func (j *Jail) Load(argv, env []string, patience time.Duration) error {
	fd, err := unix.MemfdCreate("parked", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return fmt.Errorf("jail: memfd: %w", err)
	}
	j.end = os.NewFile(uintptr(fd), "end page")
	if err := unix.Ftruncate(fd, endPage); err != nil {
		return fmt.Errorf("jail: memfd: %w", err)
	}
	// The program will have it mapped. It could cut it, or store in it what its cgroup does not count.
	if _, err := unix.FcntlInt(j.end.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		return fmt.Errorf("jail: seal memfd: %w", err)
	}
	var dir plan
	dir.workDir()
	if _, _, err := j.runner.do(&dir); err != nil {
		return err
	}
	env = append([]string{fmt.Sprintf("%s=%d", zygoteEnv, parkedControl)}, env...)
	var p plan
	p.add(step{op: opPark, fd: j.end, a: uint64(len(argv)), b: uint64(len(env)), s1: joinWords(argv, env), what: "park " + argv[0]})
	if err := j.runner.send(&p); err != nil {
		return err
	}
	return j.awaitReady(&p, patience)
}

// awaitReady waits until the runtime says that it is ready for a job.
func (j *Jail) awaitReady(p *plan, patience time.Duration) error {
	r, _, err := j.runner.receiveUntil(time.Now().Add(patience))
	what := "jail: " + p.steps[0].what
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%s: not ready after %v", what, patience)
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%s: it ended before it was ready", what)
	case err != nil:
		return err
	case r.errno != 0:
		return p.result(r)
	case int(r.status) != parkedProtocol:
		return fmt.Errorf("%s: it speaks version %d of the protocol, not %d: build the image anew", what, int(r.status), parkedProtocol)
	}
	return nil
}

const endPage = 4096 // bytes, as parked.c maps it

// Signal sends a signal to the main process of a job with Job.Signals. We are root and may signal any process; but a pidfd names one process for
// ever, opened when it was the runner beyond doubt, so a program that has ended, and whose PID the host uses again, is missed and nobody is hit.
// Whether the program has begun is the caller's to know (Started): before that it would be code of ours that dies.
func (j *Jail) Signal(sig unix.Signal) {
	_ = signal(j.pidRun, sig) // ESRCH: it has ended
}

// alive reports whether PID 1 still runs.
func (j *Jail) alive() bool { return signal(j.pidfd, 0) == nil }

// Kill ends every process in the jail, whatever they do about it.
func (j *Jail) Kill() {
	// ESRCH: it is dead already, which is what we want.
	_ = signal(j.pidfd, unix.SIGKILL)
}

func signal(pidfd *os.File, sig unix.Signal) error {
	raw, err := pidfd.SyscallConn()
	if err != nil {
		return err
	}
	var sigErr error
	err = raw.Control(func(fd uintptr) { sigErr = unix.PidfdSendSignal(int(fd), sig, nil, 0) })
	return errors.Join(err, sigErr)
}

// awaitDeath returns when PID 1 and with it every process of the jail is dead: the kernel makes PID 1 wait for them. No thread of ours waits, for jails may
// end by the hundred, slowly, and a Go program that is refused another thread is dead.
func (j *Jail) awaitDeath() {
	raw, err := j.pidfd.SyscallConn()
	if err != nil {
		return
	}
	ended := func(fd uintptr, timeout int) bool {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		for {
			if n, err := unix.Poll(poll, timeout); err != unix.EINTR {
				return n != 0
			}
		}
	}
	if raw.Read(func(fd uintptr) bool { return ended(fd, 0) }) != nil { // the kernel had no room to poll it, or it is closed
		_ = raw.Control(func(fd uintptr) { ended(fd, -1) })
	}
}

// Close kills the jail, waits until it is dead and releases everything. Safe on a jail in any state.
func (j *Jail) Close() {
	j.Kill()
	j.awaitDeath()
	j.init.close()
	if j.runner != nil {
		j.runner.close()
	}
	if j.next != nil {
		j.next.close()
	}
	for _, f := range []*os.File{j.userNS, j.end, j.pidRun, j.listener} {
		if f != nil {
			f.Close()
		}
	}
	j.pidfd.Close()
}
