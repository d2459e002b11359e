package main

import (
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// openTerminal returns both ends of a pseudo-terminal.
func openTerminal(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(ours.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(ours.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if theirs, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return ours, theirs
}

// A terminal gets colours and a line of progress, unless it asked for none; nothing else ever does.
func TestTerminal(t *testing.T) {
	fake := &fakeServer{dir: t.TempDir()}
	srv := httptest.NewServer(fake)
	defer srv.Close()
	const result = `{"language":"python","version":"3","session_id":null,"run":{"stdout":"","stderr":"","code":0,"status":"OK"},"tests":[{"verdict":"AC","run":{"status":"OK"}}]}`
	fake.write("events.txt", []byte("event: test\ndata: {\"index\":0,\"test\":{\"verdict\":\"AC\",\"run\":{\"status\":\"OK\"}}}\n\nevent: result\ndata: "+result+"\n\n"))
	cases := t.TempDir()
	if err := os.WriteFile(filepath.Join(cases, "a.in"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		noColor, term, flag string
		colour, isATerm     bool
	}{
		"terminal":      {"", "xterm", "auto", true, true},
		"NO_COLOR":      {"1", "xterm", "auto", false, true},
		"dumb terminal": {"", "dumb", "auto", false, true},
		"file":          {"", "xterm", "auto", false, false},
		"never":         {"", "xterm", "never", false, true},
		"always":        {"1", "xterm", "always", true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("NO_COLOR", c.noColor)
			t.Setenv("TERM", c.term)
			ours, theirs := openTerminal(t)
			if !c.isATerm {
				var err error
				if theirs, err = os.Create(filepath.Join(t.TempDir(), "out")); err != nil {
					t.Fatal(err)
				}
				ours = theirs
			}
			a := &app{stdin: os.Stdin, stdout: theirs, stderr: theirs}
			cmd := a.command()
			cmd.SetArgs([]string{"test", "--color", c.flag, "--url", srv.URL, "--lang", "python", "--code", "1", cases})
			if status := a.finish(cmd.Execute()); status != 0 {
				t.Errorf("status %d", status)
			}
			if !c.isATerm {
				if _, err := theirs.Seek(0, io.SeekStart); err != nil {
					t.Fatal(err)
				}
			}
			got := ""
			for buf := make([]byte, 4096); !strings.Contains(got, "1 of 1 accepted"); {
				n, err := ours.Read(buf) // a terminal hands over what there is
				if err != nil {
					t.Fatalf("the verdict is missing: %q, %v", got, err)
				}
				got += string(buf[:n])
			}
			if strings.Contains(got, "\x1b[32mAC\x1b[0m") != c.colour || strings.Contains(got, "1 of 1 cases") != c.isATerm {
				t.Errorf("%q", got)
			}
		})
	}
}
