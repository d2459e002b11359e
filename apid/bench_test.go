package main

import (
	"context"
	"os"
	"testing"

	"github.com/runtools/runtools/pkg/wire"
	"github.com/valyala/fasthttp"
)

// BenchmarkExecute is a whole request over a kept-alive connection: client, apid, and a sandboxd that does nothing. What apid costs is
// the difference to BenchmarkWire, less what the client does.
func BenchmarkExecute(b *testing.B) {
	for _, c := range []struct {
		name   string
		fields map[string]any
	}{
		{"ephemeral", with(python("print hello"), "ephemeral", true)},
		{"new session", python("print hello")},
		{"compiled", with(python("print hello"), "language", "c")},
	} {
		b.Run(c.name, func(b *testing.B) {
			ts := newTestServer(b, func(c *config) { c.Log.Level = "error" })
			client := &fasthttp.HostClient{Addr: ts.addr}
			defer client.CloseIdleConnections()
			body := []byte(encode(c.fields))
			for b.Loop() {
				req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
				req.SetRequestURI("http://x/v1/execute")
				req.Header.SetMethod("POST")
				req.Header.SetContentType("application/json")
				req.Header.Set("Authorization", "Bearer "+ts.key)
				req.SetBodyRaw(body)
				if err := client.Do(req, resp); err != nil || resp.StatusCode() != 200 {
					b.Fatalf("%v %s", err, resp.Body())
				}
				fasthttp.ReleaseRequest(req)
				fasthttp.ReleaseResponse(resp)
			}
		})
	}
}

// BenchmarkWire is the least that a job costs: the exchange with sandboxd and a pipe for each stream.
func BenchmarkWire(b *testing.B) {
	fake := startFake(b)
	client := &wire.Client{Path: fake.path}
	null, err := os.OpenFile("/dev/null", os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer null.Close()
	job := &wire.Job{Template: "py/run", Argv: []string{"/usr/bin/true"}}
	for b.Loop() {
		if _, err := client.Run(context.Background(), job, nil, null, null); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	body := []byte(encode(with(python("print hello"), "stdin", "abc", "run_timeout", 1000)))
	scratch := make([]byte, len(body))
	for b.Loop() {
		copy(scratch, body)
		if _, err := decodeRequest(scratch); err != nil {
			b.Fatal(err)
		}
	}
}
