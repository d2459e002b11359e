package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runtools/runtools/pkg/seccomp"
	"github.com/runtools/runtools/pkg/wire"
)

// What each call of each ABI really returns inside a jail is what the profile declares: for every profile that programs get.
func TestSyscallTable(t *testing.T) {
	profiles, err := filepath.Glob("../seccomp-profiles/*.json")
	if err != nil || len(profiles) < 2 {
		t.Fatal(profiles, err)
	}
	var names []string
	for _, path := range profiles {
		// PID 1's would kill a program before its first instruction; TestListenerAnswersAsTheProfileDoes asks libseccomp's program about it.
		if name := strings.TrimSuffix(filepath.Base(path), ".json"); name != initProfile {
			names = append(names, name)
		}
	}
	td := startDaemon(t, func(c *config) {
		probe := filepath.Join(c.Image, "rootfs/bin/syscalls")
		if out, err := exec.Command("gcc", "-static", "-O1", "-w", "-o", probe, "testdata/syscalls.c").CombinedOutput(); err != nil {
			t.Fatalf("gcc: %v: %s", err, out)
		}
		for _, name := range names {
			dir := filepath.Join(c.Image, "languages", name)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			spec := fmt.Sprintf(`{"templates":{"run":{"pool":0,"seccomp":%q}}}`, extendsOr(t, name))
			if err := os.WriteFile(filepath.Join(dir, "jail.json"), []byte(spec), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	})
	runs := map[string]chan ran{} // all at once: they mostly wait
	for _, name := range names {
		done := make(chan ran, 1)
		runs[name] = done
		go func() {
			done <- td.run("exec syscalls", func(j *wire.Job) { j.Template, j.Limits.WallMS = name+"/run", 240_000 })
		}()
	}
	for _, name := range names {
		r := <-runs[name]
		t.Run(name, func(t *testing.T) {
			f, err := seccomp.Load(filepath.Join("../seccomp-profiles", name+".json"))
			if err != nil {
				t.Fatal(err)
			}
			if r.err != nil || r.Code != 0 || r.Signal != 0 {
				t.Fatalf("%v %+v %s", r.err, r.Result, r.stderr)
			}
			count := map[string]int{}
			for line := range strings.Lines(r.stdout) {
				var abi, got string
				var value int64
				var nr int
				if _, err := fmt.Sscan(line, &abi, &value, &nr, &got); err != nil {
					t.Fatalf("%q: %v", line, err)
				}
				want := "killed"
				if abi == "x86-64" {
					v := uint64(value)
					want = f.Outcome(nr, [6]uint64{v, v, v, v, v, v})
				}
				count[abi+" "+want]++
				// An allowed call may fail in any way of the kernel's, but not as one that the profile does not know.
				if want == "0" {
					want = "ran"
				}
				if mismatch := got != want; mismatch && !(want == "allowed" && got != "killed" && got != "ENOSYS") &&
					odd[fmt.Sprintf("%s %d %d %s", abi, nr, value, got)] == "" {
					t.Errorf("%s %d with %d: %s, the profile says %s", abi, nr, value, got, want)
				}
			}
			t.Log(count)
			if n := strings.Count(r.stdout, "\n"); n != 3*2*548 {
				t.Errorf("%d lines", n)
			}
			if count["x86-64 allowed"] == 0 || count["x86-64 EPERM"] == 0 || count["x86-64 ENOSYS"] == 0 || count["x86-64 killed"] == 0 ||
				count["x32 killed"] != 2*548 || count["i386 killed"] != 2*548 {
				t.Errorf("counts are %v", count)
			}
		})
	}
}

// odd are outcomes that the kernel has its own reasons for.
var odd = map[string]string{
	"x86-64 202 -1 ENOSYS": "futex has no operation -1",
	"x86-64 335 0 ran":     "uretprobe passes every filter since Linux 6.14 (seccomp_uprobe_exception): called from anywhere but the kernel's trampoline it is SIGILL",
	"x86-64 335 -1 ran":    "likewise",
	"x86-64 336 0 ENXIO":   "uprobe likewise, since it exists: ENXIO",
	"x86-64 336 -1 ENXIO":  "likewise",
}

// extendsOr names the profile that a template must name to get this one.
func extendsOr(t *testing.T, name string) string {
	t.Helper()
	extends, err := seccomp.Extends(filepath.Join("../seccomp-profiles", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	if extends != "" {
		return extends
	}
	return name
}
