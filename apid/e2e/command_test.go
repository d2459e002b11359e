package e2e

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
)

// runtools execute --interactive, as somebody before a terminal and as a script has it.

// commandLine is the path of the client, which is built once.
func commandLine(t *testing.T) string {
	t.Helper()
	path := filepath.Join(binaries, "runtools")
	if _, err := os.Stat(path); err != nil {
		build := exec.Command("go", "build", "-o", path, "./runtools")
		build.Dir = repository
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	return path
}

func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(commandLine(t), append([]string{"execute", "--interactive"}, args...)...)
	cmd.Env = append(os.Environ(), "RUNTOOLS_URL="+api.url, "RUNTOOLS_API_KEY="+api.key)
	return cmd
}

// window is a terminal with the client in it.
type window struct {
	*os.File
	t      *testing.T
	output string
}

func (w *window) await(want string) {
	w.t.Helper()
	buf := make([]byte, 4096)
	w.SetReadDeadline(time.Now().Add(hang))
	for !strings.Contains(w.output, want) {
		n, err := w.Read(buf)
		w.output += string(buf[:n])
		if err != nil {
			w.t.Fatalf("%v without %q: %q", err, want, w.output)
		}
	}
	_, w.output, _ = strings.Cut(w.output, want)
}

func TestCommandAtATerminal(t *testing.T) {
	cmd := command(t, "--lang", "bash", "--code", `trap 'echo caught' INT; trap 'echo now $(stty size)' WINCH; stty size; read -r line; echo "got $line"; while :; do read -r -t 0.1 line && break; done; exit 7`)
	master, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: 101, Rows: 33})
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	w := &window{File: master, t: t}
	w.await("33 101\r\n")
	io.WriteString(w, "hello\r")
	w.await("got hello\r\n")
	io.WriteString(w, "\x03")
	w.await("caught\r\n")
	if err := pty.Setsize(master, &pty.Winsize{Cols: 77, Rows: 22}); err != nil {
		t.Fatal(err)
	}
	w.await("now 22 77\r\n")
	io.WriteString(w, "\r")
	var ended *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &ended) || ended.ExitCode() != 7 {
		t.Errorf("%v", err)
	}
}

func TestCommandWithPipes(t *testing.T) {
	cmd := command(t, "--lang", "python", "--code", "import sys\nprint('tty' if sys.stdin.isatty() else 'pipe', flush=True)\nfor line in sys.stdin: print('got', line, end='', flush=True)\nprint('end', file=sys.stderr)")
	cmd.Stdin = strings.NewReader("one\ntwo\n")
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil || out.String() != "pipe\ngot one\ngot two\n" || errOut.String() != "end\n" {
		t.Errorf("%v, %q, %q", err, &out, &errOut)
	}
	cmd = command(t, "--lang", "bash", "--code", "cat; exit 3")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(noise(300_000)), &errOut
	got, err := cmd.Output()
	var ended *exec.ExitError
	if !errors.As(err, &ended) || ended.ExitCode() != 3 || !bytes.Equal(got, noise(300_000)) {
		t.Errorf("%v, %d bytes, %s", err, len(got), &errOut)
	}
}
