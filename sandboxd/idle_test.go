package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

func TestAwaitIdle(t *testing.T) {
	for name, c := range map[string]struct {
		cpus  float64       // that idle,
		from  time.Duration // beginning then
		err   error         // of reading it
		given time.Duration // until ctx ends
		want  time.Duration
	}{
		"idle":        {cpus: 2, given: time.Hour, want: idleLook},
		"half of one": {cpus: 0.5, given: time.Hour, want: idleLook},
		"less":        {cpus: 0.4, given: time.Hour, want: maxCrowd},
		"soon":        {cpus: 2, from: 10 * idleLook, given: time.Hour, want: 11 * idleLook},
		"never":       {given: time.Hour, want: maxCrowd},
		"no /proc":    {err: errors.New("none"), given: time.Hour},
		"the end":     {given: time.Second / 4, want: time.Second / 4},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				ps := &pools{looks: make(chan struct{}, 1), idle: func() (time.Duration, error) {
					return time.Duration(c.cpus * float64(max(0, time.Since(start)-c.from))), c.err
				}}
				ctx, cancel := context.WithTimeout(t.Context(), c.given)
				defer cancel()
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
					idle: func() (time.Duration, error) { return 0, nil }, looks: make(chan struct{}, 1),
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

// Of two fillers on a machine that never idles the second goes on after the first has had its turn; nobody waits for the other when all is about to end.
func TestFillersLookForAnIdleProcessorInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ps := &pools{idle: func() (time.Duration, error) { return 0, nil }, looks: make(chan struct{}, 1)}
		ctx, cancel := context.WithCancel(t.Context())
		start := time.Now()
		ended := make(chan time.Duration, 4)
		for range 4 {
			go func() { ps.awaitIdle(ctx); ended <- time.Since(start) }()
		}
		for n := range time.Duration(2) {
			if got, want := <-ended, (n+1)*maxCrowd; got != want {
				t.Errorf("one goes on after %v, want %v", got, want)
			}
		}
		cancel()
		for range 2 {
			if got := <-ended; got != 2*maxCrowd {
				t.Errorf("ends after %v, want %v", got, 2*maxCrowd)
			}
		}
	})
}

// It is the sum that /proc/stat has as the fourth number of its first line, in hundredths of a second.
func TestIdleTime(t *testing.T) {
	stat := func() time.Duration {
		data, err := os.ReadFile("/proc/stat")
		var user, nice, system, idle time.Duration
		if err == nil {
			_, err = fmt.Sscanf(string(data), "cpu %d %d %d %d", &user, &nice, &system, &idle)
		}
		if err != nil {
			t.Fatal(err)
		}
		return idle * 10 * time.Millisecond
	}
	before := stat()
	got, err := idleTime()
	after := stat()
	const tick = 10 * time.Millisecond
	if err != nil || got < before-tick || got > after+tick {
		t.Errorf("%v, want %v to %v: %v", got, before, after, err)
	}
}
