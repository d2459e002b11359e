package e2e

import (
	"strings"
	"testing"
)

// Variables by which a runtime or a compiler takes up what somebody else wrote work in the job that sets them, as on any machine, and reach no
// other: not the runtimes and compilers that wait, not a later job of the same key, not another session.
func TestEnvironmentTricks(t *testing.T) {
	tricks := request{
		"BASH_ENV": "/home/user/trick.sh", "NODE_OPTIONS": "--require=/home/user/trick.js", "RUBYOPT": "-r/home/user/trick.rb",
		"PYTHONPATH": "/home/user/trick", "PYTHONSTARTUP": "/home/user/trick.py", "JAVA_TOOL_OPTIONS": "-Dtrick=TRICK",
		"DOTNET_STARTUP_HOOKS": "/home/user/TRICK.dll", "LD_PRELOAD": "/home/user/TRICK.so", "GOFLAGS": "-TRICK",
	}
	files := []request{
		{"name": "trick.sh", "content": "echo TRICK"}, {"name": "trick.js", "content": `console.log("TRICK")`}, {"name": "trick.rb", "content": `puts "TRICK"`},
		{"name": "trick/sitecustomize.py", "content": `print("TRICK")`}, {"name": "trick.py", "content": `print("TRICK")`},
	}
	for language, code := range hellos {
		a := execute(t, program(language, code).with(request{"env": tricks, "files": files}))
		said := a.Run.Stdout + a.Run.Stderr
		if a.Compile != nil {
			said += a.Compile.Stdout + a.Compile.Stderr
		}
		if !strings.Contains(said, "TRICK") && language != "go" { // whose programs are static, and whose compiler is called without `go`
			t.Errorf("%s: no trick works: %s", language, a)
		}
	}
	for language, code := range hellos {
		for range 2 {
			a := execute(t, program(language, code))
			if a.Run.Stdout != "MARKER\n" || a.Run.Stderr != "" || a.Compile != nil && strings.Contains(a.Compile.Stderr+a.Compile.Stdout, "TRICK") {
				t.Errorf("%s after a job with tricks: %s", language, a)
			}
		}
	}
}
