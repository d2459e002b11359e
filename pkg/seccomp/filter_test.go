package seccomp

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	libseccomp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"
)

// run is verdict on a program that it must understand.
func run(t *testing.T, program []byte, number uint32, args [6]uint64) uint32 {
	t.Helper()
	action, err := verdict(program, number, args)
	if err != nil {
		t.Fatal(err)
	}
	return action
}

// What we answer for a denied call is what the kernel would have answered by the profile alone, and what is allowed or expected never comes
// to us: both programs that libseccomp makes of a profile are asked about every call, with arguments around every constant of the profile.
func TestListenerAnswersAsTheProfileDoes(t *testing.T) {
	paths, err := filepath.Glob("../../seccomp-profiles/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatal("no profiles", err)
	}
	for _, path := range append(paths, "testdata/docker-default.json") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			f, plain := loadBoth(t, path)
			rng := rand.New(rand.NewPCG(1, 2))
			asked := map[string]int{}
			for nr := range uint32(512) {
				for range f.probes(libseccomp.ScmpSyscall(nr)) {
					args := f.probe(rng, libseccomp.ScmpSyscall(nr))
					want := run(t, plain, nr, args)
					got := run(t, f.BPF, nr, args)
					r := f.decide(libseccomp.ScmpSyscall(nr), args)
					act, expected := r.act, r.Expected
					kind := fmt.Sprintf("%#x", want&unix.SECCOMP_RET_ACTION_FULL)
					call := &Call{number: libseccomp.ScmpSyscall(nr), args: args, native: true}
					atMost, counted := f.Counted(call)
					if counted != (r.AtMost > 0) || atMost != r.AtMost {
						t.Fatalf("call %d %x: counted %v up to %d, the profile says %d", nr, args, counted, atMost, r.AtMost)
					}
					if counted {
						if got != unix.SECCOMP_RET_USER_NOTIF || f.Errno(call) != unix.Errno(*r.ErrnoRet) {
							t.Fatalf("call %d %x: %#x, then %v", nr, args, got, f.Errno(call))
						}
						kind, got = "counted", unix.SECCOMP_RET_ALLOW
					} else if got == unix.SECCOMP_RET_USER_NOTIF {
						kind = "notified"
						errno := f.Errno(call)
						got = unix.SECCOMP_RET_ERRNO | uint32(errno)
						if expected || !isErrno(act) {
							t.Fatalf("call %d %x: notified, though the profile says %v, expected %v", nr, args, act, expected)
						}
					} else if isErrno(act) && errnoOf(act) != 0 && !expected {
						t.Fatalf("call %d %x: denied without a word", nr, args)
					}
					if got != want {
						t.Fatalf("call %d %x: %#x, want %#x", nr, args, got, want)
					}
					asked[kind]++
				}
			}
			t.Log(asked)
			if f.Notifies != (asked["notified"]+asked["counted"] > 0) {
				t.Errorf("Notifies is %v, and of the calls %v", f.Notifies, asked)
			}
		})
	}
}

func loadBoth(t *testing.T, path string) (f *Filter, plain []byte) {
	t.Helper()
	f, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	fallback, rules, err := p.resolve()
	if err != nil {
		t.Fatal(err)
	}
	if plain, err = p.build(&fallback, rules, enforced, (*libseccomp.ScmpFilter).ExportBPF); err != nil {
		t.Fatal(err)
	}
	return f, plain
}

// probes is how many arguments are tried of a call: where none of its rules looks at any, a few show that the program does not either.
func (f *Filter) probes(call libseccomp.ScmpSyscall) int {
	for _, r := range f.rules[call] {
		if len(r.Args) > 0 {
			return 200
		}
	}
	return 10
}

// probe chooses arguments that lie at the borders of the call's rules.
func (f *Filter) probe(rng *rand.Rand, call libseccomp.ScmpSyscall) (args [6]uint64) {
	for i := range args {
		args[i] = rng.Uint64() >> rng.IntN(65)
	}
	for _, r := range f.rules[call] {
		for _, a := range r.Args {
			if rng.IntN(3) > 0 {
				v := a.Value
				if a.Op == maskedEqual {
					v = a.ValueTwo | rng.Uint64()&^a.Value>>rng.IntN(64)
				}
				args[a.Index] = v + uint64(rng.IntN(3)) - 1
				if rng.IntN(2) == 0 {
					args[a.Index] = v
				}
				if rng.IntN(8) == 0 {
					args[a.Index] |= 1 << (32 + rng.IntN(32))
				}
			}
		}
	}
	return args
}
