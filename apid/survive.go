package main

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// How sessions survive apid: the table is in a journal, the mounted workspaces are in sandboxd, which keeps them beyond its own end as well.
// What is written is always ahead of what it promises: the record ahead of the answer, and ahead of the order to forget a volume that it
// replaces. So a crash in between leaves a volume too many, which the next apid has sandboxd forget, and never one too few.

// open has the table written to a folder from now on, after taking over what an earlier apid left there.
func (t *sessions) open(folder string, log *slog.Logger) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	last, now := map[sessionKey]*record{}, sinceBoot()
	j, err := openJournal(folder, log, func(r *record) {
		if key := sessionKey(r.Key); r.Ended {
			delete(last, key)
		} else {
			if r.At <= 0 || r.At > now { // of another start of the machine, or of an apid that wrote no such time
				r.At = now
			}
			last[key] = r
		}
	})
	if err != nil {
		return err
	}
	t.journal = j
	// A volume that several have is lent, whatever their records say: there may have been no room for the one that would have told.
	loans, mounted := map[[16]byte]*loan{}, map[[16]byte]bool{}
	for _, r := range last {
		switch name := [16]byte(r.Volume); {
		case r.Form == formLent:
			loans[[16]byte(r.Loan)] = &loan{volume: [16]byte(r.Loan)}
		case r.Form == formMounted && mounted[name]:
			loans[name] = &loan{volume: name}
		case r.Form == formMounted:
			mounted[name] = true
		}
	}
	// Lists are in order of last use.
	for _, r := range slices.SortedFunc(maps.Values(last), func(a, b *record) int { return cmp.Compare(a.At, b.At) }) {
		t.restoreLocked(r, loans)
	}
	return nil
}

func (t *sessions) restoreLocked(r *record, loans map[[16]byte]*loan) {
	o := t.ownerLocked(r.Owner)
	s := &session{
		key: sessionKey(r.Key), volume: [16]byte(r.Volume), owner: o, stored: r.Stored, env: r.env(),
		idle: time.Since(epoch) - (sinceBoot() - r.At), keep: r.Keep, recorded: true,
	}
	var shared *loan
	switch r.Form {
	case formLent:
		shared = loans[[16]byte(r.Loan)]
	case formMounted:
		shared = loans[s.volume]
	}
	if shared != nil {
		shared.users++
		s.loan, r.Form, r.Packable = shared, formLent, false
	}
	if r.Form != formMounted {
		s.volume = newVolume() // a job that made it may have been under way
	}
	t.addLocked(s)
	t.forms[formNone]--
	t.forms[r.Form]++
	held := remains{form: r.Form, stored: r.Stored}
	if r.Form == formLent {
		held.bytes = mountCost
	}
	s.form, s.packable, s.leaves = r.Form, r.Packable, max(0, r.Leaves)
	s.size = max(r.Size, s.cost(&held)) // an earlier apid may have counted less
	t.chargeLocked(o, s.size)
	t.listLocked(s)
}

// sinceBoot is the one clock that two processes share and that nobody sets. By the wall clock, a step of it while apid is restarted would
// end every session, or none.
func sinceBoot() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic("apid: internal error: CLOCK_MONOTONIC: " + err.Error())
	}
	return time.Duration(ts.Nano())
}

// recordLocked writes a session as it is.
func (t *sessions) recordLocked(s *session, used time.Duration) {
	if t.journal == nil || s.form == formNone {
		return
	}
	var lent []byte
	if s.loan != nil {
		lent = s.loan.volume[:]
	}
	if t.journal.write(&record{
		Key: s.key[:], Volume: s.volume[:], Owner: s.owner.keyID, At: sinceBoot() - time.Since(epoch) + used, Form: s.form, Size: s.size, Keep: s.keep,
		Packable: s.packable, Leaves: s.leaves, Stored: s.stored, Loan: lent, Env: []byte(strings.Join(s.env, "\x00")),
	}) {
		s.recorded = true
	}
}

func (t *sessions) recordEndLocked(s *session) {
	if t.journal != nil && s.recorded {
		t.journal.write(&record{Key: s.key[:], Ended: true})
	}
}

// rewriteBatch is how many sessions are written while nobody else can have the table.
const rewriteBatch = 50

// rewrite shortens the journal, if that is worth it.
func (t *sessions) rewrite() error {
	t.mu.Lock()
	if t.journal == nil || !t.journal.overgrown() {
		t.mu.Unlock()
		return nil
	}
	err := t.journal.begin()
	start := t.journal.number
	keys, wasFailing := slices.Collect(maps.Keys(t.byID)), t.journal.failing
	t.mu.Unlock()
	if err != nil {
		if wasFailing {
			return nil // which was logged
		}
		return err
	}
	for batch := range slices.Chunk(keys, rewriteBatch) {
		t.mu.Lock()
		for _, key := range batch {
			if s := t.byID[key]; s != nil { // also what could not be recorded when it was due
				t.recordLocked(s, s.idle)
			}
		}
		failing := t.journal.failing
		t.mu.Unlock()
		if failing {
			return nil // which was logged
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.journal.removeBefore(start)
}

// reconcile brings the table and sandboxd together after one of them ended: sandboxd forgets what no session has, and a session without its
// workspace is none. Volumes that were made in this process's life may belong to requests that are under way.
func (s *server) reconcile(ctx context.Context) error {
	volumes, err := s.sandbox.List(ctx)
	if err != nil {
		return err
	}
	unclaimed, lost := s.sessions.compare(volumes)
	s.forgetter.add(unclaimed...)
	if lost > 0 {
		s.log.Warn("sessions whose files sandboxd has lost are dropped", "sessions", lost)
	}
	return nil
}

// compare drops the mounted sessions of an earlier apid whose volume is not among these, and returns the volumes of an earlier apid that no
// session has.
func (t *sessions) compare(volumes []string) (unclaimed []string, lost int) {
	there := make(map[string]bool, len(volumes))
	for _, v := range volumes {
		there[v] = true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	claimed := map[string]bool{}
	for _, s := range t.byID {
		name := volumeName(s.volume)
		if s.loan != nil {
			name = volumeName(s.loan.volume)
		} else if s.form != formMounted {
			continue
		}
		switch {
		case ours(name):
		case there[name]:
			claimed[name] = true
		case !s.busy: // else its request will find out
			t.unlistLocked(s)
			t.dropLocked(s)
			lost++
		}
	}
	for v := range there {
		if !ours(v) && !claimed[v] {
			unclaimed = append(unclaimed, v)
		}
	}
	return unclaimed, lost
}
