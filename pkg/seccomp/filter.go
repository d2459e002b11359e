package seccomp

import (
	"github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"
)

// Filter is a profile made ready: the program for the kernel, and the same rules for whoever answers in its place.
type Filter struct {
	// BPF is an array of struct sock_filter. With Notifies it sends the denials that nobody expects to a listener, so it must be installed
	// with one; that must answer them with Errno.
	BPF      []byte
	Notifies bool

	fallback seccomp.ScmpAction
	rules    map[seccomp.ScmpSyscall][]rule
}

// Compile makes the filter.
func (p *Profile) Compile() (*Filter, error) {
	fallback, rules, err := p.resolve()
	if err != nil {
		return nil, err
	}
	f := &Filter{fallback: fallback, rules: map[seccomp.ScmpSyscall][]rule{}}
	f.Notifies = notified(fallback, false) == seccomp.ActNotify
	for _, r := range rules {
		f.rules[r.call] = append(f.rules[r.call], r)
		f.Notifies = f.Notifies || notified(r.act, r.expected) == seccomp.ActNotify
	}
	f.BPF, err = p.build(fallback, rules, notified, (*seccomp.ScmpFilter).ExportBPF)
	return f, err
}

// decide finds what the profile does to a call of the native ABI.
func (f *Filter) decide(call seccomp.ScmpSyscall, args [6]uint64) (act seccomp.ScmpAction, expected bool) {
	for _, r := range f.rules[call] {
		if r.matches(args) {
			return r.act, r.expected
		}
	}
	return f.fallback, false
}

func (r *rule) matches(args [6]uint64) bool {
	for _, a := range r.args {
		if !a.holds(args[a.Index]) {
			return false
		}
	}
	return true
}

func (a *Arg) holds(v uint64) bool {
	switch compareOps[a.Op] {
	case seccomp.CompareNotEqual:
		return v != a.Value
	case seccomp.CompareEqual:
		return v == a.Value
	case seccomp.CompareLess:
		return v < a.Value
	case seccomp.CompareLessOrEqual:
		return v <= a.Value
	case seccomp.CompareGreater:
		return v > a.Value
	case seccomp.CompareGreaterEqual:
		return v >= a.Value
	default:
		return v&a.Value == a.ValueTwo
	}
}

// Errno is what the profile answers to a call that its program sent to the listener.
func (f *Filter) Errno(c *Call) unix.Errno {
	if act, _ := f.decide(c.number, c.args); isErrno(act) {
		return errnoOf(act)
	}
	// Rules that contradict each other: libseccomp decided otherwise than we do. What it did not allow stays denied.
	return unix.ENOSYS
}
