package wire

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// serveOnce answers one request with that packet.
func serveOnce(t *testing.T, reply string) *Client {
	t.Helper()
	ln, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { ln.Close(); <-done })
	go func() {
		defer close(done)
		uc, err := ln.AcceptUnix()
		if err != nil {
			return
		}
		conn := NewConn(uc)
		defer conn.Close()
		var req Request
		files, _ := conn.Recv(&req)
		CloseAll(files)
		conn.uc.Write([]byte(reply))
	}()
	return &Client{Path: ln.Addr().String()}
}

// What a newer server tells beside what we know costs no answer; what it refuses is told apart from what we should not have asked.
func TestServersOfOtherVersions(t *testing.T) {
	const refusal = `{"error":{"code":"invalid","message":"wire: decode: json: unknown field \"new\"","new":1}}`
	valid, invalid := &Job{Template: "c/run", Argv: []string{"/build/main"}}, &Job{Template: "c/run", Argv: []string{"main"}}
	for name, c := range map[string]struct {
		reply   string
		job     *Job
		code    int    // of the result
		want    string // error
		version bool
	}{
		"same":               {`{"result":{"code":3}}`, valid, 3, "", false},
		"new fields":         {`{"new":{"a":[1]},"result":{"new":true,"code":3,"noise":{"new":1}}}`, valid, 3, "", false},
		"neither":            {`{"new":{}}`, valid, 0, "without a result", false},
		"trailing data":      {`{"result":{"code":3}} {}`, valid, 0, "wire: decode: ", false},
		"refused":            {refusal, valid, 0, "unknown field", true},
		"refused, our fault": {refusal, invalid, 0, "unknown field", false},
	} {
		t.Run(name, func(t *testing.T) {
			null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer null.Close()
			result, err := serveOnce(t, c.reply).Run(t.Context(), c.job, nil, null, null)
			switch {
			case c.want == "" && (err != nil || result.Code != c.code):
				t.Errorf("%+v, %v", result, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want an error with %q", err, c.want)
			case errors.Is(err, ErrVersion) != c.version:
				t.Errorf("of another version: %v, want %v: %v", !c.version, c.version, err)
			case c.version && !errors.As(err, new(*Error)):
				t.Errorf("the reason is lost: %v", err)
			}
		})
	}
	status, err := serveOnce(t, `{"status":{"volumes":4,"new":[],"templates":[{"name":"a","new":1}]}}`).Status(t.Context(), &StatusRequest{})
	if err != nil || status.Volumes != 4 || status.Templates[0].Name != "a" {
		t.Errorf("%+v, %v", status, err)
	}
}
