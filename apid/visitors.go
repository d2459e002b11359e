package main

import (
	"container/list"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/valyala/fasthttp"
	"golang.org/x/sys/unix"
)

// visitors are the connections of the API, a bounded number.
//
//	accepted ---> waiting ---> served ---> waiting ...
//	                 |
//	                 +-- closed, longest first, when another wants the place
//
// A connection waits while no whole request with a valid key has come on it: new, idle, with a half of one, or with a stranger's, who may ask for a page
// and never read it. Timeouts end that too, but whoever opens enough of them would keep all others out until then. So those that wait give
// way, and nobody is refused unless each connection is being served. Of those, a quarter is never one key's.
type visitors struct {
	net.Listener
	most int
	log  *slog.Logger

	mu      sync.Mutex
	open    int
	waiting list.List      // of *visitor, longest first
	byKey   map[string]int // served, by key id: those with any

	warned  time.Time     // of trouble; Accept's alone
	parting chan struct{} // one for each that is being refused

	closedEarly, refused atomic.Uint64
}

// visitor is one connection.
type visitor struct {
	*net.TCPConn
	all   *visitors
	place *list.Element // in all.waiting, or nil
	since time.Time     // when it began to wait
	begun bool          // something has come on it
	key   string        // whose request it serves, by id; "": it waits
	gone  bool

	unread bool // its last request was given up in the middle
}

const (
	// youngest is how long a connection may wait before it gives way: its request is most likely under way.
	youngest = time.Second
	// partings is how many refused callers are heard out at a time, so that they see the answer. The others may see a reset instead.
	partings = 64
	// acceptPause is between two tries when the kernel has no descriptor or memory for a connection.
	acceptPause = 50 * time.Millisecond
	// warnEvery keeps trouble with connections from filling the log.
	warnEvery = time.Minute
)

func newVisitors(most int, log *slog.Logger) *visitors {
	return &visitors{most: most, log: log, byKey: map[string]int{}, parting: make(chan struct{}, partings)}
}

// at has them come to a listener of TCP.
func (v *visitors) at(ln net.Listener) *visitors {
	v.Listener = ln
	return v
}

// Accept returns the next connection that has a place. It fails only when the listener is closed: fasthttp, and apid with it, would end on
// any other error.
func (v *visitors) Accept() (net.Conn, error) {
	for {
		conn, err := v.Listener.Accept()
		switch {
		case err == nil:
			if c := v.admit(conn.(*net.TCPConn)); c != nil {
				return c, nil
			}
		case errors.Is(err, net.ErrClosed):
			return nil, err
		default: // accept(2): no descriptors, no memory, or an error that the network had for this one connection
			v.warn("a connection could not be accepted", slog.Any("err", err))
			if !v.giveWay() {
				time.Sleep(acceptPause)
			}
		}
	}
}

// admit gives a connection a place, or an answer.
func (v *visitors) admit(conn *net.TCPConn) *visitor {
	v.mu.Lock()
	full := v.open >= v.most
	v.mu.Unlock()
	if full && !v.giveWay() {
		v.warn("every connection is being served, and more are refused", slog.Int("connections", v.most))
		v.refused.Add(1)
		v.refuse(conn)
		return nil
	}
	c := &visitor{TCPConn: conn, all: v}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.open++
	c.waitLocked()
	return c
}

// giveWay closes the connection that has waited longest, if any has waited long enough.
func (v *visitors) giveWay() bool {
	v.mu.Lock()
	front := v.waiting.Front()
	if front == nil || time.Since(front.Value.(*visitor).since) < youngest {
		v.mu.Unlock()
		return false
	}
	c := front.Value.(*visitor)
	c.leaveLocked()
	v.mu.Unlock()
	v.closedEarly.Add(1)
	c.TCPConn.Close()
	return true
}

// partingTime is for what a connection that is turned away has sent already: another may want its place among those that part.
const partingTime = time.Second

// refuse answers without having read, and ends the connection.
func (v *visitors) refuse(conn *net.TCPConn) {
	var answer fasthttp.Response
	id := uuid.NewString()
	answer.SetStatusCode(fasthttp.StatusServiceUnavailable)
	answer.Header.SetContentType("application/json")
	answer.Header.Set(fasthttp.HeaderRetryAfter, retryAfter)
	answer.Header.Set("X-Request-Id", id)
	answer.SetConnectionClose()
	answer.SetBodyRaw(refuse(errOverloaded, "the server has %d connections, and each is being served", v.most).body(id))
	conn.SetDeadline(time.Now().Add(partingTime))
	answer.WriteTo(conn) // which fits into an empty socket buffer
	v.part(conn)
}

// part closes a connection that has been answered and may have more to read: to close it at once would reset it, and the caller would see that and no answer.
func (v *visitors) part(conn *net.TCPConn) error {
	select {
	case v.parting <- struct{}{}:
		go func() {
			defer func() { <-v.parting }()
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(partingTime))
			conn.CloseWrite()
			io.CopyN(io.Discard, conn, discardBytes)
		}()
		return nil
	default:
		return conn.Close()
	}
}

func (v *visitors) warn(what string, attrs ...any) {
	if time.Since(v.warned) >= warnEvery {
		v.warned = time.Now()
		v.log.Warn(what, attrs...)
	}
}

func (v *visitors) count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.open
}

// changed is told by fasthttp of a connection's state. A request that begins puts it at the end of those that wait.
func (v *visitors) changed(conn net.Conn, state fasthttp.ConnState) {
	c, ok := conn.(*visitor)
	if !ok || state != fasthttp.StateIdle && state != fasthttp.StateActive {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	c.begun = true
	if !c.gone {
		c.waitLocked()
	}
}

func (c *visitor) waitLocked() {
	c.endLocked()
	c.since = time.Now()
	if c.place != nil {
		c.all.waiting.MoveToBack(c.place)
	} else {
		c.place = c.all.waiting.PushBack(c)
	}
}

// silent says that nothing has come on it.
func (c *visitor) silent() bool {
	c.all.mu.Lock()
	defer c.all.mu.Unlock()
	return !c.begun
}

// giveUp says that the rest of a request will not be read.
func (c *visitor) giveUp() {
	c.all.mu.Lock()
	defer c.all.mu.Unlock()
	c.unread = true
}

// served says that a whole request with this key has come. It fails if the connection was closed at that moment, or if the key has its share of
// all connections: whoever takes no answers, or waits for what does not come, leaves a quarter to the others.
func (c *visitor) served(keyID string) *apiError {
	v := c.all
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case c.gone:
		return refuse(errGone, "the connection was closed to make room for others before the whole request had come")
	case c.key == keyID:
		return nil
	case v.byKey[keyID] >= v.most-v.most/4:
		return refuse(errRateLimited, "requests of this key are being served on %d connections, which is its share", v.byKey[keyID])
	}
	c.standUpLocked()
	c.endLocked()
	c.key = keyID
	v.byKey[keyID]++
	return nil
}

func (c *visitor) standUpLocked() {
	if c.place != nil {
		c.all.waiting.Remove(c.place)
		c.place = nil
	}
}

// endLocked gives back the key's place.
func (c *visitor) endLocked() {
	if c.key == "" {
		return
	}
	if c.all.byKey[c.key]--; c.all.byKey[c.key] == 0 {
		delete(c.all.byKey, c.key)
	}
	c.key = ""
}

func (c *visitor) leaveLocked() {
	c.standUpLocked()
	c.endLocked()
	if !c.gone {
		c.gone = true
		c.all.open--
	}
}

// Close gives the place up. It may be called more than once.
func (c *visitor) Close() error {
	c.all.mu.Lock()
	part := c.unread && !c.gone
	c.leaveLocked()
	c.all.mu.Unlock()
	if part {
		return c.all.part(c.TCPConn)
	}
	return c.TCPConn.Close()
}

// descriptorsOfJob is what a request that is carried out takes at most: pipes, memfds, the socket to sandboxd. descriptorsBeside are those of
// the log, the journal, the metrics and their readers, and webhooks (maxSending).
const (
	descriptorsOfJob  = 16
	descriptorsBeside = 128
)

// connectionsFor is max_connections, or what the limit of descriptors has room for. Jobs come first: one that cannot have a pipe would be
// answered 500.
func connectionsFor(cfg *config, log *slog.Logger) int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return cfg.HTTP.MaxConnections
	}
	return fewer(cfg.HTTP.MaxConnections, cfg.Queue.MaxJobs+cfg.Queue.Newcomers, limit.Cur, log)
}

func fewer(most, jobs int, descriptors uint64, log *slog.Logger) int {
	needed := descriptorsBeside + descriptorsOfJob*jobs
	if descriptors >= uint64(needed+most) {
		return most
	}
	there := max(1, int(descriptors)-needed)
	log.Warn("max_connections is lowered to what the limit of open files allows: raise LimitNOFILE of the unit, or ulimit -n",
		"max_connections", there, "wanted", most, "open_files", descriptors, "want_open_files", needed+most)
	return there
}
