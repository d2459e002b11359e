package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
)

// What is decoded lies in the body, which is counted: a copy would be memory that nothing counts.
func TestContentIsDecodedInPlace(t *testing.T) {
	text := strings.Repeat("any bytes: \x00\xff\n", 100)
	in64, inHex := base64.StdEncoding.EncodeToString([]byte(text)), hex.EncodeToString([]byte(text))
	body := []byte(encode(map[string]any{
		"stdin": in64, "stdin_encoding": "base64",
		"files": []any{map[string]any{"encoding": "hex", "name": "a", "content": inHex}, map[string]any{"name": "b", "content": in64[:76] + "\n" + in64[76:], "encoding": "base64"}},
		"tests": []any{map[string]any{"stdin": in64, "stdin_encoding": "base64"}},
	}))
	q, err := decodeRequest(body)
	if err != nil {
		t.Fatal(err.message)
	}
	contents := map[string][]byte{"stdin": q.stdin, "hex": q.files[0].content, "base64 with a line end": q.files[1].content, "test": q.tests[0].stdin}
	for name, content := range contents {
		if string(content) != text {
			t.Errorf("%s: %q", name, content)
		}
	}
	clear(body)
	for name, content := range contents {
		if !bytes.Equal(content, make([]byte, len(text))) {
			t.Errorf("%s is a copy", name)
		}
		if cap(content) != len(content) {
			t.Errorf("%s: who appends to it writes over what follows in the body", name)
		}
	}
	first := []byte("input")
	console := newConsole(newStream(appendEvent, 0), newBodyBudget(1<<20, 1<<20), "k", first)
	clear(first)
	if got := console.take(); !bytes.Equal(got, first) {
		t.Errorf("the input of an interactive program is a copy: %q", got)
	}
}

// Of what tests are given there is a copy for each that runs. Where there is no memory for them, fewer run at a time; all are carried out.
func TestCopiesOfTestsCount(t *testing.T) {
	for name, c := range map[string]struct{ file, atOnce int }{"one helper": {100_000, 2}, "none": {150_000, 1}} {
		t.Run(name, func(t *testing.T) {
			ts := newTestServer(t, func(cfg *config) {
				cfg.Queue.MaxJobs, cfg.HTTP.MaxBodyBytes, cfg.HTTP.MaxBodiesBytes = 8, 200_000, 500_000
			})
			const tests = 6
			inputs := make([]any, tests)
			for i := range inputs {
				inputs[i] = map[string]any{"stdin": strings.Repeat("x", i)}
			}
			program := with(python("await"), "tests", inputs, "files", []any{map[string]any{"name": "data", "content": strings.Repeat("x", c.file)}})
			given := int64(c.file + len("await\n") + tests - 1)
			want := int64(len(encode(program))) + int64(c.atOnce-1)*given
			ended := make(chan *result, 1)
			go func() { ended <- ts.do("POST", "/v1/execute", encode(program)) }()
			eventually(t, "they run", func() bool { return len(ts.fake.asked()) == c.atOnce })
			if held := ts.bodies.held(); held != want {
				t.Errorf("%d bytes are counted, want %d", held, want)
			}
			for range tests {
				ts.fake.gate <- struct{}{}
			}
			if r := <-ended; r.Status != 200 || len(r.Tests) != tests {
				t.Errorf("%d tests: %s", len(r.Tests), r.Raw)
			}
			if n := ts.fake.atOnce(); n != c.atOnce {
				t.Errorf("%d ran at a time, want %d", n, c.atOnce)
			}
			eventually(t, "nothing is counted any more", func() bool { return ts.bodies.held() == 0 })
		})
	}
}
