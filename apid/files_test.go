package main

import (
	"math"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParseEntry(t *testing.T) {
	for record, want := range map[string]fileEntry{
		"f\t12\t644\t1700000000.25\t./a\tb\nc": {Path: "a\tb\nc", Type: "file", Size: 12, Mode: "644", Modified: 1700000000.25},
		"d\t40\t1777\t0.0\t./d":                {Path: "d", Type: "folder", Size: 40, Mode: "1777"},
		"l\t1\t777\t1.5\t./\xff":               {Path: "\ufffd", PathRaw: "/w==", Type: "link", Size: 1, Mode: "777", Modified: 1.5},
		"p\t0\t644\t-1.0\t./p":                 {Path: "p", Type: "other", Mode: "644", Modified: -1},
	} {
		if got, ok := parseEntry([]byte(record)); !ok || got != want {
			t.Errorf("%q: %v %+v, want %+v", record, ok, got, want)
		}
	}
	for _, record := range []string{"", "f", "f\t1\t644\t1.0", "f\tx\t644\t1.0\tp", "f\t1\t644\tnan\tp", "f\t1\t644\tinf\tp"} {
		if got, ok := parseEntry([]byte(record)); ok {
			t.Errorf("%q: %+v", record, got)
		}
	}
}

func FuzzParseEntry(f *testing.F) {
	f.Add([]byte("f\t12\t644\t1700000000.25\t./a\tb\nc"))
	f.Add([]byte("l\t1\t777\t1.5\t./\xff"))
	f.Fuzz(func(t *testing.T, record []byte) {
		if e, ok := parseEntry(record); ok && (!utf8.ValidString(e.Path) || e.Modified != e.Modified) {
			t.Errorf("%q: %+v", record, e)
		}
	})
}

// What the routes below a session say without any sandbox.
func TestSessionRoutes(t *testing.T) {
	ts := newTestServer(t, nil)
	ts.execute(with(python("print 1"), "session_id", "s"))
	for _, c := range []struct {
		method, path, body string
		status             int
		allow              string
	}{
		{"GET", "s", "", 200, ""}, {"HEAD", "s", "", 200, ""}, {"GET", "t", "", 404, ""}, {"GET", "a b", "", 400, ""}, {"POST", "s", "", 405, "GET, HEAD, DELETE, OPTIONS"},
		{"GET", "s/other", "", 404, ""}, {"PATCH", "s/files/x", "", 405, "GET, HEAD, PUT, DELETE, OPTIONS"}, {"POST", "s/files/x", "", 405, "GET, HEAD, PUT, DELETE, OPTIONS"},
		{"PUT", "s/files", "", 405, "GET, HEAD, OPTIONS"}, {"OPTIONS", "s/fork", "", 204, "POST, OPTIONS"}, {"GET", "s/", "", 404, ""}, {"GET", "s/files/", "", 404, ""},
		{"DELETE", "x/../s", "", 404, ""}, {"DELETE", "..%2Fsessions%2fs", "", 404, ""}, {"GET", "s/files/%2e%2E", "", 404, ""}, {"GET", "s/.", "", 404, ""},
		{"DELETE", "s%2Ffiles%2Fx", "", 404, ""}, {"DELETE", "s%2ffiles/x", "", 404, ""}, {"GET", "s%2Farchive", "", 404, ""}, {"DELETE", "%2Fs", "", 404, ""},
		{"GET", "/%2Fs", "", 404, ""}, {"PUT", "s%2Ffiles/files/x", "", 404, ""}, {"PUT", "s/files%2Fx", "", 404, ""}, {"PATCH", "s/files/a%2Fx", "", 405, "GET, HEAD, PUT, DELETE, OPTIONS"},
		{"GET", "s/archive/x", "", 404, ""}, {"PUT", "s/files/" + strings.Repeat("x", 300), "", 400, ""}, {"POST", "s/fork", `{"count": 0}`, 400, ""},
		{"POST", "s/fork", `{"count": 2}`, 200, ""}, {"DELETE", "s", "", 204, ""}, {"DELETE", "s", "", 404, ""},
	} {
		req, err := http.NewRequest(c.method, "http://"+ts.addr+"/v1/sessions/"+strings.ReplaceAll(c.path, " ", "%20"), strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+ts.key)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != c.status || resp.Header.Get("Allow") != c.allow {
			t.Errorf("%s %s: %d %q, want %d %q", c.method, c.path, resp.StatusCode, resp.Header.Get("Allow"), c.status, c.allow)
		}
	}
	if r := ts.do("PUT", "/v1/sessions/u/files/refused", "x"); r.Error == nil || r.Error.Field != "path" || !strings.HasPrefix(r.Error.Message, "path: ") {
		t.Errorf("a file that cannot be placed: %s", r.Raw)
	}
}

func TestByteRange(t *testing.T) {
	all := byteRange{0, math.MaxInt64}
	for header, want := range map[string]struct {
		byteRange
		ranged bool
	}{
		"bytes=0-9": {byteRange{0, 10}, true}, "bytes=5-": {byteRange{5, math.MaxInt64}, true}, "bytes=-5": {byteRange{-5, 5}, true}, "bytes=-0": {byteRange{0, 0}, true},
		"bytes=0-9223372036854775807": {byteRange{0, math.MaxInt64}, true}, "bytes=9223372036854775807-9223372036854775807": {byteRange{math.MaxInt64, 0}, true},
		"": {all, false}, "bytes=9-5": {all, false}, "bytes=0-1,3-4": {all, false}, "bytes=--5": {all, false}, "bytes=+1-2": {all, false}, "bytes=1-+2": {all, false},
		"lines=1-2": {all, false}, "bytes=99999999999999999999-": {all, false}, "bytes=x-": {all, false}, "bytes=-": {all, false}, "bytes=5": {all, false},
	} {
		if r, ranged := parseRange(header); r != want.byteRange || ranged != want.ranged {
			t.Errorf("%q: got %v %v, want %v", header, r, ranged, want)
		}
	}
}
