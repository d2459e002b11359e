package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"runtime/debug"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/valyala/fasthttp"
)

// stream is the answer to a request that accepts text/event-stream: events as they happen, in the form of the HTML standard, section 9.2.
//
//	compile   the compile stage, as in the plain answer
//	stdout    {"text": ...}, and "text_base64" where text cannot carry the bytes; stderr likewise
//	exit      {"code", "signal", "status"} of the run stage
//	test      {"index", "test"}: one of the request's tests, as in the plain answer
//	result    the plain answer
//	error     in place of result: the body of a refused request
//
// What the program writes waits here until the caller has taken it; the limits of output bound it. A slow caller slows no program down, but
// an interactive one, which sees no more than its caller has.
type stream struct {
	shape func(b []byte, name string, data []byte) []byte // appends one event as this caller reads it
	most  int                                             // bytes that may be pending while the program runs; 0: any number

	mu      sync.Mutex
	room    sync.Cond     // pending was taken, or flowing
	flowing bool          // the program has ended: what is left of its output comes, however much is pending
	begun   chan struct{} // closed by the first event: from then on the status is 200
	more    chan struct{} // there is something pending, or all has ended
	pending pendingEvents
	split   [2][]byte // of stdout and stderr: a character whose end has not been written yet
	started bool
	ended   bool
}

func newStream(shape func(b []byte, name string, data []byte) []byte, most int) *stream {
	e := &stream{shape: shape, most: most, begun: make(chan struct{}), more: make(chan struct{}, 1)}
	e.room.L = &e.mu
	return e
}

const eventStream = "text/event-stream"

// wantsEvents reads Accept. Weights do not matter: who can take events wants them.
func (c *call) wantsEvents() bool {
	for accepted := range strings.SplitSeq(string(c.ctx.Request.Header.Peek(fasthttp.HeaderAccept)), ",") {
		kind, _, _ := strings.Cut(accepted, ";")
		if strings.EqualFold(strings.TrimSpace(kind), eventStream) {
			return true
		}
	}
	return false
}

// pingEvery is how often a comment is sent while nothing happens, for proxies that give silent connections up.
const pingEvery = 10 * time.Second

// stream carries the request out beside its answer. Until the first event it may still be refused like any other.
func (x *execution) stream(release func()) *apiError {
	c := x.call
	x.events = newStream(appendEvent, 0)
	x.onOutput = x.events.output
	ended := make(chan *apiError, 1)
	var taken func() // when ended has come: the caller has what was waiting for it then
	ctx, done := x.whileWanted(c)
	go func() {
		defer release()
		defer done()
		err := x.performSafely(ctx)
		x.events.end()
		made := func() {}
		if err == nil {
			if made, err = x.room(ctx); err != nil {
				made = func() {}
			}
		}
		events := x.unread.hold(c.key.ID, x.events.waiting()) // not before: the room is waited for by who has none
		taken = func() { events(); made() }
		ended <- err
	}()
	ping := time.NewTimer(pingEvery)
	defer ping.Stop()
	silent := false
	select {
	case err := <-ended:
		if err != nil && !x.events.started {
			taken()
			return err
		}
		ended <- err
	case <-x.events.begun:
	case <-ping.C:
		silent = true
	}
	// ctx is fasthttp's again when the caller hangs up, whatever still runs: from here on it is not touched.
	c.detach()
	conn, timeout := c.ctx.Conn(), time.Duration(x.cfg.HTTP.WriteTimeout)
	header := &c.ctx.Response.Header
	header.SetContentType(eventStream)
	header.Set(fasthttp.HeaderCacheControl, "no-store")
	header.Set("X-Accel-Buffering", "no") // nginx
	c.ctx.SetBodyStreamWriter(func(w *bufio.Writer) {
		if silent { // the caller has not had the status yet
			sendPing(w, conn, timeout)
		}
		x.events.copyTo(w, conn, timeout)
		err := <-ended
		defer taken()
		conn.SetWriteDeadline(time.Now().Add(timeout)) // it may have waited
		x.conclude(w, err)
	})
	return nil
}

// performSafely is perform outside the goroutine whose panics serve catches.
func (x *execution) performSafely(ctx context.Context) *apiError {
	return x.safely(func() *apiError { return x.perform(ctx) })
}

func (x *execution) safely(carryOut func() *apiError) (err *apiError) {
	defer func() {
		if p := recover(); p != nil {
			err = internal(fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		}
	}()
	return carryOut()
}

// conclude sends the last event.
func (x *execution) conclude(w *bufio.Writer, err *apiError) {
	name, body := "result", []byte(nil)
	if err == nil {
		body = x.call.timing.appendTo(x.encode())
		x.call.outcome = x.ran.status
	} else {
		name, body = "error", x.call.fail(err)
	}
	x.call.answerBytes += len(body)
	w.Write(appendEvent(nil, name, body))
	w.Flush()
	x.finish(x.call)
}

// appendEvent writes one event. JSON as we write it has no line breaks but one at its end.
func appendEvent(b []byte, name string, data []byte) []byte {
	b = append(b, "event: "...)
	b = append(b, name...)
	b = append(b, "\ndata: "...)
	b = append(b, strings.TrimSuffix(string(data), "\n")...)
	return append(b, "\n\n"...)
}

// emit has a body sent, which nobody changes any more.
func (e *stream) emit(name string, data []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pending.add(name, data)
	e.cameLocked()
}

// emitLater is emit of a body that is made when it is sent.
func (e *stream) emitLater(name string, form func() []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pending.list = append(e.pending.list, pendingEvent{name: name, form: form})
	e.cameLocked()
}

// cameLocked says that there is an event.
func (e *stream) cameLocked() {
	if !e.started {
		e.started = true
		close(e.begun)
	}
	e.wake()
}

// waiting is how much the caller has not taken yet, bytes.
func (e *stream) waiting() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return int64(e.pending.bytes)
}

func (e *stream) wake() {
	select {
	case e.more <- struct{}{}:
	default: // it has yet to look
	}
}

var streamNames = [2]string{"stdout", "stderr"}

// output is told what the program wrote. A character is not split over two events.
func (e *stream) output(which int, data []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for e.most > 0 && e.pending.bytes >= e.most && !e.flowing {
		e.room.Wait()
	}
	data = append(e.split[which], data...)
	whole := len(data) - unfinished(data)
	e.split[which] = append([]byte(nil), data[whole:]...)
	e.emitTextLocked(which, data[:whole])
}

func (e *stream) emitTextLocked(which int, data []byte) {
	if len(data) > 0 {
		e.pending.addOutput(which, data)
		e.cameLocked()
	}
}

// unfinished is the length of the beginning of a character at the end of data, 0 to 3 bytes.
func unfinished(data []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(data); n++ {
		if utf8.RuneStart(data[len(data)-n]) {
			if utf8.FullRune(data[len(data)-n:]) {
				return 0
			}
			return n
		}
	}
	return 0
}

// outputEnds sends what is left of a character that never ended.
func (e *stream) outputEnds() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for which := range e.split {
		e.emitTextLocked(which, e.split[which])
		e.split[which] = nil
	}
}

// exit tells how the program ended.
func (e *stream) exit(ran *stageAnswer) {
	event := struct {
		Code   *int    `json:"code"`
		Signal *string `json:"signal"`
		Status string  `json:"status"`
	}{&ran.code, nil, ran.status}
	if ran.signal != "" {
		event.Code, event.Signal = nil, &ran.signal
	}
	body, _ := json.Marshal(event)
	e.emit("exit", body)
}

// flow lets output in without regard to what is pending.
func (e *stream) flow() {
	e.mu.Lock()
	e.flowing = true
	e.room.Broadcast()
	e.mu.Unlock()
}

// take is some of what is pending, whether the program has ended, and whether that was all that will ever come.
func (e *stream) take() (chunk []byte, ended, all bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	chunk = e.pending.take(e.shape)
	e.room.Broadcast()
	if len(e.pending.list) > 0 {
		e.wake()
		return chunk, e.ended, false
	}
	return chunk, e.ended, e.ended
}

func (e *stream) end() {
	e.mu.Lock()
	e.ended = true
	e.wake()
	e.mu.Unlock()
}

// copyTo sends events until the last one, each within its own time, and what is left at the end within one. It goes on when the caller is gone: the
// job is ended by the hang-up.
func (e *stream) copyTo(w *bufio.Writer, conn net.Conn, timeout time.Duration) {
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	for last := false; ; {
		chunk, ended, all := e.take()
		if !last {
			conn.SetWriteDeadline(time.Now().Add(timeout))
			last = ended
		}
		if len(chunk) > 0 {
			w.Write(chunk)
			w.Flush()
		}
		if all {
			return
		}
		select {
		case <-e.more:
		case <-ping.C:
			if last { // there is more
				continue
			}
			sendPing(w, conn, timeout)
		}
	}
}

// sendPing sends a comment, and what goes before it.
func sendPing(w *bufio.Writer, conn net.Conn, timeout time.Duration) {
	conn.SetWriteDeadline(time.Now().Add(timeout))
	w.WriteString(": the program runs\n\n")
	w.Flush()
}
