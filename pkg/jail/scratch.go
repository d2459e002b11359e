package jail

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Scratch opens the two folders of a jail that are neither of the image nor of a job, /tmp and /dev/shm, so that fstatfs tells how full they
// are also when the jail is dead. It is for a jail that was built and not started, and for none after Follow. The caller closes both.
//
// Why it is safe: the way leads through a parked runner, in whose jail nothing foreign has run, and through no link. /tmp and /dev/shm
// are mounts that PID 1 made on a read-only image, which nobody in the jail can move. The descriptors are O_PATH: nothing is read
// or written by them, and no other process gets them.
func (j *Jail) Scratch() (tmp, shm *os.File, err error) {
	if j.followed {
		return nil, nil, errors.New("jail: internal error: a compiler ran beside the runner")
	}
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", j.runner.pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("jail: open its root: %w", err)
	}
	defer unix.Close(root)
	// PID 1 does not reap before Start, so as long as it lives that PID was the runner's. After a Renew the runner has a pidfd of its own.
	if !j.alive() || j.pidRun != nil && signal(j.pidRun, 0) != nil {
		return nil, nil, fmt.Errorf("jail: open its root: %w", unix.EPIPE)
	}
	var folders [2]*os.File
	for i, name := range scratch {
		how := unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS}
		fd, err := unix.Openat2(root, name[1:], &how)
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("jail: open %s: %w", name, err), closeAll(folders[:i]))
		}
		folders[i] = os.NewFile(uintptr(fd), name)
	}
	return folders[0], folders[1], nil
}

func closeAll(files []*os.File) (err error) {
	for _, f := range files {
		err = errors.Join(err, f.Close())
	}
	return err
}
