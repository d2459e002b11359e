package e2e

import (
	"fmt"
	"testing"
)

// traces says what an earlier program left, leaves all that it can, and ends while a process of it goes on. Standard input is its name.
const traces = `
import os, socket, sys, time
name, found = input(), []
paths = ["left", "/tmp/left", "/dev/shm/left", "/build/left", os.path.expanduser("~/.left")]
for path in paths:
    if os.path.lexists(path): found.append(path)
    try: open(path, "w").write(name)
    except OSError: pass
if "LEFT" in os.environ: found.append("variable")
os.environ["LEFT"] = name
for family, address in (socket.AF_UNIX, "\0left"), (socket.AF_INET, ("127.0.0.1", 7777)):
    with socket.socket(family) as s:
        if s.connect_ex(address) == 0: found.append("socket")
for pid in os.listdir("/proc"):
    if pid.isdigit() and int(pid) not in (1, os.getpid()): found.append("process " + open("/proc/" + pid + "/cmdline").read())
ready, tell = os.pipe()
if os.fork() == 0:
    os.setsid()
    listening = []
    for family, address in (socket.AF_UNIX, "\0left"), (socket.AF_INET, ("127.0.0.1", 7777)):
        s = socket.socket(family); s.bind(address); s.listen(); listening.append(s)
    for fd in 0, 1, 2: os.close(fd)
    os.write(tell, b"x")
    time.sleep(1000)
os.read(ready, 1)
began = time.monotonic()
if name == "0": time.sleep(0.2)
print(name, *(found or ["clean"]))
print(began, time.monotonic(), file=sys.stderr, flush=True)
`

// Each test has a jail to itself: it finds nothing that another left or is doing. They run at one time, and the answer has them in their order.
func TestTestsAreApart(t *testing.T) {
	name, _ := session(t)
	for i, want := range []string{"0 clean\n", "1 left /home/user/.left variable\n"} { // what a session keeps is found: the program looks in earnest
		wantStdout(t, execute(t, program("python", traces).with(request{"session_id": name, "stdin": fmt.Sprint(i)})), want)
	}
	var tests []request
	for i := range 8 {
		tests = append(tests, request{"stdin": fmt.Sprint(i), "expected_stdout": fmt.Sprint(i, " clean\n"), "checker": "exact"})
	}
	overlap := func() error {
		a := execute(t, program("python", traces).with(request{"ephemeral": nil, "tests": tests}))
		var began, ended [8]float64
		for i, test := range a.Tests {
			if test.Verdict != "AC" {
				t.Fatalf("test %d: %s %q %q", i, test.Verdict, test.Run.Stdout, test.Run.Stderr)
			}
			fmt.Sscan(test.Run.Stderr, &began[i], &ended[i])
		}
		for i := 1; i < len(began); i++ {
			if began[0] < ended[i] && began[i] < ended[0] {
				return nil
			}
		}
		return fmt.Errorf("of %d tests none ran beside the first", len(a.Tests))
	}
	if err := eventually("tests beside each other", overlap); err != nil { // the other slots may have been taken
		t.Error(err)
	}
	api.wantQuiet(t)
}

// Checkers, outputs on both streams, and the end at the first that is not accepted.
func TestTestsAreJudged(t *testing.T) {
	const code = "import sys\nfor line in sys.stdin:\n    if line == 'err\\n': sys.stderr.write('x' * 100000)\n    print(line, end='')"
	judge := func(stop bool, tests ...request) (verdicts string) {
		a := execute(t, program("python", code).with(request{"ephemeral": nil, "stop_on_failure": stop, "tests": tests}))
		for _, test := range a.Tests {
			verdicts += test.Verdict + " "
		}
		return verdicts
	}
	test := func(stdin, expected, checker string) request {
		return request{"stdin": stdin, "expected_stdout": expected, "checker": checker}
	}
	got := judge(false, test("1  2\n", "1 2", "tokens"), test("1  2\n", "1 2\n", "exact"), test("1 2\n", "1 2\n", "exact"), test("0.30000001\n", "0.3", "floats"), test("0.31\n", "0.3", "floats"),
		test("0.31\n", "0.3", "floats").with(request{"tolerance": 0.1}), test("7\n", "inf", "floats"), test("err\n", "err\n", "tokens"), request{"stdin": "anything\n"})
	if want := "AC WA AC AC WA AC WA OL AC "; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := judge(true, test("a\n", "a", "tokens"), test("b\n", "no", "tokens"), test("c\n", "c", "tokens"), test("d\n", "no", "tokens")); got != "AC WA " {
		t.Errorf("stopped at the first failure: %s", got)
	}
}
