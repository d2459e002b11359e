package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/valyala/fasthttp"

	"github.com/runtools/runtools/pkg/wire"
)

// call is one HTTP request and what the log will say of it. It ends with the request, like everything that ctx lends out.
type call struct {
	ctx     *fasthttp.RequestCtx
	id      string
	started time.Time
	route   string // "": none
	target  string // what the address has for {id}
	file    string // and for {path}
	key     *key   // nil: no key was needed or none was valid
	timing  timing

	language, version string // once known
	outcome           string // status of the run stage, or code of the error
	failure           *apiError
	bodyBytes         int

	method              string
	status, answerBytes int  // of the answer
	detached            bool // ctx is not ours any more, and the answer is still being sent
}

// timing is where the time went, for Server-Timing, the log and the metrics.
type timing struct {
	auth, queue, checkout, files, compile, run, collect time.Duration
}

// add takes over what sandboxd and the pipes measured for one job.
func (t *timing) add(out *jobOutput) {
	t.checkout += time.Duration(out.result.CheckoutNS)
	t.files += time.Duration(out.result.FilesNS)
	t.collect += out.collect
}

// phase is one part of the timing under its public name.
type phase struct {
	name string
	took time.Duration
}

func (t *timing) phases() [7]phase {
	return [...]phase{
		{"auth", t.auth}, {"queue", t.queue}, {"checkout", t.checkout}, {"files", t.files},
		{"compile", t.compile}, {"run", t.run}, {"collect", t.collect},
	}
}

// serverTiming is the value of the header.
func (t *timing) serverTiming() []byte {
	b := make([]byte, 0, 160)
	for i, p := range t.phases() {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(b, p.name...)
		b = append(b, ";dur="...)
		b = appendMilliseconds(b, p.took)
	}
	return b
}

// appendTo adds the phases to an answer whose headers are sent already.
func (t *timing) appendTo(answer []byte) []byte {
	b := append(bytes.TrimSuffix(answer, []byte("}\n")), `,"timing":{`...)
	for i, p := range t.phases() {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '"')
		b = append(b, p.name...)
		b = append(b, `":`...)
		b = appendMilliseconds(b, p.took)
	}
	return append(b, "}}\n"...)
}

// maxRequestID bounds the callers' own ids, in bytes.
const maxRequestID = 64

func newCall(ctx *fasthttp.RequestCtx) *call {
	c := &call{ctx: ctx, started: time.Now(), method: string(ctx.Method())}
	if id := ctx.Request.Header.Peek("X-Request-Id"); validRequestID(id) {
		c.id = string(id)
	} else {
		c.id = uuid.NewString()
	}
	ctx.Response.Header.Set("X-Request-Id", c.id)
	return c
}

// isPiston says that the caller speaks Piston's API.
func (c *call) isPiston() bool { return strings.HasPrefix(c.route, "/api/v2/") }

// validRequestID lets a caller trace a request through its own systems and keeps everything else out of our log.
func validRequestID(id []byte) bool {
	if len(id) == 0 || len(id) > maxRequestID {
		return false
	}
	for _, c := range id {
		if !isNameByte(c) {
			return false
		}
	}
	return true
}

// label is what the operator of sandboxd is shown beside the jobs of this call: key and request, as they are in our log. A key's id is no secret.
func (c *call) label() string { return lastBytes(c.key.ID + " " + c.id) }

// account is on whose account the jobs of this call run: keys that run some at one time share the CPU.
func (c *call) account() string { return lastBytes(c.key.ID) }

// lastBytes of a name are as many as sandboxd takes: an operator may have written a long id into the file of keys. The end tells more: a label ends with
// the request's id.
func lastBytes(name string) string { return name[max(0, len(name)-wire.MaxLabel):] }

// reply answers 200 with a JSON body that nobody changes any more.
func (c *call) reply(body []byte) {
	h := &c.ctx.Response.Header
	h.SetContentType("application/json")
	if c.timing.run > 0 || c.timing.compile > 0 {
		h.SetBytesV("Server-Timing", c.timing.serverTiming())
	}
	c.answerBytes = len(body)
	c.ctx.Response.SetBodyRaw(body)
}

// detach lets the answer outlive ctx; who sends it calls finish.
func (c *call) detach() {
	c.status, c.detached = fasthttp.StatusOK, true
}

// refuse answers with an error.
func (c *call) refuse(err *apiError) {
	body := c.fail(err)
	r := &c.ctx.Response
	r.SetStatusCode(httpStatus[err.code])
	r.Header.SetContentType("application/json")
	switch err.code {
	case errUnauthorized:
		r.Header.Set(fasthttp.HeaderWWWAuthenticate, "Bearer")
	case errRateLimited, errOverloaded, errInterrupted:
		r.Header.Set(fasthttp.HeaderRetryAfter, retryAfter)
	case errGone, errTooLarge:
		c.ctx.SetConnectionClose()
	}
	if err.code != errGone {
		c.discardBody()
	}
	c.answerBytes = len(body)
	r.SetBodyRaw(body)
}

// fail records an error and makes the body that tells of it.
func (c *call) fail(err *apiError) []byte {
	c.failure, c.outcome = err, string(err.code)
	if c.isPiston() {
		encoded, _ := json.Marshal(map[string]string{"message": err.said()})
		return append(encoded, '\n')
	}
	return err.body(c.id)
}

// arrived says that the whole request is there, and its key is valid, so that its connection gives way to no other any more.
func (c *call) arrived() *apiError {
	if v, ok := c.ctx.Conn().(*visitor); ok {
		return v.served(c.key.ID)
	}
	return nil
}

// finish writes the one line of the log and counts. Never code, never output, never a key.
func (s *server) finish(c *call) {
	if !c.detached {
		c.status = c.ctx.Response.StatusCode()
	}
	s.metrics.count(c)
	level := slog.LevelInfo
	switch {
	case c.failure != nil && c.failure.code == errInternal:
		level = slog.LevelError
	case c.route == "/healthz" || c.route == "/readyz":
		level = slog.LevelDebug // a line for every probe would drown the rest
	case c.failure != nil && errors.Is(c.failure.cause, wire.ErrVersion):
		level = slog.LevelError // the caller may try again, but nothing will change until the operator does something
	}
	if !s.log.Enabled(context.Background(), level) {
		return
	}
	attrs := make([]slog.Attr, 0, 16)
	attrs = append(attrs, slog.String("id", c.id), slog.String("method", c.method), slog.String("route", c.route),
		slog.Int("status", c.status), slog.Duration("took", time.Since(c.started)))
	if c.key != nil {
		attrs = append(attrs, slog.String("key", c.key.ID))
	}
	if c.language != "" {
		attrs = append(attrs, slog.String("language", c.language), slog.String("version", c.version))
	}
	if c.outcome != "" {
		attrs = append(attrs, slog.String("outcome", c.outcome))
	}
	if c.timing.run > 0 || c.timing.compile > 0 {
		attrs = append(attrs, slog.String("phases", string(c.timing.serverTiming())))
	}
	attrs = append(attrs, slog.String("bytes", strconv.Itoa(c.bodyBytes)+"/"+strconv.Itoa(c.answerBytes)))
	if c.failure != nil {
		if c.failure.field != "" {
			attrs = append(attrs, slog.String("field", c.failure.field))
		}
		if c.failure.cause != nil {
			attrs = append(attrs, slog.String("cause", c.failure.cause.Error()))
		}
	}
	s.log.LogAttrs(context.Background(), level, "request", attrs...)
}
