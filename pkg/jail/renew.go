package jail

import (
	"encoding/binary"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A compiler that has run no foreign code may serve its owner again; the argument is in SECURITY.md. All that makes a jail ready for another
// job of it is here.

// scratch are the folders of a jail that are neither of the image nor of a job.
var scratch = []string{"/tmp", "/dev/shm"}

// Clear takes the folders of the last job out of a jail, if that job asked for it (Job.Again) and its Exit says that it can be done
// (Exit.Renewable). It fails if the runtime still holds a file of them; /tmp and /dev/shm are empty already. The caller has closed Job.Workspace
// and Job.Build, which hold the mounts. After an error the jail is good for Close alone.
func (j *Jail) Clear() error {
	var p plan
	j.clear(&p)
	_, _, err := j.init.do(&p)
	return err
}

func (j *Jail) clear(p *plan) {
	p.caps(initCaps)
	p.add(step{op: opFSIDs, what: "take our own file access"})
	p.simple(opChdir, "/", "chdir /")
	p.simple(opUmount, WorkDir, "unmount "+WorkDir)
	if j.built {
		p.simple(opUmount, BuildDir, "unmount "+BuildDir)
	}
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
	// PID 1 has not begun to reap, or has ended doing so and the runner was not waited for (KillStopped): it is the runner. After Follow, because it has answered since.
	fd, err := unix.PidfdOpen(j.runner.pid, 0)
	if err != nil {
		return fmt.Errorf("jail: pidfd of the runner: %w", err)
	}
	j.pidRun = os.NewFile(uintptr(fd), "pidfd")
	return nil
}
