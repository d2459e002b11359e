package main

import (
	"compress/gzip"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// get asks for a path as a browser does, without a key.
func (ts *testServer) get(path string, headers ...string) (*http.Response, string) {
	ts.t.Helper()
	req, err := http.NewRequest("GET", "http://"+ts.addr+path, nil)
	if err != nil {
		ts.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req) // not the client, which unpacks
	if err != nil {
		ts.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		ts.t.Fatal(err)
	}
	return resp, string(body)
}

// Every page and all it asks for is there, under the policy, and the page keeps to it.
func TestPlayground(t *testing.T) {
	ts := newTestServer(t, nil)
	inline := regexp.MustCompile(`<style|<script[^>]*>[^<]|\s(style|on\w+)="|https?://`)
	wanted := regexp.MustCompile(`(?:src|href)="\./([^"]+\.\w+)"`)
	for name := range ts.pages {
		if strings.Contains(name, ".") {
			continue
		}
		resp, page := ts.get(name)
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/html; charset=utf-8" || !strings.Contains(page, "<title>") {
			t.Errorf("%s: %d %v", name, resp.StatusCode, resp.Header)
		}
		if found := inline.FindString(page); found != "" {
			t.Errorf("%s has %q, which its policy forbids", name, found)
		}
		files := wanted.FindAllStringSubmatch(page, -1)
		if len(files) < 3 {
			t.Errorf("%s wants %v", name, files)
		}
		for _, m := range files {
			resp, _ := ts.get("/" + m[1])
			if resp.StatusCode != 200 {
				t.Errorf("%s, which %s wants: %d", m[1], name, resp.StatusCode)
			}
			for header, want := range map[string]string{
				"Content-Security-Policy": "default-src 'none'; script-src 'self'; ", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
			} {
				if !strings.HasPrefix(resp.Header.Get(header), want) {
					t.Errorf("%s: %s is %q", m[1], header, resp.Header.Get(header))
				}
			}
			if resp.Header.Get("Set-Cookie") != "" {
				t.Errorf("%s sets a cookie", m[1])
			}
		}
	}
	if ts.pages["/"] == nil {
		t.Error("there is no page at /")
	}
}

func TestPlaygroundIsSentOnceAndPacked(t *testing.T) {
	ts := newTestServer(t, nil)
	resp, plain := ts.get("/assets/index.js")
	if got := resp.Header.Get("Content-Type"); got != "text/javascript; charset=utf-8" {
		t.Errorf("Content-Type %s", got)
	}
	if again, body := ts.get("/assets/index.js", "If-None-Match", resp.Header.Get("ETag")); again.StatusCode != 304 || body != "" {
		t.Errorf("%d and %d bytes", again.StatusCode, len(body))
	}
	packed, body := ts.get("/assets/index.js", "Accept-Encoding", "gzip")
	unpacked, err := gzip.NewReader(strings.NewReader(body))
	if err != nil || packed.Header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("%v %v", err, packed.Header)
	}
	if got, err := io.ReadAll(unpacked); err != nil || string(got) != plain {
		t.Errorf("unpacked it is another: %v", err)
	}
}

func TestPlaygroundOff(t *testing.T) {
	ts := newTestServer(t, func(cfg *config) { cfg.Playground = false })
	for _, path := range []string{"/", "/assets/index.js"} {
		if resp, body := ts.get(path); resp.StatusCode != 404 || !strings.Contains(body, `"not_found"`) {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
}
