package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// shownDiagnostics is a line for each.
func shownDiagnostics(list []diagnostic) string {
	var b strings.Builder
	for _, d := range list {
		fmt.Fprintf(&b, "%s:%d:%d %s [%s] %s\n", d.file, d.line, d.column, d.severity, d.code, d.message)
	}
	return b.String()
}

// What the tools of the image wrote, one case a section, named "stage: title: files of the request", and what is read in it.
func TestDiagnostics(t *testing.T) {
	archive, err := txtar.ParseFile("testdata/diagnostics.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(archive.Files); i += 2 {
		parts := strings.SplitN(archive.Files[i].Name, ": ", 3)
		if len(parts) != 3 || archive.Files[i+1].Name != "want" {
			t.Fatalf("section %q and %q", archive.Files[i].Name, archive.Files[i+1].Name)
		}
		t.Run(parts[1], func(t *testing.T) {
			p := &plan{names: strings.Fields(parts[2])}
			got := shownDiagnostics(p.diagnose(archive.Files[i].Data, parts[0] == "compile"))
			if want := string(archive.Files[i+1].Data); got != want {
				t.Errorf("got\n%swant\n%sin\n%s", got, want, archive.Files[i].Data)
			}
		})
	}
	if len(archive.Files) < 40 {
		t.Errorf("%d sections", len(archive.Files))
	}
}

// However much a program writes, and whatever, there are only so many of only such a size, and of no file outside the workspace.
func TestDiagnosticsAreBounded(t *testing.T) {
	p := &plan{names: []string{"main.py"}}
	line := "main.py:7: error: " + strings.Repeat("\u00e4", 3000) + "\n"
	got := p.diagnose([]byte(strings.Repeat(line, 1000)+"main.py:8: error: the last\n"), false)
	if len(got) != 43+1 { // those that are whole in the last diagnosedBytes
		t.Errorf("%d diagnostics", len(got))
	}
	if n := len(got[0].message); n > diagnosedMessage || got[0].message[:n] != strings.Repeat("\u00e4", n/2) {
		t.Errorf("a message of %d bytes", n)
	}
	if last := got[len(got)-1]; last.line != 8 {
		t.Errorf("the end was not read: %+v", last)
	}
	if got := p.diagnose([]byte(strings.Repeat(line, 1000)), true); len(got) == 0 || got[0].line != 7 {
		t.Errorf("of a compiler, the beginning was not read: %v", got)
	}
	if got := p.diagnose([]byte(strings.Repeat("main.py:7: error: x\n", 1000)), false); len(got) != maxDiagnostics {
		t.Errorf("%d diagnostics", len(got))
	}
}

func FuzzDiagnose(f *testing.F) {
	archive, err := txtar.ParseFile("testdata/diagnostics.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for i := 0; i < len(archive.Files); i += 2 {
		f.Add(archive.Files[i].Data)
	}
	p := &plan{names: []string{"main.py", "main.c", "lib/a.rb", "app/Words.java"}}
	f.Fuzz(func(t *testing.T, stderr []byte) {
		for _, compiler := range []bool{false, true} {
			list := p.diagnose(stderr, compiler)
			if len(list) > maxDiagnostics {
				t.Fatalf("%d diagnostics", len(list))
			}
			for _, d := range list {
				if d.file == "" || d.file[0] == '/' || strings.HasPrefix(d.file, "../") || d.message == "" || len(d.message) > diagnosedMessage || d.line < 0 || d.column < 0 {
					t.Fatalf("%+v", d)
				}
			}
			if encoded := appendDiagnostics([]byte(`{"a":0`), list); !json.Valid(append(encoded, '}')) {
				t.Fatalf("%s", encoded)
			}
		}
	})
}
