package seccomp

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func mustParse(t *testing.T, rules string) *Profile {
	t.Helper()
	p, err := Parse([]byte(`{"why":"x","defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"syscalls":[` + rules + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestBeyond(t *testing.T) {
	a := mustParse(t, `{"names":["read","write"],"action":"SCMP_ACT_ALLOW","why":"y"},
		{"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}],"why":"y"},
		{"names":["ioctl"],"action":"SCMP_ACT_ALLOW","why":"y"},
		{"names":["mount"],"action":"SCMP_ACT_ERRNO","errnoRet":1,"why":"y"}`)
	b := mustParse(t, `{"names":["read","mount"],"action":"SCMP_ACT_ALLOW","why":"y"},
		{"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}],"why":"y"},
		{"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":2,"op":"SCMP_CMP_LE"},{"index":1,"value":15,"valueTwo":1,"op":"SCMP_CMP_MASKED_EQ"}],"why":"z"},
		{"names":["ioctl"],"action":"SCMP_ACT_ALLOW","args":[{"index":1,"value":21505,"op":"SCMP_CMP_EQ"}],"why":"y"}`)
	for name, c := range map[string]struct{ got, want []Difference }{
		"new in b":  {b.Beyond(a), []Difference{{"mount", Grant{"", "y"}}, {"socket", Grant{"arg0 <= 0x2 and arg1&0xf == 0x1", "z"}}}},
		"gone in b": {a.Beyond(b), []Difference{{"ioctl", Grant{"", "y"}}, {"write", Grant{"", "y"}}}},
		"itself":    {a.Beyond(a), nil},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, c.got, c.want)
		}
	}
}

func TestMinimise(t *testing.T) {
	p := mustParse(t, `{"names":["read","write","shmget","sendmsg"],"action":"SCMP_ACT_ALLOW","why":"y"},{"names":["msgget"],"action":"SCMP_ACT_ALLOW","why":"y"},
		{"names":["mount"],"action":"SCMP_ACT_ERRNO","errnoRet":1,"why":"y"}`)
	small := p.Minimise([]*Use{
		{Language: "python", Calls: map[string]Called{"read": {Count: 3}, "shmget": {Count: 1, Denied: 1}}},
		{Language: "c", Calls: map[string]Called{"read": {Count: 1}, "write": {Count: 1}, "chroot": {Count: 1}}},
	})
	again, err := Parse([]byte(small.JSON()))
	if err != nil {
		t.Fatalf("%v in %s", err, small.JSON())
	}
	var got []string
	for i := range again.Syscalls {
		got = append(got, strings.Join(again.Syscalls[i].Names, " ")+": "+again.Syscalls[i].Why)
	}
	if want := []string{"read write sendmsg: y. Needed: read: c, python; write: c; sendmsg: every jail", "mount: y"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if _, err := again.Compile(); err != nil {
		t.Error(err)
	}
}

func TestUse(t *testing.T) {
	dir := t.TempDir()
	record := func(name string, denied bool) *Use {
		u := &Use{Language: "c", Jobs: 1, Calls: map[string]Called{}}
		for range 2 {
			u.See(&Call{number: unix.SYS_READ}, false, "run", func() string { return "0, &, 1" })
			u.See(&Call{number: unix.SYS_CHROOT}, denied, name, func() string { return "\"/\"" })
		}
		return u
	}
	for _, u := range []*Use{record("run", true), record("compile", false)} {
		if err := WriteUse(dir, u); err != nil {
			t.Fatal(err)
		}
	}
	got, err := ReadUse(filepath.Join(dir, "c.json"))
	if err != nil {
		t.Fatal(err)
	}
	want := &Use{Language: "c", Jobs: 2, Calls: map[string]Called{
		"read":   {Count: 4, By: []string{"run"}, Example: "0, &, 1"},
		"chroot": {Count: 4, Denied: 2, By: []string{"compile", "run"}, Example: "\"/\""},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	// What is no record, or more than one, is not written over.
	whole, err := os.ReadFile(filepath.Join(dir, "c.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{`{"why": 1}`, string(whole) + string(whole)} {
		if err := os.WriteFile(filepath.Join(dir, "c.json"), []byte(other), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := WriteUse(dir, want); err == nil || !strings.Contains(err.Error(), "record it anew") {
			t.Errorf("%v: over %s", err, other)
		}
	}
}
