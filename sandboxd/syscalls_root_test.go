package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	libseccomp "github.com/seccomp/libseccomp-golang"

	"github.com/runtools/runtools/pkg/seccomp"
	"github.com/runtools/runtools/pkg/wire"
)

// unfiltered is the profile of the jail in which PID 1's is looked at: that would kill a program before its first instruction, and the others let nobody
// install a filter of his own.
const unfiltered = `{"why": "the probe installs a filter of its own", "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
	"syscalls": [{"why": "every profile has a rule, and one of several ABIs none that changes anything", "names": ["exit"], "action": "SCMP_ACT_ALLOW"}]}`

// What each call of each ABI really returns inside a jail is what the profile declares: for every profile, also that of PID 1; and what each
// rule about arguments says of the values that it names, and of others.
func TestSyscallTable(t *testing.T) {
	profiles, err := filepath.Glob("../seccomp-profiles/*.json")
	if err != nil || len(profiles) < 2 {
		t.Fatal(profiles, err)
	}
	var names []string
	for _, path := range profiles {
		names = append(names, strings.TrimSuffix(filepath.Base(path), ".json"))
	}
	rows := map[string][]row{}
	for _, name := range names {
		rows[name] = rowsOf(t, filepath.Join("../seccomp-profiles", name+".json"))
	}
	td := startDaemon(t, func(c *config) {
		probe := filepath.Join(c.Image, "rootfs/bin/syscalls")
		if out, err := exec.Command("gcc", "-static", "-O1", "-w", "-o", probe, "testdata/syscalls.c").CombinedOutput(); err != nil {
			t.Fatalf("gcc: %v: %s", err, out)
		}
		c.Profiles = t.TempDir()
		if err := errors.Join(os.CopyFS(c.Profiles, os.DirFS("../seccomp-profiles")), os.WriteFile(filepath.Join(c.Profiles, "unfiltered.json"), []byte(unfiltered), 0o644)); err != nil {
			t.Fatal(err)
		}
		pid1, err := loadInitProfile(c.Profiles)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(c.Image, "rootfs", "filter"), pid1.BPF, 0o644); err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			dir := filepath.Join(c.Image, "languages", templateOf(name))
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			spec := fmt.Sprintf(`{"templates":{"run":{"pool":0,"seccomp":%q}}}`, extendsOr(t, name))
			if err := os.WriteFile(filepath.Join(dir, "jail.json"), []byte(spec), 0o644); err != nil {
				t.Fatal(err)
			}
			var text strings.Builder
			for _, r := range rows[name] {
				fmt.Fprintf(&text, "%d %x %x %x %x %x %x\n", r.nr, r.args[0], r.args[1], r.args[2], r.args[3], r.args[4], r.args[5])
			}
			if err := os.WriteFile(filepath.Join(c.Image, "rootfs", "rows-"+name), []byte(text.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	})
	runs := map[string]chan ran{} // all at once: they mostly wait
	for _, name := range names {
		done := make(chan ran, 1)
		runs[name] = done
		go func() {
			script := "exec syscalls /rows-" + name
			if name == initProfile {
				script += " /filter"
			}
			done <- td.run(script, func(j *wire.Job) { j.Template, j.Limits.WallMS = templateOf(name)+"/run", 240_000 })
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
			for line := range strings.Lines(r.stdout + r.stderr) {
				var abi, got string
				var value int64
				var nr int
				if _, err := fmt.Sscan(line, &abi, &value, &nr, &got); err != nil {
					t.Fatalf("%q: %v", line, err)
				}
				v := uint64(value)
				want, args := "killed", [6]uint64{v, v, v, v, v, v}
				if abi == "row" {
					args = rows[name][value].args
				}
				if abi == "row" || abi == "x86-64" {
					want = f.Outcome(nr, args)
				}
				count[abi+" "+want]++
				// An allowed call may fail in any way of the kernel's, but not as one that the profile does not know, or does not permit.
				if want == "0" {
					want = "ran"
				}
				call, _ := libseccomp.ScmpSyscall(nr).GetName()
				fine := got == want || want == "allowed" && got != "killed" && got != "ENOSYS" && (got != "EPERM" || notPermitted[fmt.Sprintf("%s %d", call, args[0])] != "")
				if !fine && odd[fmt.Sprintf("%s %d %d %s", abi, nr, value, got)] == "" {
					t.Errorf("%s %d (%s) with %#x: %s, the profile says %s", abi, nr, call, args, got, want)
				}
			}
			t.Log(count)
			if n := strings.Count(r.stdout+r.stderr, "\n"); n != 3*2*548+len(rows[name]) {
				t.Errorf("%d lines", n)
			}
			refuses := count["x86-64 EPERM"] > 0 && count["x86-64 ENOSYS"] > 0
			if count["x86-64 allowed"] == 0 || refuses == (name == initProfile) || count["x86-64 killed"] == 0 || count["x32 killed"] != 2*548 || count["i386 killed"] != 2*548 {
				t.Errorf("counts are %v", count)
			}
		})
	}
}

// row is one call of x86-64.
type row struct {
	nr   int
	args [6]uint64
}

// rowsOf are the calls about which a profile's own rules, without those of the one that it extends, look at arguments: with the values that the
// rule names, and for each argument with one that it does not.
func rowsOf(t *testing.T, path string) (rows []row) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p, err := seccomp.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range p.Syscalls {
		var args [6]uint64
		for _, a := range rule.Args {
			args[a.Index], _ = around(t, a)
		}
		for _, name := range rule.Names {
			nr, err := libseccomp.GetSyscallFromName(name)
			if err != nil {
				t.Fatal(err)
			}
			if len(rule.Args) > 0 {
				rows = append(rows, row{int(nr), args})
			}
			for _, a := range rule.Args {
				other := row{int(nr), args}
				_, other.args[a.Index] = around(t, a)
				if !slices.Contains(rows, other) {
					rows = append(rows, other)
				}
			}
		}
	}
	return rows
}

// around returns a value for which a condition holds, and one close by for which it does not.
func around(t *testing.T, a seccomp.Arg) (holds, fails uint64) {
	t.Helper()
	switch a.Op {
	case "SCMP_CMP_EQ":
		return a.Value, a.Value + 1
	case "SCMP_CMP_LT":
		return a.Value - 1, a.Value
	case "SCMP_CMP_GT":
		return a.Value + 1, a.Value
	case "SCMP_CMP_GE":
		return a.Value, a.Value - 1
	case "SCMP_CMP_MASKED_EQ":
		return a.ValueTwo, a.ValueTwo ^ a.Value&-a.Value // the lowest bit of the mask
	}
	t.Fatalf("%s: say for what values it holds", a.Op)
	return 0, 0
}

// notPermitted are calls, with their first argument, that the profiles allow and the kernel refuses to any plain user.
var notPermitted = map[string]string{
	"setuid 0": "becoming root",
	"prctl 24": "PR_CAPBSET_DROP, without the capability for it",
	// PID 1's profile alone.
	"move_mount 0": "mounting", "move_mount 18446744073709551615": "mounting",
	"umount2 0": "unmounting", "umount2 18446744073709551615": "unmounting",
}

// odd are outcomes that the kernel has its own reasons for.
var odd = map[string]string{
	"x86-64 202 -1 ENOSYS": "futex has no operation -1",
	"x86-64 335 0 ran":     "uretprobe passes every filter since Linux 6.14 (seccomp_uprobe_exception): called from anywhere but the kernel's trampoline it is SIGILL",
	"x86-64 335 -1 ran":    "likewise",
	"x86-64 336 0 ENXIO":   "uprobe likewise, since it exists: ENXIO",
	"x86-64 336 -1 ENXIO":  "likewise",
}

// templateOf names the folder whose template has this profile: one called as PID 1's would have that.
func templateOf(name string) string {
	if name == initProfile {
		return "pid1"
	}
	return name
}

// extendsOr names the profile that a template must name to get this one.
func extendsOr(t *testing.T, name string) string {
	t.Helper()
	if name == initProfile {
		return "unfiltered"
	}
	extends, err := seccomp.Extends(filepath.Join("../seccomp-profiles", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	if extends != "" {
		return extends
	}
	return name
}
