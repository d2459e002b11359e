package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// slowPiece is how much longer than the median of its CPU a piece of work takes that is called slow: well beyond the 1.2 to 1.4 of a p90.
const slowPiece = 1.7

// steadiness has each CPU do the same small piece of work over and over, with nothing of ours beside it. What a hypervisor takes away, or what
// other machines on the same hardware slow down, need not be in any statistics of this machine; it is in every p99 that is measured here.
func steadiness(ctx context.Context, window time.Duration) (table, error) {
	var cpus unix.CPUSet
	if err := unix.SchedGetaffinity(0, &cpus); err != nil {
		return table{}, fmt.Errorf("see which CPUs there are: %w", err)
	}
	type core struct {
		pieces []time.Duration
		err    error
	}
	cores := make([]core, cpus.Count())
	var done sync.WaitGroup
	for i, cpu := 0, 0; i < len(cores); cpu++ {
		if !cpus.IsSet(cpu) {
			continue
		}
		c := &cores[i]
		i++
		done.Go(func() {
			runtime.LockOSThread() // and never unlocked: a thread tied to one CPU ends with its goroutine
			var one unix.CPUSet
			one.Set(cpu)
			if err := unix.SchedSetaffinity(0, &one); err != nil {
				c.err = fmt.Errorf("tie a thread to CPU %d: %w", cpu, err)
				return
			}
			c.pieces = workFor(ctx, window)
		})
	}
	done.Wait()
	if ctx.Err() != nil {
		return table{}, ctx.Err()
	}

	var all []time.Duration
	var slow, longest time.Duration
	for _, c := range cores {
		if c.err != nil {
			return table{}, c.err
		}
		all = append(all, c.pieces...)
		s, l := slowStretches(c.pieces)
		slow, longest = slow+s, max(longest, l)
	}
	q := summarize(all)
	return table{
		Title: "How steady the processors are when nothing else runs: ms",
		Columns: []column{{"n", "pieces"}, {"p50", "p50"}, {"p99", "p99"}, {"max", "max"}, {"ratio", "p99/p50"},
			{"slow", "slow, % of the time"}, {"longest", "longest slow stretch"}},
		Rows: []row{{Name: fmt.Sprintf("a loop of multiplications, on each of %d CPUs", len(cores)), Values: map[string]float64{
			"n": float64(q.N), "p50": q.P50, "p99": q.P99, "max": q.Max, "ratio": q.P99 / q.P50,
			"slow": 100 * slow.Seconds() / (window.Seconds() * float64(len(cores))), "longest": milliseconds(longest)}}},
		Notes: []string{fmt.Sprintf("All at once. Slow: pieces that took more than %.1f times their CPU's median. A request that comes in such a stretch is slow whatever serves it, and so are those that queue behind it.", slowPiece)},
	}, nil
}

// workFor measures pieces of half a millisecond or so, an eighth of a scheduler's tick, until the window is over.
func workFor(ctx context.Context, window time.Duration) (pieces []time.Duration) {
	pieces = make([]time.Duration, 0, window/(100*time.Microsecond))
	x := uint64(1)
	for start := time.Now(); time.Since(start) < window && ctx.Err() == nil; {
		began := time.Now()
		x = work(x, 400_000)
		pieces = append(pieces, time.Since(began))
	}
	runtime.KeepAlive(x) // so that nothing is left out
	return pieces
}

//go:noinline
func work(x uint64, steps int) uint64 {
	for range steps {
		x = x*6364136223846793005 + 1 // Knuth's generator: each step needs the one before
	}
	return x
}

// slowStretches adds up the slow pieces, and finds the longest run of such without one between that is not.
func slowStretches(pieces []time.Duration) (total, longest time.Duration) {
	limit := time.Duration(slowPiece * float64(nearestRank(slices.Sorted(slices.Values(pieces)), 0.5)))
	var stretch time.Duration
	for _, p := range pieces {
		if p <= limit {
			stretch = 0
			continue
		}
		total += p
		stretch += p
		longest = max(longest, stretch)
	}
	return total, longest
}
