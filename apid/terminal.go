package main

import (
	"context"
	"os"
	"sync"
	"time"

	"github.com/runtools/runtools/pkg/wire"
	"golang.org/x/sys/unix"
)

// A program with a terminal reads and writes one thing, whose other end sandboxd hands over when the program begins.

// terminalType is TERM of a program that has a terminal, unless its session or the request says another.
const terminalType = "xterm-256color"

// runTerminal is runJob for a job with a terminal. All output is stdout.
func (s *server) runTerminal(ctx context.Context, in jobInput) (*jobOutput, error) {
	kill := make(chan wire.Kill, 1)
	fds, environ, err := in.descriptors(nil)
	defer wire.CloseAll(fds)
	if err != nil {
		return nil, err
	}
	screen := capture{limit: in.outputLimit}
	var master *os.File
	var reading sync.WaitGroup
	var readErr error
	live := wire.Live{Kill: kill, Signals: in.console.signals, Terminal: func(f *os.File) {
		if master, readErr = pollable(f); readErr != nil {
			return
		}
		in.console.attach(master)
		reading.Go(func() {
			readErr = screen.readAll(master, func() { kill <- wire.Kill{Limit: wire.LimitStdout} }, func(data []byte) { in.onOutput(0, data) })
		})
	}}
	in.job.Signals = true
	result, err := s.sandbox.RunLive(ctx, in.job, &live, fds...)
	ended := time.Now()
	in.console.jobEnded(err)
	if master != nil {
		// The last process that had the terminal is dead: what it wrote is followed by EIO, and then nobody else has the other end.
		master.SetReadDeadline(ended.Add(eofGrace))
		reading.Wait()
		in.console.detach()
		master.Close()
	}
	if err != nil {
		return nil, err
	}
	if readErr != nil {
		s.log.Error("output of a job did not end", "template", in.job.Template, "err", readErr)
	}
	out := &jobOutput{result: result, stdout: screen}
	if environ != nil {
		if err := out.readEnviron(environ); err != nil {
			return nil, err
		}
	}
	out.collect = time.Since(ended)
	return out, nil
}

// pollable makes a descriptor that came blocking one that Go's runtime polls, so that reads have deadlines and take no thread.
func pollable(f *os.File) (*os.File, error) {
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "terminal"), nil
}

// attach gives the console the terminal of the program that has begun.
func (c *console) attach(master *os.File) {
	c.mu.Lock()
	c.master = master
	c.mu.Unlock()
	c.resize(*c.size()) // it may have changed meanwhile
	go c.pump(master, func() {
		// What a person would type. The first may only send an unfinished line off.
		master.Write([]byte{endOfInput, endOfInput})
	})
}

// endOfInput is Ctrl-D.
const endOfInput = 4

func (c *console) detach() {
	c.mu.Lock()
	c.master = nil
	c.mu.Unlock()
}

// resize changes the size. The kernel sends SIGWINCH to the terminal's foreground.
func (c *console) resize(size wire.Terminal) {
	c.mu.Lock()
	c.terminal = size
	c.mu.Unlock()
	c.onMaster(func(fd int) {
		unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: size.Rows, Col: size.Cols})
	})
}

// size is a copy.
func (c *console) size() *wire.Terminal {
	c.mu.Lock()
	defer c.mu.Unlock()
	size := c.terminal
	return &size
}

// key has the terminal send a signal that a key would, to all of its foreground. It is false for one that no key sends, and without a terminal.
func (c *console) key(sig unix.Signal) (sent bool) {
	switch sig {
	case unix.SIGINT, unix.SIGQUIT, unix.SIGTSTP:
		c.onMaster(func(fd int) { sent = unix.IoctlSetInt(fd, unix.TIOCSIG, int(sig)) == nil })
	}
	return sent
}

func (c *console) onMaster(do func(fd int)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.master == nil {
		return
	}
	if raw, err := c.master.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { do(int(fd)) })
	}
}

// mostSide bounds a terminal, in characters each way.
const mostSide = 1000

func (r *jsonReader) terminalSide(path string) (uint16, *apiError) {
	n, err := r.integer(path)
	if err == nil && (n < 1 || n > mostSide) {
		err = outOfRange(path, n, 1, mostSide)
	}
	return uint16(n), err
}

// readPTY reads the size of the terminal that a request wants.
func (q *request) readPTY(r *jsonReader) *apiError {
	q.terminal = &wire.Terminal{Cols: 80, Rows: 24}
	return r.object("pty", func(name string) (err *apiError) {
		switch name {
		case "cols":
			q.terminal.Cols, err = r.terminalSide("pty.cols")
		case "rows":
			q.terminal.Rows, err = r.terminalSide("pty.rows")
		default:
			err = invalidField("pty."+shownField(name), "unknown field; known are cols, rows")
		}
		return err
	})
}
