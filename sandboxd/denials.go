package main

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
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
	tried   map[string]uint64 // calls that the profile on trial alone denies, by name: how often since the job began
	tries   uint64            // together
}

// What a jail can take of sandboxd's CPU by denied calls. To receive, describe and answer one takes some 30 us. So that a program with a
// handful of them loses nothing, the first denialsAtOnce of a job are answered at once: 3 ms of CPU. From there on each answer comes
// delayStep later than the one before, up to maxDelay. The answers of a jail come one after the other: 200 a second,
// to however many threads. A flood then takes 3 % of one CPU (measured, with the timers and wake-ups that each delay costs).
const (
	denialsAtOnce = 100
	delayStep     = 20 * time.Microsecond
	maxDelay      = 5 * time.Millisecond
)

// A shadow must not change what a program does, so it is slowed down far later: 1,000 calls of a job are let go at once, some 30 ms of our CPU;
// from there on each waits, and a flood takes 3 % of one CPU at most.
const (
	triesAtOnce = 1000
	tryDelay    = maxDelay
)

// Counted calls are those of which a job may make a number: to lock files and parts of them, to join groups of multicast. What sandboxd spends on one, 15 to 40 us, no limit of the job knows.
// A program with a database in a file loses nothing to speak of: its first 5,000, of whatever names, go on at once. From there on every 32nd waits a millisecond,
// so that a flood takes less than half of one CPU, for the second or so until it has had its number.
const (
	countedAtOnce = 5000
	countedStride = 32
	countedDelay  = time.Millisecond
)

// decision is what a call is answered, and when.
type decision struct {
	call  *seccomp.Call
	goes  bool // on; else it is an error
	delay time.Duration
}

// mostLate is how many calls wait for their turn before no more are received. More than that are a flood's.
const mostLate = 64

// answer works until no process has the filter any more, or the listener is closed. It receives each call at once: until then a signal would end it with EINTR.
// Those that come while one waits for its turn wait behind it, so that the delays add up.
func (d *denials) answer(l *seccomp.Listener, v *variant, log *slog.Logger) {
	respond := func(to decision) {
		var err error
		if time.Sleep(to.delay); to.goes {
			err = l.Continue(to.call)
		} else {
			err = l.Answer(to.call, v.filter.Errno(to.call))
		}
		if err != nil {
			log.Error("answer a call", "syscall", to.call.Name(), "error", err)
		}
	}
	var late chan decision
	var waiting atomic.Int64
	for {
		c, err := l.Receive()
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrClosed) {
				log.Error("denied calls: the jail's later ones get ENOSYS", "error", err)
				l.Close()
			}
			if late != nil {
				close(late)
			}
			return
		}
		to := d.decide(l, v, c)
		if to.delay > 0 && late == nil {
			late = make(chan decision, mostLate)
			go func() {
				for to := range late {
					respond(to)
					waiting.Add(-1)
				}
			}()
		}
		if to.delay > 0 || waiting.Load() > 0 {
			waiting.Add(1)
			late <- to
		} else {
			respond(to)
		}
	}
}

// decide counts and remembers a call. What goes on is counted, and fewer than may be; or it was allowed by what is in force, in the kernel, before it came here:
// CompileShadow argues it. All others are answered with an error, whatever a candidate says.
func (d *denials) decide(l *seccomp.Listener, v *variant, c *seccomp.Call) decision {
	if atMost, ok := v.filter.Counted(c); ok {
		if n, all := d.count(c.Name()); n <= atMost {
			to := decision{call: c, goes: true}
			if all > countedAtOnce && all%countedStride == 0 {
				to.delay = countedDelay
			}
			return to
		}
	}
	if v.inForce != nil && v.inForce.Passes(c) {
		if delay := d.try(l, c, &v.tally); v.shadow {
			return decision{call: c, goes: true, delay: delay}
		}
	}
	return decision{call: c, delay: d.note(l, c)}
}

// count adds a counted call, and returns how many of its name there were, and of all names.
func (d *denials) count(name string) (named, all uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.counted == nil {
		d.counted = map[string]uint64{}
	}
	d.counted[name]++
	for _, n := range d.counted {
		all += n
	}
	return d.counted[name], all
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
