package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func (ts *testServer) dial(text string) net.Conn {
	ts.t.Helper()
	conn, err := net.Dial("tcp", ts.addr)
	if err != nil {
		ts.t.Fatal(err)
	}
	ts.t.Cleanup(func() { conn.Close() })
	io.WriteString(conn, text)
	conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	return conn
}

// aged waits until every connection that waits has waited long enough to give way.
func (ts *testServer) aged(waiting int) {
	ts.t.Helper()
	eventually(ts.t, "they have waited", func() bool {
		ts.visitors.mu.Lock()
		defer ts.visitors.mu.Unlock()
		back := ts.visitors.waiting.Back()
		return ts.visitors.waiting.Len() == waiting && back != nil && time.Since(back.Value.(*visitor).since) > youngest
	})
}

// A connection on which no whole request has come keeps nobody out, whatever of a request has come.
func TestVisitorsGiveWay(t *testing.T) {
	post := "POST /v1/execute HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nContent-Type: application/json\r\nContent-Length: 20000\r\n\r\n"
	for name, text := range map[string]string{
		"nothing": "", "half a header": "POST /v1/exec", "a header": post, "half a body": post + "{" + strings.Repeat(" ", 10_000),
		"a request before": "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			ts := newTestServer(t, func(c *config) { c.HTTP.MaxConnections = 3 })
			closed := make(chan error, 3)
			for range 3 {
				conn := ts.dial(strings.ReplaceAll(text, "KEY", ts.key))
				go func() {
					_, err := io.Copy(io.Discard, conn)
					closed <- err
				}()
			}
			ts.aged(3)
			if r := ts.do("POST", "/v1/execute", encode(python("print x")), "Connection", "close"); r.Status != 200 || r.Run.Stdout != "x\n" {
				t.Errorf("while others wait: %s", r.Raw)
			}
			if err := <-closed; errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("none was closed")
			}
			eventually(t, "the other two are there", func() bool { return ts.visitors.count() == 2 })
			if ts.visitors.closedEarly.Load() != 1 || ts.visitors.refused.Load() != 0 {
				t.Errorf("%d gave way, %d were refused", ts.visitors.closedEarly.Load(), ts.visitors.refused.Load())
			}
		})
	}
}

// When every connection is being served one more is refused, in our own words, and is let in when one has ended.
func TestVisitorsRefused(t *testing.T) {
	ts := newTestServer(t, func(c *config) { c.HTTP.MaxConnections = 2 })
	body := encode(python("sleep 1m"))
	var served []net.Conn
	for range 2 {
		served = append(served, ts.dial(fmt.Sprintf("POST /v1/execute HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			ts.key, len(body), body)))
	}
	eventually(t, "both run", func() bool { n, _ := ts.queue.counts(); return n == 2 })
	for range 2 * partings { // more than are heard out
		conn := ts.dial("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			if ts.visitors.refused.Load() > partings {
				break
			}
			t.Fatal(err)
		}
		content, _ := io.ReadAll(response.Body)
		var answer result
		if err := json.Unmarshal(content, &answer); err != nil || answer.Error == nil {
			t.Fatalf("%v: %s", err, content)
		}
		if response.StatusCode != 503 || answer.Error.Code != string(errOverloaded) || response.Header.Get("Retry-After") == "" || !response.Close ||
			answer.Error.RequestID == "" || answer.Error.RequestID != response.Header.Get("X-Request-Id") {
			t.Errorf("%v %s", response, content)
		}
		conn.Close()
	}
	if n, _ := ts.queue.counts(); n != 2 {
		t.Errorf("%d of the served are left", n)
	}
	for _, conn := range served {
		conn.Close()
	}
	eventually(t, "they are gone", func() bool { return ts.visitors.count() == 0 })
	if r := ts.do("POST", "/v1/execute", encode(python("print x"))); r.Status != 200 {
		t.Errorf("afterwards: %s", r.Raw)
	}
	if !strings.Contains(ts.log.String(), "more are refused") {
		t.Errorf("the log does not tell: %s", ts.log)
	}
}

// badListener fails as accept does on a machine in trouble.
type badListener struct {
	net.Listener
	errs []error
}

func (l *badListener) Accept() (net.Conn, error) {
	if len(l.errs) == 0 {
		return l.Listener.Accept()
	}
	err := l.errs[0]
	l.errs = l.errs[1:]
	return nil, &net.OpError{Op: "accept", Net: "tcp", Err: err}
}

// Without descriptors or memory for a connection apid waits until there are some. fasthttp alone would end.
func TestAcceptFails(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var log syncBuffer
	v := newVisitors(1, slog.New(slog.NewTextHandler(&log, nil))).at(&badListener{ln, []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EPROTO}})
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	accepted, err := v.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(log.String(), "could not be accepted"); n != 1 || !strings.Contains(log.String(), "too many open files") {
		t.Errorf("logged %d times: %s", n, &log)
	}
	accepted.Close()
	accepted.Close()
	if v.count() != 0 {
		t.Errorf("%d connections", v.count())
	}
	ln.Close()
	if _, err := v.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
}

func TestConnectionsForDescriptors(t *testing.T) {
	for _, c := range []struct {
		most, jobs  int
		descriptors uint64
		want        int
		says        string
	}{
		{8192, 8, 1 << 20, 8192, ""},
		{8192, 8, 8192 + 128 + 8*16, 8192, ""},
		{8192, 8, 1024, 1024 - 128 - 8*16, "want_open_files=8448"},
		{8192, 8, 100, 1, "LimitNOFILE"},
	} {
		var log syncBuffer
		got := fewer(c.most, c.jobs, c.descriptors, slog.New(slog.NewTextHandler(&log, nil)))
		if got != c.want || !strings.Contains(log.String(), c.says) || c.says == "" && log.String() != "" {
			t.Errorf("%+v: %d, %s", c, got, fmt.Sprint(&log))
		}
	}
}
