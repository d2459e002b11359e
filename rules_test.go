// Package runtools holds no code: only the rules that the whole repository keeps, as tests. CONTRIBUTING.md tells why.
package runtools

import (
	"bytes"
	"go/format"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/runtools/runtools/"

// goList runs go list and returns its lines.
func goList(t *testing.T, args ...string) []string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %v: %v", args, err)
	}
	return strings.Fields(string(out))
}

// The leaves of pkg/ import std, x/sys and their one library, never each other.
func TestLeavesDoNotImportEachOther(t *testing.T) {
	allowed := map[string][]string{
		"pkg/cgroup":  {"github.com/containerd/cgroups/v3", "github.com/opencontainers/runtime-spec/", "golang.org/x/sys/"},
		"pkg/client":  {"github.com/coder/websocket"},
		"pkg/jail":    {"github.com/vishvananda/netns", "golang.org/x/sys/"},
		"pkg/lang":    {"github.com/Masterminds/semver/v3"},
		"pkg/seccomp": {"github.com/seccomp/libseccomp-golang", "golang.org/x/sys/"},
		"pkg/threads": nil,
		"pkg/wire":    {"golang.org/x/sys/"},
	}
	var leaves []string
	for _, path := range goList(t, "./pkg/...") {
		leaves = append(leaves, strings.TrimPrefix(path, module))
	}
	for _, leaf := range leaves {
		if _, ok := allowed[leaf]; !ok {
			t.Errorf("%s is new: say here what it may import", leaf)
		}
		for _, dep := range goList(t, "-f", `{{join .Imports "\n"}}`, "./"+leaf) {
			std := !strings.Contains(strings.Split(dep, "/")[0], ".") // also "C"
			if !std && !slices.ContainsFunc(allowed[leaf], func(p string) bool { return strings.HasPrefix(dep, p) }) {
				t.Errorf("%s imports %s", leaf, dep)
			}
		}
	}
}

// Each side of the trust border is built without what belongs to the other.
func TestWhatEachProgramMustNotContain(t *testing.T) {
	for program, banned := range map[string][]string{
		"./apid":     {module + "pkg/jail", module + "pkg/cgroup", module + "pkg/seccomp", "runtime/cgo"},
		"./runtools": {module + "pkg/jail", module + "pkg/cgroup", module + "pkg/seccomp", module + "pkg/wire", "runtime/cgo"},
		"./sandboxd": {module + "pkg/lang", "github.com/valyala/fasthttp", "net/http"},
		"./rootfs":   {module + "pkg/jail", "runtime/cgo"},
	} {
		cmd := exec.Command("go", "list", "-deps", program)
		cgo := "0"
		if program == "./sandboxd" {
			cgo = "1"
		}
		cmd.Env = append(os.Environ(), "CGO_ENABLED="+cgo)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v", program, err)
		}
		for _, dep := range strings.Fields(string(out)) {
			if slices.Contains(banned, dep) {
				t.Errorf("%s contains %s", program, dep)
			}
		}
	}
}

// tracked lists the files of the repository that match a pattern of git's.
func tracked(t *testing.T, patterns ...string) []string {
	t.Helper()
	out, err := exec.Command("git", append([]string{"ls-files", "--cached", "--others", "--exclude-standard", "--"}, patterns...)...).Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	files := strings.Fields(string(out))
	return slices.DeleteFunc(files, func(f string) bool { _, err := os.Stat(f); return err != nil })
}

// unsafe and cgo stand in files named *_unsafe.go only, so that a reader finds them all.
func TestUnsafeIsWhereItsNameSays(t *testing.T) {
	importing := regexp.MustCompile(`(?m)^\s*(import\s+)?([\w.]+\s+)?"(unsafe|C)"$`)
	for _, file := range tracked(t, "*.go") {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if importing.Match(data) && !strings.HasSuffix(file, "_unsafe.go") {
			t.Errorf("%s imports unsafe or C", file)
		}
	}
}

// wallClock is what makes a moment one of the wall clock alone: numbers of it, and what takes the monotonic part of a time.Time away.
const wallClock = `\.Unix(Nano|Micro|Milli)?\(\)|time\.(Unix|UnixMilli|UnixMicro|Parse|ParseInLocation|Date)\(|\.Round\(0\)|CLOCK_REALTIME`

// starts is what makes a process of a program, or loads code.
const starts = `"os/exec"|"plugin"|\b(os\.StartProcess|(unix|syscall)\.(ForkExec|Exec))\(`

const netHTTP = `net/http"`

// bans are calls that code of a folder must not make, with the reason.
var bans = []struct{ folder, call, reason string }{
	{"sandboxd", `os\.Create\(`, "follows links: root opens paths with O_NOFOLLOW or below a descriptor (CVE-2024-28185)"},
	{"sandboxd", `os\.RemoveAll\(|os\.Chown\([^c]`, "root never walks or chowns a tree; volumes are dropped as mounts (CVE-2024-28189)"},
	{"sandboxd", starts, "root starts nothing but zygote.c: no program of the host, and none of the image, whose pages are what Copy Fail and its kin write to (CVE-2026-31431)"},
	{"pkg", starts, "the daemons start nothing but zygote.c"},
	{"apid", starts, "apid starts nothing: programs run in jails"},
	{"", `os\.IsNotExist\(|os\.IsExist\(`, "does not see wrapped errors: errors.Is(err, fs.ErrNotExist)"},
	{"", `ioutil\.`, "deprecated"},
	{"apid", wallClock, "a step of the wall clock must not stretch or cut a wait: time.Since, or sinceBoot between processes"},
	{"sandboxd", wallClock, "a step of the wall clock must not stretch or cut a wait: monotonic(), or time.Since"},
	{"pkg", wallClock, "a step of the wall clock must not stretch or cut a wait: time.Since"},
	{"apid", netHTTP, "apid speaks HTTP by fasthttp"},
}

// exceptions of bans, with the reason. Each is of one file and one ban, and must be needed.
var exceptions = map[struct{ file, call string }]string{
	{"pkg/jail/spawner.go", starts}:             "the copy of sandboxd's own binary that zygote.c is in",
	{"apid/e2e/testdata/needs/main.go", starts}: "a program that runs in a jail",
	{"apid/metrics.go", netHTTP}:                "promhttp, on a listener of its own",
	{"apid/errors.go", netHTTP}:                 "the names of status codes",
	{"apid/webhook.go", wallClock}:              "the time in a signature is the wall clock's",
	{"apid/conform/conform.go", netHTTP}:        "of tests, whose clients speak net/http",
	{"apid/conform/transport.go", netHTTP}:      "the same",
	{"apid/mcp.go", netHTTP}:                    "the MCP SDK and pkg/client speak net/http; fasthttp has the connections",
}

func TestBannedCalls(t *testing.T) {
	unneeded := maps.Clone(exceptions)
	for _, file := range tracked(t, "*.go") {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range bans {
			if !strings.HasPrefix(file, b.folder) {
				continue
			}
			at := regexp.MustCompile(b.call).FindIndex(data)
			if at == nil {
				continue
			}
			exception := struct{ file, call string }{file, b.call}
			if _, ok := exceptions[exception]; ok {
				delete(unneeded, exception)
				continue
			}
			t.Errorf("%s:%d: %s: %s", file, 1+bytes.Count(data[:at[0]], []byte{'\n'}), b.call, b.reason)
		}
	}
	for exception := range unneeded {
		t.Errorf("%s needs no exception any more from %s", exception.file, exception.call)
	}
}

// A lock file pins packages by their hashes, wherever they are fetched from: npm install --omit-lockfile-registry-resolved.
func TestLockFilesNameNoHost(t *testing.T) {
	for _, file := range tracked(t, "*package-lock.json") {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte(`"resolved"`)) || !bytes.Contains(data, []byte(`"integrity": "sha512-`)) {
			t.Errorf("%s says where packages were fetched from, or not what they are", file)
		}
	}
}

func TestGofmt(t *testing.T) {
	for _, file := range tracked(t, "*.go") {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if formatted, err := format.Source(data); err != nil || !bytes.Equal(data, formatted) {
			t.Errorf("%s is not gofmt-ed (%v)", file, err)
		}
	}
}

// maxZygote is where the one C file must be redesigned instead of grown, lines.
const maxZygote = 600

func TestZygoteStaysSmall(t *testing.T) {
	data, err := os.ReadFile("pkg/jail/zygote.c")
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(data, []byte{'\n'}); n > maxZygote {
		t.Errorf("zygote.c has %d lines, at most %d", n, maxZygote)
	}
}

// A link in a document leads somewhere.
func TestLinksInDocuments(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	for _, file := range tracked(t, "*.md") {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllSubmatch(data, -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), string(m[1]))); err != nil {
				t.Errorf("%s links to %s, which is not there", file, m[1])
			}
		}
	}
}

// What profiles allow is held against a record of what programs call (pkg/seccomp): of all samples and fidelity programs.
func TestEveryProgramIsOnRecord(t *testing.T) {
	data, err := os.ReadFile("seccomp-profiles/use/programs")
	if err != nil {
		t.Fatal(err)
	}
	recorded := strings.Fields(string(data))
	programs := tracked(t, "rootfs/*/fidelity/*.txtar", "rootfs/*/samples/*/case.json")
	if len(programs) == 0 {
		t.Error("no programs")
	}
	for _, file := range programs {
		program := strings.TrimSuffix(file, "/case.json")
		if slices.Contains(recorded, program) {
			continue
		}
		part := strings.Split(strings.TrimSuffix(program, ".txtar"), "/") // rootfs, language, kind, name
		run := "TestSamples/" + part[1] + "/" + part[3]
		if part[2] == "fidelity" {
			run = "TestFidelity/" + part[1] + "/programs/" + part[3]
		}
		t.Errorf("%s is new: RUNTOOLS_RECORD=$PWD/seccomp-profiles/use go test -count=1 -run '%s$' ./apid/e2e adds what it calls", program, run)
	}
}
