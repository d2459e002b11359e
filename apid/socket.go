package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/valyala/fasthttp"
)

// Interactive execution: a WebSocket carries one request, then what the caller sends to the program and what the program writes.
//
//	caller                                   apid
//	  the body of POST /v1/execute  ------>
//	  input, signals                ------>  console: window, pipe, program
//	                                <------  events, as stream makes them, one a message
//	                                <------  the last event, close
//	  close, or hang up             ------>  the job is killed

// dialect is the language of one route.
type dialect struct {
	begin   func(s *server, c *call, body []byte) (*plan, *apiError)
	shape   func(b []byte, name string, data []byte) []byte // appends an event as lines, of which each is a message
	message func(body []byte) (message, *apiError)
	ending  func(err *apiError) (code int, reason string, alone bool) // of the close frame; alone: it tells the error, and no event does
}

const (
	maxMessage = 1 << 20         // bytes of a message after the first
	mostUnsent = 256 << 10       // bytes of events that wait for the caller before its program does
	socketPing = 3 * time.Second // how often; it also tells of a caller that left behind input that nobody reads: its machine answers with a reset
	closeWait  = 5 * time.Second // for the caller's close after ours
	protocol   = "runtools"      // what a caller that sends its key as a subprotocol offers besides
	keyOffer   = "runtools.key." // of that key
)

// upgrader leaves the Origin alone. Checking it protects a server that knows its callers by cookies, which a browser adds by itself whatever page
// asks; ours must name their key, which no foreign page has. So a page of any origin may use a key that it was given.
var upgrader = websocket.FastHTTPUpgrader{
	HandshakeTimeout: closeWait,
	CheckOrigin:      func(*fasthttp.RequestCtx) bool { return true },
	Subprotocols:     []string{protocol},
	Error:            func(*fasthttp.RequestCtx, int, error) {}, // openSocket answers
}

// executeSocket is GET /v1/execute/ws.
func (s *server) executeSocket(c *call) *apiError {
	return s.openSocket(c, &dialect{begin: (*server).beginInteractive, shape: appendMessage, message: decodeMessage, ending: normalEnding})
}

// openSocket answers 101; the conversation goes on when this call has ended.
func (s *server) openSocket(c *call, d *dialect) *apiError {
	if s.draining.Load() { // its 101 would say "Connection: close", which is no handshake
		return errShuttingDown
	}
	if err := s.unread.admit(c.key.ID); err != nil {
		return err
	}
	err := upgrader.Upgrade(c.ctx, func(ws *websocket.Conn) { s.converse(c, ws, d) })
	if err != nil {
		c.ctx.Response.Header.Set(fasthttp.HeaderUpgrade, "websocket")
		refused := refuse(errUpgrade, "want a WebSocket: Upgrade: websocket, Connection: Upgrade, Sec-WebSocket-Version: 13 and Sec-WebSocket-Key")
		refused.cause = err
		return refused
	}
	c.detach()
	c.status = fasthttp.StatusSwitchingProtocols
	return nil
}

// socketKey is the key of a caller that cannot set headers, as a page in a browser: it offers it as a subprotocol. Not in the query: addresses are
// kept in the logs of every proxy on the way, and in a browser's history.
func (c *call) socketKey() []byte {
	for offered := range strings.SplitSeq(string(c.ctx.Request.Header.Peek(fasthttp.HeaderSecWebSocketProtocol)), ",") {
		if key, ok := strings.CutPrefix(strings.TrimSpace(offered), keyOffer); ok {
			return []byte(key)
		}
	}
	return nil
}

// conversation is one WebSocket.
type conversation struct {
	*execution
	*dialect
	ws *websocket.Conn
}

// converse is the life of a WebSocket. It owns the connection, which is closed when it returns.
func (s *server) converse(c *call, ws *websocket.Conn, d *dialect) {
	events := newStream(d.shape, mostUnsent)
	x := &conversation{execution: &execution{server: s, call: c, events: events, onOutput: events.output}, dialect: d, ws: ws}
	s.conversations.Add(1)
	release, err := x.readRequest()
	if err != nil {
		x.conclude(err)
		s.conversations.Add(-1) // no shutdown waits for what it still sends
		switch {
		case err == errShuttingDown: // which broke off a message, so that no other can be found
			conn := x.conn()
			conn.SetReadDeadline(time.Now().Add(closeWait))
			io.Copy(io.Discard, conn)
		case err.code != errGone:
			x.drain()
		}
		return
	}
	defer s.conversations.Add(-1)
	ctx, cancel := context.WithCancelCause(s.jobs)
	defer cancel(nil)
	// For the time when nobody reads, because the program does not.
	defer s.hangups.watch(x.conn(), cancel)()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		cancel(x.listen())
	}()
	ended := make(chan *apiError, 1)
	made := func() {}
	go func() {
		defer release()
		err := x.performSafely(ctx)
		x.console.end()
		events.flow()
		events.end()
		if err == nil {
			if room, refused := x.room(ctx); refused == nil {
				made = room
			} else {
				err = refused
			}
		}
		ended <- err
	}()
	x.sendEvents(cancel)
	x.conclude(<-ended)
	made()
	ws.SetReadDeadline(time.Now().Add(closeWait))
	<-gone
	x.drain()
}

// conn is the connection below fasthttp's own.
func (x *conversation) conn() net.Conn {
	return x.ws.NetConn().(interface{ UnsafeConn() net.Conn }).UnsafeConn()
}

// drain reads what the caller was still sending: closing on it would reset the connection, and take the last event with it.
func (x *conversation) drain() {
	x.ws.SetReadDeadline(time.Now().Add(closeWait))
	for {
		if _, _, err := x.ws.NextReader(); err != nil {
			return
		}
	}
}

// readRequest takes the first message, which counts against the memory for bodies as the body of a POST does.
func (x *conversation) readRequest() (release func(), err *apiError) {
	x.visitors.changed(x.conn(), fasthttp.StateActive) // until it is here, the connection gives way like any other
	x.ws.SetReadDeadline(time.Now().Add(time.Duration(x.cfg.HTTP.ReadTimeout)))
	conn := x.conn() // not x.ws, whose connection is another's when this one has ended
	defer context.AfterFunc(x.arrivals, func() { conn.SetReadDeadline(time.Now()) })()
	kind, stream, wsErr := x.ws.NextReader()
	if wsErr != nil {
		var netErr net.Error
		timeout := errors.As(wsErr, &netErr) && netErr.Timeout()
		if timeout && x.arrivals.Err() != nil {
			return nil, errShuttingDown
		}
		if timeout {
			refused := refuse(errInvalidJSON, "the first message did not arrive within %v", time.Duration(x.cfg.HTTP.ReadTimeout))
			refused.cause = errSilence
			return nil, refused
		}
		return nil, errHungUp
	}
	if kind != websocket.TextMessage {
		return nil, errBinary
	}
	buf := new(bytes.Buffer)
	r := bodyReader{budget: x.bodies, keyID: x.call.key.ID, buf: buf, length: -1, most: x.cfg.HTTP.MaxBodyBytes}
	release = func() { x.bodies.giveBack(r.keyID, r.held) }
	if err := r.read(stream); err != nil {
		release()
		if x.arrivals.Err() != nil {
			return nil, errShuttingDown
		}
		return nil, err.describe(time.Duration(x.cfg.HTTP.ReadTimeout))
	}
	if v, ok := x.conn().(*visitor); ok {
		if err := v.served(x.call.key.ID); err != nil {
			release()
			return nil, err
		}
	}
	x.ws.SetReadDeadline(time.Time{}) // a program may wait for its caller as long as it may run
	x.call.bodyBytes = buf.Len()
	if err = x.safely(func() (err *apiError) { x.plan, err = x.begin(x.server, x.call, buf.Bytes()); return err }); err != nil {
		release()
		return nil, err
	}
	x.events.emit(eventBegin, beginning(x.plan.runtime))
	x.console = newConsole(x.events, x.bodies, x.call.key.ID, x.plan.stdin)
	x.plan.stdin = nil
	if x.plan.terminal != nil {
		x.console.terminal = *x.plan.terminal
	}
	return release, nil
}

// errSilence is why nothing was understood: nothing came.
var errSilence = errors.New("silence")

var errBinary = refuse(errInvalidJSON, "want text messages with JSON in them, not binary ones; bytes that are not text go as base64")

// listen carries out what the caller sends, until it leaves or breaks the rules, and says why.
func (x *conversation) listen() error {
	for {
		kind, r, err := x.ws.NextReader()
		if err != nil {
			return errHungUp
		}
		if kind != websocket.TextMessage {
			return errBinary
		}
		body, err := io.ReadAll(io.LimitReader(r, maxMessage+1))
		switch {
		case err != nil:
			return errHungUp
		case len(body) > maxMessage:
			return refuse(errTooLarge, "a message has more than %d bytes: split the input", maxMessage)
		}
		var m message
		if refused := x.safely(func() (err *apiError) { m, err = x.message(body); return err }); refused != nil {
			return refused
		}
		x.obey(m)
	}
}

func (x *conversation) obey(m message) {
	if len(m.stdin) > 0 {
		x.console.write(m.stdin)
	}
	if m.stdinClose {
		x.console.closeInput()
	}
	if m.signal != 0 {
		x.console.signal(m.signal)
	}
	if m.resize.Cols != 0 && x.plan.terminal != nil {
		x.console.resize(m.resize)
	}
}

// sendEvents sends all but the last event, each within its own time. When that fails the job ends.
func (x *conversation) sendEvents(cancel context.CancelCauseFunc) {
	ping := time.NewTicker(socketPing)
	defer ping.Stop()
	for failed := error(nil); ; {
		chunk, _, all := x.events.take()
		if failed == nil {
			if failed = x.send(chunk); failed != nil {
				cancel(errHungUp)
			}
		}
		if all {
			return
		}
		select {
		case <-x.events.more:
		case <-ping.C:
			x.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(time.Duration(x.cfg.HTTP.WriteTimeout)))
		}
	}
}

// send sends each line as a message.
func (x *conversation) send(lines []byte) error {
	for line := range bytes.Lines(lines) {
		x.ws.SetWriteDeadline(time.Now().Add(time.Duration(x.cfg.HTTP.WriteTimeout)))
		if err := x.ws.WriteMessage(websocket.TextMessage, bytes.TrimSuffix(line, []byte("\n"))); err != nil {
			return err
		}
	}
	return nil
}

// conclude sends the last event and closes.
func (x *conversation) conclude(err *apiError) {
	defer x.finish(x.call)
	if err != nil && err.code == errGone {
		x.call.fail(err)
		return
	}
	name, body := "result", []byte(nil)
	if err == nil {
		body = x.encode()
		x.call.outcome = x.ran.status
	} else {
		name, body = "error", x.call.fail(err)
	}
	x.call.answerBytes += len(body)
	code, reason, alone := x.ending(err)
	if alone || x.send(x.shape(nil, name, body)) == nil {
		x.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Now().Add(closeWait))
	}
}

// beginInteractive makes the plan of a first message.
func (s *server) beginInteractive(c *call, body []byte) (*plan, *apiError) {
	p, err := s.understand(c, body)
	if err == nil && p.tests != nil {
		err = invalidField("tests", "cannot be run interactively; send them to POST /v1/execute")
	}
	if err == nil && p.repeat > 0 {
		err = invalidField("repeat", "cannot be run interactively; send it to POST /v1/execute")
	}
	return p, err
}

// appendMessage makes one line of an event.
func appendMessage(b []byte, name string, data []byte) []byte {
	if name == eventBegin {
		return b
	}
	b = append(b, `{"type":"`...)
	b = append(b, name...)
	b = append(b, `","data":`...)
	b = append(b, bytes.TrimSuffix(data, []byte("\n"))...)
	return append(b, "}\n"...)
}

func normalEnding(err *apiError) (code int, reason string, alone bool) {
	if err == errShuttingDown || err == errCutOff {
		return websocket.CloseServiceRestart, err.message, false
	}
	return websocket.CloseNormalClosure, "", false
}
