package jail

import "golang.org/x/sys/unix"

// Intact says whether both processes of a parked jail still wait for a job. Nothing of ours ends them before one comes, but the kernel may, when
// the host runs out of memory, or an operator.
func (j *Jail) Intact() bool {
	return waits(j.init, j.runner.control)
}

func waits(controls ...*control) bool {
	poll := make([]unix.PollFd, len(controls))
	for i, c := range controls {
		raw, err := c.file.SyscallConn()
		if err != nil {
			return false
		}
		if err := raw.Control(func(fd uintptr) { poll[i].Fd = int32(fd) }); err != nil {
			return false
		}
	}
	// A process that has ended has hung up its socket, which poll tells unasked.
	n, err := unix.Poll(poll, 0)
	return err == nil && n == 0
}

// NextWaits says whether the process of NextPID is there: else its number may be another's.
func (j *Jail) NextWaits() bool { return j.next != nil && waits(j.next.control) }

// KillStopped kills a runtime that has said that its program has ended, and stopped (Exit.Stopped). Its memory is freed behind our back. PID 1 waits for nobody any more, so
// the number is the runner's as long as PID 1 lives; without PID 1 all are dead.
func (j *Jail) KillStopped() {
	if err := j.openRunner(); err == nil && j.alive() {
		j.Signal(unix.SIGKILL)
	}
}

// End kills every process of the jail and returns when they are dead. The jail is good for Close alone.
func (j *Jail) End() {
	j.Kill()
	j.awaitDeath()
}
