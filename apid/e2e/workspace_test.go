package e2e

import (
	"context"
	"net/http"
	"strings"
	"testing"
)

// Traps are what a first request leaves where the file of the next one is to go. The next one must either find its file there, or be
// refused with the file's name; no other file may have been written to, and the session goes on. A link in place of a folder may be
// followed, as any program would.
var traps = map[string]struct {
	file string // of the second request
	code string // of the first, in Bash
}{
	"symlink to the image":         {"f", "ln -s /etc/passwd f"},
	"symlink to a device":          {"f", "ln -s /dev/full f"},
	"symlink to another file":      {"f", "ln -s victim f"},
	"symlink that leads nowhere":   {"f", "ln -s nowhere f"},
	"symlink to itself":            {"f", "ln -s f f"},
	"symlink to /proc":             {"f", "ln -s /proc/self/fd/1 f"},
	"folder is a symlink out":      {"sub/f", "ln -s /tmp sub"},
	"folder is a symlink up":       {"sub/f", "mkdir other; ln -s other sub"},
	"folder is a symlink to /proc": {"sub/f", "ln -s /proc/1/root/tmp sub"},
	"folder is a file":             {"sub/f", "echo x >sub"},
	"folder is a FIFO":             {"sub/f", "mkfifo sub"},
	"folder is closed":             {"sub/f", "mkdir sub; chmod 000 sub"},
	"folder is read-only":          {"sub/f", "mkdir sub; chmod 555 sub"},
	"FIFO":                         {"f", "mkfifo f"},
	"socket":                       {"f", `python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("f")'`},
	"empty folder":                 {"f", "mkdir f"},
	"full folder":                  {"f", "mkdir -p f/a; echo x >f/a/b"},
	"hard link":                    {"f", "ln victim f"},
	"read-only file":               {"f", "echo old >f; chmod 400 f"},
	"file without any permission":  {"f", "echo old >f; chmod 000 f"},
	"longer file":                  {"f", "head -c 1000000 /dev/zero >f"},
	"running program":              {"f", "cp /bin/sleep f; (setsid ./f 1000 &)"},
	"workspace is read-only":       {"f", "chmod 555 ."},
	"workspace is closed":          {"f", "chmod 000 ."},
	"deep":                         {"a/b/c/d/f", "mkdir -p a/b; ln -s /tmp a/b/c"},
	"code: symlink":                {"main.sh", "rm main.sh; ln -s victim main.sh"},
	"code: folder":                 {"main.sh", "rm main.sh; mkdir -p main.sh/x"},
	"code: FIFO":                   {"main.sh", "rm main.sh; mkfifo main.sh"},
	"full workspace":               {"f", "head -c 400M /dev/zero >big 2>/dev/null; true"},
	"no inodes":                    {"new/f", `python3 -c 'for i in range(70000): open(str(i), "w")' 2>/dev/null; true`},
}

func TestHostileWorkspaces(t *testing.T) {
	for name, trap := range traps {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id, run := session(t)
			wantStatus(t, run("bash", "echo untouched >victim; "+trap.code), "OK")
			const content = "echo the new file\n"
			q := program("bash", `cat "$1"`).with(request{"session_id": id, "args": []string{trap.file}, "files": []request{{"name": trap.file, "content": content}}})
			field := "files[0].name"
			if trap.file == "main.sh" {
				delete(q, "files")
				q["code"], field = "cat main.sh", "code"
			}
			replacedOrRefused(t, q, field, content)
			afterTrap(t, id)
		})
	}
}

func replacedOrRefused(t *testing.T, q request, field, content string) {
	t.Helper()
	response, body, err := api.send(context.Background(), api.key, http.MethodPost, "/v1/execute", q)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		e := wantRefusal(t, response, body, http.StatusBadRequest, "invalid_field")
		if e.Field == nil || (*e.Field != field && *e.Field != "code") {
			t.Errorf("want the field %s: %s", field, body)
		}
		t.Logf("refused: %s", e.Message)
		return
	}
	var a answer
	if err := strict(body, &a); err != nil {
		t.Fatal(err)
	}
	if field == "code" {
		content = "cat main.sh"
	}
	wantStdout(t, &a, content)
}

// afterTrap checks that nothing else was written to, and that the session can be used or at least be deleted.
func afterTrap(t *testing.T, id string) {
	t.Helper()
	look := request{"language": "bash", "session_id": id, "files": []request{{"name": "look.sh",
		"content": "cat victim 2>/dev/null; ls -A /tmp"}}}
	response, body, err := api.send(context.Background(), api.key, http.MethodPost, "/v1/execute", look)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK { // the workspace itself is spoilt
		wantRefusal(t, response, body, http.StatusBadRequest, "invalid_field")
	} else {
		var a answer
		if err := strict(body, &a); err != nil {
			t.Fatal(err)
		}
		if rest := strings.ReplaceAll(a.Run.Stdout, "untouched\n", ""); rest != "" || a.Run.Status != "OK" && a.Run.Status != "RE" {
			t.Errorf("something else was written to: %s", &a)
		}
	}
	if status := api.deleteSession(t, api.key, id); status != http.StatusNoContent {
		t.Errorf("DELETE: %d", status)
	}
	wantStdout(t, execute(t, program("bash", "ls").with(request{"session_id": id})), "main.sh\n")
}

// A session's workspace has bounds of its own, and the program meets them as a full disk.
func TestWorkspaceIsBounded(t *testing.T) {
	_, run := session(t)
	got := run("bash", `head -c 400M /dev/zero >big; du -m big | cut -f1; df -m . | tail -1 | awk '{print ($2 <= 1024)}'`)
	if !strings.Contains(got.Run.Stderr, "No space left") || !strings.HasSuffix(got.Run.Stdout, "1\n") {
		t.Errorf("want a full disk: %s", got)
	}
}

// Nor can one file be larger than the limit, nor /tmp take the host's memory.
func TestScratchIsBounded(t *testing.T) {
	a := execute(t, program("python", `import os
for d in ("/tmp", "/dev/shm"):
    try:
        with open(d + "/big", "wb") as f:
            for _ in range(1000): f.write(bytes(1 << 20))
        print("no bound")
    except OSError as e: print(e.errno in (27, 28))
    os.unlink(d + "/big")`))
	if a.Run.Status != "ML" && a.Run.Stdout != "True\nTrue\n" {
		t.Errorf("want a bound: %s", a)
	}
}
