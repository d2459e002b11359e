package main

// sessionList is a doubly linked list through the sessions themselves: container/list would cost each session two more allocations
// and 48 bytes for each list that it is in.
type sessionList struct {
	head, tail *session
	len        int
	slot       int // which of the session's links this list uses
}

// A session can be in two lists at one time: one of all sessions, and one of its key's.
const (
	globalSlot = iota
	ownerSlot
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

// unlistLocked takes an idle session out of its lists.
func (t *sessions) unlistLocked(s *session) {
	s.list.remove(s)
	if s.list == &t.evictable {
		s.owner.evictable.remove(s)
	}
	s.list = nil
}
