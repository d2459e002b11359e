// Package seccomp turns a profile, a JSON file in the form of the OCI runtime specification, into the BPF program that the
// kernel runs before each system call. Every rule of a profile says why it is there, or the profile does not load.
package seccomp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"
)

// Profile is the content of one file of seccomp-profiles/. Field names are those of the OCI runtime specification (config-linux.md,
// "Seccomp"); Why and Expected are ours.
type Profile struct {
	Why             string   `json:"why"`             // what the profile is for
	DefaultAction   string   `json:"defaultAction"`   // for a call that no rule names: SCMP_ACT_ERRNO or SCMP_ACT_KILL_PROCESS
	DefaultErrnoRet *uint    `json:"defaultErrnoRet"` // with SCMP_ACT_ERRNO; 38 is ENOSYS
	Architectures   []string `json:"architectures"`   // every other ABI of the kernel is killed
	Syscalls        []Rule   `json:"syscalls"`
}

// Rule is what happens to some system calls.
type Rule struct {
	Names    []string `json:"names"`
	Action   string   `json:"action"`             // SCMP_ACT_ALLOW, SCMP_ACT_ERRNO or SCMP_ACT_KILL_PROCESS
	ErrnoRet *uint    `json:"errnoRet,omitempty"` // with SCMP_ACT_ERRNO
	Args     []Arg    `json:"args,omitempty"`     // all must hold
	Why      string   `json:"why"`
	// Expected, of a denial, means that runtimes and libraries try the call as a matter of course and then do without it: it is denied
	// without a word. Every other denial is a violation, which the answer names.
	Expected bool `json:"expected,omitempty"`
}

// Arg is a condition on one argument, compared as 64 bits.
type Arg struct {
	Index    uint   `json:"index"` // 0..5
	Value    uint64 `json:"value"`
	ValueTwo uint64 `json:"valueTwo,omitempty"` // with SCMP_CMP_MASKED_EQ: (argument & Value) == ValueTwo
	Op       string `json:"op"`                 // SCMP_CMP_EQ, _NE, _LT, _LE, _GT, _GE, _MASKED_EQ
}

// Parse reads a profile strictly: an unknown field, a rule without a reason or trailing data is an error.
func Parse(data []byte) (*Profile, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var p Profile
	if err := dec.Decode(&p); err != nil {
		return nil, fmt.Errorf("line %d: %w", 1+bytes.Count(data[:dec.InputOffset()], []byte{'\n'}), err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("data after the profile")
	}
	if p.Why == "" {
		return nil, errors.New(`"why" is missing: say what the profile is for`)
	}
	for i, r := range p.Syscalls {
		if r.Why == "" {
			return nil, fmt.Errorf(`syscalls[%d] (%s): "why" is missing: say who needs the rule`, i, strings.Join(r.Names, " "))
		}
		if len(r.Names) == 0 {
			return nil, fmt.Errorf(`syscalls[%d]: "names" is empty`, i)
		}
	}
	return &p, nil
}

// Read reads a profile from a file.
func Read(path string) (*Profile, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// Load reads a profile from a file and compiles it.
func Load(path string) (*Filter, error) {
	p, err := Read(path)
	if err != nil {
		return nil, err
	}
	f, err := p.Compile()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// Text returns the program as libseccomp's pseudo code, for people and for golden tests.
func (p *Profile) Text() (string, error) {
	fallback, rules, err := p.resolve()
	if err != nil {
		return "", err
	}
	text, err := p.build(fallback, rules, enforced, (*seccomp.ScmpFilter).ExportPFC)
	return string(text), err
}

// rule is one call of a Rule, in the terms of libseccomp.
type rule struct {
	call     seccomp.ScmpSyscall
	act      seccomp.ScmpAction
	args     []Arg
	expected bool
}

// resolve checks every rule and looks its calls up.
func (p *Profile) resolve() (fallback seccomp.ScmpAction, rules []rule, err error) {
	if fallback, err = action(p.DefaultAction, p.DefaultErrnoRet); err != nil {
		return 0, nil, fmt.Errorf("defaultAction: %w", err)
	}
	for i := range p.Syscalls {
		r := &p.Syscalls[i]
		act, err := action(r.Action, r.ErrnoRet)
		if err != nil {
			return 0, nil, fmt.Errorf("syscalls[%d]: %w", i, err)
		}
		if r.Expected && !isErrno(act) {
			return 0, nil, fmt.Errorf("syscalls[%d]: expected stands beside %s: it is for SCMP_ACT_ERRNO", i, r.Action)
		}
		for _, a := range r.Args {
			if _, ok := compareOps[a.Op]; !ok {
				return 0, nil, fmt.Errorf("syscalls[%d]: args: unknown op %q", i, a.Op)
			}
		}
		for _, name := range r.Names {
			call, err := seccomp.GetSyscallFromName(name)
			if err != nil {
				return 0, nil, fmt.Errorf("syscalls[%d]: %s: this libseccomp does not know the call: correct the name or leave it out", i, name)
			}
			rules = append(rules, rule{call, act, r.Args, r.Expected})
		}
	}
	return fallback, rules, nil
}

// enforced leaves the action of a rule as it stands.
func enforced(act seccomp.ScmpAction, _ bool) seccomp.ScmpAction { return act }

// notified lets the listener answer for the denials that nobody expects. A call that is answered with 0 is not denied.
func notified(act seccomp.ScmpAction, expected bool) seccomp.ScmpAction {
	if isErrno(act) && errnoOf(act) != 0 && !expected {
		return seccomp.ActNotify
	}
	return act
}

// build has libseccomp make a program in which each action is what change makes of it, and returns what write writes of it.
func (p *Profile) build(fallback seccomp.ScmpAction, rules []rule, change func(act seccomp.ScmpAction, expected bool) seccomp.ScmpAction,
	write func(*seccomp.ScmpFilter, *os.File) error) ([]byte, error) {
	fallback = change(fallback, false)
	filter, err := seccomp.NewFilter(fallback)
	if err != nil {
		return nil, err
	}
	defer filter.Release()
	if err := p.setABIs(filter); err != nil {
		return nil, err
	}
	for _, r := range rules {
		act := change(r.act, r.expected)
		if act == fallback {
			continue // libseccomp refuses a rule that changes nothing; in a profile it still says why
		}
		if err := addRule(filter, act, &r); err != nil {
			name, _ := r.call.GetName()
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return export(func(f *os.File) error { return write(filter, f) })
}

func (p *Profile) setABIs(filter *seccomp.ScmpFilter) error {
	// libseccomp puts the check of the ABI first. A call through another ABI (i386's int 0x80, x32) has other numbers and other
	// argument rules, so it must never reach the list: the process is killed.
	if err := filter.SetBadArchAction(seccomp.ActKillProcess); err != nil {
		return err
	}
	if err := filter.SetOptimize(2); err != nil { // a binary tree instead of a list
		return err
	}
	native, err := seccomp.GetNativeArch()
	if err != nil {
		return err
	}
	for _, name := range p.Architectures {
		arch, err := seccomp.GetArchFromString(strings.ToLower(strings.TrimPrefix(name, "SCMP_ARCH_")))
		if err != nil {
			return fmt.Errorf("architectures: %s: %w", name, err)
		}
		if arch == native {
			continue
		}
		if err := filter.AddArch(arch); err != nil {
			return fmt.Errorf("architectures: %s: %w", name, err)
		}
	}
	return nil
}

func addRule(filter *seccomp.ScmpFilter, act seccomp.ScmpAction, r *rule) error {
	var conditions []seccomp.ScmpCondition
	for _, a := range r.args {
		values := []uint64{a.Value}
		if a.Op == maskedEqual {
			values = append(values, a.ValueTwo)
		}
		c, err := seccomp.MakeCondition(a.Index, compareOps[a.Op], values...)
		if err != nil {
			return fmt.Errorf("args: %w", err)
		}
		conditions = append(conditions, c)
	}
	return filter.AddRuleConditionalExact(r.call, act, conditions)
}

const maskedEqual = "SCMP_CMP_MASKED_EQ"

var compareOps = map[string]seccomp.ScmpCompareOp{
	"SCMP_CMP_NE": seccomp.CompareNotEqual, "SCMP_CMP_EQ": seccomp.CompareEqual,
	"SCMP_CMP_LT": seccomp.CompareLess, "SCMP_CMP_LE": seccomp.CompareLessOrEqual,
	"SCMP_CMP_GT": seccomp.CompareGreater, "SCMP_CMP_GE": seccomp.CompareGreaterEqual,
	maskedEqual: seccomp.CompareMaskedEqual,
}

func action(name string, errno *uint) (seccomp.ScmpAction, error) {
	if name != "SCMP_ACT_ERRNO" && errno != nil {
		return 0, fmt.Errorf("errnoRet stands beside %s", name)
	}
	switch name {
	case "SCMP_ACT_ALLOW":
		return seccomp.ActAllow, nil
	case "SCMP_ACT_KILL_PROCESS":
		return seccomp.ActKillProcess, nil
	case "SCMP_ACT_ERRNO":
		if errno == nil || *errno > 4095 { // MAX_ERRNO of the kernel; 0 answers the call with 0 and does nothing
			return 0, errors.New("SCMP_ACT_ERRNO needs errnoRet 0..4095")
		}
		return seccomp.ActErrno.SetReturnCode(int16(*errno)), nil
	}
	return 0, fmt.Errorf("unknown action %q", name)
}

func isErrno(act seccomp.ScmpAction) bool { return act&0xffff == seccomp.ActErrno }

func errnoOf(act seccomp.ScmpAction) unix.Errno { return unix.Errno(act >> 16) }

// export runs one of libseccomp's writers, which want a file.
func export(write func(*os.File) error) ([]byte, error) {
	fd, err := unix.MemfdCreate("seccomp", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	f := os.NewFile(uintptr(fd), "seccomp")
	defer f.Close()
	if err := write(f); err != nil {
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(f)
}
