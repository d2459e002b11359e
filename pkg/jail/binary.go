package jail

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// ownBinary is a copy of our own binary for the spawner to be, and so for PID 1 and the runner of each jail, until that executes the program: at that moment
// /proc/self/exe is still it, and the kernel follows any path that a program of the last job names, by a link, as the interpreter of a script or as the loader
// of a program (CVE-2019-5736). No id but the host's root may execute or read this copy, nobody can write to it, and no filesystem of the host is behind it. It is
// made once and lives as long as we do; all jails share its pages.
var ownBinary = sync.OnceValues(func() (*os.File, error) {
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	defer from.Close()
	low, err := unix.MemfdCreate("runtools", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create (vm.memfd_noexec must not be 2): %w", err)
	}
	defer unix.Close(low)
	// Its number must not be one that the new process has for something else: os.StartProcess puts those in their places before it executes.
	fd, err := unix.FcntlInt(uintptr(low), unix.F_DUPFD_CLOEXEC, 16)
	if err != nil {
		return nil, fmt.Errorf("copy our binary: %w", err)
	}
	to := os.NewFile(uintptr(fd), "our binary")
	_, err = io.Copy(to, from)
	if err == nil {
		err = to.Chmod(0o500)
	}
	if err == nil {
		_, err = unix.FcntlInt(to.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("copy our binary: %w", err), to.Close())
	}
	return to, nil
})
