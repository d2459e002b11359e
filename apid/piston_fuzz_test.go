package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"slices"
	"testing"

	"github.com/runtools/runtools/pkg/lang"
	"github.com/runtools/runtools/pkg/wire"
)

// Piston's form of a request, as a body and as the first message of a connection, means what encoding/json says it means; and whatever it asks for, what is
// planned is within the server's limits.
func FuzzPiston(f *testing.F) {
	for _, seed := range []string{
		`{"language":"python","version":"*","files":[{"content":"print(\"\u00e9\")"}]}`,
		`{"language":"c","version":"14.x","files":[{"name":"main.c","content":"bWFpbjt9","encoding":"base64"},{"content":"6d","encoding":"hex"}],"stdin":"x","args":["a","b"]}`,
		`{"type":"init","language":"py","version":"3","files":[{"name":"a/b"}],"run_timeout":1e9,"compile_timeout":-1,"run_memory_limit":-1,"compile_memory_limit":9e15,"run_cpu_time":1}`,
		`{"language":"py","files":[{"name":"../x","content":null}],"stdin":null}`,
	} {
		f.Add([]byte(seed))
	}
	langs, err := lang.Load(fakeImage(f))
	if err != nil {
		f.Fatal(err)
	}
	limits := defaults().Limits
	f.Fuzz(func(t *testing.T, body []byte) {
		var std struct {
			Language, Version, Stdin string
			Args                     []string
			Files                    []struct{ Name, Content, Encoding string }
		}
		stdErr := json.Unmarshal(body, &std) // first: decoding is done in place
		first, refused := decodePiston(bytes.Clone(body), true)
		q, err := decodePiston(body, false)
		if err == nil && refused != nil {
			t.Fatalf("a body that is no message: %v", refused.message)
		}
		if refused != nil {
			if n := len((&call{route: "/api/v2/execute"}).fail(refused)); n > mostRefusal {
				t.Fatalf("refused in %d bytes", n)
			}
			return
		}
		if stdErr != nil {
			t.Fatalf("accepted what encoding/json does not: %v", stdErr)
		}
		if err != nil {
			q = first // with a type
		}
		if q.language != std.Language || q.version != std.Version || string(q.stdin) != std.Stdin || !slices.Equal(q.args, std.Args) {
			t.Fatalf("%q %q %q %q", q.language, q.version, q.stdin, q.args)
		}
		got := q.files
		if q.code != nil {
			got = append([]requestFile{{content: q.code}}, got...)
		}
		for i, want := range std.Files {
			content := []byte(want.Content)
			switch want.Encoding {
			case "base64":
				content, _ = base64.StdEncoding.DecodeString(want.Content)
			case "hex":
				content, _ = hex.DecodeString(want.Content)
			}
			if len(got) == len(std.Files) && (!bytes.Equal(got[i].content, content) || want.Name != "" && got[i].name != want.Name) {
				t.Fatalf("file %d: %q %q, want %q %q", i, got[i].name, got[i].content, want.Name, content)
			}
		}
		q.withinBounds(&limits)
		p, err := makePlan(q, langs, &limits)
		if err != nil {
			return
		}
		for _, name := range p.names {
			if err := wire.ValidateFileName(name); err != nil {
				t.Fatalf("a file's name %v", err)
			}
		}
		if p.run.wall < 1 || p.run.wall > limits.RunTimeout.Max || p.compile.wall < 1 || p.compile.wall > limits.CompileTimeout.Max || p.run.memory > limits.RunMemoryLimit.Max {
			t.Fatalf("limits %+v %+v", p.run, p.compile)
		}
		if len(p.files) == 0 || len(p.files) > maxFiles || len(p.files) != len(p.names) {
			t.Fatalf("%d files, %d names", len(p.files), len(p.names))
		}
	})
}
