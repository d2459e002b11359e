package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/runtools/runtools/pkg/wire"
)

// benchThroughput counts runs a second at several levels of concurrency, bare and over HTTP in turn.
func benchThroughput(ctx context.Context, b *bench) ([]table, error) {
	chosen, err := named(cmp.Or(b.languages, "bash,python"))
	if err != nil {
		return nil, err
	}
	t := table{
		Title:   "Sustained runs a second, bare and over HTTP in windows by turns",
		Columns: []column{{"bare", "bare/s"}, {"http", "HTTP/s"}, {"ratio", "ratio"}, {"hits", "pool hits %"}, {"parked", "parked %"}},
		Notes: []string{
			fmt.Sprintf("Windows of %v, two of each, after a fifth of that which does not count: it uses up what the pools held.", b.window),
			fmt.Sprintf("Compilers kept: with compiler_jobs = %d in sandboxd.toml, which is 1 as shipped.", keptJobs),
			"Parked: found a runtime loaded. Without one, Ruby, JavaScript and TypeScript load theirs as for the pool (on_miss); the others start the command.",
			"Every run is another program. Bench itself runs on the same machine: its HTTP client's CPU counts against HTTP.",
		},
	}
	add := func(r row) {
		t.Rows = append(t.Rows, r)
		fmt.Printf("  %-40s %s\n", r.Name, format(r.Values["ratio"]))
	}
	for _, p := range chosen {
		for word := range strings.SplitSeq(b.levels, ",") {
			n, err := strconv.Atoi(word)
			if err != nil {
				return nil, fmt.Errorf("-levels: %w", err)
			}
			r, err := b.throughput(ctx, b.parked, p, n)
			if err != nil {
				return nil, err
			}
			add(r)
		}
	}
	err = b.keptCompilers(ctx, chosen, add)
	return []table{t}, err
}

// keptJobs is compiler_jobs of the second pair of daemons.
const keptJobs = 200

// keptCompilers measures what an operator gains who lets a compiler serve one key more than once.
func (b *bench) keptCompilers(ctx context.Context, chosen []*program, add func(row)) error {
	chosen = slices.DeleteFunc(slices.Clone(chosen), func(p *program) bool { return p.name != "java" && p.name != "csharp" })
	if len(chosen) == 0 {
		return nil
	}
	kept, err := startServer(ctx, pair{name: "kept", bin: b.bin, image: b.image, firstUID: coldUID, settings: fmt.Sprintf("compiler_jobs = %d\n", keptJobs)})
	if err != nil {
		return err
	}
	defer kept.stop()
	for _, p := range chosen {
		for _, n := range []int{2, 8} {
			r, err := b.throughput(ctx, kept, p, n)
			if err != nil {
				return err
			}
			r.Name += ", compilers kept"
			add(r)
		}
	}
	return nil
}

func (b *bench) throughput(ctx context.Context, s *server, p *program, n int) (r row, err error) {
	bare := func(worker int) error {
		_, err := p.runBare(b.bare, fmt.Sprintf("worker-%d", worker), fresh())
		return err
	}
	http := func(int) error {
		_, err := p.runHTTP(s, fresh())
		return err
	}
	var bareRate, httpRate float64
	var hits, parked, jobs uint64
	for range 2 {
		if err := s.settle(3); err != nil { // a refill must not be in bare's window
			return r, err
		}
		rate, err := rateOf(ctx, n, b.window, bare)
		if err != nil {
			return r, err
		}
		bareRate += rate / 2
		before, err := s.wire.Status(ctx, &wire.StatusRequest{})
		if err != nil {
			return r, err
		}
		if rate, err = rateOf(ctx, n, b.window, http); err != nil {
			return r, err
		}
		httpRate += rate / 2
		after, err := s.wire.Status(ctx, &wire.StatusRequest{})
		if err != nil {
			return r, err
		}
		hits += after.PoolHits - before.PoolHits
		parked += after.Parked - before.Parked
		jobs += after.PoolHits + after.PoolMisses - before.PoolHits - before.PoolMisses
	}
	return row{Name: fmt.Sprintf("%s, %d at a time", p.name, n), Values: map[string]float64{
		"bare": bareRate, "http": httpRate, "ratio": httpRate / bareRate, "hits": percent(hits, jobs), "parked": percent(parked, jobs),
	}}, nil
}

func percent(part, whole uint64) float64 { return 100 * float64(part) / float64(max(1, whole)) }

// rateOf calls once from n goroutines, in a loop, and counts the calls that end in a window of time. A window is longer than asked for if
// calls are so slow that few would end in it: two for each goroutine are the least.
func rateOf(ctx context.Context, n int, window time.Duration, once func(worker int) error) (float64, error) {
	var mu sync.Mutex
	var first, last time.Duration // the ends of the call that opened the window and of the last one in it
	var count int
	var failed error
	start := time.Now()
	ended := func(err error) (more bool) {
		mu.Lock()
		defer mu.Unlock()
		if failed = cmp.Or(failed, err, ctx.Err()); failed != nil {
			return false
		}
		switch now := time.Since(start); {
		case now < window/5:
		case first == 0:
			first = now
		case now < window/5+window || count < 2*n:
			count++
			last = now
		default:
			return false
		}
		return true
	}
	var wg sync.WaitGroup
	for worker := range n {
		wg.Go(func() {
			for ended(once(worker)) {
			}
		})
	}
	wg.Wait()
	if failed != nil {
		return 0, failed
	}
	return float64(count) / (last - first).Seconds(), nil
}
