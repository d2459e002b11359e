package main

import (
	"net"
	"strings"
	"testing"

	"github.com/fasthttp/websocket"
	"github.com/valyala/fasthttp"
)

// A mistake of ours in reading a message fails its request, and not apid with the jobs of all callers: a WebSocket is served where nobody else catches a
// panic.
func TestSocketPanics(t *testing.T) {
	for name, change := range map[string]func(*dialect){
		"the first message": func(d *dialect) { d.begin = func(*server, *call, []byte) (*plan, *apiError) { panic("mistake") } },
		"a later message":   func(d *dialect) { d.message = func([]byte) (message, *apiError) { panic("mistake") } },
	} {
		t.Run(name, func(t *testing.T) {
			ts := newTestServer(t, nil)
			d := &dialect{begin: (*server).beginInteractive, shape: appendMessage, message: decodeMessage, ending: normalEnding}
			change(d)
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			go fasthttp.Serve(ln, func(ctx *fasthttp.RequestCtx) {
				c := newCall(ctx)
				c.key = &key{ID: "k"}
				ts.openSocket(c, d)
			})
			ws, _, err := websocket.DefaultDialer.Dial("ws://"+ln.Addr().String(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer ws.Close()
			ws.WriteMessage(websocket.TextMessage, []byte(encode(python("sleep 1m"))))
			ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"stdin_close"}`))
			for last := ""; ; {
				_, text, err := ws.ReadMessage()
				if websocket.IsCloseError(err, websocket.CloseNormalClosure) && strings.Contains(last, `"code":"internal"`) {
					break
				}
				if err != nil {
					t.Fatalf("%v after %s", err, last)
				}
				last = string(text)
			}
			eventually(t, "the log tells", func() bool {
				log := ts.log.String()
				return strings.Contains(log, "mistake") && strings.Contains(log, "goroutine ")
			})
			if r := ts.do("POST", "/v1/execute", encode(python("print x"))); r.Status != 200 {
				t.Errorf("afterwards: %s", r.Raw)
			}
		})
	}
}
