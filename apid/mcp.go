package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/google/uuid"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/valyala/fasthttp"

	"github.com/runtools/runtools/mcptools"
	"github.com/runtools/runtools/pkg/client"
)

// The Model Context Protocol over HTTP (its "streamable HTTP transport"): the tools of `runtools mcp` at one address, with the same keys.
//
// A tool is a caller of ours like any other. It sends its requests, under the key that came with the message, through a pipe in memory to this
// same server, so that the queue, the limits, hanging up, the log and the metrics are those of /v1. The log has a line for the message and one for
// each request that it led to, under one id.
//
// Each message stands for itself: nothing is remembered between messages, and a restart loses nothing. The answer is one JSON body and not
// events, which the protocol leaves to the server: our tools have one thing to say, at the end. GET, by which a client asks for messages of
// the server's own, is answered 405 as the protocol wants it. The session id of the protocol opens nothing: it only tells the calls of two clients
// apart that share a key, when one of them cancels its own (mcpCalls).
//
// A page in a browser that has its name lead to this address (DNS rebinding) gets no further than any stranger: no browser adds the header
// Authorization by itself, unlike cookies.

// mcpCopies is how often the body of a message is in memory until the request that it asks for has been sent: as it came, as the
// SDK reads it (twice), its arguments, their strings, and the request.
const mcpCopies = 6

// mcp is POST /mcp.
func (s *server) mcp(c *call) *apiError {
	if err := s.unread.admit(c.key.ID); err != nil {
		return err
	}
	body, release, err := s.readBody(c)
	if err != nil {
		return err
	}
	defer release()
	copies := int64(len(body)) * (mcpCopies - 1)
	if err := s.bodies.reserve(c.key.ID, copies); err != nil {
		return (&bodyError{err: err}).describe(0)
	}
	defer s.bodies.giveBack(c.key.ID, copies)
	if bytes.HasPrefix(bytes.TrimSpace(body), []byte("[")) {
		// A batch would hold all its answers until the last is there. The protocol gave them up in its version of 2025-06-18.
		return refuse(errBadRequest, "batches are not taken; send one message in a request")
	}
	if err := boundShape(body); err != nil {
		return err
	}
	message := readMessage(c, body)
	if message.method == "notifications/cancelled" {
		s.mcpCalls.cancel(message.name)
	}
	ctx, done := s.whileWanted(c)
	defer done()
	if message.method == "tools/call" {
		var ended func()
		ctx, ended = s.mcpCalls.begin(ctx, message.name)
		defer ended()
	}
	answer, failure := s.answerMessage(ctx, c, body)
	switch {
	case context.Cause(ctx) == errCancelled:
		c.ctx.SetStatusCode(fasthttp.StatusAccepted) // who cancelled wants no answer
		return nil
	case ctx.Err() != nil:
		return contextError(ctx)
	case failure != nil:
		return internal(failure)
	}
	if kind := answer.header.Get(fasthttp.HeaderContentType); kind == "application/json" {
		s.unread.reply(c, shortRefusal(answer.body.Bytes()))
	} else { // a refusal in plain text
		c.ctx.Response.SetBodyString(cut(answer.body.String(), mostSaid))
		c.ctx.Response.Header.SetContentType(kind)
	}
	c.ctx.SetStatusCode(answer.status)
	if message.method == "initialize" {
		c.ctx.Response.Header.Set(mcpSession, uuid.NewString())
	}
	return nil
}

// What a message may look like. The SDK reads parts of it into values of any type before it knows what they are for: 200 bytes of memory for each `[],`,
// and each level of nesting is read again from its start (segmentio/encoding, decodeInterface). The largest message of use is a program of 1,000 files.
const (
	mcpDepth  = 32
	mcpValues = 50_000
)

// boundShape refuses a message of more values or levels, in one pass. Whether it is JSON at all is for others to say.
func boundShape(body []byte) *apiError {
	depth, values := 0, 0
	for i := 0; i < len(body); i++ {
		switch body[i] {
		case '"':
			for i++; i < len(body) && body[i] != '"'; i++ {
				if body[i] == '\\' {
					i++
				}
			}
		case '[', '{':
			depth++
			values++
		case ']', '}':
			depth--
		case ',':
			values++
		}
		if depth > mcpDepth || values > mcpValues {
			return refuse(errBadRequest, "a message may have %d values, nested %d deep; send large input as one string", mcpValues, mcpDepth)
		}
	}
	return nil
}

// shortRefusal cuts an answer that refuses a message, which the SDK has repeat what was wrong with it, however long. The id of such a message, which is the
// client's as well, is left out if it is long: the protocol has null for that.
func shortRefusal(answer []byte) []byte {
	if len(answer) <= mostSaid {
		return answer
	}
	type refusal struct {
		Code    int64  `json:"code"`
		Message string `json:"message"`
	}
	var said struct {
		Version string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"`
		Error   *refusal        `json:"error"`
	}
	if json.Unmarshal(answer, &said) != nil || said.Error == nil {
		return answer
	}
	if said.Error.Message = cut(said.Error.Message, mostSaid); len(said.ID) > mostField {
		said.ID = nil
	}
	short, _ := json.Marshal(said)
	return short
}

// mcpSession is the header in which a client repeats the id that it was given.
const mcpSession = "Mcp-Session-Id"

// callName tells calls apart. A client numbers its own, so the number alone says nothing; the key comes from us.
type callName struct{ key, session, id string }

// mcpMessage is what apid itself must know of one: for a cancellation, name is that of the call it means.
type mcpMessage struct {
	method string
	name   callName
}

func readMessage(c *call, body []byte) mcpMessage {
	var m struct {
		Method string          `json:"method"`
		ID     json.RawMessage `json:"id"`
		Params struct {
			RequestID json.RawMessage `json:"requestId"`
		} `json:"params"`
	}
	_ = json.Unmarshal(body, &m) // what is wrong with it the SDK says
	id := m.ID
	if m.Method == "notifications/cancelled" {
		id = m.Params.RequestID
	}
	session := string(c.ctx.Request.Header.Peek(mcpSession))
	return mcpMessage{m.Method, callName{c.key.ID, session, string(id)}}
}

// mcpCalls are the calls of tools that run. Clients of the protocol before 2026-07-28 cancel one by another message and leave the request open.
type mcpCalls struct {
	mu      sync.Mutex
	running map[callName]*context.CancelCauseFunc
}

var errCancelled = errors.New("the client cancelled the call")

// begin makes a call known until ended is called. A client that uses a number twice can cancel the later one.
func (m *mcpCalls) begin(parent context.Context, name callName) (ctx context.Context, ended func()) {
	ctx, cancel := context.WithCancelCause(parent)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.running == nil {
		m.running = map[callName]*context.CancelCauseFunc{}
	}
	m.running[name] = &cancel
	return ctx, func() {
		cancel(nil)
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.running[name] == &cancel {
			delete(m.running, name)
		}
	}
}

func (m *mcpCalls) cancel(name callName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if cancel := m.running[name]; cancel != nil {
		(*cancel)(errCancelled)
		delete(m.running, name)
	}
}

// answerMessage has the SDK answer one message.
func (s *server) answerMessage(ctx context.Context, c *call, body []byte) (*mcpAnswer, error) {
	header := make(http.Header)
	for name, value := range c.ctx.Request.Header.All() {
		header.Add(string(name), string(value))
	}
	header.Set(fasthttp.HeaderContentType, "application/json") // as which checkMediaType has taken it
	_, key, _ := strings.Cut(header.Get(fasthttp.HeaderAuthorization), " ")
	caller, err := client.New("http://apid", key) // no host: see dialSelf
	if err != nil {
		return nil, err
	}
	caller.HTTP = &http.Client{Transport: &ownCalls{ctx, c.id, &http.Transport{DialContext: s.dialSelf, DisableKeepAlives: true},
		func(size int64) func() { return s.unread.hold(c.key.ID, size) }}}
	caller.UserAgent = "runtools-mcp"
	tools := mcptools.New(caller, nil)
	message, err := http.NewRequestWithContext(ctx, c.method, "http://apid"+c.route, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	message.Header = header
	answer := &mcpAnswer{header: make(http.Header), status: http.StatusOK}
	mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return tools }, &mcp.StreamableHTTPOptions{
		Stateless: true, JSONResponse: true, MaxRequestBodyBytes: s.cfg.HTTP.MaxBodyBytes, PropagateRequestCancellation: true,
	}).ServeHTTP(answer, message)
	return answer, nil
}

// mcpAnswer takes what the SDK answers. It implements [http.ResponseWriter].
type mcpAnswer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *mcpAnswer) Header() http.Header         { return a.header }
func (a *mcpAnswer) WriteHeader(status int)      { a.status = status }
func (a *mcpAnswer) Write(b []byte) (int, error) { return a.body.Write(b) }

// ownCalls sends the requests of one message to ourselves: they end with the message, when its caller hangs up too, and have its id in the log.
type ownCalls struct {
	message context.Context
	id      string
	self    *http.Transport
	hold    func(size int64) (release func())
}

func (o *ownCalls) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(o.message)
	r.Header.Set("X-Request-Id", o.id)
	answer, err := o.self.RoundTrip(r)
	if err == nil { // it is read as a whole, and does not count as an answer any more when it is read
		context.AfterFunc(o.message, o.hold(answer.ContentLength))
	}
	return answer, err
}

// dialSelf connects to this server without an address of it, which may be one that only others can reach, and without descriptors, of which there are
// those for the connections that visitors count.
func (s *server) dialSelf(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	gone, hangUp := context.WithCancel(context.Background())
	go s.http.ServeConn(&ownConn{theirs, gone, func() {}}) // to its end, which comes when ours is closed
	return &ownConn{ours, gone, hangUp}, nil
}

// ownConn is a half of a connection to ourselves.
type ownConn struct {
	net.Conn
	gone   context.Context // ends when the caller's half is closed
	hangUp func()
}

func (c *ownConn) Close() error {
	c.hangUp()
	return c.Conn.Close()
}
