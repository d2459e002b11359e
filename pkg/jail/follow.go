package jail

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A compiler that has run no foreign code may leave its jail to the program that it made; the argument is in SECURITY.md.
//
//	AddSuccessor  the program's runner, finished, clones the compiler's, and waits
//	Start, Wait   the compiler
//	Follow        its job is taken out of the jail, and the program's runner has the next

// AddSuccessor has the runner of a parked jail, with all that it has lost, clone another for the compiler, and itself wait for the program. Signals and limits are
// all that the compiler, of the same user, can do to it, and Follow looks at both: like every process of ours in a jail it is not dumpable, so nobody may trace it or open what it has.
func (j *Jail) AddSuccessor() error {
	ours, theirs, err := newControl(false)
	if err != nil {
		return err
	}
	j.next, j.runner = j.runner, &runner{control: ours}
	var session plan // of its own: a signal to the compiler's group is not for the program's runner
	session.add(step{op: opSession, what: "setsid"})
	if err = j.runner.greet(&session); err == nil {
		// A child of PID 1, like itself, which reaps both; it inherits the cgroup and oom_score_adj.
		p := plan{steps: []step{{op: opSpawn, fd: theirs, a: unix.CLONE_PARENT | uint64(unix.SIGCHLD), b: 1, what: "clone the compiler's runner"}}}
		var spawned reply
		spawned, _, err = j.next.do(&p)
		j.runner.inner = spawned.pid
	}
	theirs.Close() // as in Build
	if err != nil {
		return err
	}
	if err := j.runner.meet(&session); err != nil {
		return err
	}
	if j.limits, err = limitsOf(j.next.pid); err != nil {
		return err
	}
	return j.proveRunner()
}

// NextPID is the program's runner while it waits, in our PID namespace, or 0.
func (j *Jail) NextPID() int {
	if j.next == nil {
		return 0
	}
	return j.next.pid
}

// Follow makes a jail ready for the program. The compiler's job must have asked for it (Job.Then), and left no process but NextPID: the caller has looked. The caller has closed Job.Workspace and
// Job.Build, which hold the mounts. It fails if the compiler left something in /tmp or /dev/shm, or did something to the program's runner. After an error the jail is good for Close alone.
func (j *Jail) Follow(patience time.Duration) error {
	var p plan
	j.clear(&p)
	p.lookIntoScratch() // now that nobody is there who could put something into them
	r, _, err := j.init.do(&p)
	if err != nil {
		return err
	}
	if !r.empty {
		return errors.New("jail: the compiler left files in /tmp or /dev/shm")
	}
	j.runner.close()
	j.runner, j.next, j.followed = j.next, nil, true
	if j.pidRun != nil {
		j.pidRun.Close()
		j.pidRun = nil
	}
	// The compiler may have stopped or killed it: then it does not answer.
	if err := j.runner.send(&plan{}); err != nil {
		return err
	}
	if _, _, err := j.runner.receiveUntil(time.Now().Add(patience)); err != nil {
		return fmt.Errorf("jail: the program's runner does not answer (stopped or killed by the compiler?): %w", err)
	}
	// It has answered, so the number is still its own.
	if limits, err := limitsOf(j.runner.pid); err != nil || limits != j.limits {
		return errors.Join(err, errors.New("jail: the compiler changed limits of the program's runner"))
	}
	return nil
}

// limitsOf are all limits of a process, as /proc tells them.
func limitsOf(pid int) (string, error) {
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil {
		return "", fmt.Errorf("jail: limits of the program's runner: %w", err)
	}
	return string(limits), nil
}
