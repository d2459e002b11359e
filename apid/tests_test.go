package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestCheckers(t *testing.T) {
	for _, c := range []struct {
		kind, want, got string
		accepted        bool
	}{
		{checkTokens, "1 2\n3", " 1\t2 3\n\n", true}, {checkTokens, "1 2", "12", false}, {checkTokens, "1 2", "1", false}, {checkTokens, "1", "1 2", false},
		{checkTokens, "", "\n ", true}, {checkTokens, "1.0", "1", false}, {checkTokens, "a\x00b", "a\x00b", true},
		{checkExact, "a\n", "a\n", true}, {checkExact, "a\n", "a", false}, {checkExact, "", "", true},
		{checkFloats, "0.3 x", "0.30000001 x", true}, {checkFloats, "0.3", "0.31", false}, {checkFloats, "1e9", "1000000999", true},
		{checkFloats, "1e9", "1000002000", false}, {checkFloats, "nan", "1", false}, {checkFloats, "inf", "1e400", false}, {checkFloats, "inf", "5", false}, {checkFloats, "5", "-Infinity", false}, {checkFloats, "x", "1", false},
		{checkFloats, "NaN", "NaN", true}, {checkFloats, "1 2", "1", false},
	} {
		checker := checker{kind: c.kind, tolerance: defaultTolerance}
		if got := checker.accepts([]byte(c.want), []byte(c.got)); got != c.accepted {
			t.Errorf("%s: %q for %q: %v", c.kind, c.got, c.want, got)
		}
	}
}

// verdicts of an answer's tests.
func (r *result) verdicts() string {
	var all []string
	for _, test := range r.Tests {
		all = append(all, test.Verdict)
	}
	return strings.Join(all, " ")
}

func TestTests(t *testing.T) {
	ts := newTestServer(t, nil)
	for name, c := range map[string]struct {
		fields map[string]any
		want   string // verdicts
		stdout string // of run
		jobs   int
	}{
		"inputs": {with(python("cat"), "tests", []any{
			map[string]any{"stdin": "a", "expected_stdout": "a"}, map[string]any{"stdin": "b", "expected_stdout": "c"}, map[string]any{}, map[string]any{"stdin": "ZQ==", "stdin_encoding": "base64", "expected_stdout": "e"},
		}), "AC WA AC AC", "b", 4},
		"one compile": {map[string]any{"language": "c", "code": "cat\nargs\n", "args": []string{"x"}, "tests": []any{
			map[string]any{"stdin": "1 "}, map[string]any{"stdin": "2 ", "args": []string{"y"}}, map[string]any{"stdin": "3 ", "args": []string{}},
		}}, "AC AC AC", "3 []\n", 4},
		"files": {with(python("read data", "read other"), "files", []any{map[string]any{"name": "other", "content": "shared"}}, "tests", []any{
			map[string]any{"files": []any{map[string]any{"name": "data", "content": "one"}}, "expected_stdout": "one shared"},
			map[string]any{"files": []any{map[string]any{"name": "other", "content": "mine"}}, "expected_stdout": "mine", "checker": "tokens"},
		}), "AC AC", "\nmine\n", 2},
		"ends":   {with(python("exit 3"), "tests", []any{map[string]any{"expected_stdout": ""}}), "RE", "", 1},
		"limits": {with(python("limit memory"), "tests", []any{map[string]any{}}), "ML", "", 1},
		"signal": {with(python("signal 11"), "tests", []any{map[string]any{}}), "RE", "", 1},
		"first failure": {with(python("cat"), "stop_on_failure", true, "tests", []any{
			map[string]any{"stdin": "a", "expected_stdout": "a"}, map[string]any{"stdin": "b", "expected_stdout": "no"}, map[string]any{"stdin": "c"}, map[string]any{"stdin": "d"},
		}), "AC WA", "b", 0},
		"not compiled": {map[string]any{"language": "c", "code": "#compile exit 1\n", "tests": []any{map[string]any{}}}, "", "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			ts.fake.mu.Lock()
			ts.fake.jobs = nil
			ts.fake.mu.Unlock()
			r := ts.execute(c.fields)
			if r.verdicts() != c.want || r.Run.Stdout != c.stdout || r.Session != nil {
				t.Errorf("got %q, %q: %s", r.verdicts(), r.Run.Stdout, r.Raw)
			}
			if got := len(ts.fake.asked()); c.jobs != 0 && got != c.jobs {
				t.Errorf("%d jobs, want %d", got, c.jobs)
			}
		})
	}
	eventually(t, "nothing is left", func() bool { return ts.fake.volumeCount() <= 1 }) // the cached build
}

func TestTestsAreRefused(t *testing.T) {
	ts := newTestServer(t, nil)
	one := []any{map[string]any{}}
	for name, c := range map[string]struct {
		fields map[string]any
		field  string
	}{
		"none":          {with(python(), "tests", []any{}), "tests"},
		"stdin":         {with(python(), "tests", one, "stdin", "x"), "stdin"},
		"session":       {with(python(), "tests", one, "session_id", "x"), "session_id"},
		"stop":          {with(python(), "stop_on_failure", true), "stop_on_failure"},
		"unknown field": {with(python(), "tests", []any{map[string]any{"out": "x"}}), "tests[0].out"},
		"checker":       {with(python(), "tests", []any{map[string]any{"checker": "regexp"}}), "tests[0].checker"},
		"tolerance":     {with(python(), "tests", []any{map[string]any{"tolerance": -1}}), "tests[0].tolerance"},
		"type":          {with(python(), "tests", []any{map[string]any{}, map[string]any{"stdin": 7}}), "tests[1].stdin"},
		"output":        {with(python(), "tests", one, "output_limit", 1<<20, "tests", make70()), "output_limit"},
		"file name":     {with(python(), "tests", []any{map[string]any{"files": []any{map[string]any{"name": "../x", "content": ""}}}}), "tests[0].files[0].name"},
		"folder":        {with(python(), "files", []any{map[string]any{"name": "d", "content": ""}}, "tests", []any{map[string]any{"files": []any{map[string]any{"name": "d/x", "content": ""}}}}), "tests[0].files"},
	} {
		if r := ts.refused(c.fields, errInvalidField); r.Error.Field != c.field {
			t.Errorf("%s: field %s: %s", name, r.Error.Field, r.Raw)
		}
	}
	// A test that sandboxd fails at is our error, not a verdict.
	ts.refused(with(python("fail internal"), "tests", one), errInternal)
}

func make70() []any {
	all := make([]any, 70)
	for i := range all {
		all[i] = map[string]any{}
	}
	return all
}

// Tests run beside each other in the slots that are free, and no more than the key may have.
func TestTestsShareTheSlots(t *testing.T) {
	for _, c := range []struct{ slots, limit, want int }{{4, 0, 4}, {4, 2, 2}, {1, 0, 1}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			ts := newTestServer(t, func(cfg *config) { cfg.Queue.MaxJobs = c.slots })
			if c.limit > 0 {
				ts.key = ts.makeKey(ts.cfg.Keys, c.limit)
				eventually(t, "the key is known", func() bool { return ts.do("GET", "/v1/execute/runtimes", "").Status == 200 })
			}
			r := ts.execute(with(python("sleep 50ms", "cat"), "tests", make70()[:12]))
			if len(r.Tests) != 12 {
				t.Errorf("%d tests", len(r.Tests))
			}
			ts.fake.mu.Lock()
			most := ts.fake.most
			ts.fake.mu.Unlock()
			if most > c.want || c.want > 1 && most < 2 {
				t.Errorf("%d at a time, want %d", most, c.want)
			}
			eventually(t, "the slots are free", func() bool { running, waiting := ts.server.queue.counts(); return running == 0 && waiting == 0 })
		})
	}
}

// Who hangs up ends all of them.
func TestTestsHangUp(t *testing.T) {
	ts := newTestServer(t, nil)
	ctx, hangUp := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, "POST", "http://"+ts.addr+"/v1/execute", strings.NewReader(encode(with(python("sleep 1h"), "tests", make70()))))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+ts.key)
	req.Header.Set("Content-Type", "application/json")
	go func() {
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
		}
	}()
	eventually(t, "some run", func() bool { ts.fake.mu.Lock(); defer ts.fake.mu.Unlock(); return ts.fake.running > 0 })
	hangUp()
	eventually(t, "none runs", func() bool {
		ts.fake.mu.Lock()
		defer ts.fake.mu.Unlock()
		return ts.fake.running == 0
	})
	time.Sleep(50 * time.Millisecond)
	ts.fake.mu.Lock()
	defer ts.fake.mu.Unlock()
	if ts.fake.running != 0 {
		t.Error("more were started")
	}
}

func TestStreamOfTests(t *testing.T) {
	ts := newTestServer(t, nil)
	got := ts.events(with(python("cat"), "tests", []any{map[string]any{"stdin": "a", "expected_stdout": "b"}}))
	if !strings.HasPrefix(got, `test {"index":0,"test":{"verdict":"WA","run":{"stdout":"a",`) || !strings.HasSuffix(got, "\nresult ...\n") {
		t.Errorf("got\n%s", got)
	}
}
