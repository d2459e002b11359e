package e2e

import (
	"strings"
	"testing"
	"time"
)

// What programs do with processes, and what becomes of those that outlive their main one.

// A grandchild that holds the pipes does not hold up the answer. It is killed, and what it wrote before is there.
func TestGrandchildHoldsThePipe(t *testing.T) {
	for language, code := range map[string]string{
		"bash":   "(echo from child; touch c; sleep 1000) & until [ -e c ]; do sleep 0.01; done; echo from main",
		"python": "import os, subprocess, time\nsubprocess.Popen(['sh', '-c', 'echo from child; touch c; exec sleep 1000'])\nwhile not os.path.exists('c'): time.sleep(0.01)\nprint('from main')",
		"ruby":   "$stdout.sync = true; fork { puts 'from child'; File.write('c', ''); sleep }; sleep 0.01 until File.exist?('c'); puts 'from main'",
		"javascript": "require('child_process').spawn('sh', ['-c', 'echo from child; touch c; exec sleep 1000'], {stdio: 'inherit', detached: true}).unref()\n" +
			"const t = setInterval(() => { if (require('fs').existsSync('c')) { console.log('from main'); clearInterval(t) } }, 10)",
		"c": "#include <stdio.h>\n#include <unistd.h>\nint main(void) { if (!fork()) { puts(\"from child\"); fflush(stdout); fopen(\"c\", \"w\"); for (;;) pause(); } while (access(\"c\", F_OK)) usleep(10000); puts(\"from main\"); }",
	} {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			a := execute(t, program(language, code))
			wantStdout(t, a, "from child\nfrom main\n")
			if a.Run.TimeMS > 60_000 {
				t.Errorf("it took %v ms", a.Run.TimeMS)
			}
		})
	}
	api.wantQuiet(t)
}

// What still runs when the main process ends with an error is killed as well, and the code is the main one's.
func TestMainEndsFirst(t *testing.T) {
	a := execute(t, program("bash", `while :; do echo tick; echo >>n; sleep 0.01; done & until [ "$(wc -l 2>/dev/null <n)" -ge 2 ]; do sleep 0.01; done 2>/dev/null; exit 7`))
	wantStatus(t, a, "RE")
	if *a.Run.Code != 7 || !strings.HasPrefix(a.Run.Stdout, "tick\ntick\n") {
		t.Errorf("want ticks and code 7: %s", a)
	}
}

// Tricks that have kept processes alive elsewhere. Each must end by the timeout, all of it, and the next request must be clean.
func TestNothingOutlivesItsLimit(t *testing.T) {
	for name, q := range map[string]request{
		"setsid":      program("bash", "setsid sh -c 'echo $0; exec sleep 1000' & setsid -f sleep 1000; sleep 1000"),
		"double fork": program("python", "import os, time\nif os.fork() == 0:\n os.setsid()\n if os.fork() == 0: time.sleep(1000)\n os._exit(0)\ntime.sleep(1000)"),
		"ignores everything": program("bash",
			`trap '' $(seq 1 31 | grep -vx -e 9 -e 19) 2>/dev/null; for s in HUP INT TERM QUIT CHLD; do trap '' $s; done; while :; do sleep 1000; done`),
		"stops itself": program("bash", "sleep 1000 & kill -STOP $!; kill -STOP $$; echo woken"),
		"stops itself, C": program("c",
			"#include <signal.h>\n#include <unistd.h>\nint main(void) { if (!fork()) for (;;) raise(SIGSTOP); for (;;) raise(SIGSTOP); }"),
		"fork storm":         program("bash", "f() { f | f & }; f; while :; do f 2>/dev/null; done"),
		"fork storm, C":      program("c", "#include <unistd.h>\nint main(void) { for (;;) fork(); }"),
		"fork storm, Python": program("python", "import os\nwhile True:\n try: os.fork()\n except OSError: pass"),
		"vfork chain":        program("python", "import os, sys\ntry:\n os.fork()\n os.fork() or os.execv(sys.executable, [sys.executable, 'main.py'])\n while True: os.wait()\nexcept OSError:\n while True: pass"),
		"threads":            program("python", "import threading, time\nwhile True:\n try: threading.Thread(target=time.sleep, args=(1000,)).start()\n except RuntimeError: pass"),
		"kills all":          program("bash", "kill -9 -1; sleep 1000"),
	} {
		t.Run(name, func(t *testing.T) {
			marker := randomMarker()
			a := execute(t, q.with(request{"run_timeout": 1000, "run_memory_limit": 2 << 30, "env": request{"MARKER": marker}}))
			if wantStatus(t, a, "TO"); a.Run.Limit.Name != "run_timeout" {
				t.Errorf("limit %+v", a.Run.Limit)
			}
			wantGone(t, marker)
			wantStdout(t, execute(t, program("bash", "echo clean; ls -A; ls -A /tmp")), "clean\nmain.sh\n")
		})
	}
	api.wantQuiet(t)
}

// wantGone waits until no process of the host has the marker in its environment or arguments: what is awaited are
// programs that would go on for many minutes.
func wantGone(t *testing.T, marker string) {
	t.Helper()
	var left []string
	for deadline := time.Now().Add(hang); time.Now().Before(deadline); {
		if left = append(processes("environ", marker), processes("cmdline", marker)...); len(left) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("processes %v still run", left)
}

// Reaching the number of processes is the program's own trouble: an error from fork, and the rest of the job goes on.
func TestProcessLimit(t *testing.T) {
	got := output(t, program("python", `import os, signal
children = []
try:
    while True:
        pid = os.fork()
        if pid == 0: signal.pause()
        children.append(pid)
except BlockingIOError:
    print("EAGAIN", 10 < len(children) < 5000)`))
	if got != "EAGAIN True\n" {
		t.Errorf("%q", got)
	}
}

// User code is never PID 1, has a parent that reaps, and sees only its own processes.
func TestProcessView(t *testing.T) {
	got := output(t, program("bash", `[ $$ -gt 1 ] && echo not init
ls -d /proc/[0-9]* | wc -l
(sleep 0.05 & ) ; sleep 0.3; for i in {1..100}; do z=$(ps -eo stat= 2>/dev/null | grep -c Z); [ "$z" = 0 ] && break; sleep 0.1; done; echo "$z"
kill -0 1 2>/dev/null && echo may signal init; true`))
	lines := strings.Split(strings.TrimSpace(got), "\n")
	if len(lines) != 3 || lines[0] != "not init" || len(lines[1]) > 1 || lines[2] != "0" {
		t.Errorf("want not init, less than ten processes, no zombies, init out of reach: %q", got)
	}
}

// Signals that terminals send have their usual meaning, whatever we were started with.
func TestSignalsAreAtTheirDefaults(t *testing.T) {
	for language, code := range map[string]string{
		"python": "import signal\nfor s in signal.valid_signals():\n d = signal.getsignal(s)\n" +
			" if d not in (signal.SIG_DFL, signal.default_int_handler) and not (s in (signal.SIGPIPE, signal.SIGXFSZ) and d == signal.SIG_IGN): print(s, d)\n" +
			"print(signal.pthread_sigmask(signal.SIG_BLOCK, []))",
		"bash": "trap; grep -E 'Sig(Blk|Ign)' /proc/self/status | grep -v 0000000000000000; echo 'set()'",
		"c": "#include <signal.h>\n#include <stdio.h>\nint main(void) { struct sigaction a; sigset_t m; sigprocmask(0, 0, &m); for (int s = 1; s < 65; s++) " +
			"if (s != 32 && s != 33 && (sigaction(s, 0, &a), a.sa_handler != SIG_DFL || sigismember(&m, s))) printf(\"%d \", s); puts(\"set()\"); }",
	} {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			wantStdout(t, execute(t, program(language, code)), "set()\n")
		})
	}
}
