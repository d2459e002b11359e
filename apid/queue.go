package main

import (
	"container/list"
	"context"
	"sync"
)

// queue shares a fixed number of job slots between keys. Requests of one key are served in order of arrival, keys in turn, so one key's
// burst delays others by one job and not by its length.
//
//	enter ---> admitted ---> wait ---> running ---> leave
//	  |                       |
//	  +-- 429, 503 at once    +-- caller hung up, 503 at shutdown
//
// A request enters once, before it waits for its session, so that everything that waits anywhere is counted and bounded here.
//
// One job may take minutes, and none is ended for another. So a key that runs nothing need not wait for a slot: where all are taken, its first
// job is begun beyond them, up to so many as `newcomers` says. The promise is:
//
//	While fewer than `newcomers` keys run something, a request of a key that runs nothing begins at once, whatever the others run.
//
// It holds because running <= slots + keys that run something. Each grant keeps that: a key's first adds one on both sides; any other, like a
// spare one, is made below slots. And a key that ends takes its last job with it. So slots + newcomers, where a newcomer has to wait, are reached
// by that many keys alone. Then what ends makes room for newcomers, in turn, and for nobody else until fewer than slots run.
//
// To set slots aside instead would keep the sum, but a key that is alone would never have those. Here it has all; and as what ends beyond
// slots is not replaced, a greedy key soon runs one job less for each neighbour.
type queue struct {
	mu        sync.Mutex
	slots     int // of all keys together, newcomers apart
	newcomers int // running beyond slots: first jobs of their keys
	depth     int // requests admitted beyond slots
	perKey    int // of one key, beyond what it may run at one time
	running   int
	admitted  int
	lines     map[string]*line // by key id: those with anything admitted
	turns     list.List        // of *line: those with tickets waiting, next first
	closing   chan struct{}
	closed    bool
}

// line is the requests of one key.
type line struct {
	key      string
	limit    int // running at one time
	admitted int
	running  int
	waiting  list.List     // of *ticket
	turn     *list.Element // in queue.turns; nil: none waits
}

// ticket is one admitted request.
type ticket struct {
	queue   *queue
	line    *line
	granted chan struct{} // closed when it may run
	place   *list.Element // in line.waiting, or nil
	running bool
}

func newQueue(cfg queueConfig) *queue {
	return &queue{
		slots: cfg.MaxJobs, newcomers: cfg.Newcomers, depth: cfg.Depth, perKey: cfg.PerKey,
		lines: map[string]*line{}, closing: make(chan struct{}),
	}
}

// enter admits a request or refuses it at once. limit is the key's own; 0 means none.
func (q *queue) enter(key string, limit int) (*ticket, *apiError) {
	q.mu.Lock()
	defer q.mu.Unlock()
	limit = q.limitOf(limit)
	l := q.lines[key]
	if err := q.refusalLocked(l, limit); err != nil {
		return nil, err
	}
	if l == nil {
		l = &line{key: key}
		q.lines[key] = l
	}
	l.limit = limit
	l.admitted++
	q.admitted++
	return &ticket{queue: q, line: l, granted: make(chan struct{})}, nil
}

// refusal is why enter would refuse a request now, or nil. It is asked before a body is read: what will be refused need not be held first.
func (q *queue) refusal(key string, limit int) *apiError {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.refusalLocked(q.lines[key], q.limitOf(limit))
}

func (q *queue) refusalLocked(l *line, limit int) *apiError {
	switch {
	case q.closed:
		return errShuttingDown
	case l != nil && l.admitted >= limit+q.perKey:
		return refuse(errRateLimited, "this key has %d requests running and %d waiting, which is its share", l.running, l.admitted-l.running)
	case l != nil && q.admitted >= q.slots+q.depth: // a key that has none is let in: others' do not starve it, however many they are
		return refuse(errOverloaded, "the queue is full: %d requests are waiting", q.admitted-q.running)
	}
	return nil
}

// limitOf is how many requests of a key may run at one time, whose own limit this is.
func (q *queue) limitOf(own int) int {
	if own <= 0 {
		return q.slots
	}
	return min(own, q.slots)
}

var errShuttingDown = refuse(errOverloaded, "the server is shutting down")

// errCutOff is not overloaded: clients send that again by themselves, and this program may have had effects.
var errCutOff = refuse(errInterrupted, "the server is shutting down and ended the program before its time")

// wait returns when the ticket may run.
func (t *ticket) wait(ctx context.Context) *apiError {
	q := t.queue
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return errShuttingDown
	}
	t.place = t.line.waiting.PushBack(t)
	if t.line.turn == nil {
		t.line.turn = q.turns.PushBack(t.line)
	}
	q.dispatchLocked()
	q.mu.Unlock()

	select {
	case <-t.granted:
		return nil
	case <-ctx.Done():
		return contextError(ctx)
	case <-q.closing:
		// Granted and closed at one time: it may still run, as the running ones may.
		select {
		case <-t.granted:
			return nil
		default:
			return errShuttingDown
		}
	}
}

// hasSlot says whether the ticket was granted.
func (t *ticket) hasSlot() bool {
	t.queue.mu.Lock()
	defer t.queue.mu.Unlock()
	return t.running
}

// leave gives up the ticket, running or not. It is called exactly once.
func (t *ticket) leave() {
	q := t.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if t.place != nil {
		q.standUpLocked(t)
	}
	if t.running {
		q.running--
		t.line.running--
	}
	q.admitted--
	if t.line.admitted--; t.line.admitted == 0 {
		delete(q.lines, t.line.key)
	}
	q.dispatchLocked()
}

// standUpLocked takes a ticket out of its line, and the last one's line out of the turns.
func (q *queue) standUpLocked(t *ticket) {
	l := t.line
	l.waiting.Remove(t.place)
	t.place = nil
	if l.waiting.Len() == 0 {
		q.turns.Remove(l.turn)
		l.turn = nil
	}
}

// dispatchLocked begins what may begin, the lines in turn.
func (q *queue) dispatchLocked() {
	for l := q.nextLocked(); l != nil; l = q.nextLocked() {
		t := l.waiting.Front().Value.(*ticket)
		q.turns.MoveToBack(l.turn)
		q.standUpLocked(t)
		t.running = true
		l.running++
		q.running++
		close(t.granted)
	}
}

// nextLocked is the first line of which a ticket may run, or nil. Those that may not, for now, keep their turns.
func (q *queue) nextLocked() *line {
	for e := q.turns.Front(); e != nil && q.running < q.slots+q.newcomers; e = e.Next() {
		l := e.Value.(*line)
		if l.running < l.limit && (l.running == 0 || q.running < q.slots) {
			return l
		}
	}
	return nil
}

// tryEnter is enter and wait for a request that can do without: it has a slot only if one is free, within the key's share, and nobody waits.
// Like spare work it is never begun beyond slots.
func (q *queue) tryEnter(key string, limit int) (*ticket, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	limit = q.limitOf(limit)
	l := q.lines[key]
	if q.closed || l == nil || l.running >= limit || q.running >= q.slots || q.turns.Len() > 0 {
		return nil, false
	}
	l.admitted++
	l.running++
	q.admitted++
	q.running++
	return &ticket{queue: q, line: l, running: true}, true
}

// trySpare takes a slot for work that nobody waits for. A free slot is one that no request could use: those that wait, wait for their
// session or for another request of their key.
func (q *queue) trySpare() (leave func(), ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.running >= q.slots {
		return nil, false
	}
	q.running++
	q.admitted++
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.running--
		q.admitted--
		q.dispatchLocked()
	}, true
}

// close refuses what waits and what comes; what runs goes on.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.closed = true
		close(q.closing)
	}
}

// counts are for the metrics.
func (q *queue) counts() (running, waiting int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.running, q.admitted - q.running
}

// contextError is why a request's context ended, as an answer.
func contextError(ctx context.Context) *apiError {
	if err, ok := context.Cause(ctx).(*apiError); ok {
		return err
	}
	return errShuttingDown
}
