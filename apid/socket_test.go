package main

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

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

// A server that goes down says so to those who have not sent a request yet, and waits until it has.
func TestSocketIsToldOfShutdown(t *testing.T) {
	for path, code := range map[string]int{"/v1/execute/ws": websocket.CloseServiceRestart, "/api/v2/connect": websocket.CloseTryAgainLater} {
		for name, begin := range map[string]func(*websocket.Conn){
			"nothing came": func(*websocket.Conn) {},
			"a part came": func(ws *websocket.Conn) {
				w, err := ws.NextWriter(websocket.TextMessage)
				if err == nil {
					_, err = w.Write(make([]byte, 64<<10)) // more than is kept back: a frame that is not the last
				}
				if err != nil {
					t.Error(err)
				}
			},
		} {
			t.Run(path+" "+name, func(t *testing.T) {
				ts := newTestServer(t, nil)
				ws, _, err := websocket.DefaultDialer.Dial("ws://"+ts.addr+path, http.Header{"Authorization": {"Bearer " + ts.key}})
				if err != nil {
					t.Fatal(err)
				}
				defer ws.Close()
				eventually(t, "a shutdown would wait", func() bool { return ts.conversations.Load() == 1 })
				begin(ws)
				ts.endArrivals()
				ws.SetReadDeadline(time.Now().Add(hang))
				for last := ""; ; {
					_, text, err := ws.ReadMessage()
					var end *websocket.CloseError
					if errors.As(err, &end) {
						if end.Code != code || end.Text != errShuttingDown.message || !strings.Contains(last, errShuttingDown.message) {
							t.Errorf("%v after %s", err, last)
						}
						break
					}
					if err != nil {
						t.Fatalf("%v after %s", err, last)
					}
					last = string(text)
				}
				eventually(t, "it waits no longer", func() bool { return ts.conversations.Load() == 0 })
			})
		}
	}
}
