package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"sync"
	"time"
)

// sessions is the table of all sessions. A request without a session id makes one as well, and most of those are never returned to, so
// an entry is small, and adding, taking and expiring one costs the same however many there are.
//
//	          acquire                  release
//	(none) ----------> busy, no files ------> idle, files ----> gone: idle too long, evicted, deleted
//	                     | job failed   <-----      |
//	                     v              acquire     +--- sandboxd lost the volume: busy, no files again
//	                   (none)
//
// How the files are held is in workspace.go. Idle sessions are in one of two lists, each in order of last use: evictable ones, which no
// caller has named or come back to, and kept ones, which stay until they have been idle for the full time. Those that may be packed are
// in a third as well. Busy sessions are in none, except that one being packed keeps its place in the first two until a request comes.
type sessions struct {
	cfg    sessionConfig
	forget func(volumes ...string) // must not block

	mu        sync.Mutex
	journal   *journal // nil: all is lost with us
	byID      map[sessionKey]*session
	owners    map[string]*owner // by key id: those with any session
	evictable sessionList
	kept      sessionList
	packable  sessionList
	forms     [forms]int // sessions by form
	bytes     int64      // what they count for: sessionbytes.go
	claimed   int64      // the same, of no key more than its share
	evicted   uint64     // since start
	closed    bool
	packing   int           // mounted ones that acquireIdlest gave out
	crowded   chan struct{} // something may be packed
}

// sessionKey is a hash of the key's id and the session's name: two keys that use one name have two sessions, and a long name costs an
// idle session nothing.
type sessionKey [16]byte

// owner sums up the sessions of one key.
type owner struct {
	keyID     string
	count     int
	bytes     int64
	evictable sessionList
}

// session is one entry.
type session struct {
	key      sessionKey
	volume   [16]byte // random, new for each life: the old volume of a name may still be on its way out
	owner    *owner
	stored   []byte        // the workspace, where it is given or packed
	loan     *loan         // has it, where it is lent
	env      []string      // changes to the base environment, see environ.go; nil for most
	waiting  []chan bool   // turns of the requests that came after: true it is theirs, false the session has ended
	idle     time.Duration // since the table's epoch: when it was last used
	size     int64         // bytes that it counts for: sessionbytes.go
	leaves   int           // jobs whose cgroups the workspace may keep, mounted or lent: leaves.go
	copyAt   int           // of them, when a copy is tried again
	links    [slots]sessionLinks
	list     *sessionList // evictable or kept, or nil
	form     form
	busy     bool
	packable bool // in that list while idle
	keep     bool // named or returned to: never evicted
	recorded bool // the journal has it
}

// epoch makes a moment a plain number that no step of the wall clock changes. A session holds 8 bytes and not a time.Time of 24.
var epoch = time.Now()

func newSessions(cfg sessionConfig, forget func(...string)) *sessions {
	t := &sessions{cfg: cfg, forget: forget, byID: map[sessionKey]*session{}, owners: map[string]*owner{}, crowded: make(chan struct{}, 1)}
	t.evictable.slot, t.kept.slot, t.packable.slot = globalSlot, globalSlot, packSlot
	return t
}

func keyOf(keyID, name string) sessionKey {
	sum := sha256.Sum256([]byte(keyID + "\x00" + name))
	return sessionKey(sum[:16])
}

// life tells the volumes that were made since apid started from those that an earlier one had made.
var life = newLife()

func newLife() (id [4]byte) {
	rand.Read(id[:])
	return id
}

// newVolume names a volume that nobody has used before.
func newVolume() (id [16]byte) {
	rand.Read(id[:])
	copy(id[:], life[:])
	return id
}

func ours(volume string) bool { return strings.HasPrefix(volume, hex.EncodeToString(life[:])) }

func volumeName(id [16]byte) string { return hex.EncodeToString(id[:]) }

// acquire takes the session of that name for one request, making it if it is not there, after the requests that came before.
// named says that the caller chose the name, or sent back the one that we chose.
func (t *sessions) acquire(ctx context.Context, keyID, name string, named bool) (*session, *apiError) {
	id := keyOf(keyID, name)
	for {
		t.mu.Lock()
		s := t.byID[id]
		if s == nil {
			s, err := t.createLocked(id, keyID, named)
			t.mu.Unlock()
			return s, err
		}
		s.keep = true
		if s.list != nil { // also of one being packed: from now on it is in use
			t.unlistLocked(s)
		}
		if !s.busy {
			s.busy = true
			t.mu.Unlock()
			return s, nil
		}
		turn := make(chan bool, 1)
		s.waiting = append(s.waiting, turn)
		t.mu.Unlock()
		if mine, err := t.await(ctx, s, turn); mine || err != nil {
			return s, err
		}
		// The session ended while we waited. Look again.
	}
}

// await returns when the session was handed to us, or is gone.
func (t *sessions) await(ctx context.Context, s *session, turn chan bool) (mine bool, err *apiError) {
	select {
	case mine = <-turn:
		return mine, nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	if i := slices.Index(s.waiting, turn); i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
		t.mu.Unlock()
		return false, contextError(ctx)
	}
	t.mu.Unlock()
	if <-turn { // it was handed to us all the same: pass it on
		t.release(s)
	}
	return false, contextError(ctx)
}

// createLocked makes room and a busy, empty session.
func (t *sessions) createLocked(id sessionKey, keyID string, named bool) (*session, *apiError) {
	o := t.ownerLocked(keyID)
	if err := t.makeRoomLocked(o); err != nil {
		return nil, err
	}
	s := &session{key: id, volume: newVolume(), owner: o, busy: true, keep: named}
	t.addLocked(s)
	return s, nil
}

// ownerLocked is the owner of that id; one who has no session yet is known only when there is one.
func (t *sessions) ownerLocked(keyID string) *owner {
	o := t.owners[keyID]
	if o == nil {
		o = &owner{keyID: keyID}
		o.evictable.slot = ownerSlot
	}
	return o
}

func (t *sessions) addLocked(s *session) {
	t.owners[s.owner.keyID] = s.owner
	s.owner.count++
	t.byID[s.key] = s
	t.forms[formNone]++
}

// release ends a request's turn, or the packer's. A session without files is dropped; its name may come again.
func (t *sessions) release(s *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.byID[s.key] != s: // deleted while it was busy
		t.forget(volumeName(s.volume))
	case len(s.waiting) > 0:
		t.recordLocked(s, time.Since(epoch))
		turn := s.waiting[0]
		s.waiting = s.waiting[1:]
		turn <- true
	case s.form == formNone || t.closed && t.journal == nil:
		t.dropLocked(s)
	case s.list != nil: // the packer had it, and nobody asked for it meanwhile
		s.busy = false
		if s.packable {
			t.packable.pushBack(s)
			t.wakePackerLocked()
		}
	default:
		s.busy = false
		s.waiting = nil
		s.idle = time.Since(epoch)
		t.recordLocked(s, s.idle)
		t.listLocked(s)
		t.shrinkLocked(s.owner)
	}
}

// delete ends a session at a caller's wish. One that is busy ends with its request.
func (t *sessions) delete(keyID, name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.byID[keyOf(keyID, name)]
	if s == nil {
		return false
	}
	if s.list != nil {
		t.unlistLocked(s)
	}
	t.dropLocked(s)
	return true
}

// has says whether there is a session of that name.
func (t *sessions) has(keyID, name string) bool {
	_, ok := t.info(keyID, name)
	return ok
}

// sessionInfo is what a caller may know of a session.
type sessionInfo struct {
	bytes    int64 // that it counts for
	env      int   // bytes of it
	busy     bool
	lastUsed time.Time
}

func (t *sessions) info(keyID, name string) (info sessionInfo, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.byID[keyOf(keyID, name)]
	if s == nil {
		return info, false
	}
	info = sessionInfo{bytes: s.size, env: changesSize(s.env), busy: s.busy, lastUsed: time.Now().Add(s.idle - time.Since(epoch))}
	if s.busy {
		info.lastUsed = time.Now()
	}
	return info, true
}

// expire drops the sessions that nobody has used for the idle time.
func (t *sessions) expire(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	limit := now.Sub(epoch) - time.Duration(t.cfg.Idle)
	for _, list := range []*sessionList{&t.evictable, &t.kept} {
		for s := list.front(); s != nil && s.idle <= limit; s = list.front() {
			t.unlistLocked(s)
			s.recorded = s.recorded && s.loan != nil // its record tells when it ends; another is needed where somebody may take the volume over
			t.dropLocked(s)
		}
	}
}

// close ends the table with apid. Sessions that nobody would find are dropped; busy ones follow when they are released.
func (t *sessions) close() error {
	t.mu.Lock()
	t.closed = true
	if t.journal != nil {
		defer t.mu.Unlock()
		return t.journal.close()
	}
	t.mu.Unlock()
	t.expire(time.Now().Add(2 * time.Duration(t.cfg.Idle)))
	return nil
}

// dropLocked takes a session out of the table. Its waiters look for another of that name.
func (t *sessions) dropLocked(s *session) {
	t.recordEndLocked(s)
	delete(t.byID, s.key)
	t.forms[s.form]--
	t.chargeLocked(s.owner, -s.size)
	if s.owner.count--; s.owner.count == 0 {
		delete(t.owners, s.owner.keyID)
	}
	for _, turn := range s.waiting {
		turn <- false
	}
	s.waiting = nil
	switch {
	case s.form == formMounted:
		t.forget(volumeName(s.volume))
	case s.loan != nil:
		t.returnLocked(s.loan)
		s.loan = nil
	}
}

// sessionCounts are for the metrics.
type sessionCounts struct {
	sessions, evictable int
	forms               [forms]int
	bytes               int64
	evicted             uint64
}

func (t *sessions) counts() sessionCounts {
	t.mu.Lock()
	defer t.mu.Unlock()
	return sessionCounts{sessions: len(t.byID), evictable: t.evictable.len, forms: t.forms, bytes: t.bytes, evicted: t.evicted}
}
