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
