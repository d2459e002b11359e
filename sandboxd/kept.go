package main

import (
	"slices"
	"sync"
	"time"
)

// kept are compiler jails between two jobs of one owner. SECURITY.md argues when that is safe; the setting compiler_jobs allows it.
//
//	lend:   a jail that may come back goes to a job
//	put:    it has come back, renewed; the next job of its owner takes it
//	lost:   it will not come back
type kept struct {
	mu      sync.Mutex
	closed  bool
	jails   []*readyJail // the one used last at the end
	lent    map[keptBy]int
	waiting map[keptBy][]waiter
}

// waiter is a job that waits for a jail to come back.
type waiter struct {
	memory int64 // its limit, bytes
	back   chan *readyJail
}

// keptBy is whose jail it is.
type keptBy struct {
	template *template
	owner    string
}

func (r *readyJail) keptBy() keptBy { return keptBy{r.template, r.owner} }

const (
	// keptIdle is how long a jail waits for its owner.
	keptIdle = time.Minute
	// keptWait is how long a job waits for a jail that is about to come back: less than a compiler takes to start.
	keptWait = 200 * time.Millisecond
)

func newKept() *kept {
	return &kept{lent: map[keptBy]int{}, waiting: map[keptBy][]waiter{}}
}

// fits says whether a job with this memory limit, bytes, has room for more than the compiler that waits in the jail.
func (r *readyJail) fits(memory int64) bool { return 2*r.bytes <= memory }

// take returns a jail of this owner that fits into memory, bytes, or nil.
func (k *kept) take(by keptBy, memory int64) *readyJail {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, r := range slices.Backward(k.jails) {
		if r.keptBy() == by && r.fits(memory) {
			k.jails = slices.Delete(k.jails, i, i+1)
			return r
		}
	}
	return nil
}

// await is take for an owner whose jails are all out; it does not wait for long, nor for jails that do not exist.
func (k *kept) await(by keptBy, memory int64) *readyJail {
	back := make(chan *readyJail, 1)
	k.mu.Lock()
	if k.lent[by] <= len(k.waiting[by]) {
		k.mu.Unlock()
		return nil
	}
	k.waiting[by] = append(k.waiting[by], waiter{memory, back})
	k.mu.Unlock()
	select {
	case r := <-back:
		return r
	case <-time.After(keptWait):
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if i := slices.IndexFunc(k.waiting[by], func(w waiter) bool { return w.back == back }); i >= 0 {
		k.stopWaitingLocked(by, i)
		return nil
	}
	return <-back // it came in the last moment
}

func (k *kept) stopWaitingLocked(by keptBy, i int) {
	if k.waiting[by] = slices.Delete(k.waiting[by], i, i+1); len(k.waiting[by]) == 0 {
		delete(k.waiting, by)
	}
}

func (k *kept) lend(by keptBy) {
	k.mu.Lock()
	k.lent[by]++
	k.mu.Unlock()
}

// lost accounts for a lent jail that does not come back.
func (k *kept) lost(by keptBy) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.lent[by]--; k.lent[by] == 0 {
		delete(k.lent, by)
	}
}

// put takes a lent jail back, and returns one that is too many, or nil.
func (k *kept) put(r *readyJail) (surplus *readyJail) {
	by := r.keptBy()
	k.lost(by)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return r
	}
	r.since = time.Now()
	if i := slices.IndexFunc(k.waiting[by], func(w waiter) bool { return r.fits(w.memory) }); i >= 0 {
		k.waiting[by][i].back <- r
		k.stopWaitingLocked(by, i)
		return nil
	}
	k.jails = append(k.jails, r)
	same := 0
	for i, other := range slices.Backward(k.jails) {
		if other.template != r.template {
			continue
		}
		if same++; same > r.template.spec.PoolMax {
			k.jails = slices.Delete(k.jails, i, i+1)
			return other
		}
	}
	return nil
}

// expire returns the jails that nobody has come back for since.
func (k *kept) expire(since time.Time) []*readyJail {
	return k.giveUp(func(r *readyJail) bool { return !r.since.After(since) })
}

// giveUp returns the jails that are not to wait any longer.
func (k *kept) giveUp(which func(*readyJail) bool) (old []*readyJail) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.jails = slices.DeleteFunc(k.jails, func(r *readyJail) bool {
		if !which(r) {
			return false
		}
		old = append(old, r)
		return true
	})
	return old
}

// close refuses what comes back from now on, and returns what is there.
func (k *kept) close() []*readyJail {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	all := k.jails
	k.jails = nil
	return all
}
