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
		Title: "Sustained runs a second, bare and over HTTP in windows by turns",
		Columns: []column{
			{"pairs", "pairs"}, {"bare", "bare/s"}, {"http", "HTTP/s"}, {"low", "lower quartile"}, {"ratio", "ratio"}, {"high", "upper quartile"},
			{"hits", "pool hits %"}, {"parked", "parked %"},
		},
		Notes: []string{
			fmt.Sprintf("Pairs of windows of %v, of bare and of HTTP. The ratio is the median of the pairs, between its quartiles; the rates are medians each of its own.", b.window),
			"Of the rates, what uses up the jails that were ready does not count; pool hits and parked are of all jobs.",
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

// budget is how many windows each of -pairs may take in all, with leads and with calls that last longer than a window.
const budget = 4

// throughput measures one row: windows of both by turns, each pair in the order that the one before did not have. The machine's speed changes within a minute,
// so only the rates of a pair are set against each other. The row has the median of the pairs, which are an odd number, three at least.
func (b *bench) throughput(ctx context.Context, s *server, p *program, n int) (r row, err error) {
	var bare, http, ratios []float64
	var hits, parked, jobs uint64
	inBare := func() error {
		rate, err := rateOf(ctx, n, n, b.window, func(worker int) error {
			_, err := p.runBare(b.bare, fmt.Sprintf("worker-%d", worker), fresh())
			return err
		})
		bare = append(bare, rate)
		return err
	}
	overHTTP := func() error {
		before, err := s.wire.Status(ctx, &wire.StatusRequest{})
		if err != nil {
			return err
		}
		rate, err := rateOf(ctx, n, n+mostReady(before, p.language), b.window, func(int) error {
			_, err := p.runHTTP(s, fresh())
			return err
		})
		if err != nil {
			return err
		}
		after, err := s.wire.Status(ctx, &wire.StatusRequest{})
		if err != nil {
			return err
		}
		http = append(http, rate)
		hits += after.PoolHits - before.PoolHits
		parked += after.Parked - before.Parked
		jobs += after.PoolHits + after.PoolMisses - before.PoolHits - before.PoolMisses
		return nil
	}
	var spent time.Duration
	for i := 0; i < 3 || i%2 == 0 || i < b.pairs && spent < budget*time.Duration(b.pairs)*b.window; i++ {
		turns := []func() error{inBare, overHTTP}
		if i%2 > 0 {
			slices.Reverse(turns)
		}
		for _, turn := range turns {
			if err := s.settle(3); err != nil { // a refill must not be in bare's window
				return r, err
			}
			start := time.Now()
			if err := turn(); err != nil {
				return r, err
			}
			spent += time.Since(start)
		}
		ratios = append(ratios, http[i]/bare[i])
	}
	slices.Sort(ratios)
	return row{Name: fmt.Sprintf("%s, %d at a time", p.name, n), Values: map[string]float64{
		"pairs": float64(len(ratios)), "bare": median(bare), "http": median(http), "low": nearestRank(ratios, 0.25), "ratio": median(ratios), "high": nearestRank(ratios, 0.75),
		"hits": percent(hits, jobs), "parked": percent(parked, jobs),
	}}, nil
}

// mostReady is how many jails the fullest pool of a language holds: so many jobs at most find one that was made before.
func mostReady(st *wire.Status, language string) (most int) {
	for _, t := range st.Templates {
		if strings.HasPrefix(t.Name, language+"/") {
			most = max(most, t.Ready)
		}
	}
	return most
}

func percent(part, whole uint64) float64 { return 100 * float64(part) / float64(max(1, whole)) }

// rateOf calls once from n goroutines, in a loop, and counts the calls that end in a window of time. It begins when so many as lead have ended, and a fifth
// of it has passed. It ends with the first call that ends after its time: callers in step end all at once, and time in which nobody ended belongs to the rate. A window is longer than asked
// for if calls are so slow that few would end in it: two for each goroutine are the least.
func rateOf(ctx context.Context, n, lead int, window time.Duration, once func(worker int) error) (float64, error) {
	var mu sync.Mutex
	var first, last time.Duration // the ends of the call that opened the window and of the last one in it
	var led, count int
	var failed error
	start := time.Now()
	ended := func(err error) (more bool) {
		mu.Lock()
		defer mu.Unlock()
		if failed = cmp.Or(failed, err, ctx.Err()); failed != nil {
			return false
		}
		switch now := time.Since(start); {
		case now < window/5 || led < lead:
			led++
		case first == 0:
			first = now
		case last < first+window || count < 2*n:
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
