package main

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestDemandIsThePeakOfTheLastMinute(t *testing.T) {
	const start = 1_000_000 // seconds
	var d demand
	for _, step := range []struct {
		second     int64
		jobs, want int
	}{
		{0, 1, 1}, {0, 2, 3}, {1, 2, 3}, {5, 7, 7},
		{60, 0, 7}, {64, 0, 7}, {65, 0, 0}, // the jobs of second 5 are a minute old
		{66, 4, 4},
		{1000, 0, 0}, {1001, 1, 1},
		{900, 1, 2}, // seconds that come late count, and nothing hangs
	} {
		for range step.jobs {
			d.add(start + step.second)
		}
		d.roll(start + step.second)
		if got := d.peak(); got != step.want {
			t.Errorf("second %d: peak %d, want %d", step.second, got, step.want)
		}
	}
}

func TestPoolTarget(t *testing.T) {
	for _, c := range []struct{ floor, ceiling, demand, want int }{
		{4, 32, 0, 4}, {4, 32, 9, 9}, {4, 32, 100, 32}, {0, 0, 5, 0}, {0, 8, 5, 5},
	} {
		p := &pool{template: &template{spec: templateSpec{Pool: c.floor, PoolMax: c.ceiling}}}
		for range c.demand {
			p.demand.add(1_000_000)
		}
		if got := p.target(); got != int64(c.want) {
			t.Errorf("%+v: target %d", c, got)
		}
	}
}

func TestPoolBoundsInMemory(t *testing.T) {
	mib := func(n int64) *int64 { return &n }
	for _, c := range []struct {
		memory                 poolBounds
		bytes                  int64
		wantFloor, wantCeiling int64
	}{
		{poolBounds{}, 3 << 20, 4, 32},
		{poolBounds{Floor: mib(10)}, 3 << 20, 4, 32}, // 12 MiB are 10 at least
		{poolBounds{Floor: mib(300)}, 3 << 20, 100, 100},
		{poolBounds{Ceiling: mib(10)}, 3 << 20, 3, 3}, // below the floor in jail.json
		{poolBounds{Ceiling: mib(300)}, 3 << 20, 4, 100},
		{poolBounds{Floor: mib(10), Ceiling: mib(10)}, 3 << 20, 3, 3},
		{poolBounds{Floor: mib(0), Ceiling: mib(0)}, 3 << 20, 0, 0},
		{poolBounds{Floor: mib(2)}, 3 << 20, 1, 32}, // one, though it takes more
		{poolBounds{Floor: mib(2), Ceiling: mib(2)}, 3 << 20, 0, 0},
		{poolBounds{Floor: mib(3)}, 0, 6, 32}, // empty jails
		{poolBounds{Floor: mib(1 << 20)}, 1, mostReady, mostReady},
	} {
		p := &pool{template: &template{spec: templateSpec{Pool: 4, PoolMax: 32}}, memory: c.memory}
		p.bytes.Store(c.bytes)
		if floor, ceiling := p.bounds(); floor != c.wantFloor || ceiling != c.wantCeiling {
			t.Errorf("%+v: %d to %d", c, floor, ceiling)
		}
	}
}

func TestPoolBoundsAreOfTemplatesThatExist(t *testing.T) {
	templates := map[string]*template{"python/run": {}, "c/run": {}}
	if err := checkPools(map[string]poolBounds{"c/run": {}}, templates); err != nil {
		t.Error(err)
	}
	err := checkPools(map[string]poolBounds{"python": {}}, templates)
	if want := `pools."python": the image has no such template, but c/run, python/run`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestPoolsAffordTheirFloorsAndNoMoreThanTheBudget(t *testing.T) {
	for _, c := range []struct {
		stock, held, bytes int64
		want               bool
	}{
		{0, 0, 30, true}, {0, 100, 30, true}, {1, 100, 30, true}, // the floor is 2
		{2, 70, 30, true}, {2, 71, 30, false}, {2, 100, 0, true}, {2, 101, 0, false},
	} {
		ps := &pools{budget: 100}
		p := &pool{template: &template{spec: templateSpec{Pool: 2, PoolMax: 8}}}
		ps.held.Store(c.held)
		p.stock.Store(c.stock)
		p.bytes.Store(c.bytes)
		for range 8 { // so many are wanted
			p.demand.add(1_000_000)
		}
		bytes, got := ps.reserve(p)
		if held := ps.held.Load() - c.held; got != c.want || got && (bytes != c.bytes || held != bytes) || !got && held != 0 {
			t.Errorf("%+v: %v, %d bytes, held %+d", c, got, bytes, held)
		}
	}
}

// Fillers that look at one moment share what is left: what one has set aside is not there for the others while its runtime loads.
func TestPoolsSetMemoryAside(t *testing.T) {
	ps := &pools{budget: 100}
	var got atomic.Int64
	var fillers sync.WaitGroup
	for range 8 {
		fillers.Go(func() {
			p := &pool{template: &template{spec: templateSpec{PoolMax: 4}}}
			p.demand.add(1_000_000)
			p.bytes.Store(30)
			if _, ok := ps.reserve(p); ok {
				got.Add(1)
			}
		})
	}
	fillers.Wait()
	if got.Load() != 3 || ps.held.Load() != 90 {
		t.Errorf("%d of 8 may load, %d bytes of 100", got.Load(), ps.held.Load())
	}
}

// A refill waits for the jobs that run while half of its pool is there, or the pool is of one, and not for long.
func TestRefillsLetJobsGoFirst(t *testing.T) {
	for _, c := range []struct {
		jobs          int64
		ready, target int
		want          time.Duration
	}{
		{1, 4, 4, maxDefer}, {1, 2, 4, maxDefer}, {1, 1, 4, 0}, {1, 0, 4, 0}, {0, 4, 4, 0},
		{1, 1, 2, maxDefer}, {1, 0, 2, 0}, {1, 1, 3, 0}, {1, 0, 1, maxDefer}, {0, 0, 1, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			ps, p := busyPools(c.jobs, c.ready, c.target)
			start := time.Now()
			if ps.awaitQuiet(t.Context(), p); time.Since(start) != c.want {
				t.Errorf("%+v: waited %v", c, time.Since(start))
			}
		})
	}
}

// Those that wait begin when the last job ends and none follows, when a job takes the half that a pool had or wants more, and with the daemon's end.
func TestRefillsAreWoken(t *testing.T) {
	const after = 10 * time.Millisecond
	last := func(ps *pools) { (&server{pools: ps}).end(nil) }
	for what, c := range map[string]struct {
		ready, target int
		change        func(*pools, *pool, context.CancelFunc)
		want          time.Duration
	}{
		"the last job ends": {1, 2, func(ps *pools, _ *pool, _ context.CancelFunc) { last(ps) }, after + breath},
		"another follows": {1, 2, func(ps *pools, _ *pool, _ context.CancelFunc) {
			last(ps)
			time.AfterFunc(breath/2, func() { ps.jobs.Add(1) })
		}, maxDefer},
		"a jail is taken": {1, 2, func(ps *pools, p *pool, _ context.CancelFunc) { ps.drop(p, <-p.ready) }, after},
		"more are wanted": {0, 1, func(_ *pools, p *pool, _ context.CancelFunc) {
			p.asked()
			p.asked()
		}, after},
		"the end": {1, 2, func(_ *pools, _ *pool, end context.CancelFunc) { end() }, after},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, end := context.WithCancel(t.Context())
			defer end()
			ps, p := busyPools(1, c.ready, c.target)
			time.AfterFunc(after, func() { c.change(ps, p, end) })
			start := time.Now()
			var fillers sync.WaitGroup
			for range 2 {
				fillers.Go(func() {
					if ps.awaitQuiet(ctx, p); time.Since(start) != c.want {
						t.Errorf("%s: waited %v, want %v", what, time.Since(start), c.want)
					}
				})
			}
			fillers.Wait()
		})
	}
}

// Only the last job's end is told.
func TestQuietIsWhenNoJobRuns(t *testing.T) {
	ps := &pools{}
	ps.jobs.Store(2)
	heard := ps.quiet.hear()
	ps.endJob()
	select {
	case <-heard:
		t.Error("told while a job runs")
	default:
	}
	ps.endJob()
	select {
	case <-heard:
	default:
		t.Error("not told when none does")
	}
}

// busyPools are pools with jobs that run, and one of them, which wants target jails.
func busyPools(jobs int64, ready, target int) (*pools, *pool) {
	ps := &pools{}
	ps.jobs.Store(jobs)
	p := &pool{template: &template{spec: templateSpec{Pool: target, PoolMax: 8}}, ready: make(chan *readyJail, 8)}
	for range ready {
		p.ready <- &readyJail{}
	}
	return ps, p
}

// A pool is filled by as many as there are CPUs, but for the first jail; when one cannot be made, it is not proven any more.
func TestFillersWorkTogether(t *testing.T) {
	const cpus = 3
	ctx, cancel := context.WithCancel(context.Background())
	b := &builder{slots: newSlots(0, 0), making: make(chan struct{}, 1), ending: make(chan struct{}, cpus), log: slog.New(slog.DiscardHandler)}
	b.policy.Store(&policy{})
	b.making <- struct{}{} // whoever builds waits
	ps := &pools{builder: b, log: b.log, cpus: cpus, budget: 1 << 30, turn: make(chan struct{}, cpus)}
	p := &pool{template: &template{spec: templateSpec{Pool: 8, PoolMax: 8}}, wake: make(chan struct{}, 1), help: make(chan struct{}, 1)}
	at := func(want int64) {
		t.Helper()
		for start := time.Now(); b.live.Load() != want; time.Sleep(time.Millisecond) {
			if time.Since(start) > time.Minute {
				t.Fatalf("%d jails are being made, want %d", b.live.Load(), want)
			}
		}
		time.Sleep(20 * time.Millisecond) // nobody joins
		if got := b.live.Load(); got != want {
			t.Fatalf("%d jails are being made, want %d", got, want)
		}
	}
	ps.startFilling(ctx, p, ps.cpus, func() {}, func() {})
	at(1)
	p.proven.Store(true)
	p.poke()
	at(cpus)
	cancel()
	<-b.making // they fail: there is no slot for any
	ps.workers.Wait()
	if p.proven.Load() || p.stock.Load() != 0 || ps.held.Load() != 0 {
		t.Errorf("after failures: proven %v, stock %d, held %d", p.proven.Load(), p.stock.Load(), ps.held.Load())
	}
}

// A helper that could not make a jail leaves the next try to the first filler, and wakes it.
func TestHelperThatFailsWakesTheFirstFiller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		b := &builder{slots: newSlots(0, 0), making: make(chan struct{}, 1), ending: make(chan struct{}, 1), log: slog.New(slog.DiscardHandler)}
		b.policy.Store(&policy{})
		ps := &pools{builder: b, log: b.log, budget: 1 << 30, turn: make(chan struct{}, 1)}
		p := &pool{template: &template{spec: templateSpec{Pool: 8, PoolMax: 8}}, wake: make(chan struct{}, 1), help: make(chan struct{}, 1)}
		p.proven.Store(true)
		ps.workers.Go(func() { ps.fill(ctx, p, p.help, func() {}) })
		time.Sleep(retryBuild / 2)
		<-p.wake // that it began
		time.Sleep(retryBuild)
		select {
		case <-p.wake:
		default:
			t.Error("the first filler sleeps")
		}
		time.Sleep(10 * retryBuild)
		if got := b.failed.Load(); got != 1 {
			t.Errorf("the helper tried %d times", got)
		}
		cancel()
		ps.workers.Wait()
	})
}
