package main

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/threads"
)

// outputPipe makes a pipe for a job's stdout or stderr.
func outputPipe() (r, w *os.File, err error) { return jobPipe(1, "output") }

// inputPipe makes a pipe for a job's stdin.
func inputPipe() (r, w *os.File, err error) { return jobPipe(0, "input") }

// jobPipe makes a pipe of which the job gets one end, 0 to read or 1 to write.
//
// That end stays blocking: it becomes a standard stream of the program, and few programs expect EAGAIN there. os.Pipe would hand out a
// non-blocking one. The mode is opened up because the program runs under another uid and may open /dev/stdout anew, which asks the
// inode for permission. Our end is one that Go's runtime polls.
func jobPipe(theirs int, name string) (r, w *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("make a pipe: %w", err)
	}
	err = unix.SetNonblock(fds[1-theirs], true) // before os.NewFile, which looks at it
	if err == nil {
		err = unix.Fchmod(fds[theirs], 0o666)
	}
	r, w = os.NewFile(uintptr(fds[0]), name), os.NewFile(uintptr(fds[1]), name)
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
