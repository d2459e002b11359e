package runtools

import (
	"os"
	"path"
	"regexp"
	"slices"
	"testing"
)

// mostCorpus is how many inputs of a target are kept: each is run by every `go test`.
const mostCorpus = 40

// The list of decoders in docs/theory.md names every fuzz target, and none that is not there.
func TestEveryDecoderIsListed(t *testing.T) {
	text, err := os.ReadFile("docs/theory.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed, there []string
	for _, m := range regexp.MustCompile("\\| `([a-z/]+)` `(Fuzz\\w+)` \\|").FindAllStringSubmatch(string(text), -1) {
		listed = append(listed, m[1]+" "+m[2])
	}
	target := regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`)
	for _, file := range tracked(t, "*_test.go") {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range target.FindAllSubmatch(data, -1) {
			name := string(m[1])
			there = append(there, path.Dir(file)+" "+name)
			kept, _ := os.ReadDir(path.Join(path.Dir(file), "testdata/fuzz", name))
			if len(kept) == 0 || len(kept) > mostCorpus {
				t.Errorf("%s has a corpus of %d inputs, want 1 to %d: the smallest of $(go env GOCACHE)/fuzz after scripts/fuzz 10m %s", name, len(kept), mostCorpus, name)
			}
		}
	}
	for _, name := range there {
		if !slices.Contains(listed, name) {
			t.Errorf("docs/theory.md does not list %s: what bytes it reads, whose, and what must hold", name)
		}
	}
	for _, name := range listed {
		if !slices.Contains(there, name) {
			t.Errorf("docs/theory.md lists %s, which is not there", name)
		}
	}
}
