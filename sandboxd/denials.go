package main

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/runtools/runtools/pkg/seccomp"
	"github.com/runtools/runtools/pkg/wire"
)

// denials answers the calls that the filter of one jail denies, or counts, and remembers the denied ones of its job.
type denials struct {
	mu    sync.Mutex
	job   int    // begun until now; 0: what a runtime tries while it is loaded is not the job's
	proof bool   // and yet it is remembered: the jail is there to prove its profile
	total uint64 // since the job began
	kinds []wire.Violation
	other uint64 // calls that are in none of kinds

	counted map[string]uint64 // calls that a profile allows a number of, by name: how often since the job began
	sockets bool              // one of them made a socket, now or for an earlier job
	tried   map[string]uint64 // calls that the profile on trial alone denies, by name: how often since the job began
	tries   uint64            // together
}

// What a jail can take of sandboxd's CPU by denied calls. To receive, describe and answer one takes some 30 us. So that a program with a
// handful of them loses nothing, the first denialsAtOnce of a job are answered at once: 3 ms of CPU. From there on each answer comes
// delayStep later than the one before, up to maxDelay. One goroutine serves all threads of a jail, one call after the other: 200 a second,
// from however many threads. A flood then takes 3 % of one CPU (measured, with the timers and wake-ups that each delay costs).
const (
	denialsAtOnce = 100
	delayStep     = 20 * time.Microsecond
	maxDelay      = 5 * time.Millisecond
)

// A shadow must not change what a program does, so it is slowed down far later: 1,000 calls of a job are let go at once, some 30 ms of our CPU;
// from there on each waits, and a flood takes 3 % of one CPU at most.
const (
	triesAtOnce = 1000
	tryDelay    = time.Millisecond
)

// Counted calls are those of which a job may make a number: to lock files and parts of them, to join groups of multicast, to make sockets. What sandboxd spends on one, 15 us, no limit
// of the job knows. A program with a database in a file loses nothing to speak of: its first 5,000 go on at once. From there on every 32nd waits a millisecond,
// so that a flood takes a third of one CPU; and from 20,000 on, which sockets alone may reach, each does: 2 %.
const (
	countedAtOnce = 5000
	countedStride = 32
	countedMany   = 20_000
	countedDelay  = time.Millisecond
)

// answer works until no process has the filter any more, or the listener is closed.
func (d *denials) answer(l *seccomp.Listener, v *variant, log *slog.Logger) {
	for {
		c, err := l.Receive()
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrClosed) {
				log.Error("denied calls: the jail's later ones get ENOSYS", "error", err)
			}
			return
		}
		if atMost, ok := v.filter.Counted(c); ok {
			if n := d.count(c.Name()); n <= atMost {
				if n > countedMany || n > countedAtOnce && n%countedStride == 0 {
					time.Sleep(countedDelay)
				}
				if err := l.Continue(c); err != nil {
					log.Error("let counted call go on", "syscall", c.Name(), "error", err)
				}
				continue
			}
		}
		onTrial := v.inForce != nil && v.inForce.Passes(c)
		var delay time.Duration
		if onTrial {
			delay = d.try(l, c, &v.tally)
		}
		// A call that is let go was allowed by what is in force, in the kernel, before it came here: CompileShadow argues it. All others are
		// answered with an error, whatever the candidate says.
		if onTrial && v.shadow {
			time.Sleep(delay)
			err = l.Continue(c)
		} else {
			time.Sleep(d.note(l, c))
			err = l.Answer(c, v.filter.Errno(c))
		}
		if err != nil {
			log.Error("answer denied call", "syscall", c.Name(), "error", err)
		}
	}
}

// count adds a counted call, and returns how many of its name there were.
func (d *denials) count(name string) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.counted == nil {
		d.counted = map[string]uint64{}
	}
	d.counted[name]++
	d.sockets = d.sockets || name == "socket" || name == "socketpair"
	return d.counted[name]
}

// madeSockets tells whether a process of the jail asked for a socket, and may have got it.
func (d *denials) madeSockets() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sockets
}

// try counts a call that the profile on trial alone denies, and returns how long a shadow is to keep it.
func (d *denials) try(l *seccomp.Listener, c *seccomp.Call, t *tally) (delay time.Duration) {
	name := c.Name()
	d.mu.Lock()
	if d.tries++; d.tries > triesAtOnce {
		delay = tryDelay
	}
	if d.tried == nil {
		d.tried = map[string]uint64{}
	}
	d.tried[name]++
	first := d.job > 0 && d.tried[name] == 1
	d.mu.Unlock()
	t.try(name, first, func() string { text, _ := l.Describe(c); return text })
	return delay
}

// note remembers a call and returns how long its answer is to wait. The call is noted before it is answered: what a program did before it
// ended is in its result.
func (d *denials) note(l *seccomp.Listener, c *seccomp.Call) (delay time.Duration) {
	d.mu.Lock()
	d.total++
	job, total, kept := d.job, d.total, d.job > 0 || d.proof
	d.mu.Unlock()
	if total > denialsAtOnce {
		delay = min(time.Duration(total-denialsAtOnce)*delayStep, maxDelay)
	}
	if !kept {
		return delay
	}
	v := wire.Violation{Syscall: c.Name()}
	if total <= denialsAtOnce { // later ones are only counted
		var waits bool
		if v.Args, waits = l.Describe(c); !waits { // not under the lock: the caller's memory may keep us waiting
			return delay
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if job == d.job {
		d.addLocked(v)
	}
	return delay
}

func (d *denials) addLocked(v wire.Violation) {
	for i := range d.kinds {
		if k := &d.kinds[i]; k.Syscall == v.Syscall && k.Args == v.Args {
			k.Count++
			return
		}
	}
	if len(d.kinds) == wire.MaxViolations-1 {
		d.other++
		return
	}
	v.Count = 1
	d.kinds = append(d.kinds, v)
}

// begin starts the job's account.
func (d *denials) begin() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.job++
	d.total, d.kinds, d.other = 0, nil, 0
	d.tries = 0
	clear(d.tried)
	clear(d.counted)
}

// prove has what is denied before the first job remembered.
func (d *denials) prove() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.proof = true
}

// list returns what the job did until now.
func (d *denials) list() []wire.Violation {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := append([]wire.Violation(nil), d.kinds...)
	if d.other > 0 {
		list = append(list, wire.Violation{Syscall: wire.OtherSyscalls, Count: d.other})
	}
	return list
}
