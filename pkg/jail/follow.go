package jail

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// A compiler that has run no foreign code may leave its jail to the program that it made; the argument is in SECURITY.md.
//
//	AddSuccessor  the program's runner, finished, clones the compiler's, and waits
//	Start, Wait   the compiler
//	Follow        its job is taken out of the jail, and the program's runner has the next

// AddSuccessor has the runner of a parked jail, with all that it has lost, clone another for the compiler, and itself wait for the program. Signals and limits are
// all that the compiler, of the same user, can do to it: like every process of ours in a jail it is not dumpable, so nobody may trace it or open what it has.
func (j *Jail) AddSuccessor() error {
	ours, theirs, err := newControl(false)
	if err != nil {
		return err
	}
	j.next, j.runner = j.runner, &runner{control: ours}
	if err = j.runner.greet(); err == nil {
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
	if err := j.runner.meet(); err != nil {
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

// Follow makes a jail ready for the program. The compiler's job must have asked for it (Job.Then), have left /tmp and /dev/shm empty (Exit.Empty), and no process but
// NextPID: the caller has looked. The caller has closed Job.Workspace and Job.Build, which hold the mounts. After an error the jail is good for Close alone.
func (j *Jail) Follow(patience time.Duration) error {
	if err := j.Clear(); err != nil {
		return err
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
	return nil
}

// errFollowed means that the compiler may have been at what is asked for.
var errFollowed = errors.New("jail: internal error: not in a jail in which a compiler ran")
