package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// What TestOverload has of each kind.
const (
	overloadJobs  = 4  // max_jobs
	greedy        = 10 // times that: callers of one key that send all the time
	idlers        = 2000
	slowSenders   = 50
	slowReaders   = 100
	bodySenders   = 16
	overloadBytes = 8 << 20 // of a body, and about half of what a slow reader does not read

	overloadBudget = 64 << 20 // max_bodies_bytes and max_unread_bytes
)

// mostOverloadKB is what a daemon may hold more than before, in KiB: bodies, as they came and decoded; unread answers, and those of the jobs that
// ran when there were too many; all three times, for the garbage collector, which lags behind on a busy machine.
const mostOverloadKB = 3 * (3*overloadBudget + 2*overloadJobs*overloadBytes) >> 10

// Ten times what can be carried out, and callers that are slow, silent, or send too much: every request is answered, memory is bounded, and a
// caller with another key is served in turn. OVERLOAD_SECONDS is for how long.
func TestOverload(t *testing.T) {
	seconds := number(t, "OVERLOAD_SECONDS", 5)
	s := startOwn(t, "overload", fmt.Sprintf("[queue]\nmax_jobs = %d\ndepth = 60\nper_key = 30\n[http]\nmax_bodies_bytes = %d\nmax_unread_bytes = %d\n", overloadJobs, overloadBudget, overloadBudget))
	third, err := s.createKey() // of callers that send much or read slowly
	if err != nil {
		t.Fatal(err)
	}
	if err := eventually("the third key is valid", func() error {
		_, err := s.try(third, program("bash", ""))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	var alone, crowded, queued []time.Duration
	modest := func(took *[]time.Duration) bool {
		sent := time.Now()
		response, content, err := s.send(context.Background(), s.otherKey, http.MethodPost, "/v1/execute", program("bash", "sleep 0.05; echo x"))
		if err != nil || response.StatusCode != http.StatusOK || !strings.Contains(string(content), `"x\n"`) {
			t.Errorf("another key: %s %v", content, err)
			return false
		}
		*took = append(*took, time.Since(sent))
		queued = append(queued, inQueue(t, response))
		return true
	}
	for range 20 {
		if !modest(&alone) {
			return
		}
	}
	before := s.held(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(seconds)*time.Second+hang)
	defer cancel()
	o := &overload{stack: s, t: t, ctx: ctx, third: third, most: map[string]int{}, threads: map[string]int{}}
	var crowd sync.WaitGroup
	for _, one := range []struct {
		number int
		do     func()
	}{
		{idlers, o.idle}, {slowSenders, o.sendSlowly}, {slowReaders, o.readSlowly}, {bodySenders, o.sendMuch}, {greedy * overloadJobs, o.want},
	} {
		for range one.number {
			crowd.Go(one.do)
		}
	}
	crowd.Go(o.watchMemory)
	// On a machine that is busy with other things it takes longer until there is something to compare.
	for began := time.Now(); ctx.Err() == nil && (time.Since(began) < time.Duration(seconds)*time.Second || o.carriedOut.Load() < 100) && modest(&crowded); {
	}
	cancel()
	crowd.Wait()
	t.Logf("the greedy key had %d carried out, another %d; callers that send much or read slowly had %d; %d requests were refused",
		o.carriedOut.Load(), len(crowded), o.others.Load(), o.refused.Load())
	queued = queued[len(alone):]
	t.Logf("a request of the other key took %v alone, %v meanwhile; of that it waited for a slot %v, one of the greedy key %v, and then took %v",
		spread(alone), spread(crowded), spread(queued), spread(o.queued), spread(o.served))
	// First come, first served, both would wait as long, behind the same thirty. How many are carried out meanwhile tells nothing: what else a request
	// of the one caller needs, the processors, is everybody's.
	if 4*middle(queued) >= middle(o.queued) {
		t.Error("one key starves another")
	}
	// It waits for nobody's program to end (TestQueueBounds has some that never do). With the next slot that is free it would wait 13 ms, behind the
	// thirty that wait eight times as long as it takes.
	if judged(seconds) {
		if middle(queued) > 5*time.Millisecond {
			t.Errorf("the other key waits %v for a slot", middle(queued))
		}
		wantNear(t, "the other key", crowded, alone)
		wantNear(t, "the greedy key, its wait for a slot apart", o.served, alone)
	}
	t.Logf("at most %v KiB and %v threads, before %+v", o.most, o.threads, before)
	if o.refused.Load() == 0 {
		t.Error("nothing was refused: this was no overload")
	}
	for name, kb := range o.most {
		if kb > before[name].memoryKB+mostOverloadKB {
			t.Errorf("%s took %d KiB, %d before", name, kb, before[name].memoryKB)
		}
	}
	for name, n := range o.threads {
		if n > before[name].threads { // one that the kernel might have refused
			t.Errorf("%s came to have %d threads, %d before", name, n, before[name].threads)
		}
	}
	wantStdout(t, s.execute(t, s.key, program("python", "print('x')")), "x\n")
	clients.CloseIdleConnections()
	s.wantQuiet(t)
}

// inQueue is how long a request waited for a slot.
func inQueue(t *testing.T, response *http.Response) time.Duration {
	timing := response.Header.Get("Server-Timing")
	_, phases, _ := strings.Cut(timing, "queue;dur=")
	waited, err := time.ParseDuration(phases[:max(0, strings.IndexByte(phases, ','))] + "ms")
	if err != nil {
		t.Errorf("Server-Timing %q: %v", timing, err)
	}
	return waited
}

// judged says that a clock decides: for `make overload`, on a machine that has nothing else to do. A moment is too short, and in `make test` no clock does.
func judged(seconds int64) bool { return seconds >= 60 }

// wantNear fails unless accepted requests take about as long as without the others. All share the processors, with refusals too: on two that had little else to
// do, half of them took 1.9 times what half of those alone take, and one in a hundred 3.5 times, or 7.6 times of the greedy key's, which come in a burst.
// In turn behind thirty others it would be twelve times for half of them.
func wantNear(t *testing.T, whose string, took, alone []time.Duration) {
	t.Helper()
	if half, slowest := middle(took), percentile(took, 0.99); half > 3*middle(alone) || slowest > 12*middle(alone) {
		t.Errorf("requests of %s took %v, and %v alone, want 3 and 12 times half of these at most; %s", whose, spread(took), spread(alone), machineLoad())
	}
}

// machineLoad is for who reads why a clock decided so.
func machineLoad() string {
	load, _ := os.ReadFile("/proc/loadavg")
	return "run it on a machine with nothing else to do: the load average is now " + strings.TrimSpace(string(load))
}

// spread is for people.
func spread(took []time.Duration) string {
	if len(took) == 0 {
		return "nothing"
	}
	return fmt.Sprintf("%v (half), %v (of 100 the 99th)", middle(took).Round(time.Millisecond/10), percentile(took, 0.99).Round(time.Millisecond/10))
}

func middle(took []time.Duration) time.Duration { return percentile(took, 0.5) }

func percentile(took []time.Duration, share float64) time.Duration {
	if len(took) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(took))[int(share*float64(len(took)-1))]
}

type overload struct {
	*stack
	t                           *testing.T
	ctx                         context.Context
	carriedOut, refused, others atomic.Int64
	third                       string
	most, threads               map[string]int // KiB of each daemon, and its threads
	mu                          sync.Mutex
	queued, served              []time.Duration // of those of the greedy key that were carried out: the wait for a slot, and the rest
}

func (o *overload) watchMemory() {
	for o.ctx.Err() == nil {
		for name, d := range map[string]*daemon{"sandboxd": o.sandboxd, "apid": o.apid} {
			o.most[name] = max(o.most[name], d.memoryKB())
			o.threads[name] = max(o.threads[name], d.threads())
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// answered counts a response that is one of those that a caller can act on, and fails the test otherwise.
func (o *overload) answered(carriedOut *atomic.Int64, response *http.Response, content []byte, err error) {
	switch {
	case err != nil:
		o.t.Errorf("not answered: %v", err)
	case response.StatusCode == http.StatusOK:
		carriedOut.Add(1)
	case response.StatusCode == http.StatusTooManyRequests || response.StatusCode == http.StatusServiceUnavailable:
		o.refused.Add(1)
		if response.Header.Get("Retry-After") == "" {
			o.t.Errorf("no Retry-After: %s", content)
		}
		time.Sleep(20 * time.Millisecond) // even a greedy caller has to send it again
	default:
		o.t.Errorf("%s: %s", response.Status, content)
	}
}

// want sends one request after the other.
func (o *overload) want() {
	for o.ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(context.Background(), hang)
		sent := time.Now()
		response, content, err := o.send(ctx, o.key, http.MethodPost, "/v1/execute", program("bash", "sleep 0.05; echo x"))
		took := time.Since(sent)
		cancel()
		o.answered(&o.carriedOut, response, content, err)
		if err == nil && response.StatusCode == http.StatusOK {
			waited := inQueue(o.t, response)
			o.mu.Lock()
			o.queued, o.served = append(o.queued, waited), append(o.served, took-waited)
			o.mu.Unlock()
		}
	}
}

// sendMuch sends bodies that are large, and now and then one that is too large.
func (o *overload) sendMuch() {
	large, err := json.Marshal(program("bash", "echo x").with(request{"ephemeral": true, "stdin": strings.Repeat("x", overloadBytes)}))
	if err != nil {
		o.t.Error(err)
		return
	}
	for o.ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(context.Background(), hang)
		response, content, err := o.send(ctx, o.third, http.MethodPost, "/v1/execute", string(large))
		cancel()
		o.answered(&o.others, response, content, err)
	}
}

// connect opens a connection, which the test's end closes.
func (o *overload) connect() (net.Conn, func()) {
	conn, err := net.Dial("tcp", o.listen)
	if err != nil {
		o.t.Errorf("connect: %v", err)
		return nil, nil
	}
	stop := context.AfterFunc(o.ctx, func() { conn.Close() })
	return conn, func() { stop(); conn.Close() }
}

func (o *overload) idle() {
	if conn, done := o.connect(); conn != nil {
		defer done()
		io.Copy(io.Discard, conn)
	}
}

func (o *overload) header(length int) string {
	return fmt.Sprintf("POST /v1/execute HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", o.third, length)
}

// sendSlowly sends a byte at a time: half of them never come to the end of their headers.
func (o *overload) sendSlowly() {
	conn, done := o.connect()
	if conn == nil {
		return
	}
	defer done()
	for _, b := range []byte(o.header(1<<20) + strings.Repeat(" ", 1<<20)) {
		if _, err := conn.Write([]byte{b}); err != nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// readSlowly has a program write much, zeros that JSON makes six times as long, and does not read the answer.
func (o *overload) readSlowly() {
	body, err := json.Marshal(program("bash", "head -c 2600K /dev/zero").with(request{"ephemeral": true}))
	if err != nil {
		o.t.Error(err)
		return
	}
	for o.ctx.Err() == nil {
		conn, done := o.connect()
		if conn == nil {
			return
		}
		io.WriteString(conn, o.header(len(body)))
		conn.Write(body)
		status, _ := bufio.NewReader(conn).ReadString('\n')
		if strings.Contains(status, " 200 ") {
			o.others.Add(1)
			<-o.ctx.Done()
		}
		done()
		time.Sleep(500 * time.Millisecond)
	}
}
