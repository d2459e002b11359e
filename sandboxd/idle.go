package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

// To warm up Roslyn takes more CPU than a compile saves by it. A caller who is alone has a processor to spare; a crowd has none, and is served sooner if nobody
// warms up. C# on two CPUs, closed loops of 15 s in turn, 2 at a time: 1.58 and 1.41 s of CPU a job, and 1.34 and 1.27 without warm compilers; 8 at a time: 1.53
// and 1.53, and 1.58 and 1.26. Java's about makes up for itself (likewise, 12 s): 0.68 and 0.85,
// and 0.81 and 0.77 without; 0.82 and 0.80, and 0.87 and 0.85.
//
// So a template may say that its fillers wait for a processor that idles (when_idle). On a machine that never does, one is loaded each maxCrowd all the same: who comes
// between others should not start a compiler each time. Its weight is the lowest.
const (
	idleLook = 100 * time.Millisecond
	idleCPUs = 0.5 // so many of them, on average over idleLook
	maxCrowd = 20 * time.Second
)

// leavesTheCPU says that the template's compiler is not loaded while others want the CPU. One that is kept is worth it.
func (ps *pools) leavesTheCPU(t *template) bool {
	return t.spec.Parked != nil && t.spec.Parked.WhenIdle && ps.builder.mostJobs == 1
}

// awaitIdle returns when a processor idles, after maxCrowd, when ctx ends, or when the kernel does not say. One
// filler looks at a time: the next sees what this one has begun.
func (ps *pools) awaitIdle(ctx context.Context) {
	select {
	case ps.looks <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-ps.looks }()
	for start := time.Now(); time.Since(start) < maxCrowd; {
		looked := time.Now()
		before, err := ps.idle()
		if err != nil {
			return
		}
		select {
		case <-time.After(idleLook):
		case <-ctx.Done():
			return
		}
		after, err := ps.idle()
		if err != nil || (after-before).Seconds() >= idleCPUs*time.Since(looked).Seconds() {
			return
		}
	}
}

// idleTime is for how long processors had nothing to do since the start of the machine, all together: proc_uptime(5). It counts hundredths of a second. Those that
// loads may not use (pin_cpus, a quota) count, too: while they idle, nobody waits.
func idleTime() (time.Duration, error) {
	data, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return 0, err
	}
	var up, idle float64
	if _, err := fmt.Sscan(string(data), &up, &idle); err != nil {
		return 0, fmt.Errorf("/proc/uptime: %q: %w", data, err)
	}
	return time.Duration(idle * float64(time.Second)), nil
}
