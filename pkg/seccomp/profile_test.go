package seccomp

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	libseccomp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"
)

func TestProfilesOfTheRepositoryCompile(t *testing.T) {
	paths, err := filepath.Glob("../../seccomp-profiles/*.json")
	if err != nil || len(paths) < 2 {
		t.Fatalf("profiles: %v, %v", paths, err)
	}
	for _, path := range paths {
		f, err := Load(path)
		if err != nil {
			t.Error(err)
			continue
		}
		bpf := f.BPF
		if len(bpf) == 0 || len(bpf)%8 != 0 || len(bpf)/8 > 4096 { // BPF_MAXINSNS
			t.Errorf("%s: program of %d bytes", path, len(bpf))
		}
		t.Logf("%s: %d instructions", path, len(bpf)/8)
	}
}

// maxAllowed is how many calls the profile of any language may allow.
const maxAllowed = 159

func TestProfilesOfTheRepositoryAreSmall(t *testing.T) {
	paths, err := filepath.Glob("../../seccomp-profiles/*.json")
	if err != nil || len(paths) < 2 {
		t.Fatalf("profiles: %v, %v", paths, err)
	}
	for _, path := range paths {
		p, err := Read(path)
		if err != nil {
			t.Fatal(err)
		}
		n := len(p.Grants())
		t.Logf("%s: %d calls", path, n)
		if n > maxAllowed {
			t.Errorf("%s allows %d calls, at most %d: sandboxd seccomp minimise shows what nobody needs", path, n, maxAllowed)
		}
	}
}

// unseen are calls that profiles allow and no recorded program makes, with the reason.
var unseen = map[string]string{
	"base sendmsg":       "every program's process says by it that it begins, which is not recorded",
	"ruby timer_create":  "Ruby 3.2, which BASE=noble has",
	"ruby timer_settime": "Ruby 3.2",
	"ruby timer_delete":  "Ruby 3.2",
}

// What the addition of a language allows, programs in that language were seen to do (make record); what the base allows, those in some language.
func TestProfilesOfTheRepositoryAreProven(t *testing.T) {
	read := func(name string) *Profile {
		p, err := Read("../../seccomp-profiles/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	prove := func(profile, name string, uses []*Use) {
		why, seen := unseen[profile+" "+name], len(Users(uses, name)) > 0
		if why == "" && !seen {
			t.Errorf("%s.json allows %s, and no record has it: take it away, or have a program of apid/e2e/testdata/needs make it and record that", profile, name)
		} else if why != "" && seen {
			t.Errorf("%s.json: %s is on record: it is no exception any more", profile, name)
		}
	}
	paths, err := filepath.Glob("../../seccomp-profiles/use/*.json")
	if err != nil {
		t.Fatal(err)
	}
	base := read("base").Grants()
	var all []*Use
	for _, path := range paths {
		u, err := ReadUse(path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, u)
		for name := range read(u.Language).Grants() {
			if base[name] == nil {
				prove(u.Language, name, []*Use{u})
			}
		}
	}
	for name := range base {
		prove("base", name, all)
	}
	if additions, err := filepath.Glob("../../seccomp-profiles/*.json"); err != nil || len(additions) != len(paths)+2 { // base and init
		t.Errorf("%d profiles, and records of %d languages: %v", len(additions), len(paths), err)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"unknown field":     {`{"why":"x","defaultAction":"SCMP_ACT_ERRNO","default":1}`, "unknown field"},
		"no rules":          {`{"why":"x"}`, `"syscalls" is missing`},
		"no reason":         {"{\"why\":\"x\",\n\"syscalls\":[\n{\"names\":[\"read\"],\"action\":\"SCMP_ACT_ALLOW\"}]}", `line 3: syscalls[0] (read): "why" is missing`},
		"reason of a rule":  {`{"syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","why":"y"}]}`, `syscalls[0] has a "why" and the profile none`},
		"no names":          {`{"why":"x","syscalls":[{"action":"SCMP_ACT_ALLOW","why":"y"}]}`, `"names" is empty`},
		"trailing data":     {`{"why":"x","syscalls":[]} {}`, "data after"},
		"line of the error": {"{\n\n\"why\": 3}", "line 3"},
		"syntax":            {"{\n\"why\": \"x\",\n}", "line 3"},
		"addition, default": {`{"why":"x","extends":"base","defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","why":"y"}]}`, `"extends" stands beside`},
		"addition, no why":  {`{"extends":"base","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"}]}`, "say what the addition is for"},
	} {
		if _, err := Parse([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"unknown call":    {`{"names":["raed"],"action":"SCMP_ACT_ALLOW","why":"y"}`, "raed: this libseccomp does not know"},
		"unknown action":  {`{"names":["read"],"action":"SCMP_ACT_PRAY","why":"y"}`, `unknown action "SCMP_ACT_PRAY"`},
		"no errno":        {`{"names":["read"],"action":"SCMP_ACT_ERRNO","why":"y"}`, "needs errnoRet"},
		"stray errno":     {`{"names":["read"],"action":"SCMP_ACT_ALLOW","errnoRet":1,"why":"y"}`, "errnoRet stands beside"},
		"count, no errno": {`{"names":["read"],"action":"SCMP_ACT_ALLOW","atMost":5,"why":"y"}`, "atMost is for SCMP_ACT_ALLOW and needs errnoRet"},
		"counted denial":  {`{"names":["read"],"action":"SCMP_ACT_ERRNO","errnoRet":1,"atMost":5,"why":"y"}`, "atMost is for SCMP_ACT_ALLOW"},
		"counted or not":  {`{"names":["read"],"action":"SCMP_ACT_ALLOW","why":"y"},{"names":["read"],"action":"SCMP_ACT_ALLOW","atMost":5,"errnoRet":1,"why":"y"}`, "line 1 says otherwise"},
		"unknown index":   {`{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":6,"op":"SCMP_CMP_EQ"}],"why":"y"}`, "index 6"},
		"another machine": {`{"names":["socketcall"],"action":"SCMP_ACT_ALLOW","why":"y"}`, "socketcall: this libseccomp does not know"},
		"contradiction":   {`{"names":["read"],"action":"SCMP_ACT_ALLOW","why":"y"},{"names":["read"],"action":"SCMP_ACT_ERRNO","errnoRet":1,"why":"y"}`, "syscalls[1]: read: line 1 says otherwise"},
		"stray expected":  {`{"names":["read"],"action":"SCMP_ACT_ALLOW","expected":true,"why":"y"}`, "expected stands beside SCMP_ACT_ALLOW"},
		"unknown op":      {`{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"op":"<"}],"why":"y"}`, `unknown op "<"`},
	} {
		p, err := Parse([]byte(`{"why":"x","defaultAction":"SCMP_ACT_KILL_PROCESS","syscalls":[` + c.text + `]}`))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := p.Compile(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
		}
	}
}

// Docker's own profile loads as it is, for programs without capabilities.
func TestDockersProfileLoads(t *testing.T) {
	const path = "testdata/docker-default.json"
	f, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		number int
		args   [6]uint64
		want   string
	}{
		"read":              {unix.SYS_READ, [6]uint64{}, "allowed"},
		"thread":            {unix.SYS_CLONE, [6]uint64{unix.CLONE_VM}, "allowed"},
		"namespace":         {unix.SYS_CLONE, [6]uint64{unix.CLONE_NEWUSER}, "EPERM"},
		"clone3":            {unix.SYS_CLONE3, [6]uint64{}, "ENOSYS"},
		"with a capability": {unix.SYS_MOUNT, [6]uint64{}, "EPERM"},
		"AF_VSOCK":          {unix.SYS_SOCKET, [6]uint64{40}, "EPERM"},
		"AF_UNIX":           {unix.SYS_SOCKET, [6]uint64{1}, "allowed"},
	} {
		call := &Call{number: libseccomp.ScmpSyscall(c.number), args: c.args}
		got := "allowed"
		if !f.Allows(call) {
			got = unix.ErrnoName(f.Errno(call))
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// An addition has the rules of what it extends before its own.
func TestExtends(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name+".json"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("base", `{"why":"x","defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","why":"y"}]}`)
	write("more", `{"why":"x","extends":"base","syscalls":[{"names":["shmget"],"action":"SCMP_ACT_ALLOW","why":"y"}]}`)
	write("twice", `{"why":"x","extends":"more","syscalls":[{"names":["shmget"],"action":"SCMP_ACT_ALLOW","why":"y"}]}`)
	write("against", `{"why":"x","extends":"base","syscalls":[{"names":["read"],"action":"SCMP_ACT_KILL_PROCESS","why":"y"}]}`)
	write("outside", `{"why":"x","extends":"../base","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","why":"y"}]}`)
	f, err := Load(filepath.Join(dir, "more.json"))
	if err != nil {
		t.Fatal(err)
	}
	for number, want := range map[int]bool{unix.SYS_READ: true, unix.SYS_SHMGET: true, unix.SYS_WRITE: false} {
		if got := f.Allows(&Call{number: libseccomp.ScmpSyscall(number)}); got != want {
			t.Errorf("call %d is allowed: %v", number, got)
		}
	}
	for name, want := range map[string]string{"twice": "an addition itself", "against": "says otherwise", "outside": "not the name of a profile", "none": "no such file"} {
		if _, err := Load(filepath.Join(dir, name+".json")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

// The ABI is looked at before anything else; all others are killed, x32 included.
func TestOtherABIsAreKilledFirst(t *testing.T) {
	p, err := Parse([]byte(`{"why":"x","defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"architectures":["SCMP_ARCH_X86_64"],
		"syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","why":"y"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	text, err := p.Text()
	if err != nil {
		t.Fatal(err)
	}
	if arch, allow := strings.Index(text, "$arch == 3221225534"), strings.Index(text, "ALLOW"); arch < 0 || allow < arch {
		t.Errorf("the check of the ABI does not come first:\n%s", text)
	}
	if !strings.Contains(text, "# invalid architecture action\naction KILL_PROCESS") {
		t.Errorf("another ABI is not killed:\n%s", text)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"why":"x","defaultAction":"SCMP_ACT_KILL_PROCESS","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","why":"y"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse(data)
		if err != nil {
			return
		}
		// Whatever parses either compiles or says why not; it must not crash in libseccomp.
		_, _ = p.Compile()
	})
}
