package e2e

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// `sandboxd top` in a terminal: a picture a second on the second screen, also while sandboxd is away, until Ctrl-C.
func TestTopInATerminal(t *testing.T) {
	s := startKnowing(t, []string{"bash"}, "top", "")
	ours, theirs := openTerminal(t)
	before, err := unix.IoctlGetTermios(int(theirs.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	var screen lockedBuffer
	written := make(chan struct{})
	go func() {
		io.Copy(&screen, ours)
		close(written)
	}()
	top := exec.Command(filepath.Join(binaries, "sandboxd"), "top", "-socket", s.path("s.sock"))
	top.Stdin, top.Stdout, top.Stderr = theirs, theirs, theirs
	top.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Pdeathsig: syscall.SIGKILL} // so that Ctrl-C is for it
	if err := top.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- top.Wait() }()

	const second, first = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
	pictures := func() []string { return strings.Split(screen.String(), "\x1b[H\x1b[J") }
	await := func(what string, seen func(last, before string) bool) {
		t.Helper()
		err := eventually(what, func() error {
			select {
			case err := <-ended:
				ended <- err
				t.Fatalf("%s: top has ended: %v\n%q", what, err, screen.String())
			default:
			}
			all := pictures()
			if len(all) < 3 || !seen(all[len(all)-1], all[len(all)-2]) {
				return fmt.Errorf("the screen is %q", all[len(all)-1])
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	upFor := func(picture string) string { // a picture that is still being written has none
		line, rest, whole := strings.Cut(picture, "\r\n")
		if !whole || !strings.Contains(rest, "bash/run") {
			return ""
		}
		text, _ := strings.CutPrefix(line, "sandboxd, up ")
		return strings.Split(text, ":")[0]
	}
	await("two pictures a second apart", func(last, before string) bool {
		return upFor(last) != "" && upFor(before) != "" && upFor(last) != upFor(before) && strings.Contains(last, "rates      this second: ")
	})
	if all := pictures(); all[0] != second || !strings.Contains(all[1], "rates      since start: ") {
		t.Errorf("it begins with %q", all[:2])
	}
	if err := s.sandboxd.terminate(); err != nil {
		t.Fatal(err)
	}
	await("it says that sandboxd is away", func(last, _ string) bool { return strings.HasPrefix(last, "no answer: ") })
	if err := s.startSandboxd(); err != nil {
		t.Fatal(err)
	}
	await("it goes on with the next sandboxd", func(last, before string) bool { return upFor(last) != "" && upFor(before) != "" })

	if _, err := ours.WriteString("\x03"); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
	if after, err := unix.IoctlGetTermios(int(theirs.Fd()), unix.TCGETS); err != nil || *after != *before {
		t.Errorf("%v: the terminal is set otherwise than before: %+v, %+v", err, after, before)
	}
	theirs.Close()
	<-written // nobody has the terminal open any more
	if all := screen.String(); !strings.HasSuffix(all, first) || strings.Count(all, first) != 1 || strings.Count(all, second) != 1 {
		t.Errorf("the first screen is not back in the end: %q", pictures()[len(pictures())-1])
	}
}

// openTerminal is a terminal of 100 columns and 40 rows: our side, and that of a program.
func openTerminal(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	if err := unix.IoctlSetPointerInt(int(ours.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(ours.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { theirs.Close() })
	if err := unix.IoctlSetWinsize(int(theirs.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: 100}); err != nil {
		t.Fatal(err)
	}
	return ours, theirs
}
