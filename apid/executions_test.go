package main

import (
	"encoding/json"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// asyncAnswer is an answer of /v1/executions.
type asyncAnswer struct {
	ID, Status string
	Result     json.RawMessage
	Error      *struct{ Code, Message string }
	Webhook    *webhookState
}

// async asks for something below /v1/executions.
func (ts *testServer) async(key, method, path string, fields map[string]any, status int) (e asyncAnswer) {
	ts.t.Helper()
	body, _ := json.Marshal(fields)
	req, err := http.NewRequest(method, "http://"+ts.addr+"/v1/executions"+path, strings.NewReader(string(body)))
	if err != nil {
		ts.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	a, err := http.DefaultClient.Do(req)
	if err != nil {
		ts.t.Fatal(err)
	}
	defer a.Body.Close()
	content, _ := io.ReadAll(a.Body)
	if a.StatusCode != status {
		ts.t.Fatalf("%s %s: %d, want %d: %s", method, path, a.StatusCode, status, content)
	}
	if len(content) > 0 {
		if err := json.Unmarshal(content, &e); err != nil {
			ts.t.Fatalf("%v in %s", err, content)
		}
	}
	return e
}

func TestExecutions(t *testing.T) {
	ts := newTestServer(t, func(c *config) { c.Executions.MaxPerKey, c.Executions.MaxBytesPerKey = 3, 20_000 })
	other := ts.makeKey(ts.cfg.Keys, 0)
	ts.keys.refresh()
	e := ts.async(ts.key, "POST", "", with(python("print 1"), "session_id", "s"), 202)
	if e = ts.async(ts.key, "GET", "/"+e.ID+"?wait=30", nil, 200); e.Status != "done" || !strings.Contains(string(e.Result), `"stdout":"1\n"`) {
		t.Errorf("got %+v", e)
	}
	ts.async(other, "GET", "/"+e.ID, nil, 404)
	ts.async(other, "DELETE", "/"+e.ID, nil, 404)
	ts.async(ts.key, "GET", "/"+e.ID+"?wait=61", nil, 400)
	ts.async(ts.key, "GET", "/"+e.ID+"?wait=NaN", nil, 400)
	ts.async(ts.key, "POST", "", with(python(), "run_timeout", 0), 400)
	ts.async(ts.key, "POST", "", with(python("print 1"), "pty", map[string]any{}), 400)
	failed := ts.async(ts.key, "POST", "", python("fail internal"), 202)
	if failed = ts.async(ts.key, "GET", "/"+failed.ID+"?wait=30", nil, 200); failed.Status != "failed" || failed.Error == nil || failed.Error.Code != "internal" {
		t.Errorf("got %+v", failed)
	}
	// A running one is pending, stays whatever else comes, and ends when it is deleted.
	running := ts.async(ts.key, "POST", "", python("sleep 1h"), 202)
	eventually(t, "it runs", func() bool { ts.fake.mu.Lock(); defer ts.fake.mu.Unlock(); return ts.fake.running == 1 })
	if e := ts.async(ts.key, "GET", "/"+running.ID+"?wait=0.01", nil, 200); e.Status != "pending" {
		t.Errorf("got %+v", e)
	}
	tooLarge := ts.async(ts.key, "POST", "", python("print "+strings.Repeat("x", 20_000)), 202)
	tooLarge = ts.async(ts.key, "GET", "/"+tooLarge.ID+"?wait=30", nil, 200)
	if tooLarge.Status != "failed" || tooLarge.Error == nil || tooLarge.Error.Code != "payload_too_large" {
		t.Errorf("got %+v", tooLarge)
	}
	ts.async(ts.key, "DELETE", "/"+tooLarge.ID, nil, 204)
	large := ts.async(ts.key, "POST", "", python("print "+strings.Repeat("x", 19_400)), 202) // and the results before have no room
	if large = ts.async(ts.key, "GET", "/"+large.ID+"?wait=30", nil, 200); large.Status != "done" {
		t.Errorf("got %+v", large)
	}
	ts.async(ts.key, "GET", "/"+e.ID, nil, 404)
	ts.async(ts.key, "GET", "/"+failed.ID, nil, 404)
	more := []asyncAnswer{running}
	for range 2 {
		more = append(more, ts.async(ts.key, "POST", "", python("sleep 1h"), 202))
	}
	ts.async(ts.key, "POST", "", python("print 1"), 429)
	eventually(t, "the programs run", func() bool { ts.fake.mu.Lock(); defer ts.fake.mu.Unlock(); return ts.fake.running == 3 })
	for _, e := range more {
		ts.async(ts.key, "DELETE", "/"+e.ID, nil, 204)
		ts.async(ts.key, "GET", "/"+e.ID, nil, 404)
	}
	eventually(t, "the programs are killed", func() bool { ts.fake.mu.Lock(); defer ts.fake.mu.Unlock(); return ts.fake.killed == 3 })
	// Who waits for the end of one that is deleted is told what who asks later is.
	awaited := ts.async(ts.key, "POST", "", python("sleep 1h"), 202)
	ts.executions.mu.Lock()
	for key := range ts.executions.byID {
		if key.id == awaited.ID {
			time.AfterFunc(50*time.Millisecond, func() { ts.executions.drop(key) }) // when it most likely waits; else it is a 404 in any case
		}
	}
	ts.executions.mu.Unlock()
	ts.async(ts.key, "GET", "/"+awaited.ID+"?wait=30", nil, 404)
	// What is too old is forgotten.
	last := ts.async(ts.key, "POST", "", python("print 1"), 202)
	ts.async(ts.key, "GET", "/"+last.ID+"?wait=30", nil, 200)
	ts.executions.expire(time.Now().Add(time.Hour))
	ts.async(ts.key, "GET", "/"+last.ID, nil, 404)
	eventually(t, "nothing is left", func() bool { return ts.conversations.Load() == 0 && ts.executions.count() == 0 && ts.bodies.all == 0 })
}

// Many who ask for a large result, and do not read it, hold it in memory once.
func TestExecutionsShareAResult(t *testing.T) {
	ts := newTestServer(t, nil)
	e := ts.async(ts.key, "POST", "", python("print "+strings.Repeat("x", 2*unreadSmall)), 202)
	ts.async(ts.key, "GET", "/"+e.ID+"?wait=30", nil, 200)
	keys, err := readKeys(ts.cfg.Keys)
	if err != nil {
		t.Fatal(err)
	}
	a := ts.executions.find(executionKey{keys[0].ID, e.ID})
	if a == nil {
		t.Fatal("the result is not kept")
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 100 {
		c := newCall(new(fasthttp.RequestCtx))
		c.key = keys[0]
		ts.replyExecution(c, a)
		c.ctx.Response.CloseBodyStream()
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 50*2*unreadSmall {
		t.Errorf("100 answers took %d bytes, the result has %d", took, len(a.body))
	}
}

// Results of all keys have a bound too, and it is the key that has most whose oldest go.
func TestExecutionsOfAllKeys(t *testing.T) {
	const size, head = 9000, 400
	e := newExecutions(executionsConfig{Keep: duration(time.Hour), MaxPerKey: 10, MaxBytes: 3 * (size + head), MaxBytesPerKey: 2 * (size + head)}, 1)
	var all []*asyncExecution
	for i, step := range []struct{ key, left string }{
		{"a", "a0"}, {"a", "a0 a1"}, {"b", "a0 a1 b2"}, {"c", "a1 b2 c3"}, {"a", "a4 b2 c3"}, {"b", "a4 b5 c3"}, {"c", "a4 b5 c6"}, {"c", "a4 b5 c7"},
	} {
		a := &asyncExecution{executionKey: executionKey{step.key, step.key + strconv.Itoa(i)}, cancel: func(error) {}, done: make(chan struct{})}
		if err := e.add(a); err != nil {
			t.Fatal(err)
		}
		all = append(all, a)
		e.end(a, "done", []byte(`{"x":"`+strings.Repeat("x", size)+`"}`))
		var left []string
		var held int64
		for _, a := range all {
			if e.find(a.executionKey) != nil {
				left = append(left, a.id)
				held += int64(len(a.body))
			}
		}
		slices.Sort(left)
		if got := strings.Join(left, " "); got != step.left || held != e.bytes || held > e.cfg.MaxBytes {
			t.Errorf("step %d: %s, want %s; %d bytes, counted %d", i, got, step.left, held, e.bytes)
		}
	}
	e.cfg.MaxBytes = size // a result is larger than its body, which is what was compared with the key's bound
	last := &asyncExecution{executionKey: executionKey{"d", "d8"}, cancel: func(error) {}, done: make(chan struct{})}
	if err := e.add(last); err != nil {
		t.Fatal(err)
	}
	e.end(last, "done", []byte(`{"x":"`+strings.Repeat("x", size)+`"}`))
	if e.find(last.executionKey) != last || len(e.byID) != 1 {
		t.Errorf("%d executions beside one that is too large alone", len(e.byID))
	}
	for _, a := range append(all, last) {
		e.drop(a.executionKey)
	}
	if e.bytes != 0 || e.count() != 0 {
		t.Errorf("%d bytes, %d executions are left", e.bytes, e.count())
	}
}

// count says how many there are, and that no owner without any is.
func (e *executions) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.byID) + len(e.owners)
}
