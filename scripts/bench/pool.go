package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/runtools/runtools/pkg/wire"
)

// benchPool shows what happens when more ask than there are ready jails, what a ready one saves, and what it costs to make another.
func benchPool(ctx context.Context, b *bench) ([]table, error) {
	var all []table
	for _, part := range []func(context.Context, *bench) (table, error){bursts, hitsAndMisses, refills} {
		t, err := part(ctx, b)
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	return all, nil
}

func hitsAndMisses(ctx context.Context, b *bench) (table, error) {
	const n = 200
	t := table{
		Title:   "A job of `true` on sandboxd's socket, with and without a jail ready: ms",
		Columns: []column{{"p50", "checkout p50"}, {"p99", "p99"}, {"whole_p50", "whole p50"}, {"whole_p99", "p99"}},
		Notes:   []string{fmt.Sprintf("%d jobs each, in turn. Checkout is taking or building the jail and attaching its volumes.", n)},
	}
	kinds := []struct{ name, template string }{{"hit", "bash/run"}, {"miss", emptyPool}}
	checkout, whole := map[string][]time.Duration{}, map[string][]time.Duration{}
	for range n {
		for _, k := range kinds {
			if err := b.quiet(ctx); err != nil {
				return t, err
			}
			start := time.Now()
			r, _, err := b.parked.job(&wire.Job{Template: k.template, Argv: []string{"/usr/bin/true"}, Env: []string{}}, "")
			if err != nil {
				return t, err
			}
			if r.PoolHit != (k.name == "hit") {
				continue
			}
			whole[k.name] = append(whole[k.name], time.Since(start))
			checkout[k.name] = append(checkout[k.name], time.Duration(r.CheckoutNS))
		}
	}
	for _, k := range kinds {
		c, w := summarize(checkout[k.name]), summarize(whole[k.name])
		t.Rows = append(t.Rows, row{Name: k.name, Values: map[string]float64{"p50": c.P50, "p99": c.P99, "whole_p50": w.P50, "whole_p99": w.P99}})
	}
	return t, nil
}

// refills uses up what is ready for a language, and watches the pools fill again on an idle machine.
func refills(ctx context.Context, b *bench) (table, error) {
	t := table{
		Title: "Refill of each language's pools when nothing else runs",
		Columns: []column{{"pool", "pool"}, {"jails", "jails built"}, {"ms", "ms each"}, {"rate", "jails/s"},
			{"cpu", "CPU ms each"}, {"per_core", "jails/s per core"}},
		Notes: []string{
			"As many hellos at once as the pools hold, several times. ms each: from the last answer until all is full again, by the jails missing then.",
			"CPU of the daemons, the spawner and all jails, without the programs' own as the answers tell it; so it is the whole life of a jail, " +
				"its job's way through it and its fall included.",
		},
	}
	for i := range programs {
		p := &programs[i]
		if i > 0 && programs[i-1].language == p.language {
			continue
		}
		var sum refill
		for begun, rounds := time.Now(), 0; rounds < 3 || rounds < 30 && time.Since(begun) < 2*time.Second; rounds++ {
			if err := sum.round(ctx, b.parked, p); err != nil {
				return t, err
			}
		}
		values := map[string]float64{"pool": float64(sum.pool), "jails": float64(sum.built), "cpu": milliseconds(sum.cpu) / float64(sum.built)}
		values["per_core"] = 1000 / values["cpu"]
		if sum.missing > 0 {
			values["ms"] = milliseconds(sum.waited) / float64(sum.missing)
			values["rate"] = 1000 / values["ms"]
		}
		t.Rows = append(t.Rows, row{Name: p.language, Values: values})
	}
	return t, nil
}

// refill adds up some rounds.
type refill struct {
	pool, missing int
	built         uint64
	waited, cpu   time.Duration
}

func (r *refill) round(ctx context.Context, s *server, p *program) error {
	if err := s.settle(5); err != nil {
		return err
	}
	built, cpu, err := s.counters(ctx)
	if err != nil {
		return err
	}
	if _, r.pool, err = s.missing(ctx, p.language); err != nil {
		return err
	}
	answers, err := atOnce(s, p, max(1, r.pool))
	if err != nil {
		return err
	}
	missing, _, err := s.missing(ctx, p.language)
	if err != nil {
		return err
	}
	start := time.Now()
	for left := missing; left > 0; left, _, err = s.missing(ctx, p.language) {
		if err != nil {
			return err
		}
		time.Sleep(max(200*time.Microsecond, time.Since(start)/20)) // few looks: each takes CPU that would be counted
	}
	r.waited, r.missing = r.waited+time.Since(start), r.missing+missing
	if err := s.settle(5); err != nil {
		return err
	}
	builtAfter, cpuAfter, err := s.counters(ctx)
	if err != nil {
		return err
	}
	r.built += builtAfter - built
	r.cpu += cpuAfter - cpu
	for _, a := range answers {
		r.cpu -= a.cpu()
	}
	return nil
}

// missing is how many jails of a language's pools are not ready, and how many the largest of the pools holds.
func (s *server) missing(ctx context.Context, language string) (missing, largest int, err error) {
	st, err := s.wire.Status(ctx, &wire.StatusRequest{})
	if err != nil {
		return 0, 0, err
	}
	for _, t := range st.Templates {
		if strings.HasPrefix(t.Name, language+"/") {
			missing, largest = missing+max(0, t.Size-t.Ready), max(largest, t.Size)
		}
	}
	return missing, largest, nil
}

func (s *server) counters(ctx context.Context) (built uint64, cpu time.Duration, err error) {
	st, err := s.wire.Status(ctx, &wire.StatusRequest{})
	if err != nil {
		return 0, 0, err
	}
	cpu, err = cpuUsed(s.cgroup, s.daemons)
	return st.Built, cpu, err
}

// atOnce sends n requests at the same moment.
func atOnce(s *server, p *program, n int) ([]*answer, error) {
	var mu sync.Mutex
	var answers []*answer
	err := inParallel(context.Background(), n, n, func() error {
		a, err := p.runHTTP(s, fresh())
		mu.Lock()
		defer mu.Unlock()
		answers = append(answers, a)
		return err
	})
	return answers, err
}

// burstPrograms are the rows of bursts.
var burstPrograms = []string{"bash", "python", "javascript", "c"}

// bursts asks for ten times what a pool holds: all must be answered, the later ones more slowly.
func bursts(ctx context.Context, b *bench) (table, error) {
	t := table{
		Title:   "A burst of ten times the pool, all at one moment: ms",
		Columns: []column{{"pool", "pool"}, {"requests", "requests"}, {"errors", "errors"}, {"p50", "p50"}, {"p99", "p99"}, {"max", "last"}},
	}
	for _, name := range burstPrograms {
		p, err := find(name)
		if err != nil {
			return t, err
		}
		if err := b.parked.settle(5); err != nil {
			return t, err
		}
		_, pool, err := b.parked.missing(ctx, p.language)
		if err != nil {
			return t, err
		}
		q, failed := burst(ctx, 10*pool, func() (time.Duration, error) {
			a, err := p.runHTTP(b.parked, fresh())
			if err != nil {
				return 0, err
			}
			return a.took, nil
		})
		t.Rows = append(t.Rows, row{Name: name, Values: map[string]float64{
			"pool": float64(pool), "requests": float64(10 * pool), "errors": float64(failed), "p50": q.P50, "p99": q.P99, "max": q.Max}})
	}
	return t, b.parked.settle(5)
}

// burst calls once n times at the same moment; times are of the calls that did not fail, and the first that did is printed.
func burst(ctx context.Context, n int, once func() (time.Duration, error)) (times quantiles, failed int) {
	var mu sync.Mutex
	var took []time.Duration
	_ = inParallel(ctx, n, n, func() error {
		d, err := once()
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil:
			took = append(took, d)
		case failed == 0:
			fmt.Printf("  a request of a burst: %v\n", err)
			fallthrough
		default:
			failed++
		}
		return nil
	})
	return summarize(took), failed
}
