package main

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/runtools/runtools/pkg/wire"
)

// load is the share of the closed-loop rate that benchTail asks for.
const load = 0.8

// benchTail sends requests as independent callers do, at times that do not wait for answers, and measures each from the moment it was due.
func benchTail(ctx context.Context, b *bench) ([]table, error) {
	if err := b.parked.settle(5); err != nil {
		return nil, err
	}
	steady, err := steadiness(ctx, 2*b.window)
	if err != nil {
		return nil, err
	}
	t := table{
		Title:   fmt.Sprintf("Tail at %.0f %% load: ms", 100*load),
		Columns: []column{{"closed", "closed loop/s"}, {"sent", "requests"}, {"p50", "p50"}, {"p99", "p99"}, {"max", "max"}, {"ratio", "p99/p50"}, {"hits", "pool hits %"}},
		Notes: []string{
			fmt.Sprintf("Poisson arrivals for %v at %.0f %% of what 8 callers in a closed loop reached just before; time counts from when a request was due, "+
				"so that a stall meets all who came during it.", 4*b.window, 100*load),
		},
	}
	for _, name := range []string{"bash", "python"} {
		p, err := find(name)
		if err != nil {
			return nil, err
		}
		rate, err := rateOf(ctx, 8, 0, b.window, func(int) error { _, err := p.runHTTP(b.parked, fresh()); return err })
		if err != nil {
			return nil, err
		}
		if err := b.parked.settle(5); err != nil {
			return nil, err
		}
		before, err := b.parked.wire.Status(ctx, &wire.StatusRequest{})
		if err != nil {
			return nil, err
		}
		times, err := openLoop(ctx, load*rate, 4*b.window, func() error { _, err := p.runHTTP(b.parked, fresh()); return err })
		if err != nil {
			return nil, err
		}
		after, err := b.parked.wire.Status(ctx, &wire.StatusRequest{})
		if err != nil {
			return nil, err
		}
		hits := after.PoolHits - before.PoolHits
		q := summarize(times)
		t.Rows = append(t.Rows, row{Name: name, Values: map[string]float64{
			"closed": rate, "sent": float64(q.N), "p50": q.P50, "p99": q.P99, "max": q.Max, "ratio": q.P99 / q.P50,
			"hits": percent(hits, hits+after.PoolMisses-before.PoolMisses)}})
	}
	return []table{steady, t}, nil
}

// openLoop calls f at random times, rate a second, and tells how long after its time each call ended.
func openLoop(ctx context.Context, rate float64, window time.Duration, f func() error) (times []time.Duration, err error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	start := time.Now()
	for due := time.Duration(0); due < window && ctx.Err() == nil; due += time.Duration(rand.ExpFloat64() / rate * float64(time.Second)) {
		time.Sleep(time.Until(start.Add(due)))
		wg.Go(func() {
			failed := f()
			mu.Lock()
			defer mu.Unlock()
			times = append(times, time.Since(start)-due)
			if failed != nil {
				err = failed
			}
		})
	}
	wg.Wait()
	return times, cmp.Or(err, ctx.Err())
}
