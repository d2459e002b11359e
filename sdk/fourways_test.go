package sdk

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// docs/examples.md is one program in each of its languages, which prints what it says behind its prints, and one session of a shell.
func TestFourWays(t *testing.T) {
	const document = "../docs/examples.md"
	// printed is what stands behind each print of a program.
	printed := func(program, print, comment string) (want string) {
		for _, m := range regexp.MustCompile(`(?m)`+print+`.*? `+comment+` (.*)$`).FindAllStringSubmatch(program, -1) {
			want += m[1] + "\n"
		}
		return want
	}
	ways := map[string]func(t *testing.T, dir, program string) (out, want string){
		"js": func(t *testing.T, dir, program string) (out, want string) {
			write(t, filepath.Join(dir, "examples.mjs"), program)
			// The SDK as `make sdk` leaves it; TestTypeScript has it packed and installed.
			if err := os.MkdirAll(filepath.Join(dir, "node_modules/@runtools"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(filepath.Join(repository, "sdk/typescript"), filepath.Join(dir, "node_modules/@runtools/sdk")); err != nil {
				t.Fatal(err)
			}
			socket := filepath.Join(repository, "sdk/testdata/websocket.mjs")
			return run(t, dir, "node", "--import", socket, "examples.mjs"), printed(program, `console\.log`, "//")
		},
		"python": func(t *testing.T, dir, program string) (out, want string) {
			write(t, filepath.Join(dir, "examples.py"), program)
			return run(t, dir, "python3", "examples.py"), printed(program, `print`, "#")
		},
		"go": func(t *testing.T, dir, program string) (out, want string) {
			write(t, filepath.Join(dir, "main.go"), `package main
import ("context"; "errors"; "fmt"; "time"; "github.com/runtools/runtools/pkg/client")
func check(err error) { if err != nil { panic(err) } }
func main() {
	ctx := context.Background()
`+program+"}\n")
			return run(t, repository, "go", "run", filepath.Join(dir, "main.go")), printed(program, `fmt\.Print`, "//")
		},
		"console": func(t *testing.T, dir, session string) (out, want string) {
			var commands string
			for _, line := range strings.SplitAfter(session, "\n") {
				if command, ok := strings.CutPrefix(line, "$ "); !ok {
					want += line
				} else if !strings.HasPrefix(command, "export RUNTOOLS_URL=") { // they are those of our server
					commands += command
				}
			}
			return run(t, dir, "bash", "-euo", "pipefail", "-c", commands), want
		},
	}
	for language, way := range ways {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			out, want := way(t, t.TempDir(), blocks(t, document, language))
			wantOutput(t, out, want)
		})
	}
}
