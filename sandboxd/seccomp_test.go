package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The commands on profiles, on two small ones and a record.
func TestSeccompCommands(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	head := `{"why": "test", "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "syscalls": [` + "\n"
	a := write("a.json", head+`{"why": "io", "names": ["read", "write", "shmget"], "action": "SCMP_ACT_ALLOW"},
{"why": "no", "names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]}`)
	b := write("b.json", head+`{"why": "io", "names": ["read", "splice"], "action": "SCMP_ACT_ALLOW"},
{"why": "isatty", "names": ["ioctl"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 1, "value": 21505, "op": "SCMP_CMP_EQ"}]}]}`)
	bad := write("bad.json", head+`{"why": "io", "names": ["raed"], "action": "SCMP_ACT_ALLOW"}]}`)
	use := write("use/c.json", `{"language": "c", "jobs": 2, "calls": {"read": {"count": 7, "by": ["compile", "run"], "example": "0, &, 1"},
"mount": {"count": 2, "denied": 2, "by": ["run"], "example": "NULL"}}}`)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"check", a}, a + ": 2 rules, 3 calls allowed, 12 instructions\n" +
			"note: sendmsg is denied: no jail can begin without it, sandboxd refuses the profile\n" +
			"note: shmget is allowed with any arguments: System V shared memory: outlives its processes, within the namespace\n"},
		{[]string{"check", bad}, bad + ": line 2: syscalls[0]: raed: this libseccomp does not know the call on this machine: correct the name or leave it out"},
		{[]string{"diff", a, b}, `+ ioctl when arg1 == 0x5401  [exposes every driver behind a descriptor: allow single requests]
+ splice  [exposes pages of the page cache in pipes (CVE-2022-0847, Dirty Pipe)]
- shmget  [exposes System V shared memory: outlives its processes, within the namespace]
- write
`},
		{[]string{"diff", a, a}, ""},
		{[]string{"explain", a, "read"}, `line 2: allowed: io
  read: without it would break: c
    c                 7 calls (compile, run), such as read(0, &, 1)
`},
		{[]string{"explain", a, "mount"}, `line 3: denied with EPERM: no
  mount: nobody was seen to need it
    c                 2 calls, 2 denied (run), such as mount(NULL)
    exposes every filesystem's parser of foreign images
`},
		{[]string{"explain", a, "tee"}, `no rule names tee: denied with ENOSYS
  tee: nobody was seen to need it
    exposes pages of the page cache in pipes (CVE-2022-0847, Dirty Pipe)
`},
		{[]string{"minimise", a, use}, `{
  "why": "test",
  "defaultAction": "SCMP_ACT_ERRNO",
  "defaultErrnoRet": 38,
  "syscalls": [
    {"why":"io. Needed: read: c","names":["read"],"action":"SCMP_ACT_ALLOW"},
    {"why":"no","names":["mount"],"action":"SCMP_ACT_ERRNO","errnoRet":1}
  ]
}
`},
		{[]string{"minimise", a, b}, b + `: json: unknown field "why": record it anew`},
		{[]string{"check"}, "seccomp: check: unknown, or not so many arguments: run sandboxd seccomp -h"},
		{[]string{"forget", a}, "seccomp: forget: unknown, or not so many arguments: run sandboxd seccomp -h"},
		{nil, seccompUsage},
	} {
		var out strings.Builder
		got := ""
		if err := seccompCommand(c.args, &out); err != nil {
			got = err.Error()
		}
		if got = out.String() + got; got != c.want {
			t.Errorf("%v:\n%swant\n%s", c.args, got, c.want)
		}
	}
}
