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
// "Seccomp"); Why is ours.
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

// Load reads a profile from a file and compiles it.
func Load(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	bpf, err := p.Compile()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return bpf, nil
}

// Compile returns an array of struct sock_filter.
func (p *Profile) Compile() ([]byte, error) {
	filter, err := p.filter()
	if err != nil {
		return nil, err
	}
	defer filter.Release()
	return export(filter.ExportBPF)
}

// Text returns the program as libseccomp's pseudo code, for people and for golden tests.
func (p *Profile) Text() (string, error) {
	filter, err := p.filter()
	if err != nil {
		return "", err
	}
	defer filter.Release()
	text, err := export(filter.ExportPFC)
	return string(text), err
}

func (p *Profile) filter() (*seccomp.ScmpFilter, error) {
	fallback, err := action(p.DefaultAction, p.DefaultErrnoRet)
	if err != nil {
		return nil, fmt.Errorf("defaultAction: %w", err)
	}
	filter, err := seccomp.NewFilter(fallback)
	if err != nil {
		return nil, err
	}
	if err := p.fill(filter, fallback); err != nil {
		filter.Release()
		return nil, err
	}
	return filter, nil
}

func (p *Profile) fill(filter *seccomp.ScmpFilter, fallback seccomp.ScmpAction) error {
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
	for i, r := range p.Syscalls {
		if err := addRule(filter, fallback, &r); err != nil {
			return fmt.Errorf("syscalls[%d]: %w", i, err)
		}
	}
	return nil
}

func addRule(filter *seccomp.ScmpFilter, fallback seccomp.ScmpAction, r *Rule) error {
	act, err := action(r.Action, r.ErrnoRet)
	if err != nil {
		return err
	}
	var conditions []seccomp.ScmpCondition
	for _, a := range r.Args {
		op, ok := compareOps[a.Op]
		if !ok {
			return fmt.Errorf("args: unknown op %q", a.Op)
		}
		values := []uint64{a.Value}
		if op == seccomp.CompareMaskedEqual {
			values = append(values, a.ValueTwo)
		}
		c, err := seccomp.MakeCondition(a.Index, op, values...)
		if err != nil {
			return fmt.Errorf("args: %w", err)
		}
		conditions = append(conditions, c)
	}
	for _, name := range r.Names {
		call, err := seccomp.GetSyscallFromName(name)
		if err != nil {
			return fmt.Errorf("%s: this libseccomp does not know the call: correct the name or leave it out", name)
		}
		if act == fallback {
			continue // libseccomp refuses a rule that changes nothing; in a profile it still says why
		}
		if err := filter.AddRuleConditionalExact(call, act, conditions); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

var compareOps = map[string]seccomp.ScmpCompareOp{
	"SCMP_CMP_NE": seccomp.CompareNotEqual, "SCMP_CMP_EQ": seccomp.CompareEqual,
	"SCMP_CMP_LT": seccomp.CompareLess, "SCMP_CMP_LE": seccomp.CompareLessOrEqual,
	"SCMP_CMP_GT": seccomp.CompareGreater, "SCMP_CMP_GE": seccomp.CompareGreaterEqual,
	"SCMP_CMP_MASKED_EQ": seccomp.CompareMaskedEqual,
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
