package main

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

// A stranger who asks for much and reads nothing of it keeps nobody out: what needs no key, and what is refused for want of one, gives way.
func TestStrangersWhoDoNotReadGiveWay(t *testing.T) {
	for name, text := range map[string]string{
		"a page":      "GET /assets/editor.js HTTP/1.1\r\nHost: x\r\n\r\n",
		"a wrong key": "GET /v1/execute/runtimes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer no\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			ts := newTestServer(t, func(c *config) { c.HTTP.MaxConnections = 2 })
			for range 2 {
				conn := ts.dial("")
				conn.(*net.TCPConn).SetReadBuffer(4096)
				go conn.Write([]byte(strings.Repeat(text, 32<<20/len(text)))) // more than fits on its way, of answers as of requests
			}
			ts.aged(2) // the server waits for both to read
			if r := ts.do("POST", "/v1/execute", encode(python("print x")), "Connection", "close"); r.Status != 200 || r.Run.Stdout != "x\n" {
				t.Errorf("while strangers do not read: %s", r.Raw)
			}
		})
	}
}

// Whoever holds a key cannot keep other keys out either: a quarter of all connections is not for one key.
func TestOneKeyLeavesConnections(t *testing.T) {
	ts := newTestServer(t, func(c *config) { c.HTTP.MaxConnections, c.Queue.MaxJobs = 4, 8 })
	body := encode(python("sleep 1m"))
	for range 3 {
		ts.dial(fmt.Sprintf("POST /v1/execute HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", ts.key, len(body), body))
	}
	eventually(t, "all run", func() bool { n, _ := ts.queue.counts(); return n == 3 })
	for _, path := range []string{"/v1/execute", "/v1/execute/runtimes"} {
		method, body := "GET", ""
		if path == "/v1/execute" {
			method, body = "POST", encode(python("print x"))
		}
		if r := ts.do(method, path, body, "Connection", "close"); r.Error == nil || r.Error.Code != string(errRateLimited) {
			t.Errorf("the same key: %s", r.Raw)
		}
		eventually(t, "the connection is closed", func() bool {
			ts.visitors.mu.Lock()
			defer ts.visitors.mu.Unlock()
			return ts.visitors.open == 3
		})
	}
	ts.key = ts.makeKey(ts.cfg.Keys, 0)
	ts.keys.refresh()
	if r := ts.do("POST", "/v1/execute", encode(python("print x")), "Connection", "close"); r.Status != 200 {
		t.Errorf("another key: %s", r.Raw)
	}
	ts.endJobs(errCutOff)
	eventually(t, "nothing is counted any more", func() bool {
		ts.visitors.mu.Lock()
		defer ts.visitors.mu.Unlock()
		return len(ts.visitors.byKey) == 0
	})
}

// Who sends more than is read sees the answer all the same, and no reset in its place.
func TestWhatIsGivenUpIsAnswered(t *testing.T) {
	ts := newTestServer(t, nil)
	get := "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nCookie: "
	for name, c := range map[string]struct{ text, want string }{
		"cookies":       {get + strings.Repeat("a", 7000) + "\r\n\r\n", "HTTP/1.1 200 "},
		"large headers": {get + strings.Repeat("a", 70_000) + "\r\n\r\n", `"payload_too_large","message":"address and headers have more than 8192 bytes together"`},
		"a long path":   {"GET /" + strings.Repeat("a", 70_000) + " HTTP/1.1\r\nHost: x\r\n\r\n", "payload_too_large"},
		"no request":    {strings.Repeat("x", 5000) + "\r\n\r\n" + strings.Repeat("y", 100_000), "bad_request"},
	} {
		for range 5 {
			if answer, err := io.ReadAll(ts.dial(c.text)); err != nil || !strings.Contains(string(answer), c.want) {
				t.Errorf("%s: %v %s", name, err, answer)
			}
		}
	}
}
