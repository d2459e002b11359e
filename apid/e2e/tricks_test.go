package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// makeTricks is a program in Bash that leaves in a workspace what the variables below point to.
const makeTricks = `mkdir -p trick/bin
echo 'echo "by BASH_ENV"' >trick/env.sh
echo 'console.log("by NODE_OPTIONS")' >trick/options.js
echo 'console.log("by NODE_PATH")' >trick/module.js
echo 'print("by PYTHONPATH")' >trick/sitecustomize.py
echo 'print("by PYTHONSTARTUP")' >trick/startup.py
echo 'puts "by RUBYOPT"' >trick/options.rb
echo 'puts "by RUBYLIB"' >trick/library.rb
echo '#define WORD "by CPATH"' >trick/trick.h
echo 'by LIBRARY_PATH' >trick/libm.so
printf '#!/bin/sh\necho by COMPILER_PATH >&2; exit 1\n' >trick/bin/cc1
printf '#!/bin/sh\necho by RUSTC_WRAPPER >&2; exit 1\n' >trick/bin/wrapper
chmod +x trick/bin/*`

// tricked are programs that show whether a variable of tricks is in force, and else what hellos do.
var tricked = map[string]string{
	"bash":   hellos["bash"],
	"c":      "#include <stdio.h>\n#if __has_include(<trick.h>)\n#include <trick.h>\n#else\n#define WORD \"MARKER\"\n#endif\nint main(void) { puts(WORD); }",
	"cpp":    "#include <iostream>\n#if __has_include(<trick.h>)\n#include <trick.h>\n#else\n#define WORD \"MARKER\"\n#endif\nint main() { std::cout << WORD << std::endl; }",
	"csharp": `System.Console.WriteLine(System.Runtime.GCSettings.IsServerGC ? "by DOTNET_gcServer" : "MARKER");`,
	"go":     "package main\n\n// int one(void) { return 1; }\nimport \"C\"\nimport \"fmt\"\n\nfunc main() { _ = C.one(); fmt.Println(\"MARKER\") }",
	"java":   `public class Main { public static void main(String[] args) { System.out.println(System.getProperty("trick", "MARKER")); } }`,
	"javascript": `try { require("module.js") } catch {}
console.log("MARKER")`,
	"python": `import subprocess, sys
print("MARKER", flush=True)
subprocess.run([sys.executable, "-qi"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)`,
	"ruby": "begin; require 'library'; rescue LoadError; end\nputs 'MARKER'",
	"rust": hellos["rust"],
	"typescript": `try { require("module.js") } catch {}
console.log("MARKER" as string)`,
}

// tricks are variables by which a runtime or a compiler takes up what somebody else wrote. shows is what is seen of it in the job that sets it; "" if
// nothing that we call looks at it.
var tricks = []struct{ language, variable, value, shows string }{
	{"bash", "BASH_ENV", "/home/user/trick/env.sh", "by BASH_ENV"},
	{"bash", "LD_PRELOAD", "/home/user/trick/by_LD_PRELOAD.so", "by_LD_PRELOAD"},
	{"c", "CPATH", "/home/user/trick", "by CPATH"},
	{"c", "LIBRARY_PATH", "/home/user/trick", ""}, // the libraries of the command are found where they belong first
	{"c", "COMPILER_PATH", "/home/user/trick/bin", "by COMPILER_PATH"},
	{"c", "GCC_EXEC_PREFIX", "/home/user/by_GCC_EXEC_PREFIX/", "cannot execute ‘cc1’"},
	{"cpp", "CPLUS_INCLUDE_PATH", "/home/user/trick", "by CPATH"},
	{"csharp", "DOTNET_STARTUP_HOOKS", "/home/user/trick/by_DOTNET_STARTUP_HOOKS.dll", "by_DOTNET_STARTUP_HOOKS"},
	{"csharp", "DOTNET_gcServer", "1", "by DOTNET_gcServer"},
	{"go", "GOFLAGS", "-by_GOFLAGS", "by_GOFLAGS"},
	{"java", "JAVA_TOOL_OPTIONS", "-Dtrick=by_JAVA_TOOL_OPTIONS", "by_JAVA_TOOL_OPTIONS\n"},
	{"java", "JDK_JAVA_OPTIONS", "-Dtrick=by_JDK_JAVA_OPTIONS", "by_JDK_JAVA_OPTIONS\n"},
	{"java", "CLASSPATH", "/home/user/trick", ""}, // both are told theirs
	{"javascript", "NODE_OPTIONS", "--require=/home/user/trick/options.js", "by NODE_OPTIONS"},
	{"javascript", "NODE_PATH", "/home/user/trick", "by NODE_PATH"},
	{"python", "PYTHONPATH", "/home/user/trick", "by PYTHONPATH"},
	{"python", "PYTHONSTARTUP", "/home/user/trick/startup.py", "by PYTHONSTARTUP"},
	{"ruby", "RUBYOPT", "-r/home/user/trick/options.rb", "by RUBYOPT"},
	{"ruby", "RUBYLIB", "/home/user/trick", "by RUBYLIB"},
	{"rust", "RUSTFLAGS", "--by-RUSTFLAGS", ""}, // cargo's
	{"rust", "RUSTC_WRAPPER", "/home/user/trick/bin/wrapper", ""},
	{"typescript", "NODE_OPTIONS", "--require=/home/user/trick/options.js", "by NODE_OPTIONS"},
}

// Each of them works in the job that sets it, as on any machine, and reaches no other: not the runtimes and compilers that wait, not a later job of the same key
// in another session, where what they point to lies ready.
func TestEnvironmentTricks(t *testing.T) {
	made := execute(t, program("bash", makeTricks))
	wantStatus(t, made, "OK")
	sessions := api.fork(t, *made.SessionID, len(tricks)+len(tricked))
	said := func(t *testing.T, q request) (all string, a *answer) {
		a = execute(t, q)
		if all = a.Run.Stdout + a.Run.Stderr; a.Compile != nil {
			all += a.Compile.Stdout + a.Compile.Stderr
		}
		return all, a
	}
	t.Run("set", func(t *testing.T) {
		for i, c := range tricks {
			t.Run(c.language+" "+c.variable, func(t *testing.T) {
				t.Parallel()
				got, a := said(t, program(c.language, tricked[c.language]).with(request{"session_id": sessions[i], "env": request{c.variable: c.value}}))
				if !strings.Contains(got, c.shows) || c.shows == "" && (a.Run.Stdout != "MARKER\n" || strings.Contains(got, "by")) {
					t.Errorf("want %q: %s", c.shows, a)
				}
			})
		}
	})
	t.Run("later", func(t *testing.T) {
		for language, code := range tricked {
			session := sessions[len(tricks)]
			sessions = slices.Delete(sessions, len(tricks), len(tricks)+1)
			t.Run(language, func(t *testing.T) {
				t.Parallel()
				for i := range 2 {
					q := program(language, code+fmt.Sprintf("%*c", i+1, '\n')).with(request{"session_id": session}) // another one, so that it is compiled
					if got, a := said(t, q); a.Run.Stdout != "MARKER\n" || a.Run.Stderr != "" || strings.Contains(got, "trick") || strings.Contains(got, "by") {
						t.Errorf("after jobs with tricks: %s", a)
					}
				}
			})
		}
	})
	for _, id := range append(sessions, *made.SessionID) {
		api.deleteSession(t, api.key, id)
	}
}
