package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/runtools/runtools/pkg/seccomp"
)

// The commands of docs/seccomp.md that need no server print what the page shows, one after the other, as a reader types them. The record is
// what the page's first command left when the page was written.
func TestSeccompDocs(t *testing.T) {
	content, err := os.ReadFile("../docs/seccomp.md")
	if err != nil {
		t.Fatal(err)
	}
	page, candidate, ran := string(content), t.TempDir(), map[string]int{}
	places := []string{"/etc/runtools/candidate", candidate, "/etc/runtools/profiles", "../seccomp-profiles", "/tmp/use", "testdata/seccomp-docs", " seccomp-profiles/", " ../seccomp-profiles/"}
	backwards := slices.Clone(places)
	slices.Reverse(backwards)
	here, there := strings.NewReplacer(places...), strings.NewReplacer(backwards...)
	for _, m := range regexp.MustCompile(`(?m)^\$ sandboxd seccomp((?: [^ >\n]+)+)(?: > (\S+))?\n((?:[^$`+"`"+`\n].*\n|\n)*)`).FindAllStringSubmatch(page, -1) {
		args := strings.Fields(here.Replace(m[1]))
		if args[0] == "shadow" { // asks a server: TestShadow
			continue
		}
		ran[args[0]]++
		var out strings.Builder
		if err := seccompCommand(args, &out); err != nil {
			t.Errorf("sandboxd seccomp%s: %v", m[1], err)
		}
		if m[2] != "" {
			if err := os.WriteFile(here.Replace(m[2]), []byte(out.String()), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		shown := strings.ReplaceAll(regexp.QuoteMeta(m[3]), "…\n", "(?:.*\n)+") // lines that the page leaves out
		if got := there.Replace(out.String()); !regexp.MustCompile("^" + shown + "$").MatchString(got) {
			t.Errorf("sandboxd seccomp%s\n%s\nand the page shows\n%s", m[1], got, m[3])
		}
	}
	for _, command := range []string{"minimise", "check", "diff", "explain"} {
		if ran[command] == 0 {
			t.Errorf("the page shows no %s", command)
		}
	}

	// The slip that the page shows, as the first rule of the candidate.
	path := filepath.Join(candidate, "ruby.json")
	rules, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	slip := strings.Replace(string(rules), "\"syscalls\": [\n", "\"syscalls\": [\n"+`{"why": "callers rename files", "names": ["renmae"], "action": "SCMP_ACT_ALLOW"},`+"\n", 1)
	if err := os.WriteFile(path, []byte(slip), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := seccompCommand([]string{"check", path}, os.Stdout); err == nil || !strings.Contains(page, there.Replace(err.Error())) {
		t.Errorf("the page does not have: %v", err)
	}

	allowed := func(profile string) int {
		p, err := seccomp.Read("../seccomp-profiles/" + profile + ".json")
		if err != nil {
			t.Fatal(err)
		}
		return len(p.Grants())
	}
	for _, sentence := range []string{
		fmt.Sprintf("`base.json` (%d calls)", allowed("base")),
		fmt.Sprintf("C and C++ allow most, %d, Rust the least, %d.", allowed("c"), allowed("rust")),
	} {
		if !strings.Contains(page, sentence) {
			t.Errorf("the page does not say: %s", sentence)
		}
	}
}
