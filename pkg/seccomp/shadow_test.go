package seccomp

import (
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	libseccomp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"
)

// A shadow's program denies what the one in force denies, in the same way, and lets pass what that lets pass; only what the candidate alone
// would deny comes to the listener, who can tell. Asked about every call, with arguments around the constants of both profiles.
func TestShadowEnforcesWhatIsInForce(t *testing.T) {
	const folder = "../../seccomp-profiles/"
	for _, c := range []struct{ inForce, candidate string }{
		{folder + "java.json", folder + "base.json"}, {folder + "base.json", folder + "java.json"}, {folder + "base.json", folder + "base.json"},
		{"testdata/docker-default.json", folder + "ruby.json"}, {folder + "python.json", folder + "init.json"},
	} {
		t.Run(filepath.Base(c.inForce)+" "+filepath.Base(c.candidate), func(t *testing.T) {
			p, err := Read(c.inForce)
			if err != nil {
				t.Fatal(err)
			}
			candidate, err := Read(c.candidate)
			if err != nil {
				t.Fatal(err)
			}
			shadow, err := p.CompileShadow(candidate)
			if err != nil {
				t.Fatal(err)
			}
			f, trial := compiled(t, p), compiled(t, candidate)
			rng := rand.New(rand.NewPCG(1, 2))
			asked := map[string]int{}
			for nr := range uint32(512) {
				for i := range max(f.probes(libseccomp.ScmpSyscall(nr)), trial.probes(libseccomp.ScmpSyscall(nr))) / 5 {
					from := []*Filter{f, trial}[i%2]
					args := from.probe(rng, libseccomp.ScmpSyscall(nr))
					call := &Call{number: libseccomp.ScmpSyscall(nr), args: args, native: true}
					got, inForce := run(t, shadow.BPF, nr, args), run(t, f.BPF, nr, args)
					r := trial.decide(call.number, args)
					denied := r.act == libseccomp.ActKillProcess || isErrno(r.act) && errnoOf(r.act) != 0 && !r.Expected
					want, kind := inForce, "in force"
					if inForce == unix.SECCOMP_RET_ALLOW && denied {
						want, kind = unix.SECCOMP_RET_USER_NOTIF, "on trial"
					}
					if got != want {
						t.Fatalf("call %d %x: %#x, want %#x", nr, args, got, want)
					}
					// What decides between Continue and Answer.
					if f.Passes(call) != (inForce == unix.SECCOMP_RET_ALLOW) {
						t.Fatalf("call %d %x: Passes is %v, and the program in force says %#x", nr, args, f.Passes(call), inForce)
					}
					if got == unix.SECCOMP_RET_USER_NOTIF && kind == "in force" && shadow.Errno(call) != f.Errno(call) {
						t.Fatalf("call %d %x: another errno", nr, args)
					}
					if n, counted := f.Counted(call); counted {
						// It goes on in a shadow as it does without one, and never because the candidate's listener would let it.
						if m, ok := shadow.Counted(call); m != n || !ok || got != unix.SECCOMP_RET_USER_NOTIF || f.Passes(call) {
							t.Fatalf("call %d %x: %#x, counted up to %d, want %d", nr, args, got, m, n)
						}
						kind = "counted"
					} else if _, ok := shadow.Counted(call); ok {
						t.Fatalf("call %d %x: counted in shadow alone", nr, args)
					}
					asked[kind]++
				}
			}
			t.Log(asked)
			if same := c.inForce == c.candidate; (asked["on trial"] == 0) != (same || strings.HasSuffix(c.candidate, "java.json")) {
				t.Errorf("of the calls %v", asked)
			}
		})
	}
}

func compiled(t *testing.T, p *Profile) *Filter {
	t.Helper()
	f, err := p.Compile()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// A call through another ABI has other numbers: it is never taken for one that passes.
func TestForeignCallDoesNotPass(t *testing.T) {
	f, err := Load("../../seccomp-profiles/base.json")
	if err != nil {
		t.Fatal(err)
	}
	if !f.Passes(&Call{number: unix.SYS_READ, native: true}) || f.Passes(&Call{number: unix.SYS_READ}) {
		t.Error("read passes by another ABI, or not by its own")
	}
}

func TestShadowRefusesOtherABIs(t *testing.T) {
	const text = `{"why":"x","defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86"],
"syscalls":[{"why":"y","names":["read"],"action":"SCMP_ACT_ALLOW"}]}`
	p, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.CompileShadow(p); err == nil || !strings.Contains(err.Error(), "SCMP_ARCH_X86 is in force") {
		t.Error(err)
	}
	p.Architectures = nil
	if compiled(t, p).Begins() {
		t.Error("without sendmsg a jail begins")
	}
	if compiled(t, p).Forks() {
		t.Error("without clone a process forks")
	}
	p.Syscalls[0].Names = []string{"clone"}
	if compiled(t, p).Forks() {
		t.Error("without setsid it makes a session")
	}
	p.Syscalls[0].Names = []string{"clone", "setsid"}
	if !compiled(t, p).Forks() {
		t.Error("with clone it does not")
	}
}

func TestFollowRefusesWhatTheKernelWould(t *testing.T) {
	if _, err := follow(make([]byte, 8*4000), make([]byte, 8*97)); err == nil {
		t.Error("4097 instructions were taken")
	}
}
