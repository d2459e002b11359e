package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/runtools/runtools/pkg/wire"
)

// firstPacket is how long a client may take to say what it wants.
const firstPacket = 10 * time.Second

// server accepts connections and carries out one request on each.
type server struct {
	pools   *pools
	builder *builder
	volumes *volumes
	log     *slog.Logger
	cpus    int
	pinner  *pinner // nil: jobs are not pinned
	shares  *shares

	selftest *selftest
	started  time.Time
	maxJails int
	denied   denied

	uid uint32 // may connect, besides root

	listener *net.UnixListener
	slots    chan struct{} // one for each connection
	accepted chan struct{} // closed when serve has returned: no connection comes after that
	conns    sync.WaitGroup

	reloads reloads

	mu       sync.Mutex
	draining bool
	running  map[*job]*progress
}

// serve accepts until the listener is closed.
func (s *server) serve() {
	defer close(s.accepted)
	for {
		uc, err := s.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Out of descriptors, most likely: those in use come back, the listener stays good.
			s.log.Error("accept", "error", err)
			time.Sleep(50 * time.Millisecond)
			continue
		}
		select {
		case s.slots <- struct{}{}:
		default:
			s.conns.Go(func() { s.turnAway(wire.NewConn(uc)) })
			continue
		}
		s.conns.Go(func() {
			defer func() { <-s.slots }()
			s.handle(wire.NewConn(uc))
		})
	}
}

// turnAwayTime bounds how long a connection that is too many is listened to.
const turnAwayTime = time.Second

// turnAway answers a connection for which there is no room. The request is read first: closing with it unread would reset the connection,
// and the answer would be lost.
func (s *server) turnAway(conn *wire.Conn) {
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(turnAwayTime))
	files, err := conn.Recv(&wire.Request{})
	wire.CloseAll(files)
	if err == nil {
		s.reply(conn, &wire.Reply{Error: wire.Errorf(wire.CodeOverloaded, "more than %d connections (twice max_jails)", cap(s.slots))})
	}
}

// handle serves one connection.
func (s *server) handle(conn *wire.Conn) {
	defer conn.Close()
	if err := s.checkPeer(conn); err != nil {
		s.log.Warn("refuse connection", "error", err)
		return
	}
	var req wire.Request
	_ = conn.SetReadDeadline(time.Now().Add(firstPacket))
	files, err := conn.Recv(&req)
	if err != nil {
		var failed *net.OpError
		switch {
		case errors.Is(err, io.EOF):
		case errors.Is(err, wire.ErrTruncated), errors.As(err, &failed): // it came too late, or not whole: nothing is wrong with what it asks for
			s.reply(conn, &wire.Reply{Error: wire.Errorf(wire.CodeNotBegun, "%v", err)})
		default:
			s.reply(conn, &wire.Reply{Error: wire.Errorf(wire.CodeInvalid, "%v", err)})
		}
		return
	}
	defer wire.CloseAll(files)
	_ = conn.SetReadDeadline(time.Time{})
	if err := req.Validate(); err != nil {
		s.reply(conn, &wire.Reply{Error: wire.Errorf(wire.CodeInvalid, "%v", err)})
		return
	}
	switch {
	case req.Job != nil:
		s.handleJob(conn, req.Job, files)
	case req.Forget != nil:
		s.reply(conn, s.forget(req.Forget))
	case req.List != nil:
		s.reply(conn, &wire.Reply{IDs: s.volumes.list(req.List.After, wire.MaxList)})
	case req.Selftest != nil:
		s.reply(conn, &wire.Reply{Checks: s.selftest.run()})
	case req.Status != nil:
		s.reply(conn, &wire.Reply{Status: s.status(req.Status)})
	default:
		s.reply(conn, &wire.Reply{Error: wire.Errorf(wire.CodeInvalid, "kill or signal before a job")})
	}
}

// checkPeer lets root and the configured user in. The socket's mode says the same; this does not depend on it.
func (s *server) checkPeer(conn *wire.Conn) error {
	cred, err := conn.Peer()
	if err != nil {
		return fmt.Errorf("peer credentials: %w", err)
	}
	if cred.Uid != 0 && cred.Uid != s.uid {
		return fmt.Errorf("uid %d (pid %d) is neither root nor the user of apid: set user in sandboxd.toml if it should be", cred.Uid, cred.Pid)
	}
	return nil
}

func (s *server) reply(conn *wire.Conn, r *wire.Reply) {
	// The client may be gone, which is its right.
	_ = conn.Send(r)
}

func (s *server) handleJob(conn *wire.Conn, req *wire.Job, files []*os.File) {
	fds, err := sortFiles(req, files)
	if err != nil {
		s.reply(conn, &wire.Reply{Error: s.wireError(err)})
		return
	}
	if s.pools.all[req.Template] == nil { // before it is listed with those that run: of templates, an operator is shown none but ours
		s.reply(conn, &wire.Reply{Error: wire.Errorf(wire.CodeUnknownTemplate, "no template %q", req.Template)})
		return
	}
	kills := make(chan string, 2)
	answered := make(chan struct{})
	defer close(answered)
	j := &job{server: s, conn: conn, req: req, fds: fds, killed: kills, answered: answered}
	if req.Signals {
		j.signals = newSignals()
	}
	if !s.begin(j) {
		s.reply(conn, &wire.Reply{Error: wire.Errorf(wire.CodeNotBegun, "sandboxd is shutting down")})
		return
	}
	go listen(conn, kills, j.signals)
	result, err := j.run(kills)
	s.end(j)
	if err != nil {
		s.reply(conn, &wire.Reply{Error: s.wireError(err)})
		return
	}
	if result.Limit != hangUp {
		s.reply(conn, &wire.Reply{Result: result})
	}
}

// listen turns what the client says during a job into reasons to kill it. It ends when handle closes the connection.
func listen(conn *wire.Conn, kills chan<- string, signals *signals) {
	for {
		var req wire.Request
		files, err := conn.Recv(&req)
		wire.CloseAll(files)
		if err == nil && req.Signal != nil && req.Validate() == nil && signals != nil {
			signals.add(req.Signal.Number)
			continue
		}
		reason := hangUp // also for whatever breaks the contract
		if err == nil && req.Kill != nil && req.Validate() == nil {
			reason = req.Kill.Limit
		}
		select {
		case kills <- reason:
		default: // two reasons wait already
		}
		if reason == hangUp {
			return
		}
	}
}

// wireError tells the client what it may know; the rest goes to the log.
func (s *server) wireError(err error) *wire.Error {
	var known *wire.Error
	if errors.As(err, &known) {
		return known
	}
	s.log.Error("job", "error", err)
	return wire.Errorf(wire.CodeInternal, "see the log of sandboxd")
}

func (s *server) forget(f *wire.Forget) *wire.Reply {
	ids := f.IDs
	if f.All {
		ids = s.volumes.ids()
	}
	for _, id := range ids {
		if err := s.volumes.forget(id); err != nil {
			s.log.Error("forget", "error", err)
		}
	}
	return &wire.Reply{}
}

func (s *server) begin(j *job) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return false
	}
	s.running[j] = &progress{asked: monotonic()}
	s.pools.jobs.Add(1)
	return true
}

func (s *server) end(j *job) {
	s.mu.Lock()
	delete(s.running, j)
	s.mu.Unlock()
	s.pools.endJob()
}

// drain refuses new jobs, waits for the running ones, and ends those that are not done in time.
func (s *server) drain(patience time.Duration) {
	s.mu.Lock()
	s.draining = true
	s.mu.Unlock()
	s.selftest.cancel()
	s.listener.Close()
	<-s.accepted
	done := make(chan struct{})
	go func() { s.conns.Wait(); close(done) }()
	select {
	case <-done:
		return
	case <-time.After(patience):
	}
	s.mu.Lock()
	s.log.Warn("end running jobs", "jobs", len(s.running))
	for j := range s.running {
		select {
		case j.killed <- hangUp:
		default:
		}
	}
	s.mu.Unlock()
	<-done
}
