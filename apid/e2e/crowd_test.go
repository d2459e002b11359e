package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What TestCrowd has of each kind. Beyond crowdRoom connections some must give way.
const (
	crowdIdle      = 10_000 // after a request, kept alive
	crowdHalfOpen  = 500    // a header that is begun and never ended
	crowdSlow      = 100    // a byte at a time, in and out
	crowdAnnounced = 100    // a large body that is announced and does not come
	crowdFloods    = 4      // bodies that are too large, one after the other
	crowdRoom      = 11_000 // max_connections
	crowdLate      = 2000   // more than there is room for

	crowdBodies  = 64 << 20 // max_bodies_bytes
	crowdTimeout = 8 * time.Second
)

// mostCrowdKB is what apid may hold more than before, KiB: its part of each connection, and bodies, three times for the garbage collector, which lags
// behind on a busy machine.
const mostCrowdKB = 3 * (crowdRoom*16<<10 + crowdBodies) >> 10

// Ten thousand connections that idle, and others that send by the byte, half a header, half a body, or far too much: whoever else comes is
// served, memory is bounded, and who does not finish what it began is told so and put out.
func TestCrowd(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < crowdRoom+crowdLate+1000 {
		t.Fatalf("%d open files at most, want %d for both ends to have enough: %v", limit.Cur, crowdRoom+crowdLate+1000, err)
	}
	s := startOwn(t, "crowd", fmt.Sprintf("[http]\nmax_connections = %d\nheader_timeout = \"%v\"\nread_timeout = \"%v\"\nmax_bodies_bytes = %d\n",
		crowdRoom, crowdTimeout, crowdTimeout, crowdBodies))
	third, err := s.createKey()
	if err != nil {
		t.Fatal(err)
	}
	if err := eventually("the third key is valid", func() error {
		_, err := s.try(third, program("bash", ""))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	before := s.held(t)
	c := &crowd{stack: s, t: t, third: third, others: 10}
	seconds := number(t, "OVERLOAD_SECONDS", 5)
	if judged(seconds) {
		c.others = 100
	}
	alone := c.othersAreServed()
	defer c.disperse()
	c.come(crowdIdle, c.idle)
	c.come(crowdSlow, c.slow)
	c.come(crowdHalfOpen, c.halfOpen)
	c.come(crowdAnnounced, c.announce)
	silent := c.othersAreServed()
	var floods sync.WaitGroup
	stop := make(chan struct{})
	for i := range crowdFloods {
		floods.Go(func() { c.flood(stop, i%2 == 0) })
	}
	flooded := c.othersAreServed()
	if there, err := s.metric("runtools_connections"); err != nil || there < crowdIdle {
		t.Errorf("%v connections, %v", there, err)
	}
	time.Sleep(1500 * time.Millisecond) // on a quick machine all have come within a second, and a connection so young does not give way (youngest)
	c.come(crowdLate, c.idle)
	flooded = append(flooded, c.othersAreServed()...)
	if early, err := s.metric("runtools_connections_closed_early_total"); err != nil || early == 0 {
		t.Errorf("%v connections gave way, %v", early, err)
	}
	during := s.held(t)
	close(stop)
	floods.Wait()
	c.dunned.Wait()
	t.Logf("before %+v, with the crowd %+v", before, during)
	t.Logf("a request of another key took %v alone, %v beside those who are slow or silent, %v beside floods too", spread(alone), spread(silent), spread(flooded))
	// Silence costs nothing, and a byte now and then little. Floods take processors, which are everybody's, and those who send them run here as well.
	if judged(seconds) && (middle(silent) > 3*middle(alone) || middle(flooded) > 15*middle(alone)) {
		t.Errorf("another key is served much later than without the crowd; %s", machineLoad())
	}
	if during["apid"].memoryKB > before["apid"].memoryKB+mostCrowdKB {
		t.Errorf("apid took %d KiB, %d before", during["apid"].memoryKB, before["apid"].memoryKB)
	}
	if c.toldOff.Load() < crowdHalfOpen {
		t.Errorf("%d were told that what they sent did not come in time", c.toldOff.Load())
	}
	if c.tooLarge.Load() == 0 {
		t.Error("no body was too large")
	}
	c.disperse()
	clients.CloseIdleConnections()
	if err := eventually("the connections are gone", func() error {
		n, err := s.metric("runtools_connections")
		if err == nil && n > 0 {
			err = fmt.Errorf("%v connections", n)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	after := s.held(t)["apid"]
	if after.descriptors > before["apid"].descriptors+mostDescriptorGrowth {
		t.Errorf("%+v, before %+v", after, before["apid"])
	}
	s.wantQuiet(t)
}

type crowd struct {
	*stack
	t      *testing.T
	third  string // key of those who do harm
	others int    // requests of othersAreServed

	mu    sync.Mutex
	conns []net.Conn

	dunned            sync.WaitGroup // those that wait to be told off
	toldOff, tooLarge atomic.Int64
}

// come has n of a kind come, some at a time.
func (c *crowd) come(n int, kind func(net.Conn) error) {
	var doors sync.WaitGroup
	left := make(chan struct{})
	for range 64 {
		doors.Go(func() {
			for range left {
				conn, err := net.Dial("tcp", c.listen)
				if err != nil {
					c.t.Error(err)
					continue
				}
				c.mu.Lock()
				c.conns = append(c.conns, conn)
				c.mu.Unlock()
				if err := kind(conn); err != nil {
					c.t.Error(err)
				}
			}
		})
	}
	for range n {
		left <- struct{}{}
	}
	close(left)
	doors.Wait()
}

func (c *crowd) disperse() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		conn.Close()
	}
	c.conns = nil
}

// othersAreServed has another key run programs, each on a connection of its own, and says how long they took.
func (c *crowd) othersAreServed() (took []time.Duration) {
	c.t.Helper()
	for range c.others {
		clients.CloseIdleConnections()
		sent := time.Now()
		a, err := c.try(c.otherKey, program("bash", "echo x"))
		took = append(took, time.Since(sent))
		if err != nil || a.Run.Stdout != "x\n" {
			c.t.Errorf("another key: %v %v", a, err)
		}
	}
	return took
}

// idle is a client that keeps its connection.
func (c *crowd) idle(conn net.Conn) error {
	io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	response, err := http.ReadResponse(bufio.NewReaderSize(conn, 512), nil)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("/healthz: %s", response.Status)
	}
	return err
}

func (c *crowd) header(length string) string {
	return "POST /v1/execute HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + c.third + "\r\nContent-Type: application/json\r\n" + length + "\r\n\r\n"
}

// slow sends by the byte a request that is never complete, and reads its answer by the byte.
func (c *crowd) slow(conn net.Conn) error {
	c.dunned.Go(func() {
		go func() {
			for _, b := range []byte(c.header("Content-Length: 100000") + strings.Repeat(" ", 100_000)) {
				if _, err := conn.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		}()
		c.told(conn, 1)
	})
	return nil
}

func (c *crowd) halfOpen(conn net.Conn) error {
	io.WriteString(conn, "POST /v1/execute HTTP/1.1\r\nHost: x\r\nAuthoriz")
	c.dunned.Go(func() { c.told(conn, 512) })
	return nil
}

// announce claims a body of some MiB. Memory is set aside for it, of which one key may have a half.
func (c *crowd) announce(conn net.Conn) error {
	io.WriteString(conn, c.header("Content-Length: 4000000")+"{"+strings.Repeat(" ", 10_000))
	c.dunned.Go(func() { c.told(conn, 512) })
	return nil
}

// told reads what the server has to say at the end, some bytes at a time. Some gave way to others and are told nothing.
func (c *crowd) told(conn net.Conn, step int) {
	conn.SetReadDeadline(time.Now().Add(hang))
	var answer []byte
	for piece := make([]byte, step); ; {
		n, err := conn.Read(piece)
		answer = append(answer, piece[:n]...)
		if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
			c.t.Errorf("not put out within %v", hang)
		}
		if err != nil {
			break
		}
	}
	switch text := string(answer); {
	case strings.Contains(text, `"code":"bad_request"`) && strings.Contains(text, "not arrive"):
		c.toldOff.Add(1)
	case text != "" && !strings.Contains(text, `"code":"rate_limited"`):
		c.t.Errorf("told %.500q", text)
	}
}

// flood sends what is beyond max_body_bytes, with its length ahead or not.
func (c *crowd) flood(stop chan struct{}, chunked bool) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		ctx, cancel := context.WithTimeout(context.Background(), hang)
		q, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/v1/execute", io.LimitReader(spaces{}, 80<<20))
		if err != nil {
			c.t.Error(err)
			cancel()
			return
		}
		if q.ContentLength = 80 << 20; chunked {
			q.ContentLength = -1
		}
		q.Header.Set("Authorization", "Bearer "+c.third)
		q.Header.Set("Content-Type", "application/json")
		if response, err := clients.Do(q); err == nil { // else it was put out while it sent
			switch response.StatusCode {
			case http.StatusRequestEntityTooLarge:
				c.tooLarge.Add(1)
			case http.StatusTooManyRequests: // its key has its share of memory
			case http.StatusServiceUnavailable: // it came when nobody had waited long enough to give way
			default:
				c.t.Errorf("a body of 80 MiB: %s", response.Status)
			}
			response.Body.Close()
		}
		cancel()
		time.Sleep(50 * time.Millisecond)
	}
}

// spaces has no end.
type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}
