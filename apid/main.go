// Command apid is the HTTP side of a code execution API.
//
// # Theory of operation
//
// apid has no privileges and wants none: it knows HTTP, keys, languages, and who owns which session. Everything that runs foreign
// code is asked of sandboxd over a Unix socket (pkg/wire). One request to POST /v1/execute goes through these phases, each named as
// here in the code and, where the caller can learn something from it, in the Server-Timing header:
//
//	authenticate   the key, before any of the body is read                      keys.go
//	refusal        429 / 503 at once, of a key that has its share               execute.go
//	readBody       bounded for one request and for all                          body.go
//	decodeRequest  strict JSON, no byte of a string changed                     json.go, request.go
//	makePlan       language, files, limits; 400 with the field if wrong         plan.go
//	enter          admitted to the queue, or 429 / 503 at once                  queue.go
//	openSession    after the session's earlier requests                         execute.go, session.go
//	wait           for a job slot, keys in turn                                 queue.go
//	unpack         the session's files, if they were packed                     restore.go
//	unlend         a copy of its own, if a fork still shares them               loan.go
//	recopy         to another volume, when ended jobs' pages hold much memory   leaves.go
//	prepare        both jobs; 400 if one cannot be sent                         prepare.go
//	compile        a job in one jail; what it makes is a volume                 execute.go, job.go
//	               or none, if the same was compiled before                     compilecache.go
//	run            a job in another jail, with that volume                      execute.go, job.go
//	               one for each test, or the same again and again               tests.go, repeat.go
//	settle         files and environment that the session keeps                 workspace.go, environ.go
//	collect        files that come back with the answer                         collect.go
//	measure        of a job that failed: what it left in the session            measure.go
//	reply          status, limits, output                                       answer.go
//
// The same phases serve events while they come (stream.go), conversations over a WebSocket (socket.go, console.go, terminal.go), programs
// that nobody waits for (executions.go, webhook.go), Piston's callers (piston.go, pistonsocket.go) and language models (mcp.go).
//
// Contents never pass through sandboxd's memory: files and stdin are sealed into memfds, output comes through pipes that apid reads
// and caps (fds.go, output.go). A connection watcher ends the job when its caller hangs up (hangup.go). What nobody needs any more is
// forgotten in the background (forget.go).
//
// Every request makes a session, and most are never returned to, so an idle one must cost next to nothing. A workspace that the program
// left as it was given is not kept in sandboxd: apid keeps the request's few files and gives them again. Of the others the small ones
// are packed in the background, longest idle first, when many are mounted (workspace.go, pack.go).
//
// Sessions survive the process: their table is a journal (journal.go, survive.go), their mounted workspaces are volumes of sandboxd.
// What is compiled and the jobs that run are lost with it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/runtools/runtools/pkg/lang"
	"github.com/runtools/runtools/pkg/threads"
	"github.com/runtools/runtools/pkg/wire"
)

const usage = `usage:
  apid [-config FILE] [-listen ADDR] [-metrics ADDR|off] [-socket PATH] [-image DIR] [-keys FILE]
       [-state DIR|off]
                    serve the API
  apid check ...    the same flags: check the settings, image, keys and sandboxd, and exit
  apid keys ...     create, list and revoke API keys
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "apid:", err)
		os.Exit(1)
	}
}

// run is main, for tests too.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	command := "serve"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		command, args = args[0], args[1:]
	}
	if command == "keys" {
		return keysCommand(args, stdin, stdout, stderr)
	}
	if command != "serve" && command != "check" {
		fmt.Fprint(stderr, usage)
		return fmt.Errorf("unknown command %q", command)
	}
	cfg, err := settings(args, stderr)
	if err != nil {
		return err
	}
	langs, err := lang.Load(cfg.Image)
	if err != nil {
		return fmt.Errorf("load the image: %w", err)
	}
	s, err := newServer(cfg, langs, newLogger(&cfg.Log, stderr))
	if err != nil {
		return err
	}
	defer s.hangups.close()
	s.reportLanguages()
	if command == "check" {
		return s.check(ctx, stdout)
	}
	return s.run(ctx)
}

// settings are the defaults, the file over them, and the flags over both.
func settings(args []string, stderr io.Writer) (*config, error) {
	flags := flag.NewFlagSet("apid", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage) }
	path := flags.String("config", "", "")
	var over config
	flags.StringVar(&over.Listen, "listen", "", "")
	flags.StringVar(&over.MetricsListen, "metrics", "", "")
	flags.StringVar(&over.SandboxdSocket, "socket", "", "")
	flags.StringVar(&over.Image, "image", "", "")
	flags.StringVar(&over.Keys, "keys", "", "")
	flags.StringVar(&over.Sessions.StateDir, "state", "", "")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		flags.Usage()
		return nil, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	cfg, err := loadConfig(*path)
	if err != nil {
		return nil, err
	}
	for _, o := range []struct{ from, to *string }{
		{&over.Listen, &cfg.Listen}, {&over.MetricsListen, &cfg.MetricsListen}, {&over.SandboxdSocket, &cfg.SandboxdSocket},
		{&over.Image, &cfg.Image}, {&over.Keys, &cfg.Keys},
		{&over.Sessions.StateDir, &cfg.Sessions.StateDir},
	} {
		if *o.from != "" {
			*o.to = *o.from
		}
	}
	return cfg, cfg.complete()
}

func logLevel(name string) (level slog.Level, err error) {
	err = level.UnmarshalText([]byte(name))
	return level, err
}

func newLogger(cfg *logConfig, to io.Writer) *slog.Logger {
	level, _ := logLevel(cfg.Level) // checked with the settings
	options := &slog.HandlerOptions{Level: level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(to, options))
	}
	return slog.New(slog.NewTextHandler(to, options))
}

// reportLanguages says what is there and, one line each, what is not and what to do about it.
func (s *server) reportLanguages() {
	var there []string
	for _, r := range s.langs.Installed() {
		there = append(there, r.Name+" "+r.Version)
		for field, stage := range map[string]*lang.Stage{"run": r.Run, "compile": r.Compile} {
			most := s.cfg.Limits.RunMemoryLimit.Max
			if field == "compile" {
				most = s.cfg.Limits.CompileMemoryLimit.Max
			}
			if stage != nil && stage.Memory > most {
				s.log.Warn("language wants more memory than is allowed", "language", r.Name, "stage", field, "wants", stage.Memory, "max", most)
			}
		}
	}
	s.log.Info("image", "dir", s.cfg.Image, "digest", s.langs.Digest, "languages", strings.Join(there, ", "))
	for _, r := range s.langs.Broken() {
		s.log.Warn("language is missing from the image", "language", r.Name, "reason", r.Err)
	}
	if s.keys.count() == 0 {
		s.log.Warn("there is no valid key, so nothing can be executed; make one with: apid keys create -name NAME -file " + s.cfg.Keys)
	}
}

// check is `apid check`.
func (s *server) check(ctx context.Context, stdout io.Writer) error {
	fmt.Fprintf(stdout, "image: %d languages, %d missing\n", len(s.langs.Installed()), len(s.langs.Broken()))
	if err := s.keys.current.Load().err; err != nil {
		return err
	}
	fmt.Fprintf(stdout, "keys: %d valid\n", s.keys.count())
	ctx, cancel := context.WithTimeout(ctx, statusWait)
	defer cancel()
	status, err := s.sandbox.Status(ctx, &wire.StatusRequest{})
	if err != nil {
		return fmt.Errorf("ask sandboxd: %w", err)
	}
	fmt.Fprintf(stdout, "sandboxd: %d live jails, %d pools\n", status.LiveJails, len(status.Templates))
	if err := s.probe(); err != nil {
		return fmt.Errorf("run a program: %w", err)
	}
	fmt.Fprintln(stdout, "a program was run")
	return nil
}

// run serves until ctx ends, and then lets running requests finish.
func (s *server) run(ctx context.Context) error {
	threads.Make()
	api, err := listen(s.cfg.Listen)
	if err != nil {
		return err
	}
	failed := make(chan error, 2)
	if s.cfg.MetricsListen != off {
		ln, err := net.Listen("tcp", s.cfg.MetricsListen)
		if err != nil {
			api.Close()
			return err
		}
		defer ln.Close()
		go func() { failed <- s.metrics.serve(ln) }()
	}
	background, stopBackground := context.WithCancel(context.Background())
	defer stopBackground()
	if err := s.takeOver(background); err != nil {
		api.Close()
		return err
	}
	go s.forgetter.run(background)
	go s.expire(background)
	go s.packSessions(background)
	go func() { failed <- s.http.Serve(s.visitors.at(api)) }()
	s.log.Info("serving", "addr", api.Addr().String(), "metrics", s.cfg.MetricsListen, "jobs", s.cfg.Queue.MaxJobs)

	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	s.shutdown()
	return nil
}

// shutdown refuses what waits, lets what runs finish for a while, and gives up the sessions.
func (s *server) shutdown() {
	s.log.Info("shutting down", "drain", time.Duration(s.cfg.HTTP.Drain))
	s.draining.Store(true)
	s.queue.close()
	s.endArrivals()
	drain, cancel := context.WithTimeout(context.Background(), time.Duration(s.cfg.HTTP.Drain))
	defer cancel()
	if err := s.finishAll(drain); err != nil {
		s.log.Warn("requests did not finish in time and are cut off")
		s.endJobs(errCutOff)
		const last = 2 * time.Second // for their answers
		drain, cancel := context.WithTimeout(context.Background(), last)
		defer cancel()
		_ = s.finishAll(drain)
	}
	if err := s.sessions.close(); err != nil {
		s.log.Error("close the journal of sessions", "err", err)
	}
	if s.cfg.Sessions.StateDir == off {
		s.forgetAll()
	}
}

// finishAll returns when nothing is being carried out any more. fasthttp does not count the connections of WebSockets.
func (s *server) finishAll(ctx context.Context) error {
	err := s.http.ShutdownWithContext(ctx)
	for err == nil && s.conversations.Load() > 0 {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	return err
}

// takeOver finds the sessions of an apid before us, or has sandboxd forget what it left.
func (s *server) takeOver(ctx context.Context) error {
	if s.cfg.Sessions.StateDir == off {
		s.forgetAll()
		return nil
	}
	if err := s.sessions.open(s.cfg.Sessions.StateDir, s.log); err != nil {
		return err
	}
	if n := s.sessions.counts().sessions; n > 0 {
		s.log.Info("sessions of an earlier apid", "sessions", n)
	}
	if err := s.tryReconcile(ctx); err != nil {
		s.log.Warn("sandboxd does not answer; trying until it does", "err", err)
		go s.reconcileUntilDone(ctx)
	}
	return nil
}

func (s *server) tryReconcile(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, forgetTimeout)
	defer cancel()
	return s.reconcile(ctx)
}

func (s *server) reconcileUntilDone(ctx context.Context) {
	for s.tryReconcile(ctx) != nil {
		select {
		case <-ctx.Done():
			return
		case <-time.After(forgetRetry):
		}
	}
}

// off is the setting of what is not wanted.
const off = "off"

// forgetAll drops what an apid before us, or we, left in sandboxd.
func (s *server) forgetAll() {
	ctx, cancel := context.WithTimeout(context.Background(), forgetTimeout)
	defer cancel()
	if err := s.sandbox.ForgetAll(ctx); err != nil {
		s.log.Warn("sandboxd does not answer; volumes of an earlier apid may be left in it", "err", err)
	}
}

// expireEvery is how late a session may expire.
const expireEvery = time.Second

func (s *server) expire(ctx context.Context) {
	ticker := time.NewTicker(expireEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			s.sessions.expire(now)
			s.cache.expire(now)
			s.executions.expire(now)
			if err := s.sessions.rewrite(); err != nil {
				s.log.Error("shorten the journal of sessions", "err", err)
			}
		}
	}
}
