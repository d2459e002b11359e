package main

import "fmt"

// What sessions count for, and what happens when they are too many bytes.
//
//	max_bytes_per_key, max_bytes         a request that may make a session larger is not begun from here on
//	half as much again of either         what a session has grown by is not kept
//
// A request that has begun may fill its workspace, and several run at one time: that is what lies between the two. What is read, or deleted, is
// never refused, or nobody could make room.
//
// A key that has more than its share counts as its share when it is asked whether there is room for others: what one key has too much is not
// taken from them.

// A session counts for no less than it takes of memory, the journal's included, whatever it is made of: so the bounds above bound them all.
const (
	sessionCost = 2 << 10 // its entry, and what its records hold besides data: 400 and three times 250 bytes
	inodeCost   = 1 << 10 // a file or folder of a tmpfs, in the kernel's slab, however little is in it
	// recordedCost is for each byte of the environment and of what is stored: one in our memory, four in the journal (docs/operate.md), and one
	// more, so that the journal stays below a fifth of the machine's memory, which is what /run may have as a rule: two thirds of max_bytes.
	recordedCost = 6
	// mountCost is more than twice what the kernel needs for a tmpfs and the cgroup of who wrote to it (cachedMount): each one slows down the end of every job. And no workspace
	// counts for more when it is packed than when it was mounted (notWhole).
	mountCost = recordedCost * packBytes
)

// cost is what a workspace counts for.
func (r *remains) cost() int64 {
	switch r.form {
	case formMounted:
		return r.bytes + r.inodes*inodeCost + mountCost + int64(max(0, r.leaves-1))*leafCost
	case formLent:
		return r.bytes
	}
	return recordedCost * int64(len(r.stored))
}

// cost is what a session counts for that holds this.
func (s *session) cost(left *remains) int64 {
	if left.form == formNone {
		return 0
	}
	return sessionCost + recordedCost*int64(changesSize(s.env)) + left.cost()
}

// workspaceCost is the part of its workspace, of a session that has one.
func (s *session) workspaceCost() int64 {
	return s.size - s.cost(&remains{form: formGiven})
}

func (t *sessions) chargeLocked(o *owner, bytes int64) {
	t.claimed -= min(o.bytes, t.cfg.MaxBytesPerKey)
	o.bytes += bytes
	t.claimed += min(o.bytes, t.cfg.MaxBytesPerKey)
	t.bytes += bytes
}

// makeRoomLocked evicts, longest idle first, until one more session is within the bounds.
func (t *sessions) makeRoomLocked(o *owner) *apiError {
	for o.count >= t.cfg.MaxPerKey {
		if !t.evictFirstLocked(&o.evictable) {
			return refuse(errRateLimited, "this key has %d sessions, which is its share, and none that may be dropped; delete some, or send \"ephemeral\": true", o.count)
		}
	}
	for len(t.byID) >= t.cfg.Max {
		if !t.evictFirstLocked(&t.evictable) {
			return refuse(errOverloaded, "there are %d sessions and none may be dropped; send \"ephemeral\": true if you need none", len(t.byID))
		}
	}
	return t.mayGrowLocked(o)
}

// mayGrow says whether a request that may make a session of this owner larger can be begun.
func (t *sessions) mayGrow(o *owner) *apiError {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mayGrowLocked(o)
}

func (t *sessions) mayGrowLocked(o *owner) *apiError {
	for o.bytes >= t.cfg.MaxBytesPerKey {
		if !t.evictFirstLocked(&o.evictable) {
			return refuse(errRateLimited, "the sessions of this key count for %d bytes, its share is %d, and none of them may be dropped; "+
				"delete sessions or files of theirs, or send \"ephemeral\": true", o.bytes, t.cfg.MaxBytesPerKey)
		}
	}
	for t.claimed >= t.cfg.MaxBytes {
		if !t.evictFirstLocked(&t.evictable) {
			return refuse(errOverloaded, "all sessions count for %d bytes, there is room for %d, and none of them may be dropped; "+
				"send \"ephemeral\": true if you need none", t.bytes, t.cfg.MaxBytes)
		}
	}
	return nil
}

// evictFirstLocked evicts the session that has been idle longest, if there is one.
func (t *sessions) evictFirstLocked(from *sessionList) bool {
	victim := from.front()
	if victim == nil {
		return false
	}
	t.evicted++
	t.unlistLocked(victim)
	t.dropLocked(victim)
	return true
}

// shrinkLocked evicts after a request of this owner, whose session may have become larger. One who has more than his share loses his own; so
// nobody has both more than that and something to evict.
func (t *sessions) shrinkLocked(o *owner) {
	for o.bytes > t.cfg.MaxBytesPerKey && t.evictFirstLocked(&o.evictable) {
	}
	for t.claimed > t.cfg.MaxBytes && t.evictFirstLocked(&t.evictable) {
	}
}

// outgrew ends the life of an acquired session that is larger than before its request, if there are half as many bytes again as there may be, and
// says so. One that will be packed is not large: there are few more of them than max_mounted.
func (t *sessions) outgrew(s *session, before int64) (problem string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byID[s.key] != s || s.size <= before || s.packable {
		return ""
	}
	t.shrinkLocked(s.owner)
	switch {
	case farAbove(s.owner.bytes, t.cfg.MaxBytesPerKey):
		problem = fmt.Sprintf("the sessions of this key would count for %d bytes, its share is %d; delete some", s.owner.bytes, t.cfg.MaxBytesPerKey)
	case farAbove(t.claimed, t.cfg.MaxBytes), s.owner.bytes > t.cfg.MaxBytesPerKey && farAbove(t.bytes, t.cfg.MaxBytes):
		problem = fmt.Sprintf("all sessions would count for %d bytes, there is room for %d; send \"ephemeral\": true if you need none", t.bytes, t.cfg.MaxBytes)
	default:
		return ""
	}
	t.evicted++
	t.restartLocked(s)
	return "the session was not kept: " + problem
}

func farAbove(bytes, bound int64) bool { return bytes-bound > bound/2 }

// grows says that the request may leave its session larger. The copies of a fork are looked at one by one (loan.go).
func (x *execution) grows() bool {
	return x.session != nil && x.forking == nil && (x.tool == nil || x.tool.grows)
}
