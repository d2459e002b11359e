package main

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// pool keeps jails of one template ready: as many as the channel holds. A filler first takes a place in room, then builds, so that
// there is never a jail without a place in the channel.
type pool struct {
	template *template
	ready    chan *readyJail
	room     chan struct{}
}

// pools are all pools and the goroutines that fill them.
type pools struct {
	builder *builder
	all     map[string]*pool
	jobs    atomic.Int64  // running now
	turn    chan struct{} // one filler builds at a time, so that a refill never takes more than one CPU from the jobs
	cancel  context.CancelFunc
	fillers sync.WaitGroup
	hits    atomic.Uint64
	misses  atomic.Uint64
}

// retryBuild is how long a filler waits after a build failed: the cause is seldom gone in less.
const retryBuild = time.Second

func startPools(b *builder, templates map[string]*template, log *slog.Logger) *pools {
	ctx, cancel := context.WithCancel(context.Background())
	ps := &pools{builder: b, all: map[string]*pool{}, turn: make(chan struct{}, 1), cancel: cancel}
	for name, t := range templates {
		p := &pool{template: t, ready: make(chan *readyJail, t.spec.Pool), room: make(chan struct{}, t.spec.Pool)}
		ps.all[name] = p
		ps.fillers.Go(func() { ps.fill(ctx, p, log) })
	}
	return ps
}

func (ps *pools) fill(ctx context.Context, p *pool, log *slog.Logger) {
	for {
		select {
		case p.room <- struct{}{}:
		case <-ctx.Done():
			return
		}
		ps.awaitQuiet(ctx, p)
		ps.turn <- struct{}{}
		r, err := ps.builder.build(p.template)
		<-ps.turn
		if err == nil {
			p.ready <- r
			continue
		}
		log.Error("fill pool", "error", err)
		<-p.room
		select {
		case <-time.After(retryBuild):
		case <-ctx.Done():
			return
		}
	}
}

// maxDefer bounds how long a refill waits for the jobs that run.
const maxDefer = 50 * time.Millisecond

// awaitQuiet lets jobs go first while more than half of the pool is there: a build takes a CPU for two milliseconds, and moving its runner
// into its cgroup holds a lock that every fork, exec and exit on the machine waits for (cgroup_threadgroup_rwsem).
func (ps *pools) awaitQuiet(ctx context.Context, p *pool) {
	for start := time.Now(); ps.jobs.Load() > 0 && len(p.ready) > cap(p.ready)/2 && time.Since(start) < maxDefer && ctx.Err() == nil; {
		time.Sleep(time.Millisecond)
	}
}

// take returns a ready jail, or builds one if there is none.
func (ps *pools) take(p *pool) (r *readyJail, hit bool, err error) {
	select {
	case r := <-p.ready:
		<-p.room
		ps.hits.Add(1)
		return r, true, nil
	default:
		ps.misses.Add(1)
		r, err := ps.builder.build(p.template)
		return r, false, err
	}
}

// close ends the fillers and destroys what they made.
func (ps *pools) close() {
	ps.cancel()
	ps.fillers.Wait()
	for _, p := range ps.all {
		close(p.ready)
		for r := range p.ready {
			ps.builder.destroyLater(r, func() {})
		}
	}
	ps.builder.destroy.Wait()
}
