package seccomp

import (
	"errors"
	"io"
	"os"

	libseccomp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"
)

// Listener receives the calls that filters with Notifies send, from every process that has the filter.
type Listener struct {
	file *os.File
}

// NewListener uses a listener's descriptor, which must not block. It stays the caller's, who ends Receive by closing it.
func NewListener(f *os.File) *Listener { return &Listener{file: f} }

// Close makes calls that wait for an answer, and all later ones, fail with ENOSYS.
func (l *Listener) Close() error { return l.file.Close() }

// Call is a system call whose thread waits for Answer.
type Call struct {
	id     uint64
	number libseccomp.ScmpSyscall
	args   [6]uint64
	native bool // of the ABI x86-64, which x32 shares
	thread int  // its id in our PID namespace
}

// Receive waits for the next call. io.EOF: no process with the filter is left; os.ErrClosed: the descriptor was closed.
func (l *Listener) Receive() (*Call, error) {
	raw, err := l.file.SyscallConn()
	if err != nil {
		return nil, err
	}
	var req *libseccomp.ScmpNotifReq
	var recvErr error
	err = raw.Read(func(fd uintptr) bool {
		for {
			// The kernel's receive blocks whatever the descriptor's flags say, so it is called only when something is there. It cannot go away
			// in between: a caller that was killed leaves its place in the count that receive waits for, and then the answer is ENOENT.
			poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			if _, recvErr = unix.Poll(poll, 0); recvErr == unix.EINTR {
				continue
			} else if recvErr != nil {
				return true
			}
			if poll[0].Revents&unix.POLLIN == 0 {
				if poll[0].Revents != 0 {
					recvErr = io.EOF
				}
				return poll[0].Revents != 0
			}
			if req, recvErr = libseccomp.NotifReceive(libseccomp.ScmpFd(fd)); recvErr != unix.ENOENT {
				return true
			}
		}
	})
	if err != nil {
		return nil, os.ErrClosed // the one reason; package os has no name for it here
	}
	if recvErr != nil {
		return nil, recvErr
	}
	c := &Call{id: req.ID, number: req.Data.Syscall, native: req.Data.Arch == libseccomp.ArchAMD64, thread: int(req.Pid)}
	copy(c.args[:], req.Data.Args)
	return c, nil
}

// Answer makes the call return an error. A caller that is gone needs none, nor does any when the descriptor was closed.
func (l *Listener) Answer(c *Call, errno unix.Errno) error {
	return l.respond(&libseccomp.ScmpNotifResp{ID: c.id, Error: int32(errno)})
}

// Continue lets the call pass. Only where the programs are trusted, the filter in force has allowed it already, or a rule that looks at
// registers allows a number of them: CompileRecorder, CompileShadow and Counted tell why.
func (l *Listener) Continue(c *Call) error {
	return l.respond(&libseccomp.ScmpNotifResp{ID: c.id, Flags: libseccomp.NotifRespFlagContinue})
}

func (l *Listener) respond(answer *libseccomp.ScmpNotifResp) error {
	err := l.control(func(fd libseccomp.ScmpFd) error { return libseccomp.NotifRespond(fd, answer) })
	if errors.Is(err, unix.ENOENT) || errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// waits reports whether the caller still waits. As long as it does, its thread id is its own.
func (l *Listener) waits(c *Call) bool {
	return l.control(func(fd libseccomp.ScmpFd) error { return libseccomp.NotifIDValid(fd, c.id) }) == nil
}

func (l *Listener) control(f func(libseccomp.ScmpFd) error) error {
	raw, err := l.file.SyscallConn()
	if err != nil {
		return err
	}
	var callErr error
	if err := raw.Control(func(fd uintptr) { callErr = f(libseccomp.ScmpFd(fd)) }); err != nil {
		return os.ErrClosed
	}
	return callErr
}

// Name of the call, or "unknown".
func (c *Call) Name() string {
	name, err := c.number.GetName()
	if err != nil {
		return "unknown"
	}
	return name
}

// Describe returns the arguments as text of printable ASCII, at most MaxText bytes, or false if the caller is gone. Strings are read from the
// memory of the caller, where other threads may change them at any time: they show what was there, and nothing may follow from them.
func (l *Listener) Describe(c *Call) (string, bool) {
	text := c.describe(func(address uint64, into []byte) int { return readMemory(c.thread, address, into) })
	// The thread might have ended before its memory was read, and another might have got its id.
	return text, l.waits(c)
}

// readMemory copies from the memory of a thread as far as it can be read; the number of bytes.
func readMemory(thread int, address uint64, into []byte) int {
	n, err := unix.ProcessVMReadv(thread, []unix.Iovec{{Base: &into[0], Len: uint64(len(into))}},
		[]unix.RemoteIovec{{Base: uintptr(address), Len: len(into)}}, 0)
	if err != nil {
		return 0
	}
	return n
}
