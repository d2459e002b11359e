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

// denials answers the calls that the filter of one jail denies, and remembers those of its job.
type denials struct {
	mu    sync.Mutex
	job   int    // begun until now; 0: what a runtime tries while it is loaded is not the job's
	total uint64 // since the job began
	kinds []wire.Violation
	other uint64 // calls that are in none of kinds
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

// answer works until no process has the filter any more, or the listener is closed.
func (d *denials) answer(l *seccomp.Listener, f *seccomp.Filter, log *slog.Logger) {
	for {
		c, err := l.Receive()
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrClosed) {
				log.Error("denied calls: the jail's later ones get ENOSYS", "error", err)
			}
			return
		}
		time.Sleep(d.note(l, c))
		if err := l.Answer(c, f.Errno(c)); err != nil {
			log.Error("answer denied call", "syscall", c.Name(), "error", err)
		}
	}
}

// note remembers a call and returns how long its answer is to wait. The call is noted before it is answered: what a program did before it
// ended is in its result.
func (d *denials) note(l *seccomp.Listener, c *seccomp.Call) (delay time.Duration) {
	d.mu.Lock()
	d.total++
	job, total := d.job, d.total
	d.mu.Unlock()
	if total > denialsAtOnce {
		delay = min(time.Duration(total-denialsAtOnce)*delayStep, maxDelay)
	}
	if job == 0 {
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
		d.add(v)
	}
	return delay
}

func (d *denials) add(v wire.Violation) {
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
