package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/fasthttp/websocket"
)

// mostRefusal is what an answer that refuses is never longer than, bytes: nothing counts its memory, and its caller may never read it.
const mostRefusal = 8 << 10

// Whatever a caller sends, the answer that refuses it is short. %s stands for what is long.
func TestRefusalsAreShort(t *testing.T) {
	ts := newTestServer(t, func(c *config) { c.Webhooks.Allow = []string{"hooks.example.com"} })
	bodies := []string{
		`%s`, `"%s"`, `{"%s":1}`, `{"language":"%s"}`, `{"language":"python","code":"","version":"%s"}`, `{"language":"python","code":"","version":"%s9"}`,
		`{"language":"python","code":"","version":"7%s"}`, `{"language":"python","code":"","stdin_encoding":"%s"}`, `{"language":"python","code":"","session_id":"%s"}`,
		`{"language":"python","files":[{"%s":1}]}`, `{"language":"python","files":[{"name":"%s","content":""}]}`, `{"language":"python","files":[{"name":"a/%s/","content":""}]}`,
		`{"language":"python","files":[{"name":"a","content":"*%s","encoding":"base64"}]}`, `{"language":"python","files":[{"name":"a","content":"","encoding":"%s"}]}`,
		`{"language":"python","code":"","env":{"%s":1}}`, `{"language":"python","code":"","env":{"=%s":""}}`, `{"language":"python","code":"","env":{"A":"%s"}}`,
		`{"language":"python","code":"","args":["%s"]}`, `{"language":"python","code":"","artifacts":["%s"]}`, `{"language":"python","code":"","artifacts":["../%s"]}`,
		`{"language":"python","code":"","tests":[{"%s":1}]}`, `{"language":"python","code":"","tests":[{"checker":"%s"}]}`, `{"language":"python","code":"","tests":[{"stdin":"","stdin_encoding":"%s"}]}`,
		`{"language":"python","code":"","tests":[{"files":[{"name":"a/../%s","content":""}]}]}`, `{"language":"python","code":"","pty":{"%s":1}}`,
		`{"language":"python","code":"","webhook":{"url":"https://%s"}}`, `{"language":"python","code":"","webhook":{"url":"https://hooks.example.com","secret":"%s"}}`,
		`{"language":"python","code":"","webhook":{"%s":""}}`,
		// Numbers.
		`{"language":"python","code":"","run_timeout":1%s}`, `{"language":"python","code":"","run_timeout":0.1%s}`, `{"language":"python","code":"","repeat":-1%s}`,
		`{"language":"python","code":"","tests":[{"tolerance":-1%s}]}`, `{"language":"python","code":"","tests":[{"tolerance":1e1%s}]}`, `{"language":"python","code":"","pty":{"cols":0.5%s}}`,
		// Messages of the Model Context Protocol.
		`{"jsonrpc":"2.0","id":1,"method":"%s"}`, `{"jsonrpc":"2.0","id":"%s","method":"none"}`, `{"jsonrpc":"%s","id":1,"method":"ping"}`, `{"jsonrpc":"2.0","id":1,"method":"ping","%s":1}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":"%s"}`, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"%s"}}`,
		`{"jsonrpc":"2.0","id":"%s","method":"tools/call","params":{"name":"none"}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"execute","arguments":{"language":"%s"}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"execute","arguments":{"language":"python","%s":1}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"execute","arguments":{"language":1,"code":"%s"}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_file","arguments":{"session_id":"%s","path":"a"}}}`,
	}
	events := []string{"Accept", "text/event-stream"}
	mcp := []string{"Accept", "application/json, text/event-stream"}
	type way struct {
		path    string
		headers []string
	}
	for _, body := range bodies {
		for i, c := range []string{"\x7f", "<", " ", `\\`, "9", "a/"} {
			body := fmt.Sprintf(body, strings.Repeat(c, 20_000/len(c)))
			ways := []way{{"/mcp", mcp}}
			if !strings.HasPrefix(body, `{"jsonrpc"`) {
				ways = []way{{"/v1/execute", nil}, {"/api/v2/execute", nil}}
				if i == 0 {
					ways = append(ways, way{"/v1/execute", events}, way{"/v1/executions", nil}, way{"/mcp", mcp})
				}
			}
			for _, to := range ways {
				status, answer := ts.answer(to.path, body, to.headers...)
				refused := status >= 400 || strings.Contains(answer, `"isError":true`) || strings.HasPrefix(answer, `{"jsonrpc":"2.0"`) && strings.Contains(answer, `"error":`)
				if refused && len(answer) > mostRefusal {
					t.Errorf("%s: %d bytes for %.150s: %.150s", to.path, len(answer), body, answer)
				}
			}
		}
	}
	// A WebSocket is told what is wrong with its first message in an event, whose shape Piston's callers have of their own.
	for _, path := range []string{"/v1/execute/ws", "/api/v2/connect"} {
		for _, body := range bodies[:6] {
			ws, _, err := websocket.DefaultDialer.Dial("ws://"+ts.addr+path, map[string][]string{"Authorization": {"Bearer " + ts.key}})
			if err != nil {
				t.Fatal(err)
			}
			ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, body, strings.Repeat("\x7f", 20_000)))
			for {
				_, text, err := ws.ReadMessage()
				if err != nil {
					break
				}
				if len(text) > mostRefusal {
					t.Errorf("%s: %d bytes for %.150s: %.150s", path, len(text), body, text)
				}
			}
			ws.Close()
		}
	}
}

// answer is what a POST is answered, in whatever form.
func (ts *testServer) answer(path, body string, headers ...string) (status int, answer string) {
	ts.t.Helper()
	req, err := http.NewRequest("POST", "http://"+ts.addr+path, strings.NewReader(body))
	if err != nil {
		ts.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+ts.key)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		ts.t.Fatal(err)
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		ts.t.Fatal(err)
	}
	return resp.StatusCode, string(all)
}

// What was forgotten to be cut where a message is made is cut where it is sent, in each of the ways to send it.
func TestNoErrorIsLong(t *testing.T) {
	long := strings.Repeat("<\xff", 1<<20)
	err := invalidField(long, "%s", long)
	for _, route := range []string{"/v1/execute", "/api/v2/execute"} {
		if body := (&call{route: route}).fail(err); len(body) > mostRefusal {
			t.Errorf("%s: %d bytes", route, len(body))
		}
	}
}
