package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/runtools/runtools/pkg/wire"
)

// A loan is one volume that several sessions have: one that was forked, and its copies. None of them changes it. Each gets a copy of its own
// when a request first needs its files, and the last one has the volume itself.
//
//	        forked                      a request came
//	mounted ------> lent, like its copies ------------> mounted: a copy, or the volume if nobody else has it
//
// So a fork costs the same whatever the session holds, and copies that nobody uses cost no memory. They are charged for it all the same: each of
// them may be used at any time. A copy that cannot be made takes nothing from anybody: all still have the volume.
type loan struct {
	volume [16]byte
	users  int // sessions that have it, and jobs that copy it; guarded by sessions.mu
}

// fork makes sessions of these names that begin as s is, which the caller has acquired. packed, if not nil, is its workspace.
func (t *sessions) fork(s *session, names []string, packed []byte) *apiError {
	copies, err := t.copies(s, names, packed)
	// Others may have the table between two records, as in rewrite: a hundred are megabytes. A copy is busy until its own is written, so
	// nobody uses it before, and one that was deleted meanwhile is not recorded.
	for _, c := range copies {
		t.release(c)
	}
	return err
}

// copies are the new sessions of a fork, busy; all of them or none.
func (t *sessions) copies(s *session, names []string, packed []byte) ([]*session, *apiError) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byID[s.key] != s {
		return nil, refuse(errNotFound, "the session was deleted meanwhile")
	}
	if s.form == formMounted && packed == nil {
		l := &loan{volume: s.volume}
		s.volume = newVolume()
		t.lendLocked(s, l, s)
		t.recordLocked(s, time.Since(epoch)) // ahead of its copies: whoever finds them must not take its volume for its own
	}
	copies := make([]*session, 0, len(names))
	for _, name := range names {
		c, err := t.createLocked(keyOf(s.owner.keyID, name), s.owner.keyID, true)
		if err != nil {
			for _, made := range copies {
				t.dropLocked(made)
			}
			return nil, err
		}
		c.env = slices.Clone(s.env)
		switch {
		case packed != nil:
			t.holdLocked(c, remains{form: formPacked, stored: packed})
		case s.form == formLent:
			t.lendLocked(c, s.loan, s)
		default: // what is stored is never changed
			t.holdLocked(c, remains{form: s.form, stored: s.stored})
		}
		copies = append(copies, c)
	}
	return copies, nil
}

// lendLocked gives s, which has none yet, a part in a loan. It is charged like the other, whose files it has.
func (t *sessions) lendLocked(s *session, l *loan, other *session) {
	l.users++
	t.holdLocked(s, remains{form: formLent, bytes: other.workspaceCost(), leaves: other.leaves})
	s.loan = l
}

// borrow gives an acquired session the volume of its loan, or says what it is to be copied from, which ends with copied. from is nil and mounted
// false if it has no loan any more: it was deleted.
func (t *sessions) borrow(s *session) (from *loan, mounted bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case s.loan == nil:
		return nil, false
	case s.loan.users > 1:
		s.loan.users++
		return s.loan, false
	}
	s.volume = s.loan.volume
	s.loan.users++ // or holdLocked would have it forgotten
	kept := remains{form: formMounted, leaves: s.leaves}
	kept.bytes = s.workspaceCost() - kept.cost()
	t.holdLocked(s, kept)
	s.packable = false // how many inodes it has is not known
	return nil, true
}

// lentVolume names the volume of an acquired session that is lent. ok is false if it has no loan any more: it was deleted.
func (t *sessions) lentVolume(s *session) (name string, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.loan == nil {
		return "", false
	}
	return volumeName(s.loan.volume), true
}

// copied ends what borrow began. left is what the session has now; nil: the copy failed, and it still has its part in the loan.
func (t *sessions) copied(s *session, from *loan, left *remains) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if left != nil {
		t.holdLocked(s, *left)
		if t.byID[s.key] == s { // before anybody else may change the volume, or who finds the old record would take it for this session's
			t.recordLocked(s, time.Since(epoch))
		}
	}
	t.returnLocked(from)
}

func (t *sessions) returnLocked(l *loan) {
	if l.users--; l.users == 0 {
		t.forget(volumeName(l.volume))
	}
}

// copyCommand copies modes, times, links of both kinds, FIFOs, sockets and holes.
var copyCommand = []string{"/usr/bin/cp", "--archive", "--", "/build/.", "."}

// unlend gives a lent session a workspace of its own. The copy is made in a jail, as everywhere: what is copied is its /build, which nobody can write to.
func (x *execution) unlend(ctx context.Context) *apiError {
	if x.session == nil || x.session.form != formLent {
		return nil
	}
	from, mounted := x.sessions.borrow(x.session)
	switch {
	case mounted:
		return nil
	case from == nil:
		x.lose()
		return nil
	}
	started := time.Now()
	out, err := x.copyLoan(ctx, from)
	x.call.timing.checkout += time.Since(started)
	if err == nil {
		left := whatRemains(out.result)
		x.sessions.copied(x.session, from, &left)
		return nil
	}
	x.sessions.copied(x.session, from, nil)
	var failed *toolFailure
	var theirs *wire.Error
	switch {
	case errors.As(err, &failed):
		return &apiError{code: errInvalidField, field: "session_id", cause: err,
			message: "session_id: the files are still shared with the session that this one was forked from, or with a copy, and could not be copied; delete those that are not needed"}
	case errors.As(err, &theirs) && theirs.Code == wire.CodeUnknownBuild: // with it the files of all who have the loan are lost
		x.lose()
		return nil
	}
	return x.explain(ctx, err)
}

func (x *execution) copyLoan(ctx context.Context, from *loan) (*jobOutput, error) {
	in, err := x.keyToolJob(toolWall, toolWords, copyCommand...)
	if err != nil {
		return nil, err
	}
	in.job.Build = wire.Volume{ID: volumeName(from.volume)}
	in.job.Limits.MemoryBytes += x.session.size // what it writes counts
	return x.restore(ctx, in)
}

// touchLoan uses the volume of a loan, and changes nothing. sandboxd drops what no job uses for volume_idle, and forks of what is lent run nothing in it.
func (x *execution) touchLoan(ctx context.Context) *apiError {
	name, lent := x.sessions.lentVolume(x.session)
	if !lent {
		return x.noSession()
	}
	in, err := x.keyToolJob(toolWall, toolWords, "/usr/bin/true")
	if err != nil {
		return internal(err)
	}
	in.job.Build = wire.Volume{ID: name}
	_, err = x.runJob(ctx, in)
	var theirs *wire.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &theirs) && theirs.Code == wire.CodeUnknownBuild:
		x.lose()
		return x.noSession()
	}
	return x.explain(ctx, err)
}
