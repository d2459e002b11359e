package main

import (
	"log/slog"
	"sync"
	"time"

	"github.com/runtools/runtools/pkg/cgroup"
)

// shares has accounts share the CPU, and not jobs: API keys, as apid names them.
//
// The kernel divides it between cgroups, and each job has one, so that n jobs of one key would get n times what another's only job gets. So while
// jobs of two accounts or more run, a job weighs cpu_weight / n, where n is how many its account runs. All jobs of an account that run weigh the same, at
// any time: who compares them compares like with like. An account that is alone keeps cpu_weight for each, which costs it nothing but a look.
//
//	join, and an account runs a quarter more than it was dealt for: dealt anew at once
//	join, leave, and it is off by less, or by too few:              dealt anew within dealDelay
//
// So what is dealt follows a crowd's growth in few steps, and a key whose short jobs come one after the other, beside another's crowd, does not
// have everybody's weight written again and again.
type shares struct {
	weight uint64 // of a job that is its account's only one
	log    *slog.Logger

	mu       sync.Mutex
	accounts map[string]*account
	timer    *time.Timer // of the next deal; nil: all is dealt
}

// account is the jobs of one.
type account struct {
	parts int // among which its weight is divided: how many there were at the last deal
	jobs  map[cgroup.Leaf]struct{}
}

// dealDelay is for how long a share may be off. Setting a weight takes some 20 µs a job.
const dealDelay = time.Second

func newShares(weight uint64, log *slog.Logger) *shares {
	return &shares{weight: weight, log: log, accounts: map[string]*account{}}
}

// join has a job, which has not begun, share its account's weight. leave must come before the leaf is another's; again says that it will be.
func (s *shares) join(name string, leaf cgroup.Leaf) (leave func(again bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.accounts[name]
	if a == nil {
		a = &account{parts: 1, jobs: map[cgroup.Leaf]struct{}{}}
		s.accounts[name] = a
	}
	a.jobs[leaf] = struct{}{}
	if a.parts > 1 {
		s.set(leaf, a.parts)
	}
	s.reviewLocked()
	return func(again bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if again && a.parts > 1 {
			s.set(leaf, 1)
		}
		if delete(a.jobs, leaf); len(a.jobs) == 0 {
			delete(s.accounts, name)
		}
		s.reviewLocked()
	}
}

// yield has what is about to be killed weigh a quarter of a job of its account. Not the least there is: on a busy machine the dying, who hold their memory, would be a crowd.
func (s *shares) yield(name string, leaf cgroup.Leaf) {
	s.mu.Lock()
	defer s.mu.Unlock()
	parts := 1
	if a := s.accounts[name]; a != nil {
		parts = a.parts
	}
	s.set(leaf, 4*parts)
}

// wantLocked is among how many jobs an account's weight is to be divided.
func (s *shares) wantLocked(a *account) int {
	if len(s.accounts) < 2 {
		return 1
	}
	return len(a.jobs)
}

// reviewLocked deals anew if it must be now, or sees to it that it is done.
func (s *shares) reviewLocked() {
	off := false
	for _, a := range s.accounts {
		want := s.wantLocked(a)
		if want > a.parts+a.parts/4 {
			s.dealLocked()
			return
		}
		off = off || want != a.parts
	}
	if off && s.timer == nil {
		s.timer = time.AfterFunc(dealDelay, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.timer = nil
			s.dealLocked()
		})
	}
}

// dealLocked gives every job its weight. After the last job has left it touches nothing, so that nobody has to stop the timer.
func (s *shares) dealLocked() {
	for _, a := range s.accounts {
		want := s.wantLocked(a)
		if want == a.parts {
			continue
		}
		a.parts = want
		for leaf := range a.jobs {
			s.set(leaf, want)
		}
	}
}

// set is no reason to fail a job: without it a job has more of the CPU, or less.
func (s *shares) set(leaf cgroup.Leaf, parts int) {
	if err := leaf.SetWeight(max(1, s.weight/uint64(parts))); err != nil {
		s.log.Error("a job has not its account's share of the CPU", "error", err)
	}
}
