package main

import (
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
