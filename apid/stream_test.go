package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// event is one of a stream.
type event struct {
	name, data string
}

// openStream sends a request for events, which are read one by one until read returns "".
func (ts *testServer) openStream(ctx context.Context, fields map[string]any) (resp *http.Response, read func() event) {
	ts.t.Helper()
	req, err := http.NewRequestWithContext(ctx, "POST", "http://"+ts.addr+"/v1/execute", strings.NewReader(encode(fields)))
	if err != nil {
		ts.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+ts.key)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json;q=0.1, text/event-stream")
	resp, err = http.DefaultClient.Do(req)
	if err != nil {
		ts.t.Fatal(err)
	}
	ts.t.Cleanup(func() { resp.Body.Close() })
	lines := bufio.NewReader(resp.Body)
	return resp, func() (e event) {
		for {
			line, err := lines.ReadString('\n')
			switch {
			case err != nil:
				return event{}
			case strings.HasPrefix(line, "event: "):
				e.name = strings.TrimSpace(line[7:])
			case strings.HasPrefix(line, "data: "):
				e.data = strings.TrimSpace(line[6:])
			case line == "\n" && e.name != "":
				return e
			}
		}
	}
}

// events are all of a request, as one text: name and data of each. A program that awaits goes on when its output is there.
func (ts *testServer) events(fields map[string]any) string {
	ts.t.Helper()
	resp, read := ts.openStream(context.Background(), fields)
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" || resp.Header.Get("X-Request-Id") == "" {
		ts.t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	var all strings.Builder
	code, _ := fields["code"].(string)
	awaits := strings.Count(code, "await\n")
	for e := read(); e.name != ""; e = read() {
		if awaits > 0 {
			awaits--
			ts.fake.gate <- struct{}{}
		}
		if e.name == "result" || e.name == "compile" {
			var whole any
			if err := json.Unmarshal([]byte(e.data), &whole); err != nil {
				ts.t.Errorf("%v in %s", err, e.data)
			}
			e.data = "..."
		}
		all.WriteString(e.name + " " + e.data + "\n")
	}
	return all.String()
}

func TestStream(t *testing.T) {
	ts := newTestServer(t, nil)
	for name, c := range map[string]struct {
		fields map[string]any
		want   string
	}{
		"order": {python("print a", "await", "warn b", "await", "print c", "exit 3"),
			`stdout {"text":"a\n"}` + "\n" + `stderr {"text":"b\n"}` + "\n" + `stdout {"text":"c\n"}` + "\n" + `exit {"code":3,"signal":null,"status":"RE"}` + "\nresult ...\n"},
		"silent":    {python("exit 0"), `exit {"code":0,"signal":null,"status":"OK"}` + "\nresult ...\n"},
		"signal":    {python("signal 11"), `exit {"code":null,"signal":"SIGSEGV","status":"SG"}` + "\nresult ...\n"},
		"character": {python("bytes e2", "sleep 20ms", "bytes 82 ac", "await", "bytes f0 9f", "sleep 20ms", "bytes 98", "sleep 20ms", "bytes 80"), `stdout {"text":"€"}` + "\n" + `stdout {"text":"😀"}` + "\n" + `exit {"code":0,"signal":null,"status":"OK"}` + "\nresult ...\n"},
		"not text": {python("bytes 61 ff", "await", "bytes e2 82"),
			`stdout {"text":"a\ufffd","text_base64":"Yf8="}` + "\n" + `stdout {"text":"\ufffd\ufffd","text_base64":"4oI="}` + "\n" + `exit {"code":0,"signal":null,"status":"OK"}` + "\nresult ...\n"},
		"compiled":      {map[string]any{"language": "c", "code": "print x\n"}, "compile ...\n" + `stdout {"text":"x\n"}` + "\n" + `exit {"code":0,"signal":null,"status":"OK"}` + "\nresult ...\n"},
		"not a program": {map[string]any{"language": "c", "code": "#compile exit 1\n"}, "compile ...\nresult ...\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ts.events(c.fields)
			if got = strings.ReplaceAll(got, "\ufffd", `\ufffd`); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
	// A compile that is not needed is told as well.
	ts.execute(map[string]any{"language": "c", "code": "print again\n"})
	if got := ts.events(map[string]any{"language": "c", "code": "print again\n"}); !strings.HasPrefix(got, "compile ...\nstdout") {
		t.Errorf("cached: got\n%s", got)
	}
}

// The last event is the plain answer, and the output of all events is the output.
func TestStreamEndsWithTheAnswer(t *testing.T) {
	ts := newTestServer(t, nil)
	_, read := ts.openStream(context.Background(), with(python("spew 300000", "spewerr 70000"), "session_id", "s"))
	var last event
	length := map[string]int{}
	for e := read(); e.name != ""; e = read() {
		var text struct{ Text string }
		if e.name == "stdout" || e.name == "stderr" {
			if err := json.Unmarshal([]byte(e.data), &text); err != nil {
				t.Fatal(err)
			}
			length[e.name] += len(text.Text)
		}
		last = e
	}
	var r result
	if err := json.Unmarshal([]byte(last.data), &r); err != nil || last.name != "result" {
		t.Fatalf("%v: %s %.200s", err, last.name, last.data)
	}
	var phases struct{ Timing map[string]float64 }
	if err := json.Unmarshal([]byte(last.data), &phases); err != nil || len(phases.Timing) != 7 || phases.Timing["run"] <= 0 {
		t.Errorf("timing: %v %v", phases, err)
	}
	if len(r.Run.Stdout) != 300000 || length["stdout"] != 300000 || len(r.Run.Stderr) != 70000 || length["stderr"] != 70000 {
		t.Errorf("%v in events, %d and %d in the answer", length, len(r.Run.Stdout), len(r.Run.Stderr))
	}
}

// What is refused before anything happened is refused with its status; afterwards it is an event.
func TestStreamRefused(t *testing.T) {
	ts := newTestServer(t, nil)
	for name, c := range map[string]struct {
		fields map[string]any
		status int
		code   string
	}{
		"field":    {with(python(), "stdin", 7), 400, "invalid_field"},
		"language": {map[string]any{"language": "cobol", "code": ""}, 400, "unknown_language"},
		"file":     {with(python(), "files", []any{map[string]any{"name": "refused", "content": ""}}), 400, "invalid_field"},
		"failure":  {python("fail internal"), 500, "internal"},
	} {
		resp, _ := ts.openStream(context.Background(), c.fields)
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != c.status || resp.Header.Get("Content-Type") != "application/json" || !strings.Contains(string(body), `"code":"`+c.code+`"`) {
			t.Errorf("%s: %d %s %s", name, resp.StatusCode, resp.Header.Get("Content-Type"), body)
		}
	}
	got := ts.events(python("print before", "await", "fail internal"))
	if want := "stdout {\"text\":\"before\\n\"}\nerror {\"error\":{\"code\":\"internal\","; !strings.HasPrefix(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Events come while the program runs, and who hangs up ends it.
func TestStreamHangUp(t *testing.T) {
	ts := newTestServer(t, nil)
	ctx, hangUp := context.WithCancel(context.Background())
	defer hangUp()
	_, read := ts.openStream(ctx, python("print one", "sleep 1h"))
	if e := read(); e.data != `{"text":"one\n"}` {
		t.Errorf("got %+v", e)
	}
	hangUp()
	eventually(t, "the job is killed", func() bool {
		ts.fake.mu.Lock()
		defer ts.fake.mu.Unlock()
		return ts.fake.killed == 1 && ts.fake.running == 0
	})
}

// A caller who does not read holds nobody up, not even its own program.
func TestStreamSlowCaller(t *testing.T) {
	ts := newTestServer(t, nil)
	ctx, hangUp := context.WithTimeout(context.Background(), time.Minute)
	defer hangUp()
	_, read := ts.openStream(ctx, with(python("spew 1000000"), "output_limit", 1000000))
	eventually(t, "the program has ended", func() bool {
		ts.fake.mu.Lock()
		defer ts.fake.mu.Unlock()
		return len(ts.fake.jobs) == 1 && ts.fake.running == 0
	})
	last := event{}
	for e := read(); e.name != ""; e = read() {
		last = e
	}
	if last.name != "result" {
		t.Errorf("the last event is %s", last.name)
	}
}

func TestUnfinished(t *testing.T) {
	for text, want := range map[string]int{
		"": 0, "a": 0, "é": 0, "é"[:1]: 1, "a\xe2\x82": 2, "\xf0\x9f\x98": 3, "😀": 0, "\x80\x80": 0, "\xff": 0, "a\xc3": 1, "\xe2a": 0,
	} {
		if got := unfinished([]byte(text)); got != want {
			t.Errorf("%q: got %d, want %d", text, got, want)
		}
	}
}
