package seccomp

import (
	libseccomp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"
)

// Filter is a profile made ready: the program for the kernel, and the same rules for whoever answers in its place.
type Filter struct {
	// BPF is an array of struct sock_filter. With Notifies it hands calls over to a listener, so it must be installed with one.
	BPF      []byte
	Notifies bool

	fallback rule
	rules    map[libseccomp.ScmpSyscall][]rule
}

// Compile makes a filter that hands over the denials that nobody expects, and what is Counted; its listener must answer them with Errno,
// but for those of the second kind that it lets go on.
func (p *Profile) Compile() (*Filter, error) { return p.compile(notified) }

// CompileRecorder makes a filter that hands over every call but those that kill. It is for recording what trusted programs use, and not for
// others: the listener lets allowed calls pass after it has looked at them, when other threads may have changed what their pointers point to.
func (p *Profile) CompileRecorder() (*Filter, error) { return p.compile(recorded) }

func (p *Profile) compile(change change) (*Filter, error) {
	fallback, rules, err := p.resolve()
	if err != nil {
		return nil, err
	}
	f := &Filter{fallback: fallback, rules: map[libseccomp.ScmpSyscall][]rule{}}
	f.Notifies = change(&fallback) == libseccomp.ActNotify
	for _, r := range rules {
		f.rules[r.call] = append(f.rules[r.call], r)
		f.Notifies = f.Notifies || change(&r) == libseccomp.ActNotify
	}
	f.BPF, err = p.build(&fallback, rules, change, (*libseccomp.ScmpFilter).ExportBPF)
	return f, err
}

// decide finds the rule for a call of the native ABI.
func (f *Filter) decide(call libseccomp.ScmpSyscall, args [6]uint64) *rule {
	rules := f.rules[call]
	for i := range rules {
		if rules[i].matches(args) {
			return &rules[i]
		}
	}
	return &f.fallback
}

func (r *rule) matches(args [6]uint64) bool {
	for _, a := range r.Args {
		if !a.holds(args[a.Index]) {
			return false
		}
	}
	return true
}

func (a *Arg) holds(v uint64) bool {
	switch compareOps[a.Op] {
	case libseccomp.CompareNotEqual:
		return v != a.Value
	case libseccomp.CompareEqual:
		return v == a.Value
	case libseccomp.CompareLess:
		return v < a.Value
	case libseccomp.CompareLessOrEqual:
		return v <= a.Value
	case libseccomp.CompareGreater:
		return v > a.Value
	case libseccomp.CompareGreaterEqual:
		return v >= a.Value
	default:
		return v&a.Value == a.ValueTwo
	}
}

// Errno is what the profile answers to a call that its program handed over; to one that is Counted, when there were too many.
func (f *Filter) Errno(c *Call) unix.Errno {
	r := f.decide(c.number, c.args)
	if r.AtMost > 0 {
		return unix.Errno(*r.ErrnoRet)
	}
	if isErrno(r.act) {
		return errnoOf(r.act)
	}
	// Rules that contradict each other: libseccomp decided otherwise than we do. What it did not allow stays denied.
	return unix.ENOSYS
}

// Counted tells whether a call that was handed over may go on (Continue), as long as its job has made atMost of the kind.
//
// To let one go on is as safe here as in a shadow. Other than a path, which another thread may change after it was looked at, what decides is
// registers, which the kernel copied when the call was made and which nobody can change while the thread waits, and a number that is ours. So
// what goes on is the call that the rule allows, and as many as it allows. Where another rule says otherwise of the same call, it is denied.
func (f *Filter) Counted(c *Call) (atMost uint64, ok bool) {
	rules := f.rules[c.number]
	for i := range rules {
		if !rules[i].matches(c.args) {
			continue
		}
		if rules[i].act != libseccomp.ActAllow {
			return 0, false
		}
		if n := rules[i].AtMost; n > 0 && (!ok || n < atMost) {
			atMost, ok = n, c.native
		}
	}
	return atMost, ok
}

// Allows tells whether the profile allows a call.
func (f *Filter) Allows(c *Call) bool { return f.decide(c.number, c.args).act == libseccomp.ActAllow }

// Outcome is what the profile declares for a call of the native ABI: "allowed", "killed", or the name of the errno ("0": answered with 0).
func (f *Filter) Outcome(number int, args [6]uint64) string {
	switch act := f.decide(libseccomp.ScmpSyscall(number), args).act; {
	case act == libseccomp.ActAllow:
		return "allowed"
	case act == libseccomp.ActKillProcess:
		return "killed"
	case errnoOf(act) == 0:
		return "0"
	default:
		return errnoText(uint(errnoOf(act)))
	}
}
