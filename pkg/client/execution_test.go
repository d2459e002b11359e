package client

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestExecutions: each call asks for what docs/api.md says, and understands the answer.
func TestExecutions(t *testing.T) {
	var asked string
	status, answer := 0, ""
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = strings.TrimSpace(r.Method + " " + r.URL.EscapedPath() + " " + r.URL.RawQuery + string(body))
		w.WriteHeader(status)
		_, _ = io.WriteString(w, answer)
	})
	ctx := context.Background()

	status, answer = http.StatusAccepted, `{"id":"e 1","status":"pending","created":"2026-01-02T03:04:05Z"}`
	e, err := c.Start(ctx, &Request{Language: "bash", Code: "sleep 9", Webhook: &Webhook{URL: "https://h/", Secret: "s"}, RunTimeout: 5})
	if err != nil || e.ID != "e 1" || e.Status != "pending" || e.Created.IsZero() || e.Ended != nil || e.Result != nil || e.Error != nil {
		t.Errorf("start: %+v, %v", e, err)
	}
	if want := `POST /prefix/v1/executions {"language":"bash","code":"sleep 9","run_timeout":5,"webhook":{"url":"https://h/","secret":"s"}}`; asked != want {
		t.Errorf("asked %s, want %s", asked, want)
	}

	status, answer = http.StatusOK, `{"id":"e 1","status":"done","created":"2026-01-02T03:04:05Z","ended":"2026-01-02T03:04:07Z",`+
		`"result":{"language":"bash","run":{"stdout":"done\n","code":0,"status":"OK"}}}`
	for wait, want := range map[time.Duration]string{0: "0", -time.Second: "0", 1500 * time.Millisecond: "1.5", time.Hour: "60"} {
		e, err = c.Execution(ctx, "e 1", wait)
		if err != nil || e.Status != "done" || e.Ended.Sub(e.Created) != 2*time.Second || e.Result.Run.Stdout != "done\n" || !strings.HasPrefix(string(e.Result.Raw), `{"language"`) || e.Error != nil {
			t.Errorf("done: %+v, %v", e, err)
		}
		if want = "GET /prefix/v1/executions/e%201 wait=" + want; asked != want {
			t.Errorf("wait %v asked %s, want %s", wait, asked, want)
		}
	}

	answer = `{"id":"e 1","status":"failed","error":{"code":"internal","message":"m","field":"f","request_id":"r"},` +
		`"webhook":{"status":"failed","attempts":6,"last_error":"status 500"}}`
	e, err = c.Execution(ctx, "e 1", 0)
	if err != nil || e.Status != "failed" || e.Result != nil || e.Error.Code != "internal" || e.Error.Field != "f" || e.Error.RequestID != "r" {
		t.Errorf("failed: %+v, %v", e, err)
	}
	if w := e.Webhook; w == nil || w.Status != "failed" || w.Attempts != 6 || w.LastError != "status 500" {
		t.Errorf("webhook: %+v", w)
	}

	status, answer = http.StatusNoContent, ""
	if err := c.Forget(ctx, "e 1"); err != nil || asked != "DELETE /prefix/v1/executions/e%201" {
		t.Errorf("forget: %v by %s", err, asked)
	}
	status, answer = http.StatusNotFound, `{"error":{"code":"not_found","message":"none"}}`
	for name, err := range map[string]error{"forget": c.Forget(ctx, "e 1"), "execution": func() error { _, err := c.Execution(ctx, "e 1", 0); return err }()} {
		if refused := new(Error); !errors.As(err, &refused) || refused.Code != "not_found" {
			t.Errorf("%s of none: %v", name, err)
		}
	}
}

// An id that would make another path of the one that it is put into is sent nowhere.
func TestIDsArePartsOfAPath(t *testing.T) {
	c := serve(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("asked %s %s", r.Method, r.URL) })
	ctx := context.Background()
	for _, id := range []string{"", ".", "..", "../sessions/a", "a/b"} {
		_, deleted := c.DeleteSession(ctx, id)
		_, forked := c.Fork(ctx, id, 1)
		_, read := c.ReadFile(ctx, id, "f")
		_, found := c.Execution(ctx, id, 0)
		for call, err := range map[string]error{"delete": deleted, "fork": forked, "read": read, "execution": found, "forget": c.Forget(ctx, id)} {
			if err == nil || !strings.Contains(err.Error(), "id ") {
				t.Errorf("%s of %q: %v", call, id, err)
			}
		}
	}
}

// TestExecutionRetries: what may have begun a program is not sent again after a lost connection; a question is.
func TestExecutionRetries(t *testing.T) {
	var attempts atomic.Int32
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if attempts.Add(1) == 1 {
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(w, `{"id":"e"}`)
	})
	if _, err := c.Start(context.Background(), &Request{Language: "bash"}); !MayHaveRun(err) || attempts.Load() != 1 {
		t.Errorf("start: %v after %d attempts", err, attempts.Load())
	}
	attempts.Store(0)
	if e, err := c.Execution(context.Background(), "e", 0); err != nil || e.ID != "e" || attempts.Load() < 2 {
		t.Errorf("execution: %+v, %v after %d attempts", e, err, attempts.Load())
	}
}
