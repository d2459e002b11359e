package main

import (
	"io"
	"strings"
	"testing"
)

// The figures of all keys are for operators: a caller's key does not open them, and says what would.
func TestMetricsWantAnOperatorsKey(t *testing.T) {
	ts := newTestServer(t, nil)
	const operator = "rt_live_of_the_operator"
	if err := createKey(ts.cfg.Keys, key{Name: "operator", Operator: true}, operator, io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	ts.execute(python("print x"))
	if r := ts.do("GET", "/v1/metrics", ""); r.Status != 403 || r.Error.Code != "forbidden" || !strings.Contains(r.Raw, "-operator") {
		t.Errorf("with a caller's key: %d %s", r.Status, r.Raw)
	}
	if resp, body := ts.get("/v1/metrics"); resp.StatusCode != 401 {
		t.Errorf("without a key: %d %s", resp.StatusCode, body)
	}
	eventually(t, "the key is known", func() bool {
		resp, body := ts.get("/v1/metrics", "Authorization", "Bearer "+operator)
		return resp.StatusCode == 200 && strings.Contains(body, `runtools_requests_total{language="python",outcome="OK"} 1`) &&
			strings.Contains(body, `runtools_phase_seconds_bucket{language="python",phase="run",le="+Inf"} 1`) && strings.Contains(body, "\nruntools_sandboxd_up 1\n")
	})
	if list := new(strings.Builder); listKeys(ts.cfg.Keys, list) != nil || !strings.Contains(list.String(), "yes") {
		t.Errorf("the list does not tell: %s", list)
	}
}
