package jail

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

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
	Terminal  *os.File // detached mount of a devpts with the terminal 0, of which the three streams are, or nil
	Stdin     *os.File // nil: the jail's own /dev/null
	Stdout    *os.File
	Stderr    *os.File
	Environ   *os.File // receives the program's final environment, or nil
	Compare   bool     // find out whether the job left a workspace that was empty before with Files alone, as they were given
	Signals   bool     // Signal will be called
	Again     bool     // the jail, after Load, may be renewed: argv is a compiler's, which runs nothing that Files hold
	Then      bool     // the program may follow in the jail, after AddSuccessor: argv is such a compiler's
}

// Start sends the job on its way; Wait tells what became of it. One packet does: a round trip between the steps would cost two changes
// of context each.
//
// PID 1 brings in the volumes, drops its last capabilities (behind a compiler: lays them aside), and only then touches the first foreign byte: the files, which it places with the
// access of the jail's user. It is PID 1 that places them, not the runner, because PID 1 is outside the job's cgroup: pages of a session's
// files would keep the memory cgroup of an ended job alive in the kernel for as long as the session lives. Then it wakes the runner.
func (j *Jail) Start(job *Job) error {
	if words := len(job.Argv) + len(job.Env); words > maxWords {
		return fmt.Errorf("jail: %d words of argv and env, at most %d: %w", words, maxWords, unix.E2BIG)
	}
	j.again, j.built = job.Again, job.Build != nil
	if job.Again || job.Signals {
		if err := j.openRunner(); err != nil {
			return err
		}
	}
	j.exec = plan{}
	j.exec.workDir()
	if job.Terminal != nil {
		// The runner leads a session and has no terminal: the kernel makes this one its own. No ioctl is needed, which its filter would refuse.
		j.exec.add(step{op: opOpen, s1: cstring(terminal), what: "open " + terminal})
	}
	for target, f := range []*os.File{job.Stdin, job.Stdout, job.Stderr} {
		if f == nil {
			j.exec.add(step{op: opOpen, a: uint64(target), s1: cstring(os.DevNull), what: "open " + os.DevNull})
			continue
		}
		j.exec.add(step{op: opStdio, fd: f, a: uint64(target), what: fmt.Sprintf("set descriptor %d", target)})
	}
	exec := step{op: opExec, a: uint64(len(job.Argv)), b: uint64(len(job.Env)), s1: joinWords(job.Argv, job.Env), what: "exec " + job.Argv[0], stage: StageExec}
	if job.Again {
		exec.c = 1
	}
	j.exec.add(exec)

	j.start = nil
	j.job = plan{}
	p := &j.job
	p.attach(job.Workspace, WorkDir)
	if job.Build != nil {
		p.attach(job.Build, BuildDir)
	}
	if job.Terminal != nil {
		p.attach(job.Terminal, terminals)
	}
	p.add(step{op: opFSIDs, a: UserID, b: UserID, what: "take the file access of the user"})
	if job.Again || job.Then {
		p.restCaps(initCaps) // Clear needs them; no name and no byte of a file is looked at while they are there
	} else {
		p.caps(0)
	}
	p.workDir()
	if err := placeFiles(p, job); err != nil {
		return fmt.Errorf("jail: %w", err)
	}
	if err := p.relay(j.runner.control, &j.exec); err != nil {
		return fmt.Errorf("jail: %w", err)
	}
	reap := step{op: opReap, fd: j.end, b: uint64(j.runner.inner), what: "wait for the program", stage: StageWait}
	if j.end != nil {
		reap.a = 1
	}
	if j.next != nil {
		reap.c = 1
	}
	p.add(reap)
	if job.Environ != nil {
		p.add(step{op: opCopyOut, fd: job.Environ, a: maxEnviron, s1: cstring(environ), what: "copy " + environ})
	}
	if job.Compare {
		compareFiles(p, job)
	}
	if job.Again {
		p.lookIntoScratch()
	}
	return j.init.send(p)
}

// lookIntoScratch has a reply say whether the folders of the jail hold nothing.
func (p *plan) lookIntoScratch() {
	for _, dir := range scratch {
		p.add(step{op: opCount, a: 1, b: replyEmpty, s1: cstring(dir), what: "look into " + dir})
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

// Exit is how the program ended. Times are of CLOCK_MONOTONIC.
type Exit struct {
	Status  unix.WaitStatus // meaningless with ErrKilled
	Started time.Duration   // just before exec; 0 if it never came to that
	Ended   time.Duration   // 0 with ErrKilled
	Stopped bool            // a loaded runtime said that its program has ended, and stopped: its process is there until PID 1 ends
	Same    bool            // with Job.Compare: the workspace holds what it was given, and nothing else, and no process is left: with NextPID that is the caller's to find out

	Renewable bool // with Job.Again: Clear and Renew may be tried

	// Of the program's process, since that began, and of the children it waited for; 0 with ErrKilled.
	InvoluntarySwitches, MajorFaults int64
}

// ErrKilled means that the jail was killed before the program ended.
var ErrKilled = errors.New("jail: killed")

// Wait waits until the main process has ended, or the jail was killed, or the job could not be started. Others may be left: End or Close.
func (j *Jail) Wait() (Exit, error) {
	r, _, err := j.init.receive()
	switch {
	case err == nil:
		if err := j.job.result(r); err != nil {
			return Exit{}, err
		}
	case errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET):
		// PID 1 is gone; its end becomes ours only when the rest of the jail is dead too.
		j.awaitDeath()
		err = ErrKilled
	default:
		return Exit{}, err
	}
	// The runner has ended as well, so what it had to say is waiting: that it was about to exec, and perhaps why it could not.
	started, execErr := j.startTime()
	if execErr != nil {
		return Exit{}, execErr
	}
	if err != nil {
		return Exit{Started: started}, err
	}
	stopped := r.status.Stopped() // with the exit code in the place of the signal
	if stopped {
		r.status = unix.WaitStatus(r.status.StopSignal() << 8)
	}
	return Exit{Status: r.status, Stopped: stopped, Started: started, Ended: time.Duration(r.ns), Same: r.same, Renewable: j.again && r.same && r.empty && j.renewable(),
		InvoluntarySwitches: int64(r.switches), MajorFaults: int64(r.faults)}, nil
}

func (j *Jail) startTime() (time.Duration, error) {
	started, ok := j.Started()
	if !ok {
		return 0, nil // killed before it came to exec
	}
	if err := j.exec.result(*j.start); err != nil {
		return 0, err
	}
	if second, err := j.runner.receiveNow(); err == nil {
		return 0, j.exec.result(second)
	}
	return started, nil
}

// Started tells, without waiting, when the program was about to exec, as CLOCK_MONOTONIC; ok is false before that.
func (j *Jail) Started() (at time.Duration, ok bool) {
	j.startMu.Lock()
	defer j.startMu.Unlock()
	if j.start == nil {
		r, err := j.runner.receiveNow()
		if err != nil {
			return 0, false
		}
		j.start = &r
	}
	return time.Duration(j.start.ns), true
}
