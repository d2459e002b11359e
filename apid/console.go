package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/runtools/runtools/pkg/wire"
	"golang.org/x/sys/unix"
)

// console is how a caller reaches its program while it runs: what it types waits here until the program reads it.
//
// Nothing grows without bound. The program takes its input from a pipe; when that is full the window fills, then memory of the key's share for bodies:
// a signal is behind the input that was sent before it, and a program that reads nothing must hear it. When that is used up too write waits, so that
// nothing more is read from the caller's connection, whose kernel in turn tells the caller's to wait.
type console struct {
	events  *stream
	bodies  *bodyBudget
	keyID   string
	signals chan wire.Signal
	killed  atomic.Bool // by a signal of the caller's

	mu    sync.Mutex
	moved sync.Cond // any change of what follows
	input []byte    // not in the pipe yet
	ahead int64     // bytes held of bodies, until input fits into the window again
	eof   bool      // the caller has no more input
	over  bool      // the program has ended: whatever comes is dropped

	terminal wire.Terminal // its size, if the program has one
	master   *os.File      // of it, while the program runs

	pipe [2]*os.File // of stdin, once a job was sent: it outlives a job that sandboxd could not begin
}

// inputWindow is how much input may wait for the program besides what is in its pipe, bytes.
const inputWindow = 256 << 10

// inputAhead is how much more may wait if the key's share has room for it, bytes.
const inputAhead = 8 << 20

// newConsole begins with the input that came with the request. It stays in the body, which is counted until the program has ended.
func newConsole(events *stream, bodies *bodyBudget, keyID string, first []byte) *console {
	c := &console{events: events, bodies: bodies, keyID: keyID, signals: make(chan wire.Signal, mostSignals), input: slices.Clip(first)}
	c.moved.L = &c.mu
	return c
}

// write takes input, and waits for room. It is for one goroutine.
func (c *console) write(data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.input) >= inputWindow && !c.over && !c.goAheadLocked(int64(len(data))) {
		c.moved.Wait()
	}
	if !c.over && !c.eof {
		c.input = append(c.input, data...)
		c.moved.Broadcast()
	}
}

func (c *console) goAheadLocked(n int64) bool {
	if c.ahead+n > inputAhead || c.bodies.reserve(c.keyID, n) != nil {
		return false
	}
	c.ahead += n
	return true
}

func (c *console) fallBackLocked() {
	c.bodies.giveBack(c.keyID, c.ahead)
	c.ahead = 0
}

// mostSignals may wait for the program to begin; more are dropped. sandboxd sends none twice anyhow.
const mostSignals = 64

func (c *console) signal(sig unix.Signal) {
	if sig == unix.SIGKILL {
		c.killed.Store(true)
	}
	if c.key(sig) {
		return
	}
	select {
	case c.signals <- wire.Signal{Number: int(sig)}:
	default:
	}
}

// allowedSignals are those that mean something to a program from outside. All could be sent by the program to itself, so none is a danger; the
// rest (SIGSEGV, SIGCHLD, SIGPIPE and the like) are the kernel's to send, and would only make its answer a lie. A program that SIGSTOP has
// stopped holds its slot as one that sleeps does: until run_timeout.
var allowedSignals = []unix.Signal{
	unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGKILL, unix.SIGUSR1, unix.SIGUSR2, unix.SIGTERM, unix.SIGCONT, unix.SIGSTOP, unix.SIGTSTP, unix.SIGWINCH,
}

// findSignal finds one by its name.
func findSignal(name string) (unix.Signal, *apiError) {
	var known []string
	for _, sig := range allowedSignals {
		if unix.SignalName(sig) == name {
			return sig, nil
		}
		known = append(known, unix.SignalName(sig))
	}
	return 0, invalidField("signal", "%s cannot be sent; want one of %s", shown(name), strings.Join(known, ", "))
}

// closeInput is the end of input.
func (c *console) closeInput() {
	c.mu.Lock()
	c.eof = true
	c.moved.Broadcast()
	c.mu.Unlock()
}

// take waits for input, and gives no more of it than the window; nil means that there is none any more.
func (c *console) take() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.input) == 0 && !c.eof && !c.over {
		c.moved.Wait()
	}
	if c.over {
		return nil
	}
	n := min(len(c.input), inputWindow)
	data := c.input[:n:n]
	if c.input = c.input[n:]; len(c.input) == 0 {
		c.input = nil
	}
	if len(c.input) < inputWindow {
		c.fallBackLocked()
	}
	c.moved.Broadcast()
	return data
}

// open returns the program's end of stdin, which is the caller's to close.
func (c *console) open() (*os.File, error) {
	if c.pipe[0] == nil {
		r, w, err := inputPipe()
		if err != nil {
			return nil, err
		}
		c.pipe = [2]*os.File{r, w}
		go c.pump(w, func() { w.Close() })
	}
	fd, err := unix.FcntlInt(c.pipe[0].Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("dup: %w", err)
	}
	return os.NewFile(uintptr(fd), "stdin"), nil
}

// pump moves input into a pipe or a terminal, whose end makes a write that waits fail.
func (c *console) pump(w *os.File, atEnd func()) {
	defer atEnd()
	for data := c.take(); data != nil; data = c.take() {
		if _, err := w.Write(data); err != nil {
			return
		}
	}
}

// jobEnded is told when sandboxd has answered. One that could not begin a job may be asked again; output that was on its way comes now.
func (c *console) jobEnded(err error) {
	c.events.flow()
	if err == nil {
		c.end()
	}
}

// end drops what the program did not read. It may be called more than once.
func (c *console) end() {
	c.mu.Lock()
	c.over, c.input = true, nil
	c.fallBackLocked()
	c.moved.Broadcast()
	c.mu.Unlock()
	for _, f := range c.pipe {
		if f != nil {
			f.Close()
		}
	}
}
