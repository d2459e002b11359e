package e2e

import (
	"encoding/json"
	"testing"
)

type execution struct {
	ID      string   `json:"id"`
	Status  string   `json:"status"`
	Created string   `json:"created"`
	Ended   string   `json:"ended"`
	Result  *answer  `json:"result"`
	Error   *refusal `json:"error"`
}

func (s *stack) async(t *testing.T, key, method, path string, body any, status int) (e execution) {
	t.Helper()
	a, content, err := s.send(t.Context(), key, method, "/v1/executions"+path, body)
	if err != nil || a.StatusCode != status {
		t.Fatalf("%s %s: %v %d, want %d: %s", method, path, err, a.StatusCode, status, content)
	}
	if status < 300 && status != 204 {
		if err := strict(content, &e); err != nil {
			t.Fatalf("%v in %s", err, content)
		}
	} else if status >= 400 && !json.Valid(content) {
		t.Errorf("%s", content)
	}
	return e
}

// A program runs without a connection, in its session, and its result is its key's alone; deleting it kills the program.
func TestExecutions(t *testing.T) {
	id, marker := randomMarker(), randomMarker()
	e := api.async(t, api.key, "POST", "", program("bash", "sleep 0.2; echo done | tee f").with(request{"session_id": id}), 202)
	if e.Status != "pending" && e.Status != "done" || e.ID == "" {
		t.Errorf("%+v", e)
	}
	if got := api.async(t, api.key, "GET", "/"+e.ID+"?wait=60", nil, 200); got.Status != "done" || got.Result == nil || got.Result.Run.Stdout != "done\n" || got.Ended == "" {
		t.Errorf("%+v", got)
	}
	wantStdout(t, execute(t, program("bash", "cat f").with(request{"session_id": id})), "done\n")
	api.async(t, api.otherKey, "GET", "/"+e.ID, nil, 404)
	api.async(t, api.otherKey, "DELETE", "/"+e.ID, nil, 404)
	api.async(t, api.key, "DELETE", "/"+e.ID, nil, 204)
	api.async(t, api.key, "GET", "/"+e.ID, nil, 404)
	endless := api.async(t, api.key, "POST", "", program("bash", "sleep 1000; :").with(request{"env": request{"MARKER": marker}}), 202)
	waitStarted(t, marker)
	api.async(t, api.key, "DELETE", "/"+endless.ID, nil, 204)
	wantGone(t, marker)
	api.wantQuiet(t)
}
