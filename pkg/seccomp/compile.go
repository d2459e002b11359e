package seccomp

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	libseccomp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"
)

// Text returns the program as libseccomp's pseudo code, for people and for golden tests.
func (p *Profile) Text() (string, error) {
	fallback, rules, err := p.resolve()
	if err != nil {
		return "", err
	}
	text, err := p.build(&fallback, rules, enforced, (*libseccomp.ScmpFilter).ExportPFC)
	return string(text), err
}

// rule is one call of a Rule, in the terms of libseccomp.
type rule struct {
	*Rule
	call libseccomp.ScmpSyscall
	act  libseccomp.ScmpAction
}

// resolve checks every rule and looks its calls up.
func (p *Profile) resolve() (fallback rule, rules []rule, err error) {
	fallback = rule{Rule: &Rule{}}
	if fallback.act, err = action(p.DefaultAction, p.DefaultErrnoRet); err != nil {
		return fallback, nil, fmt.Errorf("defaultAction: %w", err)
	}
	seen := map[libseccomp.ScmpSyscall]rule{}
	for i := range p.Syscalls {
		r := &p.Syscalls[i]
		if !r.applies() {
			continue
		}
		act, err := r.check()
		if err != nil {
			return fallback, nil, fmt.Errorf("%s: %w", r.where(i), err)
		}
		for _, name := range r.Names {
			call, err := libseccomp.GetSyscallFromName(name)
			if known := err == nil && call >= 0; !known && p.foreign() {
				continue
			} else if !known {
				return fallback, nil, fmt.Errorf("%s: %s: this libseccomp does not know the call on this machine: correct the name or leave it out", r.where(i), name)
			}
			if other, ok := seen[call]; ok && (other.act != act || other.AtMost != r.AtMost) && (len(other.Args) == 0 || len(r.Args) == 0) {
				return fallback, nil, fmt.Errorf("%s: %s: line %d says otherwise, and one of both rules has no args: remove one", r.where(i), name, other.line)
			}
			seen[call] = rule{r, call, act}
			rules = append(rules, seen[call])
		}
	}
	return fallback, rules, nil
}

func (r *Rule) check() (libseccomp.ScmpAction, error) {
	errno := r.ErrnoRet
	if r.AtMost > 0 {
		if r.Action != "SCMP_ACT_ALLOW" || errno == nil || *errno < 1 || *errno > 4095 {
			return 0, errors.New("atMost is for SCMP_ACT_ALLOW and needs errnoRet 1..4095, for the calls that are too many")
		}
		errno = nil
	}
	act, err := action(r.Action, errno)
	if err != nil {
		return 0, err
	}
	if r.Expected && !isErrno(act) {
		return 0, fmt.Errorf("expected stands beside %s: it is for SCMP_ACT_ERRNO", r.Action)
	}
	for _, a := range r.Args {
		if _, ok := compareOps[a.Op]; !ok {
			return 0, fmt.Errorf("args: unknown op %q: SCMP_CMP_EQ, _NE, _LT, _LE, _GT, _GE or _MASKED_EQ", a.Op)
		}
		if a.Index > 5 {
			return 0, fmt.Errorf("args: index %d: a call has arguments 0 to 5", a.Index)
		}
	}
	return act, nil
}

// A change says what is to be done in the kernel about a rule.
type change func(r *rule) libseccomp.ScmpAction

// enforced leaves the action as it stands.
func enforced(r *rule) libseccomp.ScmpAction { return r.act }

// notified lets the listener answer for the denials that nobody expects, and for what is counted. A call that is answered with 0 is not denied.
func notified(r *rule) libseccomp.ScmpAction {
	if r.AtMost > 0 || isErrno(r.act) && errnoOf(r.act) != 0 && !r.Expected {
		return libseccomp.ActNotify
	}
	return r.act
}

// recorded hands over whatever does not kill. The message that brings the listener to us must pass without it.
func recorded(r *rule) libseccomp.ScmpAction {
	if r.call == unix.SYS_SENDMSG && r.act == libseccomp.ActAllow || r.act == libseccomp.ActKillProcess {
		return r.act
	}
	return libseccomp.ActNotify
}

// build has libseccomp make a program in which each action is what change makes of it, and returns what write writes of it.
func (p *Profile) build(fallback *rule, rules []rule, change change, write func(*libseccomp.ScmpFilter, *os.File) error) ([]byte, error) {
	filter, err := libseccomp.NewFilter(change(fallback))
	if err != nil {
		return nil, err
	}
	defer filter.Release()
	if err := p.setABIs(filter); err != nil {
		return nil, err
	}
	for _, r := range rules {
		act := change(&r)
		if act == change(fallback) {
			continue // libseccomp refuses a rule that changes nothing; in a profile it still says why
		}
		if err := addRule(filter, act, &r); err != nil {
			name, _ := r.call.GetName()
			return nil, fmt.Errorf("line %d: %s: %w", r.line, name, err)
		}
	}
	return export(func(f *os.File) error { return write(filter, f) })
}

func (p *Profile) setABIs(filter *libseccomp.ScmpFilter) error {
	// libseccomp puts the check of the ABI first. A call through another ABI (i386's int 0x80, x32) has other numbers and other
	// argument rules, so it must never reach the list: the process is killed.
	if err := filter.SetBadArchAction(libseccomp.ActKillProcess); err != nil {
		return err
	}
	if err := filter.SetOptimize(2); err != nil { // a binary tree instead of a list
		return err
	}
	native, err := libseccomp.GetNativeArch()
	if err != nil {
		return err
	}
	for _, name := range p.Architectures {
		arch, err := libseccomp.GetArchFromString(strings.ToLower(strings.TrimPrefix(name, "SCMP_ARCH_")))
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

func addRule(filter *libseccomp.ScmpFilter, act libseccomp.ScmpAction, r *rule) error {
	var conditions []libseccomp.ScmpCondition
	for _, a := range r.Args {
		values := []uint64{a.Value}
		if a.Op == maskedEqual {
			values = append(values, a.ValueTwo)
		}
		c, err := libseccomp.MakeCondition(a.Index, compareOps[a.Op], values...)
		if err != nil {
			return fmt.Errorf("args: %w", err)
		}
		conditions = append(conditions, c)
	}
	return filter.AddRuleConditionalExact(r.call, act, conditions)
}

const maskedEqual = "SCMP_CMP_MASKED_EQ"

var compareOps = map[string]libseccomp.ScmpCompareOp{
	"SCMP_CMP_NE": libseccomp.CompareNotEqual, "SCMP_CMP_EQ": libseccomp.CompareEqual,
	"SCMP_CMP_LT": libseccomp.CompareLess, "SCMP_CMP_LE": libseccomp.CompareLessOrEqual,
	"SCMP_CMP_GT": libseccomp.CompareGreater, "SCMP_CMP_GE": libseccomp.CompareGreaterEqual,
	maskedEqual: libseccomp.CompareMaskedEqual,
}

func action(name string, errno *uint) (libseccomp.ScmpAction, error) {
	if name != "SCMP_ACT_ERRNO" && errno != nil {
		return 0, fmt.Errorf("errnoRet stands beside %s: remove it", name)
	}
	switch name {
	case "SCMP_ACT_ALLOW":
		return libseccomp.ActAllow, nil
	case "SCMP_ACT_KILL_PROCESS":
		return libseccomp.ActKillProcess, nil
	case "SCMP_ACT_ERRNO":
		if errno == nil || *errno > 4095 { // MAX_ERRNO of the kernel; 0 answers the call with 0 and does nothing
			return 0, errors.New("SCMP_ACT_ERRNO needs errnoRet 0..4095")
		}
		return libseccomp.ActErrno.SetReturnCode(int16(*errno)), nil
	}
	return 0, fmt.Errorf("unknown action %q: SCMP_ACT_ALLOW, SCMP_ACT_ERRNO or SCMP_ACT_KILL_PROCESS", name)
}

func isErrno(act libseccomp.ScmpAction) bool { return act&0xffff == libseccomp.ActErrno }

func errnoOf(act libseccomp.ScmpAction) unix.Errno { return unix.Errno(act >> 16) }

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
