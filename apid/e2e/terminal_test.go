package e2e

import (
	"strings"
	"testing"
)

// A program that has a terminal.

func onTerminal(language, code string, cols, rows int) request {
	return program(language, code).with(request{"pty": request{"cols": cols, "rows": rows}})
}

// Every language finds a terminal on all three streams.
func TestTerminalIsOne(t *testing.T) {
	for language, code := range map[string]string{
		"bash":       `[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo yes; tty; stty size; echo "$TERM"; echo control >/dev/tty; ls -1 /dev/pts`,
		"python":     "import os, sys\nprint('yes' if all(os.isatty(f) for f in range(3)) else 'no')\nprint(os.ttyname(0))\nprint(os.get_terminal_size().lines, os.get_terminal_size().columns)\nprint(os.environ['TERM'])\nopen('/dev/tty', 'w').write('control\\n')\nprint('\\n'.join(sorted(os.listdir('/dev/pts'))))",
		"javascript": "const t = require('tty'), fs = require('fs')\nconsole.log([0, 1, 2].every(f => t.isatty(f)) ? 'yes' : 'no')\nconsole.log(fs.readlinkSync('/proc/self/fd/0'))\nconsole.log(process.stdout.rows + ' ' + process.stdout.columns)\nconsole.log(process.env.TERM)\nfs.writeFileSync('/dev/tty', 'control\\n')\nconsole.log(fs.readdirSync('/dev/pts').sort().join('\\n'))",
		"ruby":       "require 'io/console'\nputs [$stdin, $stdout, $stderr].all?(&:tty?) ? 'yes' : 'no'\nputs File.readlink('/proc/self/fd/0')\nputs $stdout.winsize.join(' ')\nputs ENV['TERM']\nFile.write('/dev/tty', \"control\\n\")\nputs Dir.children('/dev/pts').sort",
		"c": "#include <stdio.h>\n#include <stdlib.h>\n#include <unistd.h>\n#include <sys/ioctl.h>\nint main(void) { struct winsize w; ioctl(0, TIOCGWINSZ, &w); puts(isatty(0) && isatty(1) && isatty(2) ? \"yes\" : \"no\"); puts(ttyname(0));" +
			" printf(\"%d %d\\n%s\\n\", w.ws_row, w.ws_col, getenv(\"TERM\")); fflush(stdout); system(\"echo control >/dev/tty; ls -1 /dev/pts\"); }",
	} {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			a := talk(t, onTerminal(language, code, 97, 31)).end()
			wantStdout(t, a, strings.ReplaceAll("yes\n/dev/pts/0\n31 97\nxterm-256color\ncontrol\n0\nptmx\n", "\n", "\r\n"))
		})
	}
}

// What is typed is echoed, Ctrl-C is SIGINT, Ctrl-D the end of input, and a line can be corrected.
func TestTerminalKeys(t *testing.T) {
	d := talk(t, onTerminal("c", `
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
void caught(int n) { write(1, "caught\n", 7); }
int main(void) {
	char line[99];
	signal(SIGINT, caught);
	printf("name? "); fflush(stdout);
	while (fgets(line, sizeof line, stdin)) { printf("got %s", line); fflush(stdout); }
	puts("end");
}`, 80, 24))
	d.await("name? ")
	d.input("Aß\x7fda\r")
	d.await("\r\ngot Ada\r\n") // after the echo
	d.input("\x03")
	d.await("^Ccaught")
	d.signal("SIGINT")
	d.await("caught")
	d.input("more\r")
	d.await("got more")
	d.input("\x04")
	d.await("end")
	wantStatus(t, d.end(), "OK")
}

// The keys that send signals reach the foreground, which need not be the main process; other signals reach that.
func TestTerminalForeground(t *testing.T) {
	// Bash runs a trap when read returns: one that waits for good would not, if the signal came just before it.
	d := talk(t, onTerminal("bash", "set -m\ntrap 'echo main' TERM\ntrap : INT\nsh -c 'echo ready; exec sleep 1000'\necho \"ended $?\"\n"+
		"until read -t 0.1 x || [ $? -lt 128 ]; do :; done", 80, 24))
	d.await("ready")
	d.signal("SIGINT")
	d.await("ended 130")
	d.signal("SIGTERM")
	d.await("main")
	d.say(request{"type": "stdin_close"})
	d.end()
}

func TestTerminalResize(t *testing.T) {
	d := talk(t, onTerminal("bash", `trap 'stty size' WINCH; echo ready; while :; do read -r -t 0.1 line && break; done`, 80, 24))
	d.await("ready")
	d.say(request{"type": "resize", "cols": 132, "rows": 43})
	d.await("43 132")
	d.say(request{"type": "signal", "signal": "SIGKILL"})
	if a := d.end(); a.Run.Signal == nil || *a.Run.Signal != "SIGKILL" || a.Run.Message == nil || !strings.Contains(*a.Run.Message, "caller") {
		t.Errorf("%s", a)
	}
}

// An interactive interpreter, as somebody would sit before it.
func TestTerminalShell(t *testing.T) {
	d := talk(t, onTerminal("bash", "exec bash --norc -i", 80, 24).with(request{"session_id": "terminal"}))
	d.await("$ ")
	d.input("echo $((6 * 7)) >answer; sh -c 'echo in front $((1 + 1)); exec sleep 1000'\r")
	d.await("in front 2")
	d.input("\x1a")
	d.await("Stopped")
	d.input("kill -9 %1; while kill -0 %1; do sleep 0.1; done 2>/dev/null; cat answer; exit 3\r") // exit asks once more while a job is stopped
	d.await("42\r\n")
	if a := d.end(); a.Run.Code == nil || *a.Run.Code != 3 {
		t.Errorf("%s", a)
	}
	wantStdout(t, execute(t, program("bash", "cat answer; tty || true").with(request{"session_id": "terminal"})), "42\nnot a tty\n")
}

// What is written just before the end is not lost, and the end of the main process is the end, whoever has the terminal still.
func TestTerminalEnds(t *testing.T) {
	wide := strings.Repeat("x", 60_000)
	a := talk(t, onTerminal("python", "import os, sys\nif os.fork() == 0:\n    import time; time.sleep(1000)\nsys.stdout.write('"+wide+"')", 80, 24)).end()
	wantStatus(t, a, "OK")
	if a.Run.Stdout != wide || a.Run.Stderr != "" {
		t.Errorf("%d bytes, %q", len(a.Run.Stdout), a.Run.Stderr)
	}
	wantStatus(t, talk(t, onTerminal("bash", "yes", 80, 24).with(request{"output_limit": 1000})).end(), "OL")
	wantStatus(t, talk(t, onTerminal("bash", "read x", 80, 24).with(request{"run_timeout": 300})).end(), "TO")

	d := talk(t, onTerminal("bash", "trap '' HUP; echo ready; sleep 1000", 80, 24))
	d.await("ready")
	d.ws.CloseNow()
	if err := api.waitMetric("runtools_jobs_running", 0); err != nil {
		t.Error(err)
	}
}

// A terminal is nothing to attack others with: no second one can be made, nothing is pushed into its input, it stays what it is.
func TestTerminalIsNoWeapon(t *testing.T) {
	a := talk(t, onTerminal("python", `
import fcntl, os, termios
def attempt(what, do):
    try: do(); print(what, "worked")
    except OSError as e: print(what, e.strerror)
attempt("ptmx", lambda: os.open("/dev/pts/ptmx", os.O_RDWR))
attempt("chmod ptmx", lambda: os.chmod("/dev/pts/ptmx", 0o666))
attempt("old ptmx", lambda: os.open("/dev/ptmx", os.O_RDWR))
attempt("mknod", lambda: os.mknod("/dev/pts/1", 0o20666, os.makedev(136, 0)))
attempt("TIOCSTI", lambda: fcntl.ioctl(0, termios.TIOCSTI, b"x"))
attempt("TIOCSETD", lambda: fcntl.ioctl(0, termios.TIOCSETD, b"\1\0\0\0"))
attempt("TIOCCONS", lambda: fcntl.ioctl(0, termios.TIOCCONS, 0))
attempt("TIOCLINUX", lambda: fcntl.ioctl(0, termios.TIOCLINUX, b"\2"))
attempt("TIOCSCTTY", lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 1))
`, 80, 24)).end()
	wantStdout(t, a, strings.ReplaceAll(`ptmx Permission denied
chmod ptmx Operation not permitted
old ptmx No such file or directory
mknod Permission denied
TIOCSTI Function not implemented
TIOCSETD Function not implemented
TIOCCONS Function not implemented
TIOCLINUX Function not implemented
TIOCSCTTY Function not implemented
`, "\n", "\r\n"))
	refused := talk(t, onTerminal("bash", "", 0, 24))
	for refused.read() {
	}
	if refused.failed == nil || refused.failed.Field == nil || *refused.failed.Field != "pty.cols" {
		t.Errorf("%+v", refused.failed)
	}
}
