package main

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/runtools/runtools/pkg/wire"
)

// A sandboxd that does not understand a job is of another version: the caller may come back, the operator is told, and nothing is lost.
func TestSandboxdOfAnotherVersion(t *testing.T) {
	ts := newTestServer(t, nil)
	answers := func(err *wire.Error) {
		ts.fake.mu.Lock()
		defer ts.fake.mu.Unlock()
		ts.fake.broken = err
	}
	ts.execute(with(python("write f kept"), "session_id", "s"))
	answers(wire.Errorf(wire.CodeInvalid, `wire: decode: json: unknown field "new"`))
	before := len(ts.fake.asked())
	for name, fields := range map[string]map[string]any{
		"a mounted session": python("read f"), "a new one": python("read f"), "none": python("print x"), "compiled": {"language": "c", "code": "print x\n"},
	} {
		switch name {
		case "a mounted session":
			fields["session_id"] = "s"
		case "a new one":
			fields["session_id"] = "t"
		}
		if r := ts.refused(fields, errOverloaded); r.Header.Get("Retry-After") == "" || !strings.Contains(r.Error.Message, "upgraded") || strings.Contains(r.Raw, "new") {
			t.Errorf("%s: %v %s", name, r.Header, r.Raw)
		}
	}
	if n := len(ts.fake.asked()) - before; n != 4 {
		t.Errorf("sandboxd was asked %d times for 4 requests", n)
	}
	if n := strings.Count(ts.log.String(), `level=ERROR msg=request`); n != 4 || !strings.Contains(ts.log.String(), "sandboxd: is of another version: ") {
		t.Errorf("%d lines in the log:\n%s", n, ts.log)
	}
	answer := httptest.NewRecorder()
	promhttp.HandlerFor(ts.server.metrics.registry, promhttp.HandlerOpts{}).ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	if !strings.Contains(answer.Body.String(), "\nruntools_version_refusals_total 4\n") {
		t.Error("not counted")
	}
	if r := ts.do("GET", "/readyz", ""); r.Status != 503 {
		t.Errorf("ready: %d %s", r.Status, r.Raw)
	}
	answers(nil)
	if r := ts.execute(with(python("read f"), "session_id", "s")); r.Run.Stdout != "kept\n" {
		t.Errorf("the session lost something: %s", r.Raw)
	}
}
