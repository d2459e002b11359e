package main

// sessionList is a doubly linked list through the sessions themselves: container/list would cost each session two more allocations
// and 48 bytes for each list that it is in.
type sessionList struct {
	head, tail *session
	len        int
	slot       int // which of the session's links this list uses
}

// A session can be in three lists at one time: one of all sessions, one of its key's, and that of those to be packed.
const (
	globalSlot = iota
	ownerSlot
	packSlot
	slots
)

type sessionLinks struct {
	prev, next *session
}

// front is the one that has been idle longest, or nil.
func (l *sessionList) front() *session { return l.head }

func (l *sessionList) pushBack(s *session) {
	s.links[l.slot] = sessionLinks{prev: l.tail}
	if l.tail == nil {
		l.head = s
	} else {
		l.tail.links[l.slot].next = s
	}
	l.tail = s
	l.len++
}

// remove takes out a session that is in the list.
func (l *sessionList) remove(s *session) {
	links := s.links[l.slot]
	if links.prev == nil {
		l.head = links.next
	} else {
		links.prev.links[l.slot].next = links.next
	}
	if links.next == nil {
		l.tail = links.prev
	} else {
		links.next.links[l.slot].prev = links.prev
	}
	s.links[l.slot] = sessionLinks{}
	l.len--
}

// listLocked puts a session that became idle behind all others.
func (t *sessions) listLocked(s *session) {
	if s.keep {
		s.list = &t.kept
	} else {
		s.list = &t.evictable
		s.owner.evictable.pushBack(s)
	}
	s.list.pushBack(s)
	if s.packable {
		t.packable.pushBack(s)
	}
	t.wakePackerLocked()
}

// wakePackerLocked is called whenever there may be more to pack than before.
func (t *sessions) wakePackerLocked() {
	if t.crowdedLocked() {
		select {
		case t.crowded <- struct{}{}:
		default:
		}
	}
}

// unlistLocked takes a session out of its lists. One that is busy is being packed, and so in the packer's no more.
func (t *sessions) unlistLocked(s *session) {
	if s.packable && !s.busy {
		t.packable.remove(s)
	}
	s.list.remove(s)
	if s.list == &t.evictable {
		s.owner.evictable.remove(s)
	}
	s.list = nil
}

func (t *sessions) crowdedLocked() bool {
	return t.forms[formMounted]-t.packing > t.cfg.MaxMounted && t.packable.front() != nil
}

// overcrowded says that packing does not keep up.
func (t *sessions) overcrowded() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.forms[formMounted] > overcrowded*t.cfg.MaxMounted && t.crowdedLocked()
}

// acquireIdlest takes the session that has been idle longest of those that may be packed, if too many are mounted. It keeps its place in
// the other lists: that we work on it is no use of it. Give it back with release.
func (t *sessions) acquireIdlest() *session {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.crowdedLocked() {
		return nil
	}
	s := t.packable.front()
	t.packable.remove(s)
	s.busy = true
	t.packing++
	return s
}

// packed replaces the volume of a session that acquireIdlest gave out by what it holds.
func (t *sessions) packed(s *session, stored []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.packing--
	mounted := volumeName(s.volume)
	s.volume = newVolume()
	t.holdLocked(s, remains{form: formPacked, stored: stored})
	if t.byID[s.key] == s {
		t.recordLocked(s, s.idle)
	}
	t.forget(mounted)
	t.wakePackerLocked()
}

// unpacked leaves such a session mounted: until a request has changed it, or, if it is to be tried again, until it is its turn behind the others.
func (t *sessions) unpacked(s *session, again bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.packing--
	s.packable = again // and back in the list when it is released: who unlists it meanwhile takes it for busy
	t.wakePackerLocked()
}
