package e2e

import (
	"encoding/base64"
	"strings"
	"testing"
)

type artifact struct {
	Name     string `json:"name"`
	Size     int    `json:"size"`
	Encoding string `json:"encoding"`
	Content  string `json:"content"`
}

// artifacts are "name content" a line, in the order in which they came.
func (a *answer) artifacts(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, f := range a.Artifacts {
		content, err := base64.StdEncoding.DecodeString(f.Content)
		if err != nil || f.Encoding != "base64" || len(content) != f.Size {
			t.Errorf("%s, %d bytes: %v %s", f.Name, f.Size, err, f.Encoding)
		}
		all.WriteString(f.Name + " " + string(content) + "\n")
	}
	return all.String()
}

// Files that the program made come back, with a session and without, whatever it ended by.
func TestArtifacts(t *testing.T) {
	made := `import os; os.makedirs("out/deep"); open("a.png", "wb").write(b"\x89PNG\xff"); open("out/deep/b.png", "w").write("b"); open("c.txt", "w").write("c"); `
	for name, c := range map[string]struct {
		language, code string
		fields         request
		want           string
	}{
		"session":      {"python", made, request{"artifacts": []string{"*.png", "out/**"}}, "a.png \x89PNG\xff\nout/deep/b.png b\n"},
		"no session":   {"python", made, request{"artifacts": []string{"**/*.png"}, "ephemeral": true}, "a.png \x89PNG\xff\nout/deep/b.png b\n"},
		"timeout":      {"python", made + "\nwhile True: pass", request{"artifacts": []string{"c.*"}, "run_cpu_time": 1000}, "c.txt c\n"},
		"none":         {"python", "print(1)", request{"artifacts": []string{"*.png"}, "ephemeral": true}, ""},
		"given":        {"python", "print(1)", request{"artifacts": []string{"*.py"}, "ephemeral": true}, "main.py print(1)\n"},
		"compiled":     {"c", "#include <stdio.h>\nint main(void) { fputs(\"made\", fopen(\"x.txt\", \"w\")); }", request{"artifacts": []string{"*.txt"}, "ephemeral": true}, "x.txt made\n"},
		"not compiled": {"c", "int", request{"artifacts": []string{"*"}}, ""},
		"names":        {"bash", "rm main.sh; printf 1 >'a\nb'; printf 2 >-rf; printf 3 >'$(x)'; : >\u00e4; printf 4 >$'bad\\xff'", request{"artifacts": []string{"*"}}, "$(x) 3\n-rf 2\na\nb 1\n\u00e4 \n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := execute(t, program(c.language, c.code).with(c.fields))
			if got := a.artifacts(t); got != c.want || a.ArtifactsOmitted != nil {
				t.Errorf("got %q, want %q: %s", got, c.want, a)
			}
		})
	}
}

// What is no plain file of the workspace is not followed, waited for, or returned; what is too large is counted.
func TestArtifactsThatAreTraps(t *testing.T) {
	a := execute(t, program("python", `
import os, socket, stat
os.symlink("/etc/passwd", "link.png"); os.symlink("/etc", "etc"); os.symlink("/", "root"); os.symlink(".", "loop")
os.mkfifo("fifo.png"); os.mkdir("folder.png")
socket.socket(socket.AF_UNIX).bind("socket.png")
os.mknod("device.png", stat.S_IFCHR | 0o666, os.makedev(0, 0))
open("huge.png", "w").truncate(1 << 26)
open("secret.png", "w").write("x"); os.chmod("secret.png", 0)
open("y.png", "w").write("y"); os.link("y.png", "z.png")
`).with(request{"artifacts": []string{"*.png", "etc/*", "root/**", "**/passwd", "loop/*"}}))
	if got := a.artifacts(t); got != "y.png y\nz.png y\n" {
		t.Errorf("got %.300q: %s", got, a)
	}
	if o := a.ArtifactsOmitted; o == nil || o.Count != 1 || o.Bytes != 1<<26 || !strings.Contains(o.Message, "8388608") {
		t.Errorf("omitted %+v", o)
	}
	many := execute(t, program("bash", `for ((i = 0; i < 300; i++)); do echo $i >f$i; done; for d in {100000..120000}; do : >list-of-files-that-is-long-$d-$d-$d; done`).with(
		request{"artifacts": []string{"f*"}, "ephemeral": true}))
	if o := many.ArtifactsOmitted; len(many.Artifacts) != 100 || o == nil || o.Count != 200 {
		t.Errorf("%d files, omitted %+v", len(many.Artifacts), o)
	}
	api.wantQuiet(t)
}

// A program has run, and is answered, whatever it did to its folders; what can still be read comes back.
func TestArtifactsBehindClosedFolders(t *testing.T) {
	for name, c := range map[string]struct{ code, want, message string }{
		"working directory": {"echo 1 >a.txt; chmod 000 .", "", "its owner cannot enter"},
		"folder":            {"echo 1 >a.txt; mkdir k; echo 2 >k/b.txt; chmod 000 k", "a.txt 1\n\n", "was not looked at"},
		"deep":              {`echo 1 >a.txt; p=$(printf '%0200d' 0); for i in {1..25}; do mkdir $p; cd $p; done; echo 2 >b.txt`, "a.txt 1\n\n", "4000"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := execute(t, program("bash", c.code).with(request{"artifacts": []string{"**/*.txt"}}))
			wantStatus(t, a, "OK")
			if got := a.artifacts(t); got != c.want || a.ArtifactsOmitted == nil || !strings.Contains(a.ArtifactsOmitted.Message, c.message) {
				t.Errorf("got %q, want %q and %q: %s", got, c.want, c.message, a)
			}
			api.deleteSession(t, api.key, *a.SessionID)
		})
	}
}

// Nor is a closed working directory a failure of ours, whatever is asked of its session.
func TestFilesOfAClosedWorkspace(t *testing.T) {
	a := execute(t, program("bash", "echo 1 >f; chmod 000 ."))
	wantStatus(t, a, "OK")
	for _, what := range []string{"GET /files", "GET /files/f", "DELETE /files/f", "GET /archive", "POST /fork"} {
		method, path, _ := strings.Cut(what, " ")
		if r, content := api.ask(t, method, *a.SessionID+path, ""); r.StatusCode != 400 || !strings.Contains(content, "delete the session") {
			t.Errorf("%s: %d %s", what, r.StatusCode, content)
		}
	}
	api.deleteSession(t, api.key, *a.SessionID)
}
