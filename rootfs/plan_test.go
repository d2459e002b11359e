package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The resolution of each base, without network: sources lines, packages, sources and steps of every language.
func TestResolution(t *testing.T) {
	for _, base := range []string{"trixie", "noble"} {
		set := settings{Languages: ".", Base: base, Mirror: "http://mirror.example/main/", SecurityMirror: "http://mirror.example/security"}
		p, err := makePlan(set, host{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		p.print(&got)
		golden := filepath.Join("testdata", base+".golden")
		if *update {
			if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got.String() != string(want) {
			t.Errorf("%s: differs (go test ./rootfs -update writes it anew):\n%s", golden, got.String())
		}
	}
}

func testPlan(t *testing.T, dir string) plan {
	t.Helper()
	p, err := makePlan(settings{Languages: dir, Base: "trixie", Mirror: "http://m", SecurityMirror: "http://s"}, host{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The digest must change with every input and with nothing else; layers must not be made again for what does not go into them.
func TestDigest(t *testing.T) {
	dir := copyLanguages(t)
	first := testPlan(t, dir)
	if again := testPlan(t, dir); again.Inputs != first.Inputs || again.BaseHash != first.BaseHash {
		t.Error("the same inputs give another digest")
	}
	if copied := testPlan(t, copyLanguages(t)); copied.Inputs != first.Inputs {
		t.Error("another checkout of the same gives another digest")
	}
	edit(t, filepath.Join(dir, "bash/fidelity/exit-handlers.txtar"), "trap", "trap  ")
	if edited := testPlan(t, dir); edited.Inputs != first.Inputs {
		t.Error("fidelity/ changes the digest: no image holds it")
	}
	for _, tc := range []struct {
		file, old, new string
		base, layer    bool // changes too
	}{
		{"go/lang.json", `"golang"`, `"golang2"`, false, false},
		{"go/jail.json", `256`, `257`, false, false},
		{"go/samples/hello/main.go", `Hello`, `Hallo`, false, false},
		{"go/steps.sh", `go build $flags std`, `go build  std`, false, true},
		{"go/files/gobuild.go", `package`, ` package`, false, true},
		{"go/packages.json", `"golang-1.22-go"`, `"golang-1.22-go", "bash"`, false, true}, // in the base already
		{"go/packages.json", `"golang-1.22-go"`, `"golang-1.22-go", "golang"`, true, true},
		{"base/steps.sh", `sandbox`, `box`, true, true},
		{"base/trixie.json", `"bc"`, `"dc"`, true, true},
		{"envkeep/envkeep.c", `LD_PRELOAD`, `LD_PRELAOD`, true, true},
	} {
		dir, first := copyLanguages(t), first
		if tc.file == "base/trixie.json" {
			edit(t, filepath.Join(dir, "bash/packages.json"), `"bc", `, ``)
			first = testPlan(t, dir)
		}
		edit(t, filepath.Join(dir, tc.file), tc.old, tc.new)
		p := testPlan(t, dir)
		if p.Inputs == first.Inputs {
			t.Errorf("%s: the digest does not change", tc.file)
		}
		if got := p.BaseHash != first.BaseHash; got != tc.base {
			t.Errorf("%s, %s: base changes: %v, want %v", tc.file, tc.new, got, tc.base)
		}
		if got := p.layerHash(p.language("go")) != first.layerHash(first.language("go")); got != tc.layer {
			t.Errorf("%s, %s: layer changes: %v, want %v", tc.file, tc.new, got, tc.layer)
		}
	}
}

// One folder more is all that a new language takes; the base stays as it was.
func TestToyLanguageIsPlanned(t *testing.T) {
	dir := copyLanguages(t)
	before := testPlan(t, dir)
	addToy(t, dir)
	after := testPlan(t, dir)
	if after.Inputs == before.Inputs || after.BaseHash != before.BaseHash {
		t.Errorf("inputs %s -> %s, base %s -> %s", before.Inputs, after.Inputs, before.BaseHash, after.BaseHash)
	}
	if len(after.Languages) != len(before.Languages)+1 {
		t.Errorf("%d languages, want one more than %d", len(after.Languages), len(before.Languages))
	}
}

func TestOperatorsSourceComesFirst(t *testing.T) {
	given := archiveFrom{From: "/srv/dotnet.tar.xz", SHA256: strings.Repeat("0", 64)}
	set := settings{Languages: ".", Base: "trixie", Mirror: "http://m", SecurityMirror: "http://s", Sources: map[string]archiveFrom{"csharp": given}}
	p, err := makePlan(set, host{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	sources := p.language("csharp").Sources
	if sources[0].Archive.archiveFrom != given || len(sources) < 2 || sources[1].Archive.From == given.From {
		t.Errorf("sources are %v", sources)
	}
	set.Sources = map[string]archiveFrom{"python": given}
	if _, err := makePlan(set, host{}, nil); err == nil {
		t.Error("an archive is accepted for a language that comes from none")
	}
}

func TestMirrors(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "sources.list.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"sources.list":             "# deb http://old bookworm main\ndeb-src http://src bookworm main\ndeb [arch=amd64 signed-by=/x] http://third.example stable main\n",
		"sources.list.d/a.list":    "deb http://other.example/debian bookworm contrib # no main\n",
		"sources.list.d/b.sources": "Types: deb deb-src\n# comment\nURIs: http://near.example/debian/\nSuites: bookworm\n bookworm-updates\nComponents: main\n\nTypes: deb\nURIs: http://sec.example\nSuites: bookworm-security\nComponents: main\n\nTypes: deb\nEnabled: no\nURIs: http://off\nSuites: bookworm\nComponents: main\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	entries := aptEntries(dir)
	debian := baseManifest{Suite: "trixie", Host: "debian"}
	for _, tc := range []struct {
		name  string
		base  baseManifest
		set   settings
		host  host
		wants []string // main, security; empty: refused
	}{
		{"as the host", debian, settings{}, host{"debian", "bookworm"}, []string{"http://near.example/debian", "http://sec.example"}},
		{"one set", debian, settings{Mirror: "http://set/"}, host{"debian", "bookworm"}, []string{"http://set", "http://sec.example"}},
		{"another release", debian, settings{}, host{"debian", "trixie"}, nil},
		{"another distribution", baseManifest{Suite: "noble", Host: "ubuntu"}, settings{}, host{"debian", "bookworm"}, nil},
		{"both set", debian, settings{Mirror: "http://a", SecurityMirror: "http://b"}, host{}, []string{"http://a", "http://b"}},
	} {
		main, security, err := findMirrors(tc.base, tc.set, tc.host, entries)
		if (err == nil) != (tc.wants != nil) {
			t.Errorf("%s: error %v", tc.name, err)
		}
		if err == nil && !reflect.DeepEqual([]string{main, security}, tc.wants) {
			t.Errorf("%s: %s and %s, want %v", tc.name, main, security, tc.wants)
		}
	}
}
