package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
)

// A caller that does not read what it asked for is given no more, and nobody else is hurt. With that what it left unread is forgotten.
func TestUnreadAnswers(t *testing.T) {
	size := moreThanBuffers(t)
	program := fmt.Sprint("spew ", size)
	for path, fields := range map[string]map[string]any{
		"/v1/execute":     with(python(program), "ephemeral", true),
		"/api/v2/execute": {"language": "python", "version": "*", "files": []any{map[string]any{"content": program}}},
	} {
		t.Run(path, func(t *testing.T) { testUnreadAnswer(t, path, encode(fields), size) })
	}
}

func testUnreadAnswer(t *testing.T, path, body string, size int) {
	ts := newTestServer(t, func(c *config) { c.HTTP.MaxUnreadBytes, c.Limits.OutputLimit.Default = 1<<20, c.Limits.OutputLimit.Max })
	conn, err := net.Dial("tcp", ts.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.(*net.TCPConn).SetReadBuffer(64 << 10)
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		path, ts.key, len(body), body)
	eventually(t, "the answer is ready", func() bool { return ts.unread.bytes() > int64(size) })
	if r := ts.refused(python("print x"), errRateLimited); !strings.Contains(r.Error.Message, "not been read") || r.Header.Get("Retry-After") == "" {
		t.Errorf("%v %s", r.Header, r.Raw)
	}
	mine := ts.key
	ts.key = ts.makeKey(ts.cfg.Keys, 0)
	ts.keys.checked.Store(-int64(keyCheckInterval))
	ts.execute(python("print x")) // another key
	ts.key = mine
	answer := bufio.NewReader(conn)
	for line := "x"; strings.TrimSpace(line) != ""; {
		if line, err = answer.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.CopyN(io.Discard, answer, int64(size)); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	eventually(t, "what was unread is forgotten", func() bool { return ts.unread.bytes() == 0 })
	ts.execute(python("print x"))
	if len(ts.unread.byKey) != 0 {
		t.Errorf("left: %v", ts.unread.byKey)
	}
}

// moreThanBuffers is how many bytes of an answer the kernel does not take from us while nobody reads: it lets a connection's buffer grow to the third
// number of tcp_wmem. The reader's is small.
func moreThanBuffers(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/sys/net/ipv4/tcp_wmem")
	var most int
	if err == nil {
		_, err = fmt.Sscan(string(text), new(int), new(int), &most)
	}
	if err != nil {
		t.Fatal(err)
	}
	return min(most+6<<20, 31<<20) // output_limit ends at 32 MiB
}

// So it is with the files of a session.
func TestUnreadArchive(t *testing.T) {
	ts := newTestServer(t, func(c *config) { c.HTTP.MaxUnreadBytes = 1 << 20 })
	size := moreThanBuffers(t)
	ts.execute(with(map[string]any{"language": "python"}, "session_id", "s", "files", []map[string]string{{"name": "main.py", "content": "print x\n"}, {"name": "large", "content": strings.Repeat("x", size)}}))
	conn := ts.dial("")
	conn.(*net.TCPConn).SetReadBuffer(64 << 10)
	fmt.Fprintf(conn, "GET /v1/sessions/s/archive HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", ts.key)
	eventually(t, "the answer is ready", func() bool { return ts.unread.bytes() > int64(size) })
	ts.refused(python("print x"), errRateLimited)
	conn.Close()
	eventually(t, "what was unread is forgotten", func() bool { return ts.unread.bytes() == 0 })
}

// A large answer is the same as a small one to who reads it, and counts for nothing afterwards.
func TestLargeAnswer(t *testing.T) {
	ts := newTestServer(t, nil)
	for _, headers := range [][]string{nil, {"Accept", "text/event-stream"}} {
		r := ts.do("POST", "/v1/execute", encode(with(python("spew 1000000"), "ephemeral", true)), headers...)
		if r.Status != 200 || len(r.Raw) < 1_000_000 || headers == nil && r.Header.Get("Content-Length") != fmt.Sprint(len(r.Raw)) {
			t.Errorf("%d, %d bytes, %v", r.Status, len(r.Raw), r.Header)
		}
		eventually(t, "it is taken", func() bool { return ts.unread.bytes() == 0 })
	}
}
