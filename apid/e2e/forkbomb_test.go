package e2e

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// forkBombs make processes or threads for as long as they can, and go on when they cannot.
var forkBombs = map[string]string{
	"bash": "f() { f | f & }; f & exec sleep 1000",
	"c":    "#include <unistd.h>\nint main(void) { for (;;) fork(); }",
	"cpp": `#include <thread>
#include <unistd.h>
int main() { for (;;) try { std::thread([] { for (;;) pause(); }).detach(); } catch (...) {} }`,
	"csharp": `while (true) try { System.Diagnostics.Process.Start("/bin/sleep", "1000"); } catch (System.Exception) {}`,
	// By the system call: Go's own way needs threads, and ends the program where there can be none.
	"go": `package main

import "syscall"

func main() { for { syscall.RawSyscall(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0) } }`,
	"java": `public class Main { public static void main(String[] args) {
	for (;;) try { new ProcessBuilder("/bin/sleep", "1000").start(); } catch (Throwable t) {}
} }`,
	"javascript": `const { spawn } = require("child_process")
for (;;) try { spawn("/bin/sleep", ["1000"], { stdio: "ignore" }).on("error", () => {}) } catch {}`,
	"python": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
	"ruby":   "loop { begin; fork { sleep }; rescue SystemCallError; end }",
	"rust":   "fn main() { loop { let _ = std::process::Command::new(std::env::current_exe().unwrap()).spawn(); } }",
	"typescript": `import { spawn } from "child_process"
for (;;) try { spawn("/bin/sleep", ["1000"], { stdio: "ignore" }).on("error", () => {}) } catch {}`,
}

// A fork bomb meets its limit in every language: it is stopped, no process of it is left, and the next program knows nothing of it.
func TestForkBombs(t *testing.T) {
	if !slices.Equal(slices.Sorted(maps.Keys(forkBombs)), slices.Sorted(maps.Keys(hellos))) {
		t.Error("a language has no fork bomb")
	}
	for language, bomb := range forkBombs {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			// On a busy machine it may have hardly begun when its time is over: then it gets more.
			for timeout := 2000; ; timeout *= 4 {
				a := execute(t, program(language, bomb).with(request{"explain": true, "ephemeral": true, "run_timeout": timeout, "run_memory_limit": 2 << 30}))
				if a.Run.Status != "TO" {
					t.Errorf("%s, want TO: %s", a.Run.Status, a)
				}
				at := slices.IndexFunc(a.Run.Limits, func(l limitUse) bool { return l.Name == "processes" })
				if at < 0 {
					t.Fatalf("it did not run: %s", a)
				}
				l := a.Run.Limits[at]
				if *l.Peak < *l.Limit && timeout < 30_000 {
					continue
				}
				if *l.Peak != *l.Limit || !*l.Fired {
					t.Errorf("%d processes at most, the limit is %d, and fired: %t: %s", *l.Peak, *l.Limit, *l.Fired, a)
				}
				break
			}
			if got := output(t, program(language, strings.ReplaceAll(hellos[language], "MARKER", "next"))); got != "next\n" {
				t.Errorf("the next program wrote %q", got)
			}
		})
	}
}
