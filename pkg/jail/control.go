package jail

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// control is our end of the control socket of one process of zygote.c.
type control struct {
	file   *os.File
	polled bool // by the runtime, all the time; else while a reply is awaited
}

// newControl makes a socket pair: our end, and the end to hand over, which blocks.
//
// What the runtime polls wakes a thread of ours whenever the other side reads, writes or closes. Nobody waits for that on the runner's socket when a job
// starts, and three wake-ups took 50 of the 800 us from checkout to the first instruction.
func newControl(polled bool) (*control, *os.File, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("jail: socketpair: %w", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "control")
	// The default socket buffer takes 208 KiB, which a thousand files with long names pass.
	err = unix.SetsockoptInt(pair[0], unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 2*maxPacket)
	// Our end never blocks. A file that is made before that is said is not polled; a duplicate of it, made after, is (receiveUntil). Nor does send have to wait: one packet
	// is under way at most, and the buffer takes it.
	c := &control{polled: polled}
	if !polled {
		c.file = os.NewFile(uintptr(pair[0]), "control")
	}
	err = errors.Join(err, unix.SetNonblock(pair[0], true))
	if polled {
		c.file = os.NewFile(uintptr(pair[0]), "control")
	}
	if err != nil {
		c.close()
		theirs.Close()
		return nil, nil, fmt.Errorf("jail: control socket: %w", err)
	}
	return c, theirs, nil
}

func (c *control) close() { c.file.Close() }

// do sends a plan and waits for the reply.
func (c *control) do(p *plan) (reply, *os.File, error) {
	if err := c.send(p); err != nil {
		return reply{}, nil, err
	}
	r, extra, err := c.receive()
	if err != nil {
		if extra != nil {
			extra.Close()
		}
		return reply{}, nil, err
	}
	if err := p.result(r); err != nil {
		if extra != nil {
			extra.Close()
		}
		return r, nil, err
	}
	return r, extra, nil
}

func (c *control) send(p *plan) error {
	packet, files, err := p.encode()
	if err != nil {
		return fmt.Errorf("jail: %w", err)
	}
	var oob []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		oob = unix.UnixRights(fds...)
	}
	raw, err := c.file.SyscallConn()
	if err != nil {
		return err
	}
	var sendErr error
	err = raw.Write(func(fd uintptr) bool {
		_, sendErr = unix.SendmsgN(int(fd), packet, oob, nil, unix.MSG_NOSIGNAL)
		return sendErr != unix.EAGAIN
	})
	if err = errors.Join(err, sendErr); err != nil {
		return fmt.Errorf("jail: send steps: %w", err)
	}
	return nil
}

// receive returns io.EOF when the process has ended or has become the program.
func (c *control) receive() (r reply, extra *os.File, err error) { return c.receiveUntil(time.Time{}) }

// receiveUntil returns os.ErrDeadlineExceeded when it is too late; a zero deadline is none.
func (c *control) receiveUntil(deadline time.Time) (r reply, extra *os.File, err error) {
	file := c.file
	if !c.polled {
		fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return r, nil, fmt.Errorf("jail: receive reply: %w", err)
		}
		file = os.NewFile(uintptr(fd), "control")
		defer file.Close()
	}
	if !deadline.IsZero() {
		if err := file.SetReadDeadline(deadline); err != nil {
			return r, nil, fmt.Errorf("jail: receive reply: %w", err)
		}
	}
	return receiveFrom(file)
}

func receiveFrom(file *os.File) (r reply, extra *os.File, err error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return r, nil, err
	}
	var body [sizeofReply + sizeofRusage + 1]byte
	var oob [64]byte // one descriptor and, on the runner's socket, credentials
	var n, oobn, flags int
	var recvErr error
	err = raw.Read(func(fd uintptr) bool {
		n, oobn, flags, _, recvErr = unix.Recvmsg(int(fd), body[:], oob[:], unix.MSG_CMSG_CLOEXEC)
		return recvErr != unix.EAGAIN
	})
	if err = errors.Join(err, recvErr); err != nil {
		return r, nil, fmt.Errorf("jail: receive reply: %w", err)
	}
	var cred *unix.Ucred
	extra, cred = parseControl(oob[:oobn])
	if n == 0 {
		return r, nil, io.EOF
	}
	if flags&unix.MSG_CTRUNC != 0 {
		return r, extra, errors.New("jail: receive reply: control data truncated")
	}
	r, err = decodeReply(body[:n])
	if cred != nil {
		r.sender = cred.Pid
	}
	return r, extra, err
}

// receiveNow returns a reply that has come already, or an error.
func (c *control) receiveNow() (r reply, err error) {
	raw, err := c.file.SyscallConn()
	if err != nil {
		return r, err
	}
	var body [sizeofReply + sizeofRusage + 1]byte
	var n int
	var recvErr error
	if err := raw.Control(func(fd uintptr) { n, _, recvErr = unix.Recvfrom(int(fd), body[:], unix.MSG_DONTWAIT) }); err != nil {
		return r, err
	}
	if recvErr != nil {
		return r, recvErr
	}
	if n == 0 {
		return r, io.EOF
	}
	return decodeReply(body[:n])
}

func parseControl(oob []byte) (extra *os.File, cred *unix.Ucred) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, nil
	}
	for i := range msgs {
		if c, err := unix.ParseUnixCredentials(&msgs[i]); err == nil {
			cred = c
			continue
		}
		if fds, err := unix.ParseUnixRights(&msgs[i]); err == nil {
			for _, fd := range fds {
				if extra != nil {
					extra.Close()
				}
				// Nobody else has it any more. Go's runtime polls what does not block: else a thread would wait for each (awaitDeath).
				if err := unix.SetNonblock(fd, true); err != nil {
					unix.Close(fd)
					continue
				}
				extra = os.NewFile(uintptr(fd), "from a jail")
			}
		}
	}
	return extra, cred
}

// passCredentials makes the kernel put the sender's PID beside each reply.
func (c *control) passCredentials() error {
	raw, err := c.file.SyscallConn()
	if err != nil {
		return err
	}
	var optErr error
	err = raw.Control(func(fd uintptr) {
		optErr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
	})
	return errors.Join(err, optErr)
}
