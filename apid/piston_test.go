package main

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
)

// piston sends a request of Piston's form.
func (ts *testServer) piston(body string, headers ...string) (status int, a pistonAnswer, raw string) {
	ts.t.Helper()
	r := ts.do("POST", "/api/v2/execute", body, headers...)
	if r.Status == 200 {
		if err := json.Unmarshal([]byte(r.Raw), &a); err != nil {
			ts.t.Fatalf("%v in %s", err, r.Raw)
		}
	}
	return r.Status, a, r.Raw
}

func TestPiston(t *testing.T) {
	ts := newTestServer(t, nil)
	// Piston's README example, with more fields than it needs.
	status, a, raw := ts.piston(`{"language": "py", "version": "3.13.5", "files": [{"name": "my_cool_code.py", "content": "args\ncat\nwarn e\n"}, {"content": "x"}],
		"stdin": "in", "args": ["1", "2"], "compile_timeout": 10000, "run_timeout": 3000, "compile_cpu_time": 10000, "run_cpu_time": 3000, "compile_memory_limit": -1, "run_memory_limit": -1}`)
	if status != 200 || a.Language != "python" || a.Version != "3.13.5" || a.Compile != nil || a.Run == nil {
		t.Fatalf("%d %s", status, raw)
	}
	if r := a.Run; r.Stdout != "[\"1\" \"2\"]\nin" || r.Stderr != "e\n" || !strings.Contains(r.Output, "in") || len(r.Output) != len(r.Stdout)+len(r.Stderr) || *r.Code != 0 || r.Signal != nil || r.Status != nil || r.Message != nil || r.Memory <= 0 {
		t.Errorf("%s", raw)
	}
	for name, c := range map[string]struct{ body, want string }{
		"exit code":     {`{"language": "python", "version": "*", "files": [{"content": "exit 3"}]}`, `"code":3,"signal":null,"message":"exited with code 3","status":"RE"`},
		"signal":        {`{"language": "python", "version": "*", "files": [{"content": "signal 11"}]}`, `"code":null,"signal":"SIGSEGV","message":"died of SIGSEGV","status":"SG"`},
		"no status":     {`{"language": "python", "version": "*", "files": [{"content": "limit memory"}]}`, `"status":"SG"`},
		"compiled":      {`{"language": "c", "version": "*", "files": [{"content": "print x"}]}`, `"run":{"stdout":"x\n"`},
		"base64":        {`{"language": "python", "version": "*", "files": [{"content": "cHJpbnQgeQ==", "encoding": "base64"}]}`, `"stdout":"y\n"`},
		"bounds":        {`{"language": "python", "version": "*", "files": [{"content": "print z"}], "run_timeout": 99999999}`, `"stdout":"z\n"`},
		"compile error": {`{"language": "c", "version": "*", "files": [{"content": "#compile exit 1"}]}`, `{"language":"c","version":"14.2.0","run":{`},
	} {
		if status, _, raw := ts.piston(c.body); status != 200 || !strings.Contains(raw, c.want) {
			t.Errorf("%s: %d %s, want %s", name, status, raw, c.want)
		}
	}
	// Piston has a run in every answer.
	if _, a, raw := ts.piston(`{"language": "c", "version": "*", "files": [{"content": "#compile exit 1"}]}`); a.Compile == nil || !reflect.DeepEqual(a.Run, a.Compile) {
		t.Errorf("compile error: %s", raw)
	}
	for body, want := range map[string]string{
		`{`: "", `{"language": "cobol", "version": "*", "files": [{"content": ""}]}`: "cobol", `{"language": "python", "version": "*"}`: "files: is missing", `{"language": "python", "files": [{}]}`: "files: is missing",
		`{"language": "python", "files": [{"content": 7}]}`: "files[0].content", `{"language": "python", "fils": 7}`: "fils",
	} {
		status, _, raw := ts.piston(body)
		var refused struct{ Message string }
		if err := json.Unmarshal([]byte(raw), &refused); err != nil || status != 400 || !strings.Contains(refused.Message, want) {
			t.Errorf("%s: %d %s", body, status, raw)
		}
	}
	// The bare key, as Piston's clients send it.
	if r := ts.do("GET", "/api/v2/runtimes", "", "Authorization", ts.key); r.Status != 200 || !strings.Contains(r.Raw, `{"language":"python","version":"3.13.5","aliases":["py","python3"]}`) {
		t.Errorf("%d %s", r.Status, r.Raw)
	}
	if r := ts.do("GET", "/api/v2/runtimes", "", "Authorization", "wrong"); r.Status != 401 || !strings.HasPrefix(r.Raw, `{"message":`) {
		t.Errorf("%d %s", r.Status, r.Raw)
	}
	if r := ts.do("GET", "/v1/execute/runtimes", "", "Authorization", ts.key); r.Status != 401 {
		t.Errorf("the bare key elsewhere: %d", r.Status)
	}
	eventually(t, "nothing is kept", func() bool { return ts.fake.volumeCount() <= 1 }) // the cached build
}

// What Piston's own server closes with, and whether it says so in a message before: api/src/api/v2.js.
func TestPistonCloses(t *testing.T) {
	patient := newTestServer(t, nil)
	const sleeper = `{"type": "init", "language": "python", "version": "*", "files": [{"content": "sleep 1m"}]}`
	for name, c := range map[string]struct {
		messages []string
		code     int
		reason   string
		last     string // message before; of the sleeper: its stage
	}{
		"silence":        {nil, 4001, "Initialization Timeout", ""},
		"input too soon": {[]string{`{"type": "data", "stream": "stdin", "data": "x"}`}, 4003, "Not yet initialized", ""},
		"signal, too":    {[]string{`{"type": "signal", "signal": "SIGINT"}`}, 4003, "Not yet initialized", ""},
		"bad init":       {[]string{`{"type": "init", "language": "cobol", "version": "*", "files": [{"content": ""}]}`}, 4002, "Notified Error", `{"type":"error","message":"`},
		"no JSON":        {[]string{`{`}, 4002, "Notified Error", `{"type":"error","message":"`},
		"again":          {[]string{sleeper, sleeper}, 4000, "Already Initialized", `{"type":"stage","stage":"run"}`},
		"a stream":       {[]string{sleeper, `{"type": "data", "stream": "stdout", "data": "x"}`}, 4004, "Can only write to stdin", `{"type":"stage","stage":"run"}`},
		"a signal":       {[]string{sleeper, `{"type": "signal", "signal": "SIGSEGV"}`}, 4005, "Invalid signal", `{"type":"stage","stage":"run"}`},
		"passed over":    {[]string{sleeper, `{"type": "ping"}`, `{"new": 1}`, sleeper}, 4000, "Already Initialized", `{"type":"stage","stage":"run"}`},
		"later no JSON":  {[]string{sleeper, `{`}, 4002, "Notified Error", `{"type":"error","message":"`},
	} {
		t.Run(name, func(t *testing.T) {
			ts := patient
			if c.messages == nil {
				ts = newTestServer(t, func(c *config) { c.HTTP.ReadTimeout = duration(100 * time.Millisecond) })
			}
			ws, _, err := websocket.DefaultDialer.Dial("ws://"+ts.addr+"/api/v2/connect", http.Header{"Authorization": {ts.key}})
			if err != nil {
				t.Fatal(err)
			}
			defer ws.Close()
			for _, message := range c.messages {
				if err := ws.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
					t.Fatal(err)
				}
			}
			last := ""
			for {
				_, text, err := ws.ReadMessage()
				if err == nil {
					last = strings.TrimSpace(string(text))
					continue
				}
				end, ok := err.(*websocket.CloseError)
				if !ok || end.Code != c.code || end.Text != c.reason || !strings.HasPrefix(last, c.last) || c.last == "" && last != "" {
					t.Errorf("%v after %q, want %d %s after %q", err, last, c.code, c.reason, c.last)
				}
				return
			}
		})
	}
}
