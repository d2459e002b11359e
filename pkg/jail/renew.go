package jail

import (
	"encoding/binary"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A compiler that has run no foreign code may serve its owner again, or leave its jail to the program that it made; the arguments are in SECURITY.md.
// All that makes a jail ready for another job is here.

// scratch are the folders of a jail that are neither of the image nor of a job.
var scratch = []string{"/tmp", "/dev/shm"}

// AddSuccessor has the runner of a parked jail, with all that it has lost, clone another for the first job, and itself wait for the one that follows. Signals are
// all that the first job, of the same user, can do to it: like every process of ours in a jail it is not dumpable, so nobody may trace it or open what it has.
func (j *Jail) AddSuccessor() error {
	ours, theirs, err := newControl(false)
	if err != nil {
		return err
	}
	j.next, j.runner = j.runner, &runner{control: ours}
	if err = j.runner.greet(); err == nil {
		// A child of PID 1, like itself, which reaps both.
		p := plan{steps: []step{{op: opSpawn, fd: theirs, a: unix.CLONE_PARENT | uint64(unix.SIGCHLD), b: 1, what: "clone a second runner"}}}
		var spawned reply
		spawned, _, err = j.next.do(&p)
		j.runner.inner = spawned.pid
	}
	theirs.Close() // as in Build
	if err != nil {
		return err
	}
	return j.runner.meet()
}

// NextPID is the runner that waits for the job after this one, in our PID namespace, or 0.
func (j *Jail) NextPID() int {
	if j.next == nil {
		return 0
	}
	return j.next.pid
}

// Follow makes a jail ready for the job that follows the first, if that asked for it (Job.First), left nothing in /tmp and /dev/shm (Exit.Empty), and nobody is left of it
// (the caller has looked; the runner of NextPID is). The caller has closed Job.Workspace and Job.Build, which hold the mounts. After an error the jail is good
// for Close alone.
func (j *Jail) Follow(patience time.Duration) error {
	if err := j.Clear(); err != nil {
		return err
	}
	j.runner.close()
	j.runner, j.next = j.next, nil
	if j.pidRun != nil {
		j.pidRun.Close()
		j.pidRun = nil
	}
	// The compiler might have stopped it: then it does not answer.
	if err := j.runner.send(&plan{}); err != nil {
		return err
	}
	if _, _, err := j.runner.receiveUntil(time.Now().Add(patience)); err != nil {
		return fmt.Errorf("jail: the second runner: %w", err)
	}
	return nil
}

// Clear takes the folders of the last job out of a jail, if that job asked for it (Job.Again) and its Exit says that it can be done
// (Exit.Renewable). It fails if the runtime still holds a file of them; /tmp and /dev/shm are empty already. The caller has closed Job.Workspace
// and Job.Build, which hold the mounts. After an error the jail is good for Close alone.
func (j *Jail) Clear() error {
	var p plan
	p.caps(initCaps)
	p.add(step{op: opFSIDs, what: "take our own file access"})
	p.simple(opChdir, "/", "chdir /")
	p.simple(opUmount, WorkDir, "unmount "+WorkDir)
	if j.built {
		p.simple(opUmount, BuildDir, "unmount "+BuildDir)
	}
	_, _, err := j.init.do(&p)
	return err
}

// Renew makes a cleared jail ready for another job. After an error it is good for Close alone.
func (j *Jail) Renew(patience time.Duration) error {
	if _, err := j.end.WriteAt(make([]byte, 4), 0); err != nil {
		return fmt.Errorf("jail: clear the end page: %w", err)
	}
	if err := signal(j.pidRun, unix.SIGCONT); err != nil {
		return fmt.Errorf("jail: wake the runtime: %w", err)
	}
	return j.awaitReady(&plan{steps: []step{{what: "wait for the runtime"}}}, patience)
}

// renewable reads what the runtime said of itself. It is not to be trusted: if it lies, Clear or Renew fails.
func (j *Jail) renewable() bool {
	var word [4]byte
	if j.end == nil {
		return false
	}
	_, err := j.end.ReadAt(word[:], 0)
	return err == nil && binary.NativeEndian.Uint32(word[:])&parkedAgain != 0
}

func (j *Jail) openRunner() error {
	if j.pidRun != nil {
		return nil
	}
	// PID 1 has not begun to reap, or has ended doing so and the runner was not waited for (KillStopped): it is the runner.
	fd, err := unix.PidfdOpen(j.runner.pid, 0)
	if err != nil {
		return fmt.Errorf("jail: pidfd of the runner: %w", err)
	}
	j.pidRun = os.NewFile(uintptr(fd), "pidfd")
	return nil
}
