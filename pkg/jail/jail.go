package jail

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Places inside a jail, see docs/languages.md.
const (
	WorkDir  = "/home/user"
	BuildDir = "/build"
	environ  = "/tmp/.environ"
	UserID   = 1000 // uid and gid of the program, as the jail numbers them

	buildRoot = "/jail" // where PID 1 puts the image together before it pivots
)

// maxEnviron bounds what is copied out of environ, bytes.
const maxEnviron = 128 << 10

// Jail is one jail, from Spawn to Close:
//
//	spawned --Build--> parked --Run--> running --> dead
//
// It runs one job at most. One goroutine uses it, but Kill and Close may come from another.
type Jail struct {
	pidfd  *os.File // of PID 1
	init   *control // of PID 1
	runner *control
	userNS *os.File

	execFailed chan error // what became of the runner after it said that it execs
	reap       plan       // the steps of PID 1 whose reply is the end of the program
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
	Tmp        Tmpfs    // /tmp and, apart from it, /dev/shm
	Hostname   string
	Rlimits    []Rlimit
	InitFilter []byte // BPF for PID 1
	Filter     []byte // BPF for the program
	// Join moves a process, by its PID in our own namespace, into the cgroup of the job.
	Join func(pid int) error
}

// UserNS is the jail's user namespace, to id-map mounts for it.
func (j *Jail) UserNS() *os.File { return j.userNS }

// Build makes the jail ready for a job and parks it.
func (j *Jail) Build(s *Spec) error {
	ours, theirs, err := newControl()
	if err != nil {
		return err
	}
	j.runner = ours
	// Closed here at once: PID 1 received a copy.
	err = j.buildInit(s, theirs)
	theirs.Close()
	if err != nil {
		return err
	}
	return j.buildRunner(s)
}

func (j *Jail) buildInit(s *Spec, runner *os.File) error {
	var p plan
	p.setIDs(0, 0)
	p.attach(s.Root, buildRoot)
	p.attach(s.Dev, buildRoot+"/dev")
	options := fmt.Sprintf("mode=1777,size=%d,nr_inodes=%d", s.Tmp.Bytes, s.Tmp.Inodes)
	p.mount("tmpfs", buildRoot+"/tmp", unix.MS_NOSUID|unix.MS_NODEV, options)
	p.mount("tmpfs", buildRoot+"/dev/shm", unix.MS_NOSUID|unix.MS_NODEV, options)
	// subset=pid leaves out everything that is not about processes: sys, kcore, keys, sysrq-trigger, kallsyms and the rest.
	// hidepid=invisible hides PID 1, which is not dumpable.
	p.mount("proc", buildRoot+"/proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "subset=pid,hidepid=invisible")
	p.simple(opPivot, buildRoot, "pivot_root")
	p.simple(opHostname, s.Hostname, "set host name")
	p.spawn(runner, 0)
	p.add(step{op: opBounding, what: "empty bounding set"})
	// Of its own user namespace only: it may attach the mounts that we hand it, and take the file access of the jail's user.
	p.caps(1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID)
	p.add(step{op: opNoNewPrivs, what: "set no_new_privs"})
	p.filter(s.InitFilter)
	_, _, err := j.init.do(&p)
	return err
}

func (j *Jail) buildRunner(s *Spec) error {
	if err := j.runner.passCredentials(); err != nil {
		return fmt.Errorf("jail: pass credentials: %w", err)
	}
	// An empty plan: its reply tells the runner's PID, which only the kernel may tell us.
	hello, _, err := j.runner.do(&plan{})
	if err != nil {
		return err
	}
	if err := s.Join(int(hello.pid)); err != nil {
		return fmt.Errorf("jail: join cgroup: %w", err)
	}
	var p plan
	p.add(step{op: opUnshare, a: unix.CLONE_NEWCGROUP, what: "unshare cgroup namespace"})
	p.add(step{op: opSession, what: "setsid"})
	for _, l := range s.Rlimits {
		p.add(step{op: opRlimit, a: uint64(l.Resource), b: l.Soft, c: l.Hard, what: fmt.Sprintf("set rlimit %d", l.Resource)})
	}
	p.add(step{op: opBounding, what: "empty bounding set"})
	p.setIDs(UserID, UserID)
	p.caps(0)
	p.add(step{op: opNoNewPrivs, what: "set no_new_privs"})
	p.add(step{op: opKeepOnly, what: "close descriptors"})
	p.filter(s.Filter)
	_, _, err = j.runner.do(&p)
	return err
}

// File is a file to place below WorkDir.
type File struct {
	Name string // relative, validated by pkg/wire
	Size int64  // bytes of Job.Contents, after those of the files before it
}

// Job is everything that was not known when the jail was built. All descriptors stay the caller's.
type Job struct {
	Workspace *os.File // detached mount
	Build     *os.File // detached mount, or nil
	Files     []File
	Contents  *os.File // or nil without Files
	Argv      []string
	Env       []string
	Stdin     *os.File
	Stdout    *os.File
	Stderr    *os.File
	Environ   *os.File // receives the program's final environment, or nil
}

// Run starts the job. On an error nothing foreign has run, but the jail is used up all the same.
func (j *Jail) Run(job *Job) (started time.Duration, err error) {
	words := len(job.Argv) + len(job.Env)
	if words > maxWords {
		return 0, fmt.Errorf("jail: %d words of argv and env, at most %d: %w", words, maxWords, unix.E2BIG)
	}
	if err := j.prepare(job); err != nil {
		return 0, err
	}
	if err := j.awaitEnd(job); err != nil {
		return 0, err
	}
	var p plan
	p.simple(opChdir, WorkDir, "chdir "+WorkDir)
	for target, f := range []*os.File{job.Stdin, job.Stdout, job.Stderr} {
		p.add(step{op: opStdio, fd: f, a: uint64(target), what: fmt.Sprintf("set descriptor %d", target)})
	}
	p.add(step{op: opExec, a: uint64(len(job.Argv)), b: uint64(len(job.Env)), s1: joinWords(job.Argv, job.Env), what: "exec " + job.Argv[0]})
	r, _, err := j.runner.do(&p)
	if err != nil {
		return 0, err
	}
	j.watchExec(&p)
	return time.Duration(r.ns), nil
}

// prepare brings the volumes in and the files. The last capability is gone before any foreign byte is read, and PID 1 touches files
// only with the access of the jail's user. It is PID 1 that places them, not the runner, because PID 1 is outside the job's cgroup: pages of a
// session's files would keep the memory cgroup of an ended job alive in the kernel for as long as the session lives.
func (j *Jail) prepare(job *Job) error {
	var p plan
	p.attach(job.Workspace, WorkDir)
	if job.Build != nil {
		p.attach(job.Build, BuildDir)
	}
	p.add(step{op: opFSIDs, a: UserID, b: UserID, what: "take the file access of the user"})
	p.caps(0)
	if len(job.Files) > 0 {
		p.simple(opChdir, WorkDir, "chdir "+WorkDir)
		placeFiles(&p, job)
	}
	_, _, err := j.init.do(&p)
	return err
}

// awaitEnd sends PID 1 the steps that end with the job; Wait receives the reply.
func (j *Jail) awaitEnd(job *Job) error {
	j.reap.add(step{op: opReap, what: "wait for the program"})
	if job.Environ != nil {
		j.reap.add(step{op: opCopyOut, fd: job.Environ, a: maxEnviron, s1: cstring(environ), what: "copy " + environ})
	}
	j.reap.add(step{op: opExit, what: "exit"})
	return j.init.send(&j.reap)
}

// placeFiles adds the steps that make each file and the folders above it.
func placeFiles(p *plan, job *Job) {
	made := map[string]bool{}
	var offset int64
	for i, f := range job.Files {
		for at := 0; ; {
			slash := strings.IndexByte(f.Name[at:], '/')
			if slash < 0 {
				break
			}
			at += slash + 1
			if folder := f.Name[:at-1]; !made[folder] {
				made[folder] = true
				p.add(step{op: opMkdir, s1: cstring(folder), a: 0o755, what: "mkdir " + folder, file: i + 1})
			}
		}
		p.add(step{op: opFile, fd: job.Contents, s1: cstring(f.Name), a: 0o644, b: uint64(offset), c: uint64(f.Size),
			what: "place " + path.Clean(f.Name), file: i + 1})
		offset += f.Size
	}
}

func joinWords(lists ...[]string) []byte {
	var b []byte
	for _, list := range lists {
		for _, word := range list {
			b = append(append(b, word...), 0)
		}
	}
	return b
}

// watchExec learns whether the program really started: then the runner's socket closes; else a second reply says why not, and nothing
// will ever end by itself in this jail.
func (j *Jail) watchExec(p *plan) {
	j.execFailed = make(chan error, 1)
	go func() {
		r, _, err := j.runner.receive()
		switch {
		case err == nil:
			j.execFailed <- p.result(r)
			j.Kill()
		default: // io.EOF, or Close came first
			j.execFailed <- nil
		}
	}()
}

// Exit is how the main process ended.
type Exit struct {
	Status unix.WaitStatus
	At     time.Duration // CLOCK_MONOTONIC
}

// ErrKilled means that PID 1 was killed before the program ended.
var ErrKilled = errors.New("jail: killed")

// Wait waits for the end of the main process, or for Kill.
func (j *Jail) Wait() (Exit, error) {
	r, _, err := j.init.receive()
	if err == nil {
		err = j.reap.result(r)
	}
	if err == nil {
		return Exit{Status: r.status, At: time.Duration(r.ns)}, nil
	}
	if !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) {
		return Exit{}, err
	}
	// PID 1 is gone. Wait for the processes it leaves behind, then ask why: the runner's socket is closed by now.
	j.awaitDeath()
	if execErr := <-j.execFailed; execErr != nil {
		return Exit{}, execErr
	}
	return Exit{}, ErrKilled
}

// alive reports whether PID 1 still runs.
func (j *Jail) alive() bool { return j.signal(0) == nil }

// Kill ends every process in the jail, whatever they do about it.
func (j *Jail) Kill() {
	// ESRCH: it is dead already, which is what we want.
	_ = j.signal(unix.SIGKILL)
}

func (j *Jail) signal(sig unix.Signal) error {
	raw, err := j.pidfd.SyscallConn()
	if err != nil {
		return err
	}
	var sigErr error
	err = raw.Control(func(fd uintptr) { sigErr = unix.PidfdSendSignal(int(fd), sig, nil, 0) })
	return errors.Join(err, sigErr)
}

// awaitDeath returns when PID 1 and with it every process of the jail is dead: the kernel makes PID 1 wait for them.
func (j *Jail) awaitDeath() {
	raw, err := j.pidfd.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		for {
			if _, err := unix.Poll(poll, -1); err != unix.EINTR {
				return
			}
		}
	})
}

// Close kills the jail, waits until it is dead and releases everything. Safe on a jail in any state.
func (j *Jail) Close() {
	j.Kill()
	j.awaitDeath()
	j.init.close()
	if j.runner != nil {
		j.runner.close()
	}
	if j.userNS != nil {
		j.userNS.Close()
	}
	j.pidfd.Close()
}
