package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"strings"
	"testing"
)

// A program chooses the names of its files, and what is said of one is for a person's terminal: it must not obey.
func TestMessagesAreNotObeyed(t *testing.T) {
	const name = "a\x1b]0;owned\x07\u009b31m\u202eé"
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if path.Base(r.URL.Path) == "files" {
			io.WriteString(w, `{"files":[{"path":"a\u001b]0;owned\u0007\u009b31m\u202eé","type":"file","size":1,"mode":"644","modified":0}]}`)
			return
		}
		w.WriteHeader(http.StatusBadRequest)
		io.WriteString(w, `{"error":{"code":"invalid_field","message":"it cannot be read","request_id":"r"}}`)
	}))
	defer srv.Close()
	for _, source := range []string{"s:", "s:" + name} {
		var said strings.Builder
		a := &app{stdin: os.Stdin, stdout: io.Discard, stderr: &said, color: "never"}
		cmd := a.command()
		cmd.SetArgs([]string{"--url", srv.URL, "--api-key", "k", "session", "cp", source, t.TempDir()})
		if status := a.finish(cmd.Execute()); status != exitFailure || !strings.Contains(said.String(), `a\x1b]0;owned\a\u009b31m\u202eé: `) || strings.ContainsAny(said.String(), "\x1b\a\u009b\u202e") {
			t.Errorf("%s: status %d: %q", source, status, said.String())
		}
	}
}
