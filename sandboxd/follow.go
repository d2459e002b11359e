package main

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/runtools/runtools/pkg/cgroup"
	"github.com/runtools/runtools/pkg/wire"
)

// successors are jails in which a compiler has just made a program, each for the job that runs it: a second runner waits there (jail.AddSuccessor). A second jail costs some 5 ms of
// CPU (docs/performance.md, the pool of C), to make this one ready again 0.2. SECURITY.md argues why it is as safe as a new one.
//
//	offer: the compiler's job has ended; its client may ask for the program at once
//	take:  the job that runs it waits until the jail is ready
//
// A program that is run again, or that nobody runs within followWait, has nothing to do with it.
type successors struct {
	mu      sync.Mutex
	byBuild map[string]chan *readyJail // by the id of the build volume
	closed  chan struct{}
}

const (
	// followWait is how long a jail waits for the program to be asked for.
	followWait = 250 * time.Millisecond
	// mostWaiting is how many may wait at one time: they count against max_jails, and clients ask at once.
	mostWaiting = 16
	// followPatience bounds how long its second runner takes to answer.
	followPatience = time.Second
	// mostResidue is how much a compiler may leave charged to the jail beside its artifact, bytes. The kernel charges ahead, and keeps names of files.
	mostResidue = 2 << 20
)

func newSuccessors() *successors {
	return &successors{byBuild: map[string]chan *readyJail{}, closed: make(chan struct{})}
}

// offer returns the channel on which the jail is to be handed over; nil: there are enough, or there is one of that id, whose volume was dropped and made again.
func (s *successors) offer(build string) chan *readyJail {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byBuild[build] != nil || len(s.byBuild) >= mostWaiting {
		return nil
	}
	came := make(chan *readyJail)
	s.byBuild[build] = came
	return came
}

// withdraw takes an offer back. It says whether nobody had accepted it.
func (s *successors) withdraw(build string) bool { return s.accept(build) != nil }

// accept returns the channel on which the jail will come, or nil in its place, to one caller; others get nil.
func (s *successors) accept(build string) chan *readyJail {
	s.mu.Lock()
	defer s.mu.Unlock()
	came := s.byBuild[build]
	delete(s.byBuild, build)
	return came
}

// passOn keeps the jail of a compiler for the job that runs what is in its build volume, which has a size, bytes. after runs when its mounts may be let go.
func (ps *pools) passOn(r *readyJail, build string, size int64, after func()) {
	came := ps.successors.offer(build)
	if came == nil {
		ps.builder.destroyLater(r, after)
		return
	}
	ps.builder.destroy.Go(func() {
		after()
		handed := r // nil: the program needs another
		if err := ps.builder.follow(r, size); err != nil {
			ps.log.Debug("a program gets a jail of its own, as its compiler's cannot be used again", "template", r.template.name, "error", err) // any caller can have that
			handed = nil
		} else {
			select {
			case came <- handed:
				return
			case <-time.After(followWait):
			case <-ps.successors.closed:
			}
		}
		accepted := !ps.successors.withdraw(build)
		if accepted {
			came <- handed
		}
		if !accepted || handed == nil {
			ps.builder.release(r)
		}
	})
}

// successor returns the jail whose compiler made what a job runs, or nil.
func (ps *pools) successor(p *pool, j *wire.Job) *readyJail {
	// Meters and noise are read by way of files and folders of a jail in which nothing has run, and runs that are compared have jails that are alike.
	if j.Build.ID == "" || j.Build.New || j.Explain || j.Noise {
		return nil
	}
	came := ps.successors.accept(j.Build.ID)
	if came == nil {
		return nil
	}
	r := <-came
	if r == nil {
		return nil
	}
	v := ps.builder.policy.Load().follows(r, p.template)
	if v == nil || !r.jail.Intact() {
		ps.builder.destroyLater(r, func() {})
		return nil
	}
	r.template, r.variant = p.template, v
	ps.hits.Add(1)
	return r
}

// follows returns the variant of which the jail is for a job of template t, or nil: its compiler must have had the very filter that such a job has now.
func (p *policy) follows(r *readyJail, t *template) *variant {
	was, is := p.inForce[r.template.name], p.inForce[t.name]
	if r.template.thenName() != t.name || r.variant != was || was.filter != is.filter || p.onTrial[t.name] != nil {
		return nil
	}
	return is
}

// mayPassOn says whether the program may follow this job in its jail: if the job is a compiler's that runs nothing of what it reads, and nobody wants what only a jail of one
// job can tell. A variable for the loader or for gcc, a precompiled header, and whatever a session's workspace holds, could have it run code of the caller's.
func (j *job) mayPassOn() bool {
	if j.apart != nil || !j.req.Build.New || j.req.Explain || j.req.Noise || j.req.Terminal != nil || j.req.Workspace.ID != "" && !j.req.Workspace.New || j.ready.jail.NextPID() == 0 {
		return false
	}
	for _, variable := range j.req.Env {
		name, value, _ := strings.Cut(variable, "=")
		for _, prefix := range []string{"LD_", "GLIBC_", "GCC_", "COLLECT_", "COMPILER_PATH", "LIBRARY_PATH"} {
			if strings.HasPrefix(name, prefix) {
				return false
			}
		}
		// The image's own folders come first: every tool of gcc is there.
		if name == "PATH" && !strings.HasPrefix(value+":", "/usr/local/bin:/usr/bin:") && !strings.HasPrefix(value+":", "/bin:") {
			return false
		}
	}
	return !slices.ContainsFunc(j.req.Files, func(f wire.File) bool { return strings.Contains(f.Name, ".gch") })
}

// addSuccessor has a runner for the program wait in a compiler's jail, if one may follow in it.
func (b *builder) addSuccessor(r *readyJail) error {
	// A runner forks under its own filter, and who is on trial, or recorded, must not be taken for it.
	if r.template.spec.Then == "" || b.recorder != nil || r.variant.inForce != nil || !r.variant.filter.Forks() {
		return nil
	}
	var err error
	if r.baseline, err = r.leaf.ResetPeak(); errors.Is(err, cgroup.ErrPeakStays) {
		return nil // the compiler's would be told for the program's
	} else if err != nil {
		return err
	}
	return r.jail.AddSuccessor()
}

// warnUnfollowed names the compilers whose programs are to follow them and cannot, so that each request costs a second jail. A recorder's
// filters hand every call over, and say nothing of it.
func (p *policy) warnUnfollowed(c *config, templates map[string]*template, log *slog.Logger) {
	if c.recorder != nil {
		return
	}
	for name, t := range templates {
		if t.spec.Then != "" && !p.inForce[name].filter.Forks() {
			log.Warn("programs do not follow their compiler: its profile denies setsid, or clone with CLONE_PARENT: allow both, or take then out of jail.json", "template", name)
		}
	}
}

// follow takes a compiler's job out of its jail; size is the artifact's.
func (b *builder) follow(r *readyJail, size int64) error {
	if err := r.jail.Follow(followPatience); err != nil {
		return err
	}
	if r.workspace == nil {
		if err := b.makeWorkspace(r); err != nil {
			return err
		}
	}
	if err := r.leaf.SetMemory(b.limits.MemoryBytes); err != nil {
		return err
	}
	now, err := r.leaf.ResetPeak()
	if err != nil {
		return fmt.Errorf("count its memory anew: %w", err)
	}
	if r.residue = max(0, now-r.baseline); r.residue > size+mostResidue {
		return fmt.Errorf("the compiler left %d bytes charged to the jail, and an artifact of %d", r.residue, size)
	}
	return nil
}
