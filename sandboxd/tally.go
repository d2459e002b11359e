package main

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/wire"
)

// tally is what the jobs of one variant did. Of what a candidate denies, only that counts which the profile in force allows: it is what would
// change. Names of calls are the kernel's, so there are a few hundred at most.
type tally struct {
	mu                           sync.Mutex
	jobs, failed, killed, denied uint64
	calls                        map[string]*tried // that the candidate alone denies
}

// tried is one call.
type tried struct {
	args        string // of the first
	count, jobs uint64
}

// end counts a job that has ended.
func (t *tally) end(r *wire.Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.jobs++
	if r.Code != 0 || r.Signal != 0 {
		t.failed++
	}
	if r.Signal == int(unix.SIGSYS) {
		t.killed++
	}
	for _, v := range r.Violations {
		t.denied += v.Count
	}
}

// try counts a call; first is set for the first of its name in a job.
func (t *tally) try(name string, first bool, args func() string) {
	t.mu.Lock()
	c := t.calls[name]
	known := c != nil
	t.mu.Unlock()
	text := ""
	if !known { // not under the lock: the caller's memory may keep us waiting
		text = args()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if c = t.calls[name]; c == nil {
		if t.calls == nil {
			t.calls = map[string]*tried{}
		}
		c = &tried{args: text}
		t.calls[name] = c
	}
	c.count++
	if first {
		c.jobs++
	}
}

// report tells of a template's jobs, and names the most frequent calls; the others are one last call wire.OtherSyscalls.
func (t *tally) report(name, use string, most int) wire.Tally {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := wire.Tally{Template: name, Use: use, Jobs: t.jobs, Failed: t.failed, Killed: t.killed, Denied: t.denied}
	names := slices.SortedFunc(maps.Keys(t.calls), func(a, b string) int {
		return cmp.Or(cmp.Compare(t.calls[b].jobs, t.calls[a].jobs), cmp.Compare(a, b))
	})
	var others wire.Tried
	for i, name := range names {
		c := t.calls[name]
		if i < most {
			r.Tried = append(r.Tried, wire.Tried{Syscall: name, Args: c.args, Count: c.count, Jobs: c.jobs})
			continue
		}
		others.Syscall = wire.OtherSyscalls
		others.Count += c.count
		others.Jobs = max(others.Jobs, c.jobs)
	}
	if others.Count > 0 {
		r.Tried = append(r.Tried, others)
	}
	return r
}

// maxTried bounds how many calls a status names: with arguments of 200 bytes, six times as long in JSON at worst, it stays within a packet.
const maxTried = 100

// status is what the profiles in force and on trial did.
func (p *policy) status() *wire.Seccomp {
	s := &wire.Seccomp{InForce: p.digest, Loaded: p.loaded.UTC().Format(time.RFC3339)}
	names := slices.Sorted(maps.Keys(p.inForce))
	for _, name := range names {
		s.Tallies = append(s.Tallies, p.inForce[name].tally.report(name, wire.InForce, 0))
	}
	if p.trial.Candidate == "" {
		return s
	}
	s.Candidate, s.Mode, s.Share = p.tried, p.trial.Mode, p.trial.Share
	left := maxTried
	for _, name := range names {
		if v := p.onTrial[name]; v != nil {
			t := v.tally.report(name, p.trial.Mode, left)
			left -= min(left, len(t.Tried))
			s.Tallies = append(s.Tallies, t)
		}
	}
	return s
}
