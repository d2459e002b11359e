package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// enqueue enters and waits in the background; granted receives the name.
func enqueue(t *testing.T, q *queue, key string, limit int, name string, granted chan<- string) (leave func()) {
	t.Helper()
	ticket, err := q.enter(key, limit)
	if err != nil {
		t.Fatal(err)
	}
	_, before := q.counts()
	go func() {
		if ticket.wait(context.Background()) == nil {
			granted <- name
		}
	}()
	eventually(t, "the ticket stands in line", func() bool {
		q.mu.Lock()
		defer q.mu.Unlock()
		return ticket.place != nil || ticket.running
	})
	_ = before
	return ticket.leave
}

func TestQueueFairness(t *testing.T) {
	q := newQueue(queueConfig{MaxJobs: 1, Depth: 100, PerKey: 100})
	granted := make(chan string, 100)
	leave := map[string]func(){}
	leave["a0"] = enqueue(t, q, "a", 0, "a0", granted)
	for i := 1; i < 6; i++ {
		name := fmt.Sprint("a", i)
		leave[name] = enqueue(t, q, "a", 0, name, granted)
	}
	for _, name := range []string{"b0", "b1", "c0"} {
		leave[name] = enqueue(t, q, name[:1], 0, name, granted)
	}
	var order []string
	for range 9 {
		name := <-granted
		order = append(order, name)
		leave[name]()
	}
	if got := strings.Join(order, " "); got != "a0 a1 b0 c0 a2 b1 a3 a4 a5" {
		t.Errorf("order is %s", got)
	}
	if len(q.lines) != 0 || q.turns.Len() != 0 || q.running != 0 || q.admitted != 0 {
		t.Errorf("left over: %+v", q)
	}
}

func TestQueueKeyLimit(t *testing.T) {
	q := newQueue(queueConfig{MaxJobs: 3, Depth: 100, PerKey: 100})
	granted := make(chan string, 100)
	leaveFirst := enqueue(t, q, "a", 1, "a0", granted)
	leaveSecond := enqueue(t, q, "a", 1, "a1", granted)
	leaveOther := enqueue(t, q, "b", 0, "b0", granted)
	if first, second := <-granted, <-granted; first+second != "a0b0" && first+second != "b0a0" {
		t.Errorf("%s and %s run", first, second)
	}
	if running, waiting := q.counts(); running != 2 || waiting != 1 {
		t.Errorf("%d run, %d wait", running, waiting)
	}
	leaveFirst()
	if name := <-granted; name != "a1" {
		t.Errorf("then %s", name)
	}
	leaveSecond()
	leaveOther()
}

func TestQueueBounds(t *testing.T) {
	q := newQueue(queueConfig{MaxJobs: 2, Depth: 3, PerKey: 2})
	var tickets []*ticket
	enter := func(key string) *apiError {
		ticket, err := q.enter(key, 1)
		if err == nil {
			tickets = append(tickets, ticket)
		}
		return err
	}
	for range 3 {
		if err := enter("a"); err != nil {
			t.Fatal(err)
		}
	}
	if err := enter("a"); err == nil || err.code != errRateLimited {
		t.Errorf("beyond the key's share: %v", err)
	}
	enter("b")
	enter("b")
	if err := enter("b"); err == nil || err.code != errOverloaded {
		t.Errorf("a key that has its part of a full queue: %v", err)
	}
	if err := enter("c"); err != nil {
		t.Errorf("a key that has nothing in a full queue: %v", err)
	}
	if err := enter("c"); err == nil || err.code != errOverloaded {
		t.Errorf("beyond the queue: %v", err)
	}

	ctx, cancel := context.WithCancelCause(context.Background())
	var waits sync.WaitGroup
	errs := make([]*apiError, 3)
	waits.Go(func() { errs[0] = tickets[0].wait(context.Background()) })
	waits.Wait()
	waits.Go(func() { errs[1] = tickets[1].wait(ctx) })
	cancel(errHungUp)
	waits.Wait()
	waits.Go(func() { errs[2] = tickets[2].wait(context.Background()) })
	time.Sleep(10 * time.Millisecond)
	q.close()
	waits.Wait()
	if errs[0] != nil || errs[1].code != errGone || errs[2] != errShuttingDown {
		t.Errorf("waits ended with %v", errs)
	}
	if _, err := q.enter("z", 0); err != errShuttingDown {
		t.Errorf("after close: %v", err)
	}
	for _, ticket := range tickets {
		ticket.leave()
	}
	if len(q.lines) != 0 || q.admitted != 0 || q.running != 0 || q.turns.Len() != 0 {
		t.Errorf("left over: %+v", q)
	}
}

// A full queue answers at once, but to those who have nothing in it.
func TestFullQueue(t *testing.T) {
	ts := newTestServer(t, func(c *config) { c.Queue = queueConfig{MaxJobs: 1, Depth: 1, PerKey: 1} })
	keys := []string{ts.key, ts.makeKey(ts.cfg.Keys, 0), ts.makeKey(ts.cfg.Keys, 0)}
	ts.keys.checked.Store(-int64(keyCheckInterval))
	var all sync.WaitGroup
	send := func(key, line string) {
		all.Go(func() {
			if r := ts.do("POST", "/v1/execute", encode(python(line)), "Authorization", "Bearer "+key); r.Status != 200 {
				t.Errorf("one that waited: %s", r.Raw)
			}
		})
	}
	send(keys[0], "await")
	eventually(t, "one runs", func() bool { running, _ := ts.queue.counts(); return running == 1 })
	send(keys[1], "print x")
	eventually(t, "one waits", func() bool { _, waiting := ts.queue.counts(); return waiting == 1 })
	if r := ts.refused(python("print x"), errOverloaded); r.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	send(keys[2], "print x")
	eventually(t, "a third key waits", func() bool { _, waiting := ts.queue.counts(); return waiting == 2 })
	ts.fake.gate <- struct{}{}
	all.Wait()
}
