package main

import (
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/runtools/runtools/pkg/wire"
)

// A node whose sandbox has not shown that it holds is not ready, and says why to its operator and to no one else; jobs are carried out all the same.
func TestReadinessFollowsTheSelfTest(t *testing.T) {
	ts := newTestServer(t, nil)
	const operator = "rt_live_of_the_operator"
	if err := createKey(ts.cfg.Keys, key{Name: "operator", Operator: true}, operator, io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	ts.keys.refresh()
	for _, c := range []struct {
		state         *wire.Selftest
		status        int
		says, metrics string
	}{
		{nil, 200, "ready", ""},
		{&wire.Selftest{}, 503, "not yet passed", "runtools_selftest_passed 0"},
		{&wire.Selftest{Passed: true, Runs: 1}, 200, "ready", "runtools_selftest_passed 1"},
		{&wire.Selftest{Runs: 1, Failed: []string{`memory in toy/run: got "secret"`, "forks in toy/run: x"}}, 503, "memory in toy/run, forks in toy/run",
			`runtools_selftest_failed{check="memory in toy/run"} 1`},
		{&wire.Selftest{Passed: true, Runs: 2, AgoMS: 1500}, 200, "ready", "runtools_selftest_passed 1"},
		{&wire.Selftest{Passed: true, Runs: 2, AgoMS: 1500}, 200, "ready", "runtools_selftest_age_seconds 1.5"},
		{&wire.Selftest{Runs: 2, Stuck: "no run for 3h: forks in toy/run: no room"}, 503, "cannot test itself, see the log of sandboxd: no run for 3h", "runtools_selftest_passed 0"},
	} {
		ts.fake.mu.Lock()
		ts.fake.selftest = c.state
		ts.fake.mu.Unlock()
		ts.server.readiness.mu.Lock()
		ts.server.readiness.probed = time.Time{} // as if the last answer were too old
		ts.server.readiness.mu.Unlock()
		for who, header := range map[string]string{"a stranger": "", "a caller": "Bearer " + ts.key} {
			r := ts.do("GET", "/readyz", "", "Authorization", header)
			if r.Status != c.status || c.status != 200 && (r.Error == nil || r.Error.Message != "not ready") {
				t.Errorf("%+v: %s: %d %s", c.state, who, r.Status, r.Raw)
			}
		}
		r := ts.do("GET", "/readyz", "", "Authorization", "Bearer "+operator)
		if r.Status != c.status || !strings.Contains(r.Raw, c.says) || strings.Contains(r.Raw, "secret") {
			t.Errorf("%+v: %d %s", c.state, r.Status, r.Raw)
		}
		answer := httptest.NewRecorder()
		promhttp.HandlerFor(ts.server.metrics.registry, promhttp.HandlerOpts{}).ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
		metrics := answer.Body.String()
		if c.metrics == "" && strings.Contains(metrics, "selftest") || !strings.Contains(metrics, c.metrics) {
			t.Errorf("%+v: no %s in the metrics", c.state, c.metrics)
		}
		if r := ts.execute(python("print x")); r.Status != 200 {
			t.Errorf("%+v: a job got %d", c.state, r.Status)
		}
	}
}
