package e2e

import (
	"net/http"
	"strings"
	"testing"
)

// Traps are what a first request leaves where the file of the next one is to go. The next one either finds its file there, or is
// refused with the file's name; no other file is written to, and the session goes on. A link in place of a folder may be
// followed, as any program would.
var traps = map[string]struct {
	file    string // of the second request
	code    string // of the first, in Bash
	refused string // the field and why; "": the file is there, in place of the trap
	spoilt  bool   // no request can place a file there any more
}{
	"symlink to the image":         {"f", "ln -s /etc/passwd f", "", false},
	"symlink to a device":          {"f", "ln -s /dev/full f", "", false},
	"symlink to another file":      {"f", "ln -s victim f", "", false},
	"symlink that leads nowhere":   {"f", "ln -s nowhere f", "", false},
	"symlink to itself":            {"f", "ln -s f f", "", false},
	"symlink to /proc":             {"f", "ln -s /proc/self/fd/1 f", "", false},
	"folder is a symlink out":      {"sub/f", "ln -s /tmp sub", "files[0].name: place sub/f: invalid cross-device link", false},
	"folder is a symlink up":       {"sub/f", "mkdir other; ln -s other sub", "", false},
	"folder is a symlink to /proc": {"sub/f", "ln -s /proc/1/root/tmp sub", "files[0].name: place sub/f: invalid cross-device link", false},
	"folder is a file":             {"sub/f", "echo x >sub", "files[0].name: place sub/f: not a directory", false},
	"folder is a FIFO":             {"sub/f", "mkfifo sub", "files[0].name: place sub/f: not a directory", false},
	"folder is closed":             {"sub/f", "mkdir sub; chmod 000 sub", "files[0].name: place sub/f: permission denied", false},
	"folder is read-only":          {"sub/f", "mkdir sub; chmod 555 sub", "files[0].name: place sub/f: permission denied", false},
	"FIFO":                         {"f", "mkfifo f", "", false},
	"device":                       {"f", "mknod f c 0 0", "", false}, // the one that the kernel lets everybody make
	"folder is a device":           {"sub/f", "mknod sub c 0 0", "files[0].name: place sub/f: not a directory", false},
	"socket":                       {"f", `python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("f")'`, "", false},
	"empty folder":                 {"f", "mkdir f", "files[0].name: place f: is a directory", false},
	"full folder":                  {"f", "mkdir -p f/a; echo x >f/a/b", "files[0].name: place f: is a directory", false},
	"hard link":                    {"f", "ln victim f", "", false},
	"read-only file":               {"f", "echo old >f; chmod 400 f", "", false},
	"file without any permission":  {"f", "echo old >f; chmod 000 f", "", false},
	"longer file":                  {"f", "head -c 1000000 /dev/zero >f", "", false},
	"running program":              {"f", "cp /bin/sleep f; (setsid ./f 1000 &)", "", false},
	"workspace is read-only":       {"f", "chmod 555 .", "code: place main.sh: permission denied", true},
	"workspace is closed":          {"f", "chmod 000 .", "session_id: the working directory: permission denied: an earlier program took the right to enter it from all that follow; delete the session", true},
	"deep":                         {"a/b/c/d/f", "mkdir -p a/b; ln -s /tmp a/b/c", "files[0].name: mkdir a/b/c/d: invalid cross-device link", false},
	"code: symlink":                {"main.sh", "rm main.sh; ln -s victim main.sh", "", false},
	"code: folder":                 {"main.sh", "rm main.sh; mkdir -p main.sh/x", "code: place main.sh: is a directory", false},
	"code: FIFO":                   {"main.sh", "rm main.sh; mkfifo main.sh", "", false},
	"full workspace":               {"f", "head -c 400M /dev/zero >big 2>/dev/null; true", "files[0].name: place f: no space left on device", true},
	"no inodes":                    {"new/f", `python3 -c 'for i in range(70000): open(str(i), "w")' 2>/dev/null; true`, "files[0].name: mkdir new: no space left on device", true},
}

func TestHostileWorkspaces(t *testing.T) {
	for name, trap := range traps {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id, run := session(t)
			wantStatus(t, run("bash", "echo untouched >victim; "+trap.code), "OK")
			content := "echo the new file\n"
			q := program("bash", `cat "$1"`).with(request{"session_id": id, "args": []string{trap.file}, "files": []request{{"name": trap.file, "content": content}}})
			if trap.file == "main.sh" {
				delete(q, "files")
				content = `cat "$0"`
				q["code"] = content
			}
			if trap.refused == "" {
				wantStdout(t, execute(t, q), content)
			} else {
				field, _, _ := strings.Cut(trap.refused, ":")
				if e := refused(t, api.key, q, http.StatusBadRequest, "invalid_field"); e.Message != trap.refused || e.Field == nil || *e.Field != field {
					t.Errorf("want %q: %+v", trap.refused, e)
				}
			}
			afterTrap(t, id, trap.spoilt)
		})
	}
}

// afterTrap checks that nothing else was written to, and that the session can be used or at least be deleted.
func afterTrap(t *testing.T, id string, spoilt bool) {
	t.Helper()
	look := request{"language": "bash", "session_id": id, "files": []request{{"name": "look.sh", "content": "cat victim; ls -A /tmp"}}}
	if spoilt {
		refused(t, api.key, look, http.StatusBadRequest, "invalid_field")
	} else {
		wantStdout(t, execute(t, look), "untouched\n")
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

// Nor can /tmp take the host's memory: with enough of its own a program meets the bound of each folder, and with less its memory limit.
func TestScratchIsBounded(t *testing.T) {
	fill := program("python", `import os
for d in ("/tmp", "/dev/shm"):
    try:
        for i in range(1000):
            with open(f"{d}/{i}", "wb") as f: f.write(bytes(1 << 20))
        print("no bound")
    except OSError as e: print(i, os.strerror(e.errno))
    for n in os.listdir(d): os.unlink(f"{d}/{n}")`)
	wantStdout(t, execute(t, fill.with(request{"run_memory_limit": 1 << 30})), "256 No space left on device\n256 No space left on device\n")
	wantStatus(t, execute(t, fill.with(request{"run_memory_limit": 100 << 20})), "ML")
}
