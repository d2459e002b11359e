package main

import (
	"context"
	"sync"
	"time"
)

const (
	// maxDefer, and a breath, bound how long a refill waits for the jobs that run.
	maxDefer = 50 * time.Millisecond

	// breath is how long no job has run before a refill begins: the next one of the same caller may be on its way.
	breath = time.Millisecond
)

// awaitQuiet lets jobs go first while half of the pool is there: a build takes a CPU for two milliseconds, and some of its locks are the whole
// machine's. A pool of one waits as well.
//
// It is told when to look again. A look each millisecond took 2 % of the CPU of a job of C, one at a time, and 4 % two at a time (means of 12 pairs of windows).
func (ps *pools) awaitQuiet(ctx context.Context, p *pool) {
	late := time.NewTimer(maxDefer)
	defer late.Stop()
	for {
		quiet, changed := ps.quiet.hear(), p.changed.hear()
		target := p.target()
		if ps.jobs.Load() == 0 || !(target == 1 || 2*int64(len(p.ready)) >= target) {
			return
		}
		select {
		case <-quiet:
			time.Sleep(breath)
		case <-changed:
		case <-late.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// endJob takes one off the jobs that run.
func (ps *pools) endJob() {
	if ps.jobs.Add(-1) == 0 {
		ps.quiet.ring()
	}
}

// bell tells all who hear it that something changed. The zero value is one that nobody hears.
type bell struct {
	mu    sync.Mutex
	heard chan struct{}
}

// hear returns what is closed when the bell rings next. Who looks at what changes after that misses nothing.
func (b *bell) hear() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.heard == nil {
		b.heard = make(chan struct{})
	}
	return b.heard
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.heard != nil {
		close(b.heard)
		b.heard = nil
	}
}
