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
type queue struct {
	mu       sync.Mutex
	slots    int // in all
	depth    int // requests admitted beyond slots
	perKey   int // of one key, beyond what it may run at one time
	running  int
	admitted int
	lines    map[string]*line // by key id: those with anything admitted
	turns    list.List        // of *line: those with tickets waiting, next first
	closing  chan struct{}
	closed   bool
}

// line is the requests of one key.
type line struct {
	key      string
	limit    int // running at one time
	admitted int
	running  int
	waiting  list.List     // of *ticket
	turn     *list.Element // in queue.turns, or nil
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
		slots: cfg.MaxJobs, depth: cfg.Depth, perKey: cfg.PerKey,
		lines: map[string]*line{}, closing: make(chan struct{}),
	}
}

// enter admits a request or refuses it at once. limit is the key's own; 0 means none.
func (q *queue) enter(key string, limit int) (*ticket, *apiError) {
	if limit <= 0 || limit > q.slots {
		limit = q.slots
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.lines[key]
	switch {
	case q.closed:
		return nil, errShuttingDown
	case l != nil && l.admitted >= limit+q.perKey:
		return nil, refuse(errRateLimited, "this key has %d requests running and %d waiting, which is its share", l.running, l.admitted-l.running)
	case l != nil && q.admitted >= q.slots+q.depth: // a key that has none is let in: others' do not starve it, however many they are
		return nil, refuse(errOverloaded, "the queue is full: %d requests are waiting", q.admitted-q.running)
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
		t.line.waiting.Remove(t.place)
	}
	if t.running {
		q.running--
		t.line.running--
	}
	q.admitted--
	if t.line.admitted--; t.line.admitted == 0 {
		if t.line.turn != nil {
			q.turns.Remove(t.line.turn)
			t.line.turn = nil
		}
		delete(q.lines, t.line.key)
	}
	q.dispatchLocked()
}

// dispatchLocked hands free slots to the lines in turn.
func (q *queue) dispatchLocked() {
	// A line at its own limit keeps its turn in the circle but is passed over; one circle without a grant ends the search.
	for skipped := 0; q.running < q.slots && skipped < q.turns.Len(); {
		l := q.turns.Front().Value.(*line)
		switch {
		case l.waiting.Len() == 0:
			q.turns.Remove(l.turn)
			l.turn = nil
			continue
		case l.running >= l.limit:
			skipped++
		default:
			t := l.waiting.Remove(l.waiting.Front()).(*ticket)
			t.place, t.running = nil, true
			l.running++
			q.running++
			close(t.granted)
			skipped = 0
		}
		q.turns.MoveToBack(l.turn)
	}
}

// tryEnter is enter and wait for a request that can do without: it has a slot only if one is free, within the key's share, and nobody waits.
func (q *queue) tryEnter(key string, limit int) (*ticket, bool) {
	if limit <= 0 || limit > q.slots {
		limit = q.slots
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.lines[key]
	if q.closed || l == nil || l.running >= limit || q.running >= q.slots || q.anyWaitingLocked() {
		return nil, false
	}
	l.admitted++
	l.running++
	q.admitted++
	q.running++
	return &ticket{queue: q, line: l, running: true}, true
}

func (q *queue) anyWaitingLocked() bool {
	for e := q.turns.Front(); e != nil; e = e.Next() {
		if e.Value.(*line).waiting.Len() > 0 {
			return true
		}
	}
	return false
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
