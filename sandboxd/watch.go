package main

import (
	"sync"
	"time"

	"github.com/runtools/runtools/pkg/wire"
)

// cause is why a job was killed: the first reason counts.
type cause struct {
	mu     sync.Mutex
	limit  string        // of wire.Limit*, or hangUp; "": it was not
	killed time.Duration // when, monotonic
}

// hangUp is the cause when the client is gone or we shut down: nobody reads the result.
const hangUp = "hang up"

// kill ends the job for a reason. Safe from any goroutine, at any moment after the jail exists.
func (j *job) kill(limit string) {
	j.cause.mu.Lock()
	if j.cause.limit == "" {
		j.cause.limit, j.cause.killed = limit, monotonic()
	}
	j.cause.mu.Unlock()
	j.ready.jail.Kill()
}

// watch enforces what the kernel does not: wall and CPU time, and the client's wishes. The timers are outside the jail, so
// nothing that the program does to itself stops them. The returned function ends the watch: the jail is not killed any more.
func (j *job) watch(kills <-chan string, cpuBefore time.Duration) (stop func()) {
	done := make(chan struct{})
	var watchers sync.WaitGroup
	watchers.Go(func() {
		wall := time.Duration(j.req.Limits.WallMS) * time.Millisecond
		timer := newTimer(wall)
		defer timer.Stop()
		for latest := monotonic() + wall + placing; ; {
			select {
			case limit := <-kills:
				j.kill(limit)
			case <-timer.C:
				// It was set before the files were placed, but the time counts from exec. Files may take time too, but not for ever.
				left := min(startTick, latest-monotonic())
				if started, ok := j.ready.jail.Started(); ok {
					left = wall - (monotonic() - started)
				}
				if left > 0 {
					timer.Reset(left)
					continue
				}
				j.kill(wire.LimitWall)
			case <-j.ready.oom:
				if !j.ranOut() { // v1 tells every leaf when their parent has no memory left; the kernel kills one process of one of them
					continue
				}
				j.kill(wire.LimitMemory)
			case <-done:
			}
			return
		}
	})
	if limit := time.Duration(j.req.Limits.CPUMS) * time.Millisecond; limit > 0 {
		watchers.Go(func() { j.watchCPU(limit, cpuBefore, done) })
	}
	return func() { close(done); watchers.Wait() }
}

// ranOut says that it is the job's own limit that keeps it from having more memory, and not that the machine, or the cgroup around all jobs, has
// none. The kernel counts ahead by some pages and gives up on a large page sooner, so a job that met its limit may not quite have reached it.
func (j *job) ranOut() bool {
	u, err := j.ready.leaf.Usage()
	return err != nil || reached(u.MemoryPeak-j.ready.residue, j.memoryLimit())
}

func reached(peak, limit int64) bool { return peak >= limit/4*3 }

// newTimer makes a timer that never fires if d is 0.
func newTimer(d time.Duration) *time.Timer {
	t := time.NewTimer(d)
	if d == 0 {
		t.Stop()
	}
	return t
}

// placing is how much longer than its wall time a job may take before exec.
const placing = 30 * time.Second

// startTick is how often we look whether a job has come to its exec, when that takes longer than its wall time.
const startTick = time.Millisecond

// cpuTick bounds how far a job can go past its CPU limit: by this much on every CPU.
const cpuTick = 5 * time.Millisecond

func (j *job) watchCPU(limit, before time.Duration, done <-chan struct{}) {
	for {
		// The leaf is there until we are done. A host without memory may fail to tell its time once, and that must not end the limit: we ask again.
		var left time.Duration
		if used, err := j.ready.leaf.CPU(); err == nil {
			if left = limit - (used - before); left <= 0 {
				j.kill(wire.LimitCPU)
				return
			}
		}
		select {
		// It cannot use the rest any sooner than on all CPUs at once.
		case <-time.After(max(cpuTick, left/time.Duration(j.server.cpus))):
		case <-done:
			return
		}
	}
}
