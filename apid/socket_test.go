package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// openSocket opens one and sends the request. Each message that comes is then one call of read, which returns "" at the end.
func (ts *testServer) openSocket(t *testing.T, fields map[string]any) (ws *websocket.Conn, read func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	ws, _, err := websocket.Dial(ctx, "ws://"+ts.addr+"/v1/execute/ws", &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + ts.key}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.CloseNow() })
	ws.SetReadLimit(-1)
	if fields != nil {
		say(t, ws, encode(fields))
	}
	return ws, func() string {
		_, body, err := ws.Read(ctx)
		if err != nil && !errors.As(err, new(websocket.CloseError)) {
			t.Errorf("%v", err)
		}
		return string(body)
	}
}

func say(t *testing.T, ws *websocket.Conn, message string) {
	t.Helper()
	if err := ws.Write(context.Background(), websocket.MessageText, []byte(message)); err != nil {
		t.Error(err)
	}
}

func TestSocket(t *testing.T) {
	ts := newTestServer(t, nil)
	ws, read := ts.openSocket(t, python("cat"))
	say(t, ws, `{"type": "stdin", "data": "ein"}`)
	say(t, ws, `{"type": "stdin_close"}`)
	if got := read(); got != `{"type":"stdout","data":{"text":"ein"}}` {
		t.Errorf("%s", got)
	}
	if got := read(); got != `{"type":"exit","data":{"code":0,"signal":null,"status":"OK"}}` {
		t.Errorf("%s", got)
	}
	var last struct {
		Type string
		Data result
	}
	if got := read(); json.Unmarshal([]byte(got), &last) != nil || last.Type != "result" || last.Data.Run == nil || last.Data.Run.Stdout != "ein" {
		t.Errorf("%s", got)
	}
	if got := read(); got != "" {
		t.Errorf("%s after the last", got)
	}
	if log := ts.log.String(); !strings.Contains(log, "route=/v1/execute/ws status=101") || !strings.Contains(log, "outcome=OK") {
		t.Errorf("log: %s", log)
	}
}

// A key that has its share running and waiting is told so by an event, as by a 429 elsewhere.
func TestSocketsAreCounted(t *testing.T) {
	ts := newTestServer(t, func(c *config) { c.Queue.MaxJobs, c.Queue.PerKey = 1, 0 })
	_, read := ts.openSocket(t, python("print begun", "cat"))
	read()
	_, second := ts.openSocket(t, python("print x"))
	if got := second(); !strings.Contains(got, `"type":"error"`) || !strings.Contains(got, "rate_limited") {
		t.Errorf("%s", got)
	}
}

// Programs that run may finish when the server ends; who has asked for nothing does not keep it.
func TestShutdownWaitsForConversations(t *testing.T) {
	ts := newTestServer(t, nil)
	ts.openSocket(t, nil)
	ws, read := ts.openSocket(t, python("print begun", "cat", "print end"))
	read()
	done := make(chan struct{})
	go func() { ts.shutdown(); close(done) }()
	for !ts.draining.Load() {
		time.Sleep(time.Millisecond)
	}
	select {
	case <-done:
		t.Error("the server did not wait")
	case <-time.After(100 * time.Millisecond):
	}
	say(t, ws, `{"type": "stdin_close"}`)
	for got := read(); got != ""; got = read() {
		if strings.Contains(got, `"error"`) {
			t.Errorf("%s", got)
		}
	}
	<-done
}
