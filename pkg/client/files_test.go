package client

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestFiles: each call asks for what docs/api.md says, and understands the answer.
func TestFiles(t *testing.T) {
	var asked string
	answers := map[string]string{
		"GET /prefix/v1/sessions/s": `{"session_id":"s","bytes":3,"env_bytes":1,"busy":true,` +
			`"last_used":"2026-01-02T03:04:05Z","expires":"2026-01-02T03:14:05Z"}`,
		"GET /prefix/v1/sessions/s/files":        `{"files":[{"path":"a","type":"file","size":3,"mode":"644","modified":1.5}]}`,
		"GET /prefix/v1/sessions/s/archive":      "tar",
		"POST /prefix/v1/sessions/s/fork":        `{"session_ids":["x","y"]}`,
		"PUT /prefix/v1/sessions/s/files/a":      "",
		"DELETE /prefix/v1/sessions/s/files/a/b": "",
	}
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = r.Method + " " + r.URL.EscapedPath()
		if r.URL.Path == "/prefix/v1/sessions/s/files/d/ä b?" {
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader("0123456789"))
			return
		}
		answer, ok := answers[asked]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"error":{"code":"not_found","message":"none"}}`)
			return
		}
		if answer == "" {
			w.WriteHeader(http.StatusNoContent)
		}
		asked += " " + strings.TrimSpace(string(body))
		_, _ = io.WriteString(w, answer)
	})
	ctx := context.Background()
	if info, err := c.SessionInfo(ctx, "s"); err != nil || info.Bytes != 3 || !info.Busy || info.Expires.Sub(info.LastUsed) != 10*time.Minute {
		t.Errorf("%+v, %v", info, err)
	}
	if list, err := c.Files(ctx, "s"); err != nil || len(list) != 1 || list[0] != (FileInfo{Path: "a", Type: "file", Size: 3, Mode: "644", Modified: 1.5}) {
		t.Errorf("%+v, %v", list, err)
	}
	if b, err := c.ReadFile(ctx, "s", "d/ä b?"); err != nil || string(b) != "0123456789" || asked != "GET /prefix/v1/sessions/s/files/d/%C3%A4%20b%3F" {
		t.Errorf("%q, %v by %s", b, err, asked)
	}
	for _, part := range []struct {
		offset, length int64
		want           string
	}{{0, 3, "012"}, {8, 100, "89"}, {10, 1, ""}} {
		got, err := c.ReadFilePart(ctx, "s", "d/ä b?", part.offset, part.length)
		if err != nil || string(got.Content) != part.want || got.Total != 10 {
			t.Errorf("%+v: %+v, %v", part, got, err)
		}
	}
	if _, err := c.ReadFilePart(ctx, "s", "a", 0, 0); err == nil {
		t.Error("a part without length succeeded")
	}
	if err := c.WriteFile(ctx, "s", "a", []byte("\xff")); err != nil || asked != "PUT /prefix/v1/sessions/s/files/a \xff" {
		t.Errorf("%v by %q", err, asked)
	}
	if err := c.RemoveFile(ctx, "s", "a/b"); err != nil {
		t.Error(err)
	}
	if ids, err := c.Fork(ctx, "s", 2); err != nil || strings.Join(ids, " ") != "x y" || asked != `POST /prefix/v1/sessions/s/fork {"count":2}` {
		t.Errorf("%v, %v by %s", ids, err, asked)
	}
	archive, err := c.Archive(ctx, "s")
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	if b, _ := io.ReadAll(archive); string(b) != "tar" {
		t.Errorf("archive %q", b)
	}
	var refused *Error
	if _, err := c.ReadFile(ctx, "s", "none"); !errors.As(err, &refused) || refused.Code != "not_found" {
		t.Errorf("no such file: %v", err)
	}
}

// A path that a server would resolve is not sent: it could mean the session.
func TestPathsThatLeadOut(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) { t.Errorf("asked %s %s", r.Method, r.URL) })
	for _, path := range []string{"", "..", "a/../..", "./a", "/a", "a//b", "a/"} {
		_, readErr := c.ReadFile(t.Context(), "s", path)
		for _, err := range []error{readErr, c.RemoveFile(t.Context(), "s", path), c.WriteFile(t.Context(), "s", path, nil)} {
			if err == nil || !strings.Contains(err.Error(), "relative") {
				t.Errorf("%q: %v", path, err)
			}
		}
	}
}

// Each call of a session has its id, which a file that is written gives it.
func TestSessionFiles(t *testing.T) {
	var asked []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = append(asked, r.Method+" "+r.URL.Path+" "+strings.TrimSpace(string(body)))
		switch {
		case r.Header.Get("Accept") == "text/event-stream":
			_, _ = io.WriteString(w, "event: stdout\ndata: {\"text\":\"1\"}\n\nevent: result\ndata: {\"session_id\":\"given\"}\n\n")
		case strings.HasSuffix(r.URL.Path, "/fork"):
			_, _ = io.WriteString(w, `{"session_ids":["x"]}`)
		case r.Method == http.MethodGet:
			_, _ = io.WriteString(w, `{"files":[]}`)
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	})
	ctx := t.Context()
	s := c.Session("")
	calls := func() (errs []error) {
		_, err := s.Files(ctx)
		errs = append(errs, err)
		_, err = s.ReadFile(ctx, "a")
		errs = append(errs, err)
		_, err = s.ReadFilePart(ctx, "a", 1, 2)
		errs = append(errs, err, s.RemoveFile(ctx, "a"))
		archive, err := s.Archive(ctx)
		if err == nil {
			archive.Close()
		}
		errs = append(errs, err)
		_, err = s.Info(ctx)
		errs = append(errs, err)
		copies, err := s.Fork(ctx, 1)
		if err == nil && *copies[0].id.Load() != "x" {
			t.Errorf("a copy is %q", *copies[0].id.Load())
		}
		return append(errs, err)
	}
	for i, err := range calls() {
		if refused := new(Error); !errors.As(err, &refused) || refused.Code != "not_found" || MayHaveRun(err) {
			t.Errorf("call %d of a session that has not begun: %v", i, err)
		}
	}
	if len(asked) != 0 {
		t.Errorf("asked %q", asked)
	}
	if err := s.WriteFile(ctx, "a", nil); err != nil || !strings.HasPrefix(*s.id.Load(), "go-") {
		t.Errorf("%v, id %q", err, *s.id.Load())
	}
	for i, err := range calls() {
		if err != nil {
			t.Errorf("call %d: %v", i, err)
		}
	}
	for _, request := range asked {
		if !strings.Contains(request, " /prefix/v1/sessions/"+*s.id.Load()) {
			t.Errorf("%s is not of the session", request)
		}
	}

	s = c.Session("")
	for event, err := range s.Stream(ctx, &Request{Language: "bash"}) {
		if err != nil || event.Name == "stdout" && *s.id.Load() != "" {
			t.Errorf("%+v, %v", event, err)
		}
	}
	for range s.Stream(ctx, &Request{Language: "bash"}) {
		break // which leaves the session to others
	}
	if id, err := s.ID(ctx); id != "given" || err != nil || !strings.Contains(asked[len(asked)-1], `"session_id":"given"`) {
		t.Errorf("id %q, %v; asked %s", id, err, asked[len(asked)-1])
	}
	for _, err := range s.Stream(ctx, &Request{SessionID: "other"}) {
		if err == nil {
			t.Error("the request of another session was sent")
		}
	}
}
