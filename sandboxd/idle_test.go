package main

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

func TestAwaitIdle(t *testing.T) {
	begin := func(d time.Duration) func() (time.Duration, error) { // two processors that idle from then on
		start := time.Now().Add(d)
		return func() (time.Duration, error) { return 2 * max(0, time.Since(start)), nil }
	}
	for name, c := range map[string]struct {
		idle  func() func() (time.Duration, error) // called in the bubble
		given time.Duration                        // until ctx ends
		want  time.Duration
	}{
		"idle":  {func() func() (time.Duration, error) { return begin(0) }, time.Hour, idleLook},
		"soon":  {func() func() (time.Duration, error) { return begin(10 * idleLook) }, time.Hour, 11 * idleLook},
		"never": {func() func() (time.Duration, error) { return begin(time.Hour) }, time.Hour, maxCrowd},
		"half of one": {func() func() (time.Duration, error) {
			f := begin(0)
			return func() (time.Duration, error) { d, _ := f(); return d / 4, nil }
		}, time.Hour, idleLook},
		"a fifth": {func() func() (time.Duration, error) {
			f := begin(0)
			return func() (time.Duration, error) { d, _ := f(); return d / 10, nil }
		}, time.Hour, maxCrowd},
		"no /proc": {func() func() (time.Duration, error) {
			return func() (time.Duration, error) { return 0, errors.New("none") }
		}, time.Hour, 0},
		"the end": {func() func() (time.Duration, error) { return begin(time.Hour) }, time.Second / 4, time.Second / 4},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ps := &pools{idle: c.idle()}
				ctx, cancel := context.WithTimeout(t.Context(), c.given)
				defer cancel()
				start := time.Now()
				ps.awaitIdle(ctx)
				if got := time.Since(start); got != c.want {
					t.Errorf("waited %v, want %v", got, c.want)
				}
			})
		})
	}
}

// What its template says is loaded when a processor idles, unless it is to serve more than one job.
func TestCompilersAreNotWarmedUpForACrowd(t *testing.T) {
	for name, c := range map[string]struct {
		parked *parkedSpec
		jobs   int
		waits  bool
	}{
		"compiler":       {&parkedSpec{Again: true, WhenIdle: true}, 1, true},
		"kept compiler":  {&parkedSpec{Again: true, WhenIdle: true}, 2, false},
		"other compiler": {&parkedSpec{Again: true}, 1, false},
		"none":           {nil, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				b := &builder{slots: newSlots(0, 0), making: make(chan struct{}, 1), ending: make(chan struct{}, 1), mostJobs: c.jobs, log: slog.New(slog.DiscardHandler)} // no slot: what begins fails
				b.policy.Store(&policy{})
				ps := &pools{
					builder: b, log: b.log, budget: 1 << 30, turn: make(chan struct{}, 1), load: make(chan struct{}, 1),
					idle: func() (time.Duration, error) { return 0, nil },
				}
				p := &pool{template: &template{spec: templateSpec{Pool: 1, PoolMax: 1, Parked: c.parked}}, wake: make(chan struct{}, 1), help: make(chan struct{}, 1)}
				ps.workers.Go(func() { ps.fill(ctx, p, p.wake, func() {}) })
				time.Sleep(maxCrowd / 2)
				if waits := b.failed.Load() == 0; waits != c.waits {
					t.Errorf("half of maxCrowd later %d tries, want none: %v", b.failed.Load(), c.waits)
				}
				if c.waits && (ps.held.Load() != 0 || p.stock.Load() != 0) {
					t.Errorf("who waits holds %d bytes, and %d of the stock", ps.held.Load(), p.stock.Load())
				}
				time.Sleep(maxCrowd)
				if b.failed.Load() == 0 {
					t.Error("no try after maxCrowd")
				}
				cancel()
				ps.workers.Wait()
			})
		})
	}
}

func TestIdleTime(t *testing.T) {
	first, err := idleTime()
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond)
	second, err := idleTime()
	if first <= 0 || second < first || err != nil {
		t.Errorf("%v, then %v: %v", first, second, err)
	}
}
