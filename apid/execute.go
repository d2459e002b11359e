package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/runtools/runtools/pkg/wire"
)

// execution is one request being carried out.
type execution struct {
	*server
	call *call
	plan *plan

	session *session // nil: ephemeral
	name    string   // of the session
	fresh   bool     // this request made the session
	created bool     // ... under a name that the caller chose
	before  int64    // what the session counted for
	begun   bool     // a job of this request has been sent
	unkept  string   // why what the session has grown by was not kept; "": it was
	changes []string // to the base environment: the session's and the request's

	scratch     string // workspace of an ephemeral request with several jobs
	scratchLive bool

	build     string       // volume that the compile job makes, while it is ours
	cached    *cachedBuild // what is run, if it is kept for others too
	lostBuild bool         // sandboxd did not have it: this request compiles for itself

	held []requestFile // what is in the workspace, if no volume has it: the next job is given them first
	kept int           // how many of them the last job was given

	compiled  *stageAnswer
	ran       stageAnswer
	tested    []testAnswer
	repeated  *repeated  // nil: it was run once, or not at all
	collected *collected // artifacts of the request; nil: none were asked for, or there was no run
	final     *answer    // of all that; nil: nobody asked for it yet

	tool     *tool    // nil: a program is run
	forking  *forking // nil: the session is not forked
	events   *stream  // nil: the caller wants one answer at the end
	console  *console // nil: all input came with the request
	onOutput func(stream int, data []byte)
}

// refusal is why a request for a job would be refused whatever it asks for, or nil. It comes before the body, which then is not kept: a key
// that has its share would else hold memory for what it cannot have.
func (s *server) refusal(c *call) *apiError {
	if err := s.unread.admit(c.key.ID); err != nil {
		return err
	}
	return s.queue.refusal(c.key.ID, c.key.Concurrency)
}

// execute is POST /v1/execute.
func (s *server) execute(c *call) *apiError {
	if err := s.refusal(c); err != nil {
		return err
	}
	body, release, err := s.readBody(c)
	if err != nil {
		return err
	}
	// release waits until the request is carried out: it points into the body.
	x := &execution{server: s, call: c}
	if x.plan, err = s.understand(c, body); err != nil {
		release()
		return err
	}
	if x.plan.terminal != nil {
		release()
		return errNoTerminal
	}
	if c.wantsEvents() {
		return x.stream(release)
	}
	defer release()
	ctx, done := s.whileWanted(c)
	defer done()
	if err := x.perform(ctx); err != nil {
		return err
	}
	made, err := x.room(ctx)
	if err != nil {
		return err
	}
	defer made()
	c.outcome = x.ran.status
	s.unread.reply(c, x.encode())
	return nil
}

var errNoTerminal = invalidField("pty", "is for GET /v1/execute/ws, where the program can be talked to")

// perform carries the request out when it is its turn.
func (x *execution) perform(ctx context.Context) *apiError {
	ticket, err := x.queue.enter(x.call.key.ID, x.call.key.Concurrency)
	if err != nil {
		return err
	}
	defer x.giveUp(ticket)
	return x.inSession(ctx, ticket)
}

// inSession carries the request out when it is its turn in its session and in the queue, in this order: what waits for a session must
// not hold a slot.
func (x *execution) inSession(ctx context.Context, ticket *ticket) *apiError {
	waiting := time.Now()
	if err := x.openSession(ctx); err != nil {
		return err
	}
	failed := internal(errors.New("panic")) // unless what follows returns
	defer func() { x.closeSession(failed) }()
	failed = ticket.wait(ctx)
	x.call.timing.queue = time.Since(waiting)
	if failed == nil {
		failed = x.unread.admit(x.call.key.ID) // those that ran meanwhile may have left much
	}
	if failed == nil && x.grows() { // likewise
		failed = x.sessions.mayGrow(x.session.owner)
	}
	if failed == nil {
		failed = x.carryOut(ctx)
	}
	return failed
}

// understand turns a body into a plan.
func (s *server) understand(c *call, body []byte) (*plan, *apiError) {
	q, err := decodeRequest(body)
	if err != nil {
		return nil, err
	}
	p, err := makePlan(q, s.langs, &s.cfg.Limits)
	if err == nil {
		err = p.setRepeat(q, &s.cfg.Repeat)
	}
	if err == nil && q.webhook != nil {
		if c.route != pathExecutions {
			return nil, invalidField("webhook", "is for POST %s, whose callers do not wait", pathExecutions)
		}
		p.webhook, err = newWebhook(q.webhook, &s.cfg.Webhooks)
	}
	if err != nil {
		return nil, err
	}
	c.language, c.version = p.runtime.Name, p.runtime.Version
	return p, nil
}

// openSession waits for the requests of the session that came before.
func (x *execution) openSession(ctx context.Context) *apiError {
	if x.plan.ephemeral {
		return nil
	}
	x.name = x.plan.sessionID
	named := x.name != ""
	if !named {
		x.name = uuid.NewString()
	}
	var err *apiError
	if x.session, err = x.sessions.acquire(ctx, x.call.key.ID, x.name, named); err != nil {
		return err
	}
	x.fresh = x.session.form == formNone
	x.created = x.fresh && named
	x.before = x.session.size
	return nil
}

// closeSession lets the next request of the session go on. A session that a refused request made is none: its caller does not know it.
func (x *execution) closeSession(err *apiError) {
	x.dropVolumes(err)
	if x.session == nil {
		return
	}
	x.measure(err)
	if err != nil && (x.fresh || x.session.form != formMounted) {
		if err.code == errGone {
			x.forgetter.addLater(volumeName(x.session.volume))
		}
		if x.fresh {
			x.sessions.restart(x.session)
		} else {
			x.sessions.renew(x.session)
		}
	}
	if x.grows() {
		if x.unkept = x.sessions.outgrew(x.session, x.before); x.unkept != "" {
			x.ran.message = strings.TrimPrefix(x.ran.message+"; "+x.unkept, "; ")
		}
	}
	x.sessions.release(x.session)
}

// dropVolumes gives up those that are this request's alone.
func (x *execution) dropVolumes(err *apiError) {
	for _, volume := range []string{x.build, x.scratch} {
		if volume != "" {
			x.drop(volume, err)
		}
	}
	x.build, x.scratch, x.scratchLive = "", "", false
}

func (x *execution) drop(volume string, err *apiError) {
	x.forgetter.add(volume)
	if err != nil && err.code == errGone {
		x.forgetter.addLater(volume)
	}
}

// carryOut runs the jobs. What was compiled and sandboxd has lost, most likely because it was restarted, is made again; a session whose
// workspace it has lost begins again, empty.
func (x *execution) carryOut(ctx context.Context) *apiError {
	if x.forking == nil { // a fork needs none of these: the copies share what is there
		if err := x.unpack(ctx); err != nil {
			return err
		}
		if err := x.unlend(ctx); err != nil {
			return err
		}
		x.recopy(ctx)
	}
	err := x.jobs(ctx)
	if err.is(wire.CodeUnknownBuild) {
		if x.cached != nil {
			x.cache.lost(x.cached)
		}
		x.lostBuild = true
		if x.session != nil && x.session.form != formMounted {
			x.sessions.renew(x.session) // the job that failed may still have the volume that it made
		}
		x.dropVolumes(nil)
		err = x.jobs(ctx)
	}
	if x.session != nil && x.session.form == formMounted && err.is(wire.CodeUnknownVolume) {
		x.dropVolumes(nil)
		x.lose()
		err = x.jobs(ctx)
	}
	return err
}

// jobs is compile, where the language has it, and run.
func (x *execution) jobs(ctx context.Context) *apiError {
	x.held, x.cached, x.tested, x.collected, x.repeated = nil, nil, nil, nil, nil
	if x.session != nil && x.session.form == formGiven {
		x.held = decodeFiles(x.session.stored)
	}
	if x.forking != nil {
		return x.makeCopies(ctx)
	}
	if x.tool != nil {
		return x.runTool(ctx)
	}
	if err := x.mergeEnvironment(); err != nil {
		return err
	}
	compile, run, err := x.prepare()
	if err != nil {
		return err
	}
	if compile != nil {
		done, err := x.compile(ctx, compile)
		if err != nil || !done {
			return err
		}
		run.job.Build = x.built()
	}
	if x.plan.repeat > 0 {
		return x.runRepeated(ctx, run)
	}
	if x.plan.tests != nil {
		return x.runTests(ctx, run.job.Build)
	}
	return x.run(ctx, run)
}

// compile makes the build, or finds one in the cache. It returns false when the program cannot be run.
func (x *execution) compile(ctx context.Context, j *preparedJob) (bool, *apiError) {
	var key compileKey
	if j.reusable = x.mayReuse(j); j.reusable {
		waiting := time.Now()
		key = digest(x.call.key.ID, x.langs.Digest, &j.jobInput, j.own)
		found, done := x.cache.find(ctx, key)
		defer done()
		x.call.timing.queue += time.Since(waiting)
		if found != nil {
			x.reuse(j, found)
			return true, nil
		}
	}
	if x.alone(j) {
		j.job.Owner = x.call.key.ID // whose sources they are: other keys' never meet them
	}
	out, err := x.send(ctx, j)
	if err != nil {
		return false, err
	}
	x.settle(j, whatRemains(out.result), x.changes)
	x.metrics.deny(x.call.language, out.result.Violations)
	x.call.timing.compile = time.Duration(out.result.WallNS)
	a := describe(j.limits, out)
	a.diagnostics = x.plan.diagnose(a.stderr, true)
	a.asCompile()
	x.compiled = &a
	x.tellCompiled()
	if a.status != statusOK {
		x.ran = a.afterFailedCompile()
		return false, nil
	}
	if j.reusable {
		x.keep(key, out)
	}
	return true, nil
}

func (x *execution) tellCompiled() {
	if compiled := x.compiled; x.events != nil {
		x.events.emitLater("compile", func() []byte { return compiled.append(nil) })
	}
}

// run runs the program.
func (x *execution) run(ctx context.Context, j *preparedJob) *apiError {
	j.onOutput, j.console = x.onOutput, x.console
	if x.plan.terminal != nil {
		j.job.Terminal = x.console.size()
	}
	out, err := x.send(ctx, j)
	if err != nil {
		return err
	}
	x.metrics.deny(x.call.language, out.result.Violations)
	x.call.timing.run = time.Duration(out.result.WallNS)
	x.ran = describe(j.limits, out)
	if x.console != nil && x.console.killed.Load() && x.ran.status == statusSignal && x.ran.signal == "SIGKILL" {
		x.ran.message = "died of SIGKILL, which the caller sent"
	}
	x.ran.diagnostics = x.plan.diagnose(x.ran.stderr, false)
	if x.events != nil {
		x.events.outputEnds()
		x.events.exit(&x.ran)
	}
	x.settle(j, whatRemains(out.result), x.environmentAfter(j, out))
	if x.plan.artifacts != nil {
		return x.collect(ctx)
	}
	return nil
}

// environmentAfter is what the session keeps of the environment. Only a program that ended by itself has had its say.
func (x *execution) environmentAfter(j *preparedJob, out *jobOutput) []string {
	if out.environSize == 0 || x.ran.limit != nil || x.ran.signal != "" {
		return x.changes
	}
	problem := tooManyBytes(out.environSize)
	if out.environ != nil {
		left := leftBehind(out.environ, j.base, x.changes)
		if problem = tooMuch(left); problem == "" {
			return left
		}
	}
	if x.ran.message == "" {
		x.ran.message = "the environment that the program left has " + problem + "; it was not kept"
	}
	return x.changes
}

// answer is what the caller gets. It is for when the jobs are done, and is weighed once: there may be megabytes to look at.
func (x *execution) answer() *answer {
	if x.final == nil {
		x.final = &answer{
			language: x.plan.runtime.Name, version: x.plan.runtime.Version,
			sessionID: x.name, sessionCreated: x.created, compile: x.compiled, run: x.ran,
			tests: x.tested, hasTests: x.plan.tests != nil, collected: x.collected, repeated: x.repeated,
		}
		x.final.weigh()
	}
	return x.final
}

// encode makes the body of the 200.
func (x *execution) encode() []byte { return x.answer().encode() }
