package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/runtools/runtools/pkg/lang"
	"github.com/runtools/runtools/pkg/wire"
	"github.com/valyala/fasthttp"
)

// server is one apid.
type server struct {
	cfg        *config
	log        *slog.Logger
	langs      *lang.Set
	keys       *keyring
	sandbox    *wire.Client
	queue      *queue
	sessions   *sessions
	packer     packer
	cache      *compileCache
	executions *executions
	webhooks   *webhooks
	forgetter  *forgetter
	hangups    *hangups
	visitors   *visitors
	metrics    *metrics
	readiness  readiness
	http       *fasthttp.Server

	runtimes []byte           // the answer to GET /v1/execute/runtimes
	document []byte           // to GET /openapi.json
	pages    map[string]*page // of the playground, by path; none if it is off
	bodies   *bodyBudget
	unread   *unread
	mcpCalls mcpCalls
	draining atomic.Bool

	conversations atomic.Int64 // WebSockets, and executions that nobody waits for: a shutdown does

	jobs        context.Context // ends when running jobs must
	endJobs     context.CancelCauseFunc
	arrivals    context.Context // ends before: when WebSockets need not wait for a request any more
	endArrivals context.CancelFunc
}

// mostHeaders bounds a request's first line and headers, bytes: browsers send the cookies of all servers of a host, whatever their ports. Each connection
// has a buffer of that size.
const mostHeaders = 8 << 10

// sandboxdRestart is longer than a restart of sandboxd takes that has no jobs to wait for: requests that come meanwhile are only late.
const sandboxdRestart = 2 * time.Second

func newServer(cfg *config, langs *lang.Set, log *slog.Logger) (*server, error) {
	hangups, err := newHangups()
	if err != nil {
		return nil, fmt.Errorf("watch connections: %w", err)
	}
	s := &server{
		cfg: cfg, log: log, langs: langs, hangups: hangups,
		keys:    newKeyring(cfg.Keys, log),
		sandbox: &wire.Client{Path: cfg.SandboxdSocket, Patience: sandboxdRestart},
		queue:   newQueue(cfg.Queue),
	}
	s.bodies = newBodyBudget(cfg.HTTP.MaxBodiesBytes, cfg.HTTP.MaxBodyBytes+1)
	s.unread = newUnread(cfg.HTTP.MaxUnreadBytes)
	s.jobs, s.endJobs = context.WithCancelCause(context.Background())
	s.arrivals, s.endArrivals = context.WithCancel(s.jobs)
	s.forgetter = newForgetter(s.sandbox, log)
	s.sessions = newSessions(cfg.Sessions, s.forgetter.add)
	s.cache = newCompileCache(cfg.Cache, s.forgetter.add)
	s.executions = newExecutions(cfg.Executions, cfg.Webhooks.PerKey)
	s.webhooks = newWebhooks(cfg.Webhooks)
	s.visitors = newVisitors(connectionsFor(cfg, log), log)
	s.metrics = newMetrics(s)
	if s.runtimes, err = encodeRuntimes(langs); err != nil {
		return nil, err
	}
	if s.document, err = describeAPI(cfg); err != nil {
		return nil, err
	}
	if cfg.Playground {
		if s.pages, err = loadPages(); err != nil {
			return nil, err
		}
	}
	s.http = &fasthttp.Server{
		Handler:       s.serve,
		ErrorHandler:  s.serveUnreadable,
		ExpectHandler: s.mayContinue,
		Logger:        quietLogger{log},
		// The key is checked before the body is read: a stranger can make us hold 8 KiB and no more.
		StreamRequestBody:            true,
		DisablePreParseMultipartForm: true,
		MaxRequestBodySize:           int(cfg.HTTP.MaxBodyBytes),
		// visitors bound the connections, and answer those that are too many in our own words.
		Concurrency: math.MaxInt32,
		ConnState:   s.visitors.changed,
		// A header comes in one packet or so; only a body may need the longer time.
		ReadTimeout:           time.Duration(cfg.HTTP.HeaderTimeout),
		HeaderReceived:        s.headerReceived,
		WriteTimeout:          time.Duration(cfg.HTTP.WriteTimeout),
		IdleTimeout:           time.Duration(cfg.HTTP.IdleTimeout),
		ReadBufferSize:        mostHeaders,
		NoDefaultServerHeader: true,
		NoDefaultContentType:  true,
		CloseOnShutdown:       true,
	}
	return s, nil
}

// serve answers one request, whatever happens in it.
func (s *server) serve(ctx *fasthttp.RequestCtx) {
	c := newCall(ctx)
	defer func() {
		if !c.detached {
			s.finish(c)
		}
	}()
	defer func() {
		if p := recover(); p != nil {
			c.refuse(internal(fmt.Errorf("panic: %v\n%s", p, debug.Stack())))
		}
	}()
	if err := s.dispatch(c); err != nil {
		c.refuse(err)
	}
}

// authenticate finds the key of the request.
func (s *server) authenticate(c *call) *apiError {
	defer func() { c.timing.auth = time.Since(c.started) }()
	offered := c.offeredKey()
	if len(offered) == 0 {
		return refuse(errUnauthorized, "want the header Authorization: Bearer <key>")
	}
	if c.key = s.keys.find(offered); c.key == nil {
		return refuse(errUnauthorized, "the key is not valid")
	}
	return nil
}

// offeredKey is what the request says that its key is, or nothing.
func (c *call) offeredKey() []byte {
	const scheme = "bearer "
	header := c.ctx.Request.Header.Peek(fasthttp.HeaderAuthorization)
	switch {
	case len(header) > len(scheme) && strings.EqualFold(string(header[:len(scheme)]), scheme):
		return bytes.TrimLeft(header[len(scheme):], " ")
	case c.isPiston() && !bytes.Contains(header, []byte(" ")): // its clients send the bare key
		return header
	case len(header) == 0 && websocket.FastHTTPIsWebSocketUpgrade(c.ctx):
		return c.socketKey()
	}
	return nil
}

// whileWanted ends when the caller hangs up, or when running jobs must end.
func (s *server) whileWanted(c *call) (ctx context.Context, done func()) {
	ctx, cancel := context.WithCancelCause(s.jobs)
	stop := s.hangups.watch(c.ctx.Conn(), cancel)
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// mayContinue answers a caller that sent "Expect: 100-continue", as curl does before a large body: one that will be refused by POST /v1/execute is
// spared the sending. The other routes refuse when the body comes.
func (s *server) mayContinue(ctx *fasthttp.RequestCtx) int {
	if string(ctx.URI().PathOriginal()) != pathExecute {
		return fasthttp.StatusContinue
	}
	c := newCall(ctx)
	c.route = pathExecute
	err := s.authenticate(c)
	if err == nil {
		err = s.bodyChecks(c)
	}
	if err == nil {
		return fasthttp.StatusContinue
	}
	c.refuse(err)
	s.finish(c)
	return httpStatus[err.code]
}

// headerReceived gives the body its time.
func (s *server) headerReceived(*fasthttp.RequestHeader) fasthttp.RequestConfig {
	return fasthttp.RequestConfig{ReadTimeout: time.Duration(s.cfg.HTTP.ReadTimeout)}
}

// serveUnreadable answers what is not a request, or not all of one.
func (s *server) serveUnreadable(ctx *fasthttp.RequestCtx, err error) {
	if v, ok := ctx.Conn().(*visitor); ok {
		if v.silent() {
			v.Close() // a connection that a client keeps in reserve: an answer would be taken for that to its first request
			return
		}
		v.giveUp()
	}
	c := newCall(ctx)
	refused := refuse(errBadRequest, "this is not an HTTP request that can be read")
	var netErr net.Error
	switch {
	case errors.As(err, new(*fasthttp.ErrSmallBuffer)):
		refused = refuse(errTooLarge, "address and headers have more than %d bytes together", mostHeaders)
	case errors.As(err, &netErr) && netErr.Timeout():
		refused = refuse(errBadRequest, "the request did not arrive in time")
	}
	refused.cause = err
	c.refuse(refused)
	s.finish(c)
}

func (s *server) deleteSession(c *call, name, _ string) *apiError {
	if !s.sessions.delete(c.key.ID, name) {
		return refuse(errNotFound, "this key has no session %s", shown(name))
	}
	c.ctx.SetStatusCode(fasthttp.StatusNoContent)
	return nil
}

// encodeRuntimes makes the answer to GET /v1/execute/runtimes. It cannot change while we run.
func encodeRuntimes(langs *lang.Set) ([]byte, error) {
	type row struct {
		Language string   `json:"language"`
		Version  string   `json:"version"`
		Aliases  []string `json:"aliases"`
		Compiled bool     `json:"compiled"`
	}
	rows := []row{}
	for _, r := range langs.Installed() {
		rows = append(rows, row{r.Name, r.Version, r.Aliases, r.Compile != nil})
	}
	body, err := json.Marshal(rows)
	return append(body, '\n'), err
}

func (s *server) listRuntimes(c *call) *apiError {
	c.reply(s.runtimes)
	return nil
}

// quietLogger passes on what fasthttp has to say about connections, which is about its peers and rarely about us.
type quietLogger struct{ log *slog.Logger }

func (q quietLogger) Printf(format string, args ...any) {
	q.log.Debug("http", "msg", fmt.Sprintf(format, args...))
}
