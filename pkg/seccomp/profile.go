// Package seccomp turns a profile, a JSON file in the form of the OCI runtime specification, into the BPF program that the
// kernel runs before each system call, and answers for the calls that the program hands over. It also compares profiles with each other
// and with what programs were seen to use.
package seccomp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Profile is the content of one file of seccomp-profiles/. Field names are those of the OCI runtime specification (config-linux.md,
// "Seccomp") and of Docker's profiles; Why, Extends and Expected are ours.
//
// A profile that says what it is for must give a reason for each rule. One without Why is taken as it is, so that Docker's own loads: calls
// that this libseccomp does not know, and rules for other machines or for programs with capabilities, are left out.
type Profile struct {
	Why             string   `json:"why,omitempty"`             // what the profile is for
	Extends         string   `json:"extends,omitempty"`         // name of the profile that this one adds rules to; then it has nothing but rules
	DefaultAction   string   `json:"defaultAction,omitempty"`   // for a call that no rule names: SCMP_ACT_ERRNO or SCMP_ACT_KILL_PROCESS
	DefaultErrnoRet *uint    `json:"defaultErrnoRet,omitempty"` // with SCMP_ACT_ERRNO; 38 is ENOSYS
	Architectures   []string `json:"architectures,omitempty"`   // every other ABI of the kernel is killed
	ArchMap         []any    `json:"archMap,omitempty"`         // of Docker's: not used, so that no other ABI than the machine's own is let in
	Syscalls        []Rule   `json:"syscalls"`
}

// Rule is what happens to some system calls.
type Rule struct {
	Why      string   `json:"why,omitempty"`
	Names    []string `json:"names"`
	Action   string   `json:"action"`             // SCMP_ACT_ALLOW, SCMP_ACT_ERRNO or SCMP_ACT_KILL_PROCESS
	ErrnoRet *uint    `json:"errnoRet,omitempty"` // with SCMP_ACT_ERRNO, or AtMost
	// Expected, of a denial, means that runtimes and libraries try the call as a matter of course and then do without it: it is denied
	// without a word. Every other denial is a violation, which the answer names.
	Expected bool `json:"expected,omitempty"`
	// AtMost, of what is allowed, is how often a job may make the call, by all rules of it that have one together; then it is denied with ErrnoRet.
	// It is for what each call adds to memory that no cgroup counts. 0: as many as it likes.
	AtMost uint64 `json:"atMost,omitempty"`
	Args   []Arg  `json:"args,omitempty"` // all must hold

	Comment  string     `json:"comment,omitempty"` // Docker's
	Includes *Condition `json:"includes,omitempty"`
	Excludes *Condition `json:"excludes,omitempty"`

	line int // of the file, where the rule begins
}

// Arg is a condition on one argument, compared as 64 bits.
type Arg struct {
	Index    uint   `json:"index"` // 0..5
	Value    uint64 `json:"value"`
	ValueTwo uint64 `json:"valueTwo,omitempty"` // with SCMP_CMP_MASKED_EQ: (argument & Value) == ValueTwo
	Op       string `json:"op"`                 // SCMP_CMP_EQ, _NE, _LT, _LE, _GT, _GE, _MASKED_EQ
}

// Condition is where a rule of Docker's holds.
type Condition struct {
	Caps      []string `json:"caps,omitempty"`
	Arches    []string `json:"arches,omitempty"`
	MinKernel string   `json:"minKernel,omitempty"` // older than any that we run on
}

// applies tells whether a rule holds on this machine, for programs without capabilities.
func (r *Rule) applies() bool {
	const arch = "amd64"
	if in := r.Includes; in != nil && (len(in.Caps) > 0 || len(in.Arches) > 0 && !slices.Contains(in.Arches, arch)) {
		return false
	}
	return r.Excludes == nil || !slices.Contains(r.Excludes.Arches, arch)
}

// foreign tells a profile that was not written for us.
func (p *Profile) foreign() bool { return p.Why == "" }

// Parse reads a profile strictly. An error names the line, and what to do.
func Parse(data []byte) (*Profile, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	var p Profile
	if err := dec.Decode(&p); err != nil {
		return nil, fmt.Errorf("line %d: %w", lineOf(data, errorOffset(err, dec)), err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("line %d: data after the profile: remove it", lineOf(data, dec.InputOffset()))
	}
	for i, line := range ruleLines(data) {
		if i < len(p.Syscalls) {
			p.Syscalls[i].line = line
		}
	}
	if len(p.Syscalls) == 0 {
		return nil, errors.New(`"syscalls" is missing or empty: a program needs some calls`)
	}
	if p.Extends != "" && (p.DefaultAction != "" || p.DefaultErrnoRet != nil || len(p.Architectures) > 0) {
		return nil, errors.New(`"extends" stands beside a default action or architectures: those are of the profile that is extended, remove them here`)
	}
	if p.Extends != "" && p.foreign() {
		return nil, errors.New(`"why" is missing: say what the addition is for`)
	}
	for i := range p.Syscalls {
		r := &p.Syscalls[i]
		if !p.foreign() && r.Why == "" {
			return nil, fmt.Errorf(`%s (%s): "why" is missing: say who needs the rule`, r.where(i), strings.Join(r.Names, " "))
		}
		if p.foreign() && r.Why != "" {
			return nil, fmt.Errorf(`%s has a "why" and the profile none: say what the profile is for`, r.where(i))
		}
		if len(r.Names) == 0 {
			return nil, fmt.Errorf(`%s: "names" is empty: name a call or remove the rule`, r.where(i))
		}
	}
	return &p, nil
}

func (r *Rule) where(i int) string { return fmt.Sprintf("line %d: syscalls[%d]", r.line, i) }

// errorOffset is where a decoder stopped.
func errorOffset(err error, dec *json.Decoder) int64 {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return syntax.Offset
	case errors.As(err, &kind):
		return kind.Offset
	}
	return dec.InputOffset()
}

func lineOf(data []byte, offset int64) int {
	return 1 + bytes.Count(data[:min(offset, int64(len(data)))], []byte{'\n'})
}

// ruleLines finds where each element of "syscalls" begins, in what Decode has found well formed.
func ruleLines(data []byte) (lines []int) {
	dec := json.NewDecoder(bytes.NewReader(data))
	var skipped json.RawMessage
	_, _ = dec.Token()
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return lines
		}
		if name, _ := key.(string); !strings.EqualFold(name, "syscalls") {
			if dec.Decode(&skipped) != nil {
				return lines
			}
			continue
		}
		if open, err := dec.Token(); err != nil || open != json.Delim('[') {
			return lines
		}
		for lines = nil; dec.More(); {
			at := dec.InputOffset()
			at += int64(max(0, bytes.IndexByte(data[at:], '{')))
			lines = append(lines, lineOf(data, at))
			if dec.Decode(&skipped) != nil {
				return lines
			}
		}
		if _, err := dec.Token(); err != nil {
			return lines
		}
	}
	return lines
}

// Read reads a profile from a file, together with the one that it extends, which is beside it.
func Read(path string) (*Profile, error) {
	p, err := read(path)
	if err != nil || p.Extends == "" {
		return p, err
	}
	if p.Extends != filepath.Base(p.Extends) {
		return nil, fmt.Errorf("%s: extends: %q is not the name of a profile", path, p.Extends)
	}
	base, err := read(filepath.Join(filepath.Dir(path), p.Extends+".json"))
	if err != nil {
		return nil, fmt.Errorf("%s: extends: %w", path, err)
	}
	if base.Extends != "" {
		return nil, fmt.Errorf("%s: extends: %s is an addition itself: extend %s", path, p.Extends, base.Extends)
	}
	whole := *base
	whole.Why = p.Why
	whole.Syscalls = append(append([]Rule(nil), base.Syscalls...), p.Syscalls...)
	if _, _, err := whole.resolve(); err != nil {
		return nil, fmt.Errorf("%s, with what it extends: %w", path, err)
	}
	return &whole, nil
}

// Extends returns the name of the profile that a file adds to, "" if it stands for itself.
func Extends(path string) (string, error) {
	p, err := read(path)
	if err != nil {
		return "", err
	}
	return p.Extends, nil
}

func read(path string) (*Profile, error) {
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
