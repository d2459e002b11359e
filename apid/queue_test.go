package main

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
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

// ended is the context of a caller who does not wait: its ticket stands in line until it leaves.
var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// Nothing ends: whoever runs nothing is not kept from it by what the others run.
func TestNewcomers(t *testing.T) {
	for _, c := range []struct {
		slots, newcomers int
		come             string // a key each, +: a spare job, ?: a helper of a
		want             string // those that run, in order
	}{
		{4, 0, "aaaab", "aaaa"},
		{1, 1, "aabbc", "ab"},
		{4, 2, "aaaaaab", "aaaab"},
		{4, 2, "aaaaaabbbcccd", "aaaabc"},
		{4, 2, "aaa+?b", "aaa+b"},
		{4, 2, "++++abc", "++++ab"},
		{4, 2, "aabba+?cd", "aabbcd"},
		{2, 16, "aabbccddeeff", "aabcdef"},
		{3, 2, "L" + "LLab", "Lab"}, // a key that may run one at a time
	} {
		q := newQueue(queueConfig{MaxJobs: c.slots, Newcomers: c.newcomers, Depth: 100, PerKey: 100})
		var runs string
		note := func(key rune, ok bool) {
			if ok {
				runs += string(key)
			}
		}
		for _, key := range c.come {
			switch key {
			case '+':
				_, ok := q.trySpare()
				note(key, ok)
			case '?':
				_, ok := q.tryEnter("a", 0)
				note(key, ok)
			default:
				limit := 0
				if key == 'L' {
					limit = 1
				}
				ticket, err := q.enter(string(key), limit)
				if err != nil {
					t.Fatal(err)
				}
				ticket.wait(ended)
				note(key, ticket.hasSlot())
			}
		}
		if runs != c.want {
			t.Errorf("%d slots, %d newcomers, %s come: %s run, want %s", c.slots, c.newcomers, c.come, runs, c.want)
		}
	}
}

// What is promised at the top of queue.go, whatever comes and goes in whatever order.
func TestQueuePromise(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		slots, newcomers, keys := 1+random.IntN(5), random.IntN(5), 1+random.IntN(9)
		q := newQueue(queueConfig{MaxJobs: slots, Newcomers: newcomers, Depth: 1000, PerKey: 1000})
		var leave []func()
		for range 300 {
			number := random.IntN(keys)
			key, limit := fmt.Sprint(number), number%4 // 0: none
			switch {
			case random.IntN(2) == 0 && len(leave) > 0:
				i := random.IntN(len(leave))
				leave[i]()
				leave = slices.Delete(leave, i, i+1)
			case random.IntN(9) == 0:
				if done, ok := q.trySpare(); ok {
					leave = append(leave, done)
				}
			case random.IntN(5) == 0:
				if ticket, ok := q.tryEnter(key, limit); ok {
					leave = append(leave, ticket.leave)
				}
			default:
				ticket, err := q.enter(key, limit)
				if err != nil {
					t.Fatal(err)
				}
				leave = append(leave, ticket.leave)
				if random.IntN(9) > 0 { // else it waits for its session
					ticket.wait(ended)
				}
			}
			if wrong := q.broken(); wrong != "" {
				t.Fatalf("seed %d, %d slots, %d newcomers: %s", seed, slots, newcomers, wrong)
			}
		}
		for _, leave := range leave {
			leave()
		}
		if len(q.lines) != 0 || q.turns.Len() != 0 || q.running != 0 || q.admitted != 0 {
			t.Fatalf("seed %d: left over: %+v", seed, q)
		}
	}
}

// broken says what is not as it should be.
func (q *queue) broken() string {
	busy, waiting := 0, 0
	for _, l := range q.lines {
		if l.running > 0 {
			busy++
		}
		if l.waiting.Len() > 0 {
			waiting++
		}
		if (l.turn != nil) != (l.waiting.Len() > 0) {
			return "a line with tickets has no turn, or one without has"
		}
	}
	for _, l := range q.lines {
		switch {
		case l.waiting.Len() == 0:
		case l.running == 0 && busy < q.newcomers:
			return fmt.Sprintf("a key that runs nothing waits while %d keys run something", busy)
		case l.running < l.limit && q.running < q.slots:
			return fmt.Sprintf("a key waits while %d jobs run", q.running)
		}
	}
	switch {
	case q.running > q.slots+min(busy, q.newcomers):
		return fmt.Sprintf("%d jobs of %d keys run", q.running, busy)
	case waiting != q.turns.Len():
		return "turns of lines that are gone"
	}
	return ""
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
	// Nor are bodies awaited that would be refused.
	for _, path := range []string{"/v1/execute", "/v1/executions", "/api/v2/execute"} {
		conn, err := net.Dial("tcp", ts.addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n%16384s", path, ts.key, "") // the first 8 KiB fasthttp awaits itself
		if r, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || r.StatusCode != 503 {
			t.Errorf("%s, most of its body outstanding: %v %v", path, r, err)
		}
		conn.Close()
	}
	send(keys[2], "print x")
	eventually(t, "a third key waits", func() bool { _, waiting := ts.queue.counts(); return waiting == 2 })
	ts.fake.gate <- struct{}{}
	all.Wait()
}
