package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/valyala/fasthttp"
)

// pathExecutions is where they are started.
const pathExecutions = "/v1/executions"

// States of an execution, and of its webhook, as in docs/api.md.
const (
	statePending   = "pending"
	stateDone      = "done"
	stateFailed    = "failed"
	stateDelivered = "delivered" // of a webhook, in place of done
)

// Executions are requests whose callers do not wait on the connection: they get an id at once and ask for the result later.
//
//	POST /v1/executions          ---> pending ---> done, failed ---> forgotten: too old, the key's room is used up, deleted
//	GET  /v1/executions/{id}             |
//	DELETE /v1/executions/{id}           +--- the program is killed
//
// They take the same way as any other request, through the queue and its bounds; only the answer is kept here instead of sent. All of it is
// in memory: a record of results would be a store of what programs wrote, with an age, a size and secrets of its own, to save a caller
// one repetition after a restart. So after a restart an id is unknown.
type executions struct {
	cfg           executionsConfig
	sendingPerKey int // webhooks

	mu     sync.Mutex
	byID   map[executionKey]*asyncExecution
	owners map[string]*executionOwner // by key id: those with any
	bytes  int64                      // of all results
}

type executionKey struct{ keyID, id string }

// executionOwner sums up what one key has here.
type executionOwner struct {
	count int
	bytes int64
	ended []*asyncExecution // in this order

	sending chan struct{} // holds one for each webhook that is being sent
}

// asyncExecution is one of them.
type asyncExecution struct {
	executionKey
	created time.Time
	cancel  context.CancelCauseFunc
	done    chan struct{} // closed when it has ended
	webhook *webhook      // nil: none
	sending chan struct{} // its owner's

	// Set before done is closed.
	ended   time.Time
	deleted bool   // before it ended
	status  string // stateDone or stateFailed
	body    []byte // what a GET is answered, and a webhook sent: one for all of them, as many may ask for a large one and not read it
}

// errDeleted is the cause of the end of an execution that its caller deleted. Nobody is told: who waits for the end finds the execution unknown.
var errDeleted = refuse(errGone, "the execution was deleted")

func newExecutions(cfg executionsConfig, sendingPerKey int) *executions {
	return &executions{cfg: cfg, sendingPerKey: sendingPerKey, byID: map[executionKey]*asyncExecution{}, owners: map[string]*executionOwner{}}
}

// add makes room for one more: ended ones go, oldest first; those that run do not.
func (e *executions) add(a *asyncExecution) *apiError {
	e.mu.Lock()
	defer e.mu.Unlock()
	o := e.owners[a.keyID]
	if o == nil {
		o = &executionOwner{sending: make(chan struct{}, e.sendingPerKey)}
	}
	for o.count >= e.cfg.MaxPerKey {
		if len(o.ended) == 0 {
			return refuse(errRateLimited, "this key has %d executions that have not ended, which is its share", o.count)
		}
		e.dropLocked(o.ended[0])
	}
	e.owners[a.keyID] = o
	o.count++
	e.byID[a.executionKey] = a
	a.sending = o.sending
	return nil
}

func (e *executions) find(key executionKey) *asyncExecution {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.byID[key]
}

// end keeps a result, unless the execution was deleted meanwhile.
func (e *executions) end(a *asyncExecution, status string, body []byte) {
	a.ended, a.status = time.Now(), status
	a.body = a.encode(body) // not under the lock: it may be large
	e.mu.Lock()
	defer e.mu.Unlock()
	defer close(a.done)
	if a.deleted = e.byID[a.executionKey] != a; a.deleted {
		return
	}
	o := e.owners[a.keyID]
	o.ended = append(o.ended, a)
	o.bytes += int64(len(a.body))
	e.bytes += int64(len(a.body))
	for o.bytes > e.cfg.MaxBytesPerKey && o.ended[0] != a {
		e.dropLocked(o.ended[0])
	}
	for e.bytes > e.cfg.MaxBytes {
		most := e.greediestLocked(a)
		if most == nil {
			return
		}
		e.dropLocked(most.ended[0])
	}
}

// greediestLocked is whose oldest result goes where those of all keys are too many: the key's that has most, so that nobody's go because another keeps
// much. The result that has just come stays. nil: there is no other.
func (e *executions) greediestLocked(latest *asyncExecution) (most *executionOwner) {
	for _, o := range e.owners {
		if len(o.ended) > 0 && o.ended[0] != latest && (most == nil || o.bytes > most.bytes) {
			most = o
		}
	}
	return most
}

// drop forgets an execution, and ends it if it runs.
func (e *executions) drop(key executionKey) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	a := e.byID[key]
	if a != nil {
		e.dropLocked(a)
	}
	return a != nil
}

func (e *executions) dropLocked(a *asyncExecution) {
	o := e.owners[a.keyID]
	for i, ended := range o.ended {
		if ended == a {
			o.ended = append(o.ended[:i:i], o.ended[i+1:]...)
			o.bytes -= int64(len(a.body))
			e.bytes -= int64(len(a.body))
			break
		}
	}
	delete(e.byID, a.executionKey)
	if o.count--; o.count == 0 {
		delete(e.owners, a.keyID)
	}
	a.cancel(errDeleted)
}

// expire forgets the results that have been kept for long enough.
func (e *executions) expire(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, o := range e.owners {
		for len(o.ended) > 0 && now.Sub(o.ended[0].ended) >= time.Duration(e.cfg.Keep) {
			e.dropLocked(o.ended[0])
		}
	}
}

// startExecution is POST /v1/executions.
func (s *server) startExecution(c *call) *apiError {
	if err := s.refusal(c); err != nil {
		return err
	}
	body, release, err := s.readBody(c)
	if err != nil {
		return err
	}
	// c ends with this request. What is carried out has a call of its own, with the same id for the log, that never touches a connection.
	behind := &call{id: c.id, started: c.started, route: c.route, method: c.method, key: c.key, bodyBytes: c.bodyBytes}
	behind.detach()
	x := &execution{server: s, call: behind}
	if x.plan, err = s.understand(behind, body); err != nil {
		release()
		return err
	}
	if x.plan.terminal != nil {
		release()
		return errNoTerminal
	}
	ticket, err := s.queue.enter(c.key.ID, c.key.Concurrency)
	if err != nil {
		release()
		return err
	}
	ctx, cancel := context.WithCancelCause(s.jobs)
	a := &asyncExecution{executionKey: executionKey{c.key.ID, uuid.NewString()}, created: time.Now(), cancel: cancel,
		done: make(chan struct{}), webhook: x.plan.webhook}
	if err := s.executions.add(a); err != nil {
		cancel(nil)
		ticket.leave()
		release()
		return err
	}
	s.conversations.Add(1) // a shutdown waits for it
	go func() {
		defer s.conversations.Add(-1)
		defer release()
		x.carryOutBehind(ctx, ticket, a)
		if a.webhook == nil {
			cancel(nil)
			return
		}
		s.conversations.Add(1)
		go func() { // that has nothing of the request, for it may take long
			defer s.conversations.Add(-1)
			defer cancel(nil)
			s.deliver(ctx, a)
		}()
	}()
	s.replyExecution(c, a)
	c.ctx.SetStatusCode(fasthttp.StatusAccepted)
	return nil
}

// carryOutBehind is perform for a request whose answer is kept.
func (x *execution) carryOutBehind(ctx context.Context, t *ticket, a *asyncExecution) {
	err := x.safely(func() *apiError {
		defer x.giveUp(t)
		return x.inSession(ctx, t)
	})
	status, body := stateDone, []byte(nil)
	if err == nil {
		body, err = x.keptBody(ctx)
	}
	if err != nil {
		status, body = stateFailed, x.call.fail(err)
		x.call.status = httpStatus[err.code]
	}
	x.call.answerBytes = len(body)
	x.executions.end(a, status, body)
	x.finish(x.call)
}

// keptBody is the answer of one that ended well, if so much may be kept.
func (x *execution) keptBody(ctx context.Context) ([]byte, *apiError) {
	x.call.outcome = x.ran.status
	most := x.executions.cfg.MaxBytesPerKey
	size := x.answer().size
	if size <= most {
		made, err := x.room(ctx)
		if err != nil {
			return nil, err
		}
		defer made()
		body := x.encode()
		if size = int64(len(body)); size <= most {
			return body, nil
		}
	}
	return nil, refuse(errTooLarge, "the result has %d bytes, and %d may be kept for this key: write less, lower output_limit, or ask for fewer artifacts", size, most)
}

// maxWait is how long one GET waits for the end of an execution at most; callers ask again.
const maxWait = time.Minute

func (k executionKey) unknown() *apiError {
	return refuse(errNotFound, "this key has no execution %s; it may have been forgotten", shown(k.id))
}

// dropExecution forgets an execution, and ends it.
func (s *server) dropExecution(c *call) *apiError {
	key := executionKey{c.key.ID, c.target}
	if !s.executions.drop(key) {
		return key.unknown()
	}
	c.ctx.SetStatusCode(fasthttp.StatusNoContent)
	return nil
}

// execution tells how one stands.
func (s *server) execution(c *call) *apiError {
	key := executionKey{c.key.ID, c.target}
	wait := time.Duration(0)
	if given := string(c.ctx.QueryArgs().Peek("wait")); given != "" {
		seconds, err := strconv.ParseFloat(given, 64)
		if err != nil || !(seconds >= 0 && seconds <= maxWait.Seconds()) {
			return invalidField("wait", "%s: want a number of seconds from 0 to %g", shown(given), maxWait.Seconds())
		}
		wait = time.Duration(seconds * float64(time.Second))
	}
	a := s.executions.find(key)
	if a == nil {
		return key.unknown()
	}
	if wait > 0 {
		ctx, done := s.whileWanted(c)
		defer done()
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-a.done:
		case <-timer.C:
		case <-ctx.Done():
			return contextError(ctx)
		}
	}
	select {
	case <-a.done:
		if a.deleted {
			return key.unknown() // who waited is told what who asks now is
		}
	default:
	}
	s.replyExecution(c, a)
	return nil
}

// replyExecution tells how an execution stands.
func (s *server) replyExecution(c *call, a *asyncExecution) {
	var body []byte
	select {
	case <-a.done:
		body = a.body
	default:
		body = a.encode(nil)
	}
	if a.webhook != nil {
		s.replyHooked(c, a.webhook, body)
		return
	}
	s.unread.reply(c, body)
}

// encode makes the answer to a GET. result is the answer of POST /v1/execute, an error's too, once there is one.
func (a *asyncExecution) encode(result []byte) []byte {
	head := struct {
		ID      string     `json:"id"`
		Status  string     `json:"status"`
		Created time.Time  `json:"created"`
		Ended   *time.Time `json:"ended,omitempty"`
	}{ID: a.id, Status: statePending, Created: a.created.UTC().Truncate(time.Millisecond)}
	if result != nil {
		ended := a.ended.UTC().Truncate(time.Millisecond)
		head.Status, head.Ended = a.status, &ended
	}
	encoded, _ := json.Marshal(head)
	result = bytes.TrimSuffix(result, []byte{'\n'})
	b := append(make([]byte, 0, len(encoded)+len(result)+16), encoded...)
	switch head.Status {
	case stateDone:
		b = append(b[:len(b)-1], `,"result":`...)
		b = append(append(b, result...), '}')
	case stateFailed: // result is {"error":...}
		b = append(b[:len(b)-1], ',')
		b = append(b, result[1:]...)
	}
	return append(b, '\n')
}
