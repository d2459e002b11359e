package seccomp

import (
	"path/filepath"
	"strings"
	"testing"
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

func TestParseRefuses(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"unknown field":     {`{"why":"x","defaultAction":"SCMP_ACT_ERRNO","default":1}`, "unknown field"},
		"no reason":         {`{"why":"x","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"}]}`, `syscalls[0] (read): "why" is missing`},
		"no profile reason": {`{}`, `"why" is missing`},
		"no names":          {`{"why":"x","syscalls":[{"action":"SCMP_ACT_ALLOW","why":"y"}]}`, `"names" is empty`},
		"trailing data":     {`{"why":"x"} {}`, "data after"},
		"line of the error": {"{\n\n\"why\": 3}", "line 3"},
	} {
		if _, err := Parse([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"unknown call":   {`{"names":["raed"],"action":"SCMP_ACT_ALLOW","why":"y"}`, "raed: this libseccomp does not know"},
		"unknown action": {`{"names":["read"],"action":"SCMP_ACT_PRAY","why":"y"}`, `unknown action "SCMP_ACT_PRAY"`},
		"no errno":       {`{"names":["read"],"action":"SCMP_ACT_ERRNO","why":"y"}`, "needs errnoRet"},
		"stray errno":    {`{"names":["read"],"action":"SCMP_ACT_ALLOW","errnoRet":1,"why":"y"}`, "errnoRet stands beside"},
		"stray expected": {`{"names":["read"],"action":"SCMP_ACT_ALLOW","expected":true,"why":"y"}`, "expected stands beside SCMP_ACT_ALLOW"},
		"unknown op":     {`{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"op":"<"}],"why":"y"}`, `unknown op "<"`},
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
