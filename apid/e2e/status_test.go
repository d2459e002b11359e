package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// ending is a way in which a program can end. Each program first writes "before\n" to stdout, which must be in the answer.
type ending struct {
	status  string
	limits  request // of the request
	limit   string  // the name of the one that fires; "": none
	message string  // regular expression; "": null
	signal  bool    // code is null and signal is set, or the other way round
	stream  string  // "stdout", "stderr": filled up to outputLimit
	// programs by language.
	programs map[string]string
}

const outputLimit = 5000

var endings = map[string]ending{
	"OK": {
		status: "OK",
		programs: map[string]string{
			"python": `print("before")`, "bash": `echo before`, "ruby": `puts "before"`, "javascript": `console.log("before")`,
			"c": "#include <stdio.h>\nint main(void) { puts(\"before\"); }",
		},
	},
	"RE": {
		status: "RE", message: `code 3\b`,
		programs: map[string]string{
			"python": `print("before"); exit(3)`, "bash": `echo before; exit 3`, "ruby": `puts "before"; exit 3`,
			"javascript": `console.log("before"); process.exitCode = 3`,
			"c":          "#include <stdio.h>\nint main(void) { puts(\"before\"); return 3; }",
			"go":         "package main\nimport \"os\"\nfunc main() { println(); os.Stdout.WriteString(\"before\\n\"); os.Exit(3) }",
		},
	},
	"SG": {
		status: "SG", message: `SIGABRT`, signal: true,
		programs: map[string]string{
			"python": `import os; print("before", flush=True); os.abort()`,
			"bash":   `echo before; kill -ABRT $$`, "ruby": `puts "before"; $stdout.flush; trap("ABRT", "DEFAULT"); Process.kill("ABRT", $$); sleep`,
			"javascript": `require("fs").writeSync(1, "before\n"); process.abort()`,
			"c":          "#include <stdio.h>\n#include <stdlib.h>\nint main(void) { puts(\"before\"); fflush(stdout); abort(); }",
			"rust":       `fn main() { println!("before"); std::process::abort() }`,
		},
	},
	"TO, wall": {
		status: "TO", message: `^wall time .*run_timeout \d+ ms`, signal: true, // which, wantLimit looks at
		limits: request{"run_timeout": 1000}, limit: "run_timeout",
		programs: map[string]string{
			"python": `import time; print("before", flush=True); time.sleep(1000)`, "bash": `echo before; sleep 1000`,
			"ruby":       `puts "before"; $stdout.flush; sleep`,
			"javascript": `console.log("before"); setInterval(() => 0, 1000)`,
			"c":          "#include <stdio.h>\n#include <unistd.h>\nint main(void) { puts(\"before\"); fflush(stdout); for (;;) pause(); }",
		},
	},
	"TO, CPU": {
		status: "TO", message: `^CPU time .*run_cpu_time \d+ ms`, signal: true,
		limits: request{"run_cpu_time": 600}, limit: "run_cpu_time",
		programs: map[string]string{
			"python": "print('before', flush=True)\nwhile True: pass", "bash": `echo before; while :; do :; done`,
			"ruby":       "puts 'before'; $stdout.flush\nloop {}",
			"javascript": `require("fs").writeSync(1, "before\n"); for (;;);`,
			"rust":       "fn main() { println!(\"before\"); let mut i = 0u64; loop { i = std::hint::black_box(i + 1) } }",
			// Of all processes: none of these four reaches the limit by itself.
			"c": "#include <stdio.h>\n#include <unistd.h>\nint main(void) { puts(\"before\"); fflush(stdout); fork(); fork(); for (;;); }",
		},
	},
	"ML": {
		status: "ML", message: `memory.* run_memory_limit 100000000 bytes`, signal: true,
		limits: request{"run_memory_limit": 100_000_000}, limit: "run_memory_limit",
		programs: map[string]string{
			"python":     "print('before', flush=True)\na = []\nwhile True: a.append(bytearray(1 << 20))",
			"bash":       `echo before; a=xxxxxxxx; while :; do a=$a$a; done`,
			"ruby":       "puts 'before'; $stdout.flush; a = []\nloop { a << 'x' * (1 << 20) }",
			"javascript": `require("fs").writeSync(1, "before\n"); const a = []; for (;;) a.push(Buffer.alloc(1 << 20, 1))`,
			"c":          "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\nint main(void) { puts(\"before\"); fflush(stdout); for (;;) memset(malloc(1 << 20), 1, 1 << 20); }",
			"rust":       "fn main() { println!(\"before\"); let mut a = vec![]; loop { a.push(vec![1u8; 1 << 20]) } }",
		},
	},
	"OL": {
		status: "OL", message: fmt.Sprintf(`stdout \d+ bytes.* output_limit %d bytes`, outputLimit), signal: true, stream: "stdout",
		limits: request{"output_limit": outputLimit}, limit: "output_limit",
		programs: map[string]string{
			"python": "print('before')\nwhile True: print('more')", "bash": `echo before; while :; do echo more; done`,
			"ruby": "puts 'before'\nloop { puts 'more' }", "javascript": `console.log("before"); for (;;) require("fs").writeSync(1, "more\n")`,
			"c":    "#include <stdio.h>\nint main(void) { puts(\"before\"); for (;;) puts(\"more\"); }",
			"rust": `fn main() { println!("before"); loop { println!("more") } }`,
		},
	},
	"EL": {
		status: "EL", message: fmt.Sprintf(`stderr \d+ bytes.* output_limit %d bytes`, outputLimit), signal: true, stream: "stderr",
		limits: request{"output_limit": outputLimit}, limit: "output_limit",
		programs: map[string]string{
			"python": "import sys\nprint('before', flush=True)\nwhile True: print('more', file=sys.stderr)",
			"bash":   `echo before; while :; do echo more >&2; done`, "ruby": "puts 'before'; $stdout.flush\nloop { warn 'more' }",
			"javascript": `require("fs").writeSync(1, "before\n"); for (;;) require("fs").writeSync(2, "more\n")`,
			"c":          "#include <stdio.h>\nint main(void) { puts(\"before\"); fflush(stdout); for (;;) fputs(\"more\\n\", stderr); }",
		},
	},
	"SV": {
		status: "SV", message: `syscall|SIGSYS`, signal: true,
		programs: map[string]string{
			"python": "import ctypes\nprint('before', flush=True)\nctypes.CDLL(None).syscall(246, 0, 0, 0, 0)", // kexec_load
			"ruby":   "puts 'before'; $stdout.flush\nsyscall 172, 3",                                           // iopl
			"c":      "#include <stdio.h>\n#include <unistd.h>\nint main(void) { puts(\"before\"); fflush(stdout); syscall(304, 0, 0, 0); }",
			"go":     "package main\nimport (\"os\"; \"syscall\")\nfunc main() { os.Stdout.WriteString(\"before\\n\"); syscall.Syscall(175, 0, 0, 0) }",
			"rust":   "extern \"C\" { fn syscall(n: i64, ...) -> i64; }\nfn main() { println!(\"before\"); unsafe { syscall(313, 0, 0, 0); } }",
		},
	},
	"SV, i386": {
		status: "SV", message: `syscall|SIGSYS`, signal: true,
		programs: map[string]string{
			"c": "#include <stdio.h>\nint main(void) { puts(\"before\"); fflush(stdout); long r; __asm__ volatile(\"int $0x80\" : \"=a\"(r) : \"a\"(20) : \"memory\"); return 0; }",
		},
	},
	"SV, x32": {
		status: "SV", message: `syscall|SIGSYS`, signal: true,
		programs: map[string]string{
			"c": "#include <stdio.h>\n#include <unistd.h>\nint main(void) { puts(\"before\"); fflush(stdout); syscall(0x40000000 | 39); return 0; }",
		},
	},
}

func TestStatuses(t *testing.T) {
	for name, e := range endings {
		for language, code := range e.programs {
			t.Run(name+"/"+language, func(t *testing.T) {
				t.Parallel()
				e := e
				a := execute(t, program(language, code).with(e.limits))
				// On a busy machine it may not have come to its first line when its time was over: then it gets more.
				for (e.limit == "run_timeout" || e.limit == "run_cpu_time") && a.Run.Stdout == "" && e.limits[e.limit].(int) < 30_000 {
					e.limits = request{e.limit: 4 * e.limits[e.limit].(int)}
					a = execute(t, program(language, code).with(e.limits))
				}
				e.check(t, a)
			})
		}
	}
}

func (e *ending) check(t *testing.T, a *answer) {
	wantStatus(t, a, e.status)
	run := &a.Run
	if !strings.HasPrefix(run.Stdout, "before\n") {
		t.Errorf("stdout %.100q does not begin with what was written before", run.Stdout)
	}
	if (run.Code == nil) != e.signal || (run.Signal != nil) != e.signal {
		t.Errorf("want either code or signal: %s", a)
	}
	wantMessage(t, run.Message, e.message)
	wantLimit(t, run, e.limit, e.limits)
	full := map[string]string{"stdout": run.Stdout, "stderr": run.Stderr}[e.stream]
	if e.stream != "" && len(full) != outputLimit {
		t.Errorf("%d bytes of %s, want all %d", len(full), e.stream, outputLimit)
	}
}

func wantMessage(t *testing.T, message *string, pattern string) {
	t.Helper()
	switch {
	case pattern == "" && message != nil:
		t.Errorf("message %q, want null", *message)
	case pattern != "" && (message == nil || !regexp.MustCompile(pattern).MatchString(*message)):
		t.Errorf("message %v does not match %q", show(message), pattern)
	}
}

func show(s *string) string {
	if s == nil {
		return "null"
	}
	return fmt.Sprintf("%q", *s)
}

// wantLimit checks the limit that fired: its name, its figure, and that the figure of what was used fits.
func wantLimit(t *testing.T, s *stage, name string, limits request) {
	t.Helper()
	if name == "" {
		if s.Limit != nil {
			t.Errorf("limit %+v, want null", *s.Limit)
		}
		return
	}
	if s.Limit == nil {
		t.Fatalf("no limit, want %s", name)
	}
	set := float64(limits[name].(int))
	// Memory stops at the limit, within a page and what the kernel charges in advance; everything else goes past it. That a timeout is
	// never early is the matter of TestTimeoutIsNotEarly.
	least, most := set*0.97, set*1000
	if strings.HasSuffix(name, "memory_limit") {
		least, most = set*0.9, set*1.01
	}
	if l := s.Limit; l.Name != name || l.Limit < set*0.99 || l.Limit > set || l.Used < least || l.Used > most {
		t.Errorf("limit %+v, want %s of %v and as much used", *l, name, set)
	}
}

// The time that we take to place a program's files is not the program's. It gets all of its timeout, and the figures say so.
func TestTimeoutIsNotEarly(t *testing.T) {
	var files []request
	for i := range 20 {
		files = append(files, request{"name": fmt.Sprint(i), "content": strings.Repeat("x", 2<<20)})
	}
	a := execute(t, program("bash", "sleep 1000").with(request{"run_timeout": 1000, "files": files}))
	wantStatus(t, a, "TO")
	if a.Run.TimeMS < 1000 || a.Run.Limit.Used < 1000 {
		t.Errorf("killed after %v ms, limit %+v", a.Run.TimeMS, *a.Run.Limit)
	}
}

// A SIGKILL that the program sent to itself is no limit of ours, and must not look like one.
func TestKilledByItself(t *testing.T) {
	for language, code := range map[string]string{
		"bash":   `kill -9 $$`,
		"python": `import os; os.kill(os.getpid(), 9)`,
		"c":      "#include <signal.h>\nint main(void) { raise(SIGKILL); }",
	} {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			a := execute(t, program(language, code))
			wantStatus(t, a, "SG")
			if a.Run.Signal == nil || *a.Run.Signal != "SIGKILL" || a.Run.Limit != nil || a.Run.Message == nil {
				t.Errorf("want SIGKILL with a message and no limit: %s", a)
			}
		})
	}
}

func TestCompilationFails(t *testing.T) {
	for language, c := range map[string]struct{ code, complaint string }{
		"c":    {"int main(void) { return undeclared_one; }", "undeclared_one"},
		"cpp":  {"int main() { return undeclared_one; }", "undeclared_one"},
		"go":   {"package main\nfunc main() { undeclaredOne() }", "undeclaredOne"},
		"java": {"class Main { public static void main(String[] a) { undeclaredOne(); } }", "undeclaredOne"},
		"rust": {"fn main() { undeclared_one() }", "undeclared_one"},
	} {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			a := execute(t, program(language, c.code))
			wantStatus(t, a, "CE")
			if a.Compile == nil {
				t.Fatal("no compile stage")
			}
			if a.Compile.Status != "CE" || a.Compile.Code == nil || *a.Compile.Code == 0 || !strings.Contains(a.Compile.Stderr, c.complaint) {
				t.Errorf("compile does not tell why: %s", a)
			}
			wantNotRun(t, a)
		})
	}
}

// wantNotRun checks the run stage of a program that could not be made: empty stdout, the compiler's stderr and code, zero times.
func wantNotRun(t *testing.T, a *answer) {
	t.Helper()
	run := a.Run
	if run.Status != "CE" || run.Stdout != "" || run.Stderr != a.Compile.Stderr || !same(run.Code, a.Compile.Code) ||
		!same(run.Signal, a.Compile.Signal) || run.TimeMS != 0 || run.CPUTimeMS != 0 || run.Message == nil {
		t.Errorf("the run stage must repeat what the compiler said: %s", a)
	}
}

// Programs that keep a compiler busy for long, and one that makes it take much memory at once.
const (
	heavyC = `#define A(x) x+x
#define B(x) A(x)+A(x)+A(x)+A(x)
#define C(x) B(x)+B(x)+B(x)+B(x)
#define D(x) C(x)+C(x)+C(x)+C(x)
#define E(x) D(x)+D(x)+D(x)+D(x)
#define F(x) E(x)+E(x)+E(x)+E(x)
#define G(x) F(x)+F(x)+F(x)+F(x)
volatile int y;
int main(void) { return G(G(y)); }`
	heavyCPP = `template <int N, int M> struct S { static constexpr unsigned long v = S<N - 1, 2 * M>::v + S<N - 1, 2 * M + 1>::v; };
template <int M> struct S<0, M> { static constexpr unsigned long v = M; };
int main() { return S<24, 1>::v; }`
	heavyRust = `#![allow(long_running_const_eval)]
const N: u64 = { let mut i = 0u64; while i < 1 << 40 { i += 1 } i };
fn main() { println!("{N}") }`
	largeRust = `static A: [u8; 1 << 28] = { let mut a = [1u8; 1 << 28]; a[7] = 2; a };
fn main() { println!("{}", A[8]) }`
)

func TestCompileLimits(t *testing.T) {
	for name, c := range map[string]struct {
		limits   request
		limit    string
		status   string
		message  string
		programs map[string]string
	}{
		"wall": {request{"compile_timeout": 700}, "compile_timeout", "TO", `compile_timeout 700 ms`,
			map[string]string{"c": heavyC, "cpp": heavyCPP, "rust": heavyRust}},
		"CPU": {request{"compile_cpu_time": 500}, "compile_cpu_time", "TO", `compile_cpu_time 500 ms`,
			map[string]string{"c": heavyC, "cpp": heavyCPP, "rust": heavyRust}},
		"memory": {request{"compile_memory_limit": 100_000_000}, "compile_memory_limit", "ML", `compile_memory_limit`,
			map[string]string{"c": heavyC, "cpp": heavyCPP, "rust": largeRust}},
	} {
		for language, code := range c.programs {
			t.Run(name+"/"+language, func(t *testing.T) {
				t.Parallel()
				a := execute(t, program(language, code).with(c.limits))
				wantStatus(t, a, "CE")
				if a.Compile.Status != c.status {
					t.Fatalf("compile status %s, want %s: %s", a.Compile.Status, c.status, a)
				}
				wantMessage(t, a.Compile.Message, c.message)
				wantLimit(t, a.Compile, c.limit, c.limits)
				wantNotRun(t, a)
			})
		}
	}
}
