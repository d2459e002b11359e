package main

import (
	"context"
	"time"
)

// A page of a tmpfs belongs to the memory cgroup of the job that wrote it, and keeps that cgroup, which is otherwise gone, for as long as it is there. A
// session of a thousand requests that each leave one small file keeps a thousand of them. So they are in what a session counts for, and when they are
// many its files are copied to another volume, by one job, to which all pages belong from then on.
const (
	// leafCost is what such a cgroup takes, in slab and per CPU: 105 KiB on Linux 6.18 with two CPUs and cgroup v1 (2000 requests in one session, each
	// with a file of two bytes, by /proc/meminfo).
	leafCost = 128 << 10

	// mostLeaves is when to look whether a copy is worth it: less than one request in a hundred pays for one.
	mostLeaves = 128
)

// leavesWith says how many jobs may own pages of a session's workspace that one more job has left.
func (s *session) leavesWith(left *remains) int {
	switch {
	case left.form != formMounted:
		return 0
	case s.form != formMounted:
		return 1
	}
	return s.leaves + 1
}

// worn says that a copy costs less than it gains: the cgroups are a quarter of all.
func (s *session) worn() bool {
	return s.form == formMounted && s.leaves >= max(mostLeaves, s.copyAt) && int64(s.leaves)*leafCost*4 >= s.size
}

// recopy moves a worn workspace to a new volume, in the way of a fork (loan.go). What cannot be copied stays where it is, and counts.
func (x *execution) recopy(ctx context.Context) {
	if x.session == nil || !x.session.worn() {
		return
	}
	started := time.Now()
	defer func() { x.call.timing.checkout += time.Since(started) }()
	from := x.sessions.lendToItself(x.session)
	out, err := x.copyLoan(ctx, from)
	if err == nil {
		left := whatRemains(out.result)
		x.sessions.copied(x.session, from, &left)
		return
	}
	x.log.Debug("a workspace is not copied", "id", x.call.id, "err", err)
	x.session.copyAt = x.session.leaves + mostLeaves // again, for the reason may be gone by then
	begun := volumeName(x.session.volume)
	x.forgetter.add(begun)
	if ctx.Err() != nil { // its job may not have ended
		x.forgetter.addLater(begun)
	}
	x.sessions.copied(x.session, from, nil)
	if _, mounted := x.sessions.borrow(x.session); !mounted { // deleted meanwhile
		x.lose()
	}
}

// lendToItself makes the volume of an acquired session a loan that it has, and the job that is about to copy it. The record stays as it is: whoever
// finds it, after a crash, has the volume.
func (t *sessions) lendToItself(s *session) *loan {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := &loan{volume: s.volume, users: 1}
	s.volume = newVolume()
	t.lendLocked(s, l, s)
	return l
}
