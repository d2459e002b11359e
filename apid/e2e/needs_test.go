package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// Each program of testdata/needs makes the calls that the profile of its language adds to the base, as far as no sample and no fidelity program does:
// that they work, and with `make record` that somebody needs them. All but C's start tools as well.
func TestNeeds(t *testing.T) {
	for language, name := range searchers { // the name of a main file
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			read := func(name string) string {
				content, err := os.ReadFile(filepath.Join("testdata/needs", name))
				if err != nil {
					t.Fatal(err)
				}
				return string(content)
			}
			want := "moved/soft\ndone\n"
			files := []request{{"name": name}, {"name": "tools.sh", "content": read("tools.sh")}}
			if language == "c" || language == "cpp" { // one program is both
				want, files = "done\n", files[:1]
				files[0]["content"] = read("main.c")
			} else {
				files[0]["content"] = read(name)
			}
			a := execute(t, request{"language": language, "files": files})
			if wantStdout(t, a, want); len(a.Run.Violations) > 0 || a.Run.Stderr != "" {
				t.Errorf("denied calls, or a message: %s", a)
			}
		})
	}
}

// onRecord has `make record` list a program that was recorded; rules_test.go holds the corpus against the list.
func onRecord(t *testing.T, path string) {
	dir := os.Getenv("RUNTOOLS_RECORD")
	if dir == "" {
		return
	}
	t.Cleanup(func() {
		program, err := filepath.Rel(repository, path)
		if err != nil {
			t.Fatal(err)
		}
		list, err := os.OpenFile(filepath.Join(dir, "programs"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		defer list.Close()
		if !t.Failed() {
			fmt.Fprintln(list, program)
		}
	})
}
