// Command gobuild compiles one Go program to /build/main, as `go build` would, without its 200 ms of looking around.
//
//	gobuild MEMORY FILES...    MEMORY: of the job, in bytes
//	go ARGUMENTS...            under this name it is the go command, with the environment that goBuild gives it
//
// A program of one package main that imports only std needs no module and no dependency scan: the compiler and the linker are called
// directly with std's export data, which the image holds (importcfg). Anything else goes to `go build`: a go.mod, cgo, embedding,
// build constraints, directives that are not the compiler's, imports of other packages, files in sub-folders, files whose beginning is
// wrong, a profile, variables that the go command heeds. Its messages are go build's either way.
package main

import (
	"bytes"
	"fmt"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const (
	home      = "/usr/lib/runtools/go"
	output    = "/build/main"
	importcfg = home + "/importcfg"      // std's packages
	linkcfg   = home + "/importcfg.link" // the same, and what debug.ReadBuildInfo tells of a program that has no module
)

// std is compiled without DWARF, and so must be what is linked with it: -s -w drops it anyway, and the linker, which is most of the time,
// has a third fewer symbols to read.
const noDWARF = "-dwarf=false"

func main() {
	if filepath.Base(os.Args[0]) == "go" {
		goCommand()
	}
	if len(os.Args) < 2 {
		fatal("usage: gobuild MEMORY FILES...")
	}
	memory, err := strconv.ParseInt(os.Args[1], 10, 64)
	if err != nil {
		fatal(err)
	}
	var files []string
	for _, f := range os.Args[2:] {
		if !strings.HasSuffix(f, "_test.go") {
			files = append(files, f)
		}
	}
	if len(files) == 0 {
		files = os.Args[2:] // go build says it
	}
	if p := look(files); p.plain {
		direct(files, memory)
	} else {
		goBuild(files, p)
	}
}

func fatal(args ...any) {
	fmt.Fprintln(os.Stderr, args...)
	os.Exit(1)
}

// program is what a glance at the sources tells.
type program struct {
	plain bool // one package main, in the workspace's root, of std imports alone
	cgo   bool // some file imports "C"
}

func look(files []string) program {
	p := program{plain: !exists("go.mod") && !exists("go.work") && !exists("default.pgo") && !configured()}
	std := stdPackages()
	for _, f := range files {
		if filepath.Dir(f) != "." || constrainedByName(f) || strings.HasSuffix(f, "_test.go") {
			p.plain = false
		}
		src, err := os.ReadFile(f)
		if err != nil {
			fatal(err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), f, src, parser.ImportsOnly)
		if err != nil { // go build reads the imports before the compiler does, and has words of its own
			p.plain = false
			continue
		}
		if file.Name.Name != "main" {
			p.plain = false
		}
		for _, i := range file.Imports {
			path, _ := strconv.Unquote(i.Path.Value)
			if path == "C" {
				p.cgo = true
			}
			if path == "embed" || path != "unsafe" && !std[path] {
				p.plain = false
			}
		}
		if constrained(src) {
			p.plain = false
		}
	}
	return p
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// constrained reports a line that is for the go command, such as //go:build and //go:debug; whether it means anything where it stands is left to
// go build. Those that it is not to see are the compiler's.
func constrained(src []byte) bool {
	for _, line := range bytes.Split(src, []byte("\n")) {
		s := string(bytes.TrimSpace(line))
		if constraint.IsPlusBuild(s) {
			return true
		}
		if directive, found := strings.CutPrefix(s, "//go:"); found {
			switch name, _, _ := strings.Cut(directive, " "); name {
			case "generate", "linkname", "nocheckptr", "noescape", "noinline", "norace", "nosplit":
			default:
				return true
			}
		}
	}
	return false
}

// configured reports a variable that the go command heeds, but for those that lang.json sets and those of the program that will run.
func configured() bool {
	for _, v := range os.Environ() {
		name, value, _ := strings.Cut(v, "=")
		switch name {
		case "GOROOT", "GOENV", "GOTOOLCHAIN", "GODEBUG", "GOGC", "GOMAXPROCS", "GOMEMLIMIT", "GOTRACEBACK":
			continue
		}
		if value != "" && (strings.HasPrefix(name, "GO") || strings.HasPrefix(name, "CGO_")) {
			return true
		}
	}
	return false
}

// constrainedByName reports names such as x_windows.go or x_arm64.go, and those that go build ignores. Any suffix will do: the price
// of a wrong guess is 200 ms.
func constrainedByName(f string) bool {
	base := strings.TrimSuffix(filepath.Base(f), ".go")
	if base == "" || base[0] == '_' || base[0] == '.' {
		return true
	}
	_, suffix, found := strings.Cut(base, "_")
	if !found {
		return false
	}
	words := strings.Split(suffix, "_")
	switch words[len(words)-1] {
	case "linux", "amd64", "unix", "windows", "darwin", "js", "wasm", "arm64", "arm", "386", "freebsd", "netbsd", "openbsd", "plan9",
		"aix", "android", "dragonfly", "illumos", "ios", "solaris", "wasip1", "loong64", "mips", "mips64", "mips64le", "mipsle",
		"ppc64", "ppc64le", "riscv64", "s390x":
		return true
	}
	return false
}

func stdPackages() map[string]bool {
	data, err := os.ReadFile(importcfg)
	if err != nil {
		fatal(err)
	}
	std := map[string]bool{}
	for _, line := range strings.Split(string(data), "\n") {
		path, _, _ := strings.Cut(strings.TrimPrefix(line, "packagefile "), "=")
		// Those are std's own affair: go build refuses them, and so must we, by letting it.
		if path != "" && !strings.Contains("/"+path+"/", "/internal/") && !strings.HasPrefix(path, "vendor/") {
			std[path] = true
		}
	}
	return std
}

// direct calls the compiler and the linker. No -trimpath: traces name /home/user/main.go, as go build's do.
func direct(files []string, memory int64) {
	// These processes live for 50 ms: they collect garbage only when the job has no room for it.
	os.Setenv("GOGC", "off")
	os.Setenv("GOMEMLIMIT", strconv.FormatInt(memory/2, 10))
	tools := filepath.Join(os.Getenv("GOROOT"), "pkg/tool/linux_amd64")
	object := filepath.Join(os.TempDir(), "main.a")
	args := []string{"-o", object, "-p", "main", "-complete", "-c=2", noDWARF, "-nolocalimports",
		"-buildid=runtools", "-importcfg", importcfg, "-pack"}
	for _, f := range files {
		args = append(args, "./"+f)
	}
	tool(filepath.Join(tools, "compile"), args...)
	tool(filepath.Join(tools, "link"), "-o", output, "-importcfg", linkcfg, "-buildmode=exe", "-buildid=runtools", "-s", "-w", object)
}

func tool(path string, args ...string) {
	out, err := exec.Command(path, args...).CombinedOutput()
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "# command-line-arguments")
	fmt.Fprint(os.Stderr, shortened(string(out)))
	if len(out) == 0 {
		fmt.Fprintln(os.Stderr, filepath.Base(path)+":", err)
	}
	os.Exit(1)
}

// shortened has paths below the working directory and its parents relative, as go build's output has.
func shortened(out string) string {
	dir, err := os.Getwd()
	if err != nil {
		fatal(err)
	}
	out = "\n" + out
	for short := "."; len(short) < len(dir); short = filepath.Join(short, "..") {
		for _, before := range []string{" ", "\n"} {
			out = strings.ReplaceAll(out, before+dir, before+short)
		}
		dir = filepath.Dir(dir)
	}
	return out[1:]
}

// goBuild runs go build.
func goBuild(files []string, p program) {
	args := []string{"build", "-o", output, "-gcflags=all=" + noDWARF, "-ldflags=-s -w"}
	if exists("go.mod") || exists("go.work") {
		args = append(args, "./"+filepath.Dir(files[0]))
	} else {
		for _, f := range files {
			if filepath.Dir(f) == filepath.Dir(files[0]) {
				args = append(args, f)
			}
		}
	}
	cmd := exec.Command(goTool(), args...)
	cmd.Env = append(os.Environ(), environment()...)
	if exists("go.mod") && !exists("vendor/modules.txt") {
		cmd.Env = append(cmd.Env, "GOFLAGS=-mod=mod "+writable+" "+os.Getenv("GOFLAGS")) // a go.mod or go.sum may be incomplete
	}
	if p.cgo {
		cmd.Env = append(cmd.Env, "CGO_ENABLED=1")
	} else if os.Getenv("CGO_ENABLED") == "" {
		cmd.Env = append(cmd.Env, "CGO_ENABLED=0")
	}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		os.Exit(1)
	}
	if info, err := os.Stat(output); err != nil || info.Mode()&0o111 == 0 { // go build makes an archive of another package than main
		fatal("package command-line-arguments is not a main package")
	}
}

// goCommand becomes the go command that a shell calls. What is set already stands.
func goCommand() {
	for _, v := range append(environment(), "CGO_ENABLED=0", "GOFLAGS=-gcflags=all="+noDWARF+" "+writable) {
		name, value, _ := strings.Cut(v, "=")
		if _, set := os.LookupEnv(name); !set {
			os.Setenv(name, value)
		}
	}
	fatal(syscall.Exec(goTool(), os.Args, os.Environ()))
}

func goTool() string {
	root := os.Getenv("GOROOT")
	if root == "" {
		root = "/usr/lib/go-1.22"
	}
	return filepath.Join(root, "bin/go")
}

const (
	// mirror is a GOPROXY in files, if the operator has one (docs/packages.md). Modules come from there into ~/go, which the session keeps.
	mirror   = "/packages/go"
	writable = "-modcacherw" // so that a session's files can be deleted
)

// environment of the go command: a cache that begins with what the image's holds, and modules from the mirror or nowhere. No checksum
// database can be asked.
func environment() []string {
	cache := filepath.Join(os.TempDir(), "go-build")
	if err := seed(cache, filepath.Join(home, "cache")); err != nil {
		fatal(err)
	}
	proxy := "off"
	if exists(mirror) {
		proxy = "file://" + mirror
	}
	return []string{"GOCACHE=" + cache, "GOPROXY=" + proxy, "GONOSUMDB=*", "GOTMPDIR=" + os.TempDir(), "GOTOOLCHAIN=local"}
}

// seed makes a writable cache whose entries are links to those of the image, unless it is there. Entries are named by content and never
// rewritten.
func seed(cache, from string) error {
	if exists(cache) {
		return nil
	}
	half, err := os.MkdirTemp(filepath.Dir(cache), "go-build")
	if err != nil {
		return err
	}
	shards, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, s := range shards {
		if err := os.MkdirAll(filepath.Join(half, s.Name()), 0o755); err != nil {
			return err
		}
		entries, err := os.ReadDir(filepath.Join(from, s.Name()))
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := os.Symlink(filepath.Join(from, s.Name(), e.Name()), filepath.Join(half, s.Name(), e.Name())); err != nil {
				return err
			}
		}
	}
	if err := os.Rename(half, cache); err != nil && !exists(cache) {
		return err
	}
	return os.RemoveAll(half) // another go command was first
}
