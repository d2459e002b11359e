package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

// What may pass is tried again, what will not pass is not.
func TestDownloadTriesAgain(t *testing.T) {
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		switch {
		case r.URL.Path == "/gone":
			http.NotFound(w, r)
		case len(asked) == 1:
			http.Error(w, "busy", http.StatusServiceUnavailable)
		case len(asked) == 2:
			w.Header().Set("Content-Length", "100")
			w.Write([]byte("cut")) // the server closes the connection, as too little was written
		default:
			w.Write([]byte("whole"))
		}
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := download(context.Background(), server.URL+"/there", file); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != "whole" || len(asked) != 3 {
		t.Errorf("%q, %v after %d tries; want the whole after 3", got, err, len(asked))
	}
	if err := download(context.Background(), server.URL+"/gone", file); err == nil || len(asked) != 4 {
		t.Errorf("error %v after %d tries, want one after one", err, len(asked)-3)
	}
}
