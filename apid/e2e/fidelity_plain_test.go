package e2e

import (
	"slices"

	"github.com/runtools/runtools/pkg/lang"
)

// plainCommand is what a user types (docs/languages.md) where lang.json names a driver or options of ours.
type plainCommand struct {
	argv []string
	only []string // the programs that are compiled so; nil: all. The others' bare compiler is that of lang.json
}

var plainCompile = map[string]plainCommand{
	"c": {argv: []string{"/usr/bin/gcc-13", "-pipe", "-O2", "-std=gnu17", "-o", "/build/main", "{sources}", "-lm", "-pthread"}},
	// GCC takes a precompiled header for the first include only: with an empty one before, it parses what a plain machine's would.
	"cpp":  {argv: []string{"/usr/bin/g++-13", "-pipe", "-O2", "-std=gnu++20", "-pthread", "-include", "/dev/null", "-o", "/build/main", "{sources}"}},
	"rust": {argv: []string{"/usr/bin/rustc", "--edition=2021", "-O", "-Cstrip=debuginfo", "--crate-name=main", "-o", "/build/main", "{main}"}},
	"go": {argv: []string{"/bin/sh", "-ec", `
		! grep -q '^import "C"' *.go || export CGO_ENABLED=1
		[ ! -e go.mod ] || set -- .
		cp -rs /usr/lib/runtools/go/cache /tmp/go-build
		GOCACHE=/tmp/go-build CGO_ENABLED=${CGO_ENABLED-0} "$GOROOT/bin/go" build -o /build/main -gcflags=all=-dwarf=false -ldflags='-s -w' "$@"
		[ -x /build/main ] || { echo "package command-line-arguments is not a main package" >&2; exit 1; } # as go run says
	`, "sh", "{sources}"}},
	// Its messages are on stdout, ours where a caller looks for a compiler's. dotnet build has all generators always; those that no source names
	// make nothing of it, and take as long as the rest of the compilation.
	"csharp": {argv: []string{"/bin/sh", "-ec", `
		if grep -qE 'Generated|JsonSerializable|LibraryImport' -- "$@"; then
			for dll in /usr/lib/runtools/csharp/generators/*.dll; do set -- "-a:$dll" "$@"; done
		fi
		exec "$DOTNET_ROOT/dotnet" exec /usr/lib/runtools/csharp/roslyn/csc.dll -noconfig -nologo @/usr/lib/runtools/csharp/csc.rsp "$@" >&2
	`, "sh", "{sources}"}},
	// Those whose subject is the compiler: a javac that has no archive of its classes takes a second of CPU more than ours. Without
	// processors, for nothing of a source runs in our javac. What starts is the class that a user would name, after the entry file.
	"java": {argv: []string{"/bin/sh", "-ec", `
		"$JAVA_HOME/bin/javac" -proc:none -d /build "$@"
		printf '"%s"\n' "$(echo "${1%.java}" | tr / .)" >/build/main.args
	`, "sh", "{sources}"}, only: []string{
		"class-files", "compile-sources", "errors", "errors-types", "implicit-packages", "notes", "packages", "preview", "processors",
	}},
}

// compileArgv is the bare compiler's command.
func (c *corpus) compileArgv(f *fidelity, in lang.Inputs) []string {
	plain, ok := plainCompile[c.runtime.Name]
	if !ok || plain.only != nil && !slices.Contains(plain.only, f.name) {
		return c.runtime.ExpandArgv(c.runtime.Compile, in)
	}
	return c.runtime.ExpandArgv(&lang.Stage{Argv: plain.argv}, in)
}

// plainRun are the commands that start a program without our options. TypeScript has none: node's own way prints a warning and refuses a part of the
// language, and other transpilers are not in the image.
var plainRun = map[string]struct {
	argv []string
	not  []string // programs that see the options: the command, the heap, and the collector, whose threads count among the VM's
}{
	"java": {
		argv: []string{"/usr/lib/jvm/java-21-openjdk-amd64/bin/java", "-cp", "/build:.", "@/build/main.args", "{args}"},
		not:  []string{"identity", "maps", "memory", "memory-limit", "options", "process", "properties", "thread-dump", "threads"},
	},
}

// runArgv is the command that starts the program bare.
func (c *corpus) runArgv(f *fidelity, in lang.Inputs) []string {
	plain, ok := plainRun[c.runtime.Name]
	if !ok || slices.Contains(plain.not, f.name) {
		return c.runtime.ExpandArgv(c.runtime.Run, in)
	}
	return c.runtime.ExpandArgv(&lang.Stage{Argv: plain.argv}, in)
}
