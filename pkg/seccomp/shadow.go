package seccomp

import (
	"fmt"

	libseccomp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"
)

// CompileShadow makes a filter that does what p says, and besides hands over the calls that p allows and candidate would deny or kill for,
// unless candidate expects that. Its listener tells the two apart by asking p's own filter (Passes): those that it passes must go on
// (Continue), all others are answered with Errno.
//
// To let a call go on is safe here, other than in a filter that enforces: candidate only looks. The kernel has run p's program first, and
// only what that allowed has come as far as candidate's (follow), so the call would have been carried out without any of this. That its
// memory may have changed since it was looked at gives nobody anything: p's program, like every filter, sees registers alone, and those
// cannot change while the thread waits (nobody may trace it).
func (p *Profile) CompileShadow(candidate *Profile) (*Filter, error) {
	for _, name := range p.Architectures {
		// verdict knows x86-64 alone.
		if name != "SCMP_ARCH_X86_64" {
			return nil, fmt.Errorf("architectures: %s is in force: a candidate can be tried in shadow for x86-64 alone, use canary", name)
		}
	}
	f, err := p.Compile()
	if err != nil {
		return nil, err
	}
	trial, err := candidate.compile(shadowed)
	if err != nil {
		return nil, err
	}
	f.Notifies = true
	f.BPF, err = follow(f.BPF, trial.BPF)
	return f, err
}

// shadowed allows all that nobody would hear of. What the candidate would count is not denied.
func shadowed(r *rule) libseccomp.ScmpAction {
	if r.AtMost > 0 {
		return libseccomp.ActAllow
	}
	if act := notified(r); act == libseccomp.ActNotify || act == libseccomp.ActKillProcess {
		return libseccomp.ActNotify
	}
	return libseccomp.ActAllow
}

// Begins tells whether a jail can begin under a filter: the message that brings us its listener must pass, for nobody would answer yet.
func (f *Filter) Begins() bool {
	return f.Passes(&Call{number: unix.SYS_SENDMSG, native: true})
}

// Forks tells whether a process under a filter may start another, of the same parent, that makes a session of its own.
func (f *Filter) Forks() bool {
	return f.Passes(&Call{number: unix.SYS_SETSID, native: true}) && f.Passes(&Call{number: unix.SYS_CLONE, args: [6]uint64{unix.CLONE_PARENT | uint64(unix.SIGCHLD)}, native: true})
}

// Passes tells whether the program of a filter allows a call. It asks the program itself and not the rules: the two might differ where rules
// contradict each other.
func (f *Filter) Passes(c *Call) bool {
	action, err := verdict(f.BPF, uint32(c.number), c.args)
	return err == nil && c.native && action == unix.SECCOMP_RET_ALLOW
}
