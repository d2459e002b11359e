package main

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/threads"
)

// outputPipe makes a pipe for a job's stdout or stderr.
//
// The write end stays blocking: it becomes a program's stdout, and few programs expect EAGAIN from write. os.Pipe would hand out a
// non-blocking one. The mode is opened up because the program runs under another uid and may open /dev/stdout anew, which asks the
// inode for permission.
func outputPipe() (r, w *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("make a pipe: %w", err)
	}
	err = unix.SetNonblock(fds[0], true)
	if err == nil {
		err = unix.Fchmod(fds[1], 0o666)
	}
	r, w = os.NewFile(uintptr(fds[0]), "output"), os.NewFile(uintptr(fds[1]), "output")
	if err != nil {
		r.Close()
		w.Close()
		return nil, nil, fmt.Errorf("set up a pipe: %w", err)
	}
	return r, w, nil
}

// writing are those that fill a memfd now, each of which may keep a thread busy for as long as tens of megabytes take. As many as there are processors would do.
var writing = make(chan struct{}, threads.Ahead/4)

// readOnlyMemfd holds the parts one after the other. The descriptor handed out is a second, read-only opening at offset 0: the job must
// not be able to change what it was given, nor, through it, to grow our memory.
func readOnlyMemfd(name string, parts ...[]byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a memfd: %w", err)
	}
	defer unix.Close(fd)
	writing <- struct{}{}
	defer func() { <-writing }()
	for _, part := range parts {
		for len(part) > 0 {
			n, err := unix.Write(fd, part)
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("write a memfd: %w", err)
			}
			part = part[n:]
		}
	}
	if err := unix.Fchmod(fd, 0o444); err != nil {
		return nil, fmt.Errorf("chmod a memfd: %w", err)
	}
	ro, err := unix.Open("/proc/self/fd/"+strconv.Itoa(fd), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("reopen a memfd: %w", err)
	}
	return os.NewFile(uintptr(ro), name), nil
}

// emptyMemfd receives what a program left in its environment.
func emptyMemfd(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a memfd: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// physicalMemory is the machine's memory in bytes.
func physicalMemory() int64 {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 4 << 30
	}
	return int64(info.Totalram) * int64(info.Unit)
}

// signalName names a signal as callers know it.
func signalName(n int) string {
	if name := unix.SignalName(unix.Signal(n)); name != "" {
		return name
	}
	return fmt.Sprintf("SIG%d", n)
}
