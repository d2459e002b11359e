package main

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"
)

// A line of the key file is read as it was written, and what is read is written as that again.
func FuzzParseKey(f *testing.F) {
	f.Add([]byte(`{"id":"a","name":"x","sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","created":"2026-01-01T00:00:00Z","concurrency":2,"operator":true}`))
	f.Add([]byte(`{"id":"a","sha256":"00","concurrency":-1}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		k, err := parseKey(line)
		if err != nil {
			return
		}
		if k.ID == "" || k.Concurrency < 0 || k.hash == [32]byte{} && !bytes.Contains(line, []byte("000000")) {
			t.Fatalf("%+v", k)
		}
		written, err := json.Marshal(k)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseKey(written)
		if err != nil {
			t.Fatalf("%s: %v", written, err)
		}
		if rewritten, _ := json.Marshal(again); !bytes.Equal(written, rewritten) || again.hash != k.hash {
			t.Fatalf("%s and %s", written, rewritten)
		}
	})
}

// What a session holds of its workspace is given back byte by byte: the files of requests, and an archive, which nobody but tar ever reads.
func FuzzStored(f *testing.F) {
	f.Add("main.py", []byte("print(1)"), "\xff/b", []byte{0, 1, 0x80})
	f.Fuzz(func(t *testing.T, name string, content []byte, second string, more []byte) {
		files := []requestFile{{name: name, content: content}, {name: second, content: more}}
		stored := encodeFiles(files)
		same := func(a, b requestFile) bool { return a.name == b.name && bytes.Equal(a.content, b.content) }
		if got := decodeFiles(stored); !slices.EqualFunc(got, files, same) || cap(stored) != len(stored) {
			t.Fatalf("%q, want %q", got, files)
		}
		p := &packer{}
		z := p.begin()
		z.write(content)
		z.write(more)
		if got, err := decompress(z.end()); err != nil || !bytes.Equal(got, append(slices.Clone(content), more...)) {
			t.Fatalf("%q, %v", got, err)
		}
	})
}
