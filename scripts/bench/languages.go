package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// variant is one way to carry a program out.
type variant struct {
	key string // of its columns
	run func(p *program, nonce int64) (time.Duration, error)
}

// leastRuns of each variant, however slow it is.
const leastRuns = 15

// benchLanguages runs each hello in turn, bare and over HTTP, one at a time.
func benchLanguages(ctx context.Context, b *bench) ([]table, error) {
	chosen, err := named(cmp.Or(b.languages, "all"))
	if err != nil {
		return nil, err
	}
	variants, stop, err := b.variants(ctx)
	if err != nil {
		return nil, err
	}
	defer stop()
	t := table{
		Title: "Hello, one request at a time over one HTTP connection, against the bare command: ms",
		Columns: []column{
			{"runs", "runs"}, {"bare_p50", "bare p50"}, {"bare_p99", "p99"}, {"cold_p50", "cold p50"}, {"cold_p99", "p99"}, {"cold_ratio", "ratio"},
			{"parked_p50", "parked p50"}, {"parked_p99", "p99"}, {"parked_ratio", "ratio"}, {"cached_p50", "cached p50"}, {"cached_ratio", "ratio"},
		},
		Notes: []string{
			"Ratios are of medians, to bare. Cold: no parked runners. Cached: the same program again. Every other run is a program never seen before.",
			"In turn; before each run all pools are full and no filler is at work.",
		},
	}
	for _, p := range chosen {
		r, err := b.inTurn(ctx, p, variants)
		if err != nil {
			return nil, err
		}
		t.Rows = append(t.Rows, r)
		note := fmt.Sprintf("%s: bare is `%s`", p.name, p.bare)
		if p.note != "" {
			note += ". " + p.note
		}
		t.Notes = append(t.Notes, note)
		fmt.Printf("  %-36s %v\n", p.name, format(r.Values["parked_ratio"]))
	}
	return []table{t}, nil
}

// variants are bare, cold, parked and cached; stop ends what had to be started for them.
func (b *bench) variants(ctx context.Context) (all []variant, stop func(), err error) {
	stop = func() {}
	all = append(all, variant{"bare", func(p *program, nonce int64) (time.Duration, error) { return p.runBare(b.bare, "languages", nonce) }})
	over := func(s *server) func(*program, int64) (time.Duration, error) {
		return func(p *program, nonce int64) (time.Duration, error) {
			a, err := p.runHTTP(s, nonce)
			if err != nil {
				return 0, err
			}
			return a.took, nil
		}
	}
	if b.cold {
		cold, err := startServer(ctx, pair{name: "cold", bin: b.bin, image: b.image, firstUID: coldUID, settings: "parked = false\n"})
		if err != nil {
			return nil, stop, err
		}
		b.coldServer, stop = cold, func() { cold.stop(); b.coldServer = nil }
		all = append(all, variant{"cold", over(cold)})
	}
	all = append(all, variant{"parked", over(b.parked)})
	return append(all, variant{"cached", over(b.parked)}), stop, nil
}

// inTurn measures one row: A, B, C, A, B, C, so that what else the machine does meets all alike.
func (b *bench) inTurn(ctx context.Context, p *program, variants []variant) (r row, err error) {
	same := fresh()
	if !b.caches(p, same) {
		variants = slices.DeleteFunc(slices.Clone(variants), func(v variant) bool { return v.key == "cached" })
	}
	times := map[string][]time.Duration{}
	once := func() error {
		for _, v := range variants {
			nonce := same
			if v.key != "cached" {
				nonce = fresh()
			}
			if err := b.quiet(ctx); err != nil {
				return err
			}
			took, err := v.run(p, nonce)
			if err != nil {
				return err
			}
			times[v.key] = append(times[v.key], took)
		}
		return nil
	}
	for range 2 { // page cache and pools
		if err := once(); err != nil {
			return r, err
		}
	}
	clear(times)
	for start := time.Now(); len(times["bare"]) < b.runs && (len(times["bare"]) < leastRuns || time.Since(start) < b.turn); {
		if err := once(); err != nil {
			return r, err
		}
	}
	r = row{Name: p.name, Values: map[string]float64{"runs": float64(len(times["bare"]))}}
	bare := summarize(times["bare"]).P50
	for key, all := range times {
		q := summarize(all)
		r.Values[key+"_p50"], r.Values[key+"_p99"], r.Values[key+"_ratio"] = q.P50, q.P99, q.P50/bare
	}
	return r, nil
}

// caches tells whether a compile of the very same program is answered from the artifact cache, and makes it so.
func (b *bench) caches(p *program, nonce int64) bool {
	if !p.compiled {
		return false
	}
	for range 3 {
		if a, err := p.runHTTP(b.parked, nonce); err == nil && a.Compile != nil && a.Compile.Cached {
			return true
		}
	}
	return false
}

// quiet waits until no pair of daemons is at work.
func (b *bench) quiet(ctx context.Context) error {
	for _, s := range []*server{b.parked, b.coldServer} {
		if s == nil {
			continue
		}
		if err := s.settle(1); err != nil {
			return err
		}
	}
	time.Sleep(5 * time.Millisecond)
	return ctx.Err()
}

// named are the programs of a comma-separated list of rows, or all of them.
func named(list string) (chosen []*program, err error) {
	if list == "all" {
		for i := range programs {
			chosen = append(chosen, &programs[i])
		}
		return chosen, nil
	}
	for name := range strings.SplitSeq(list, ",") {
		p, err := find(name)
		if err != nil {
			return nil, err
		}
		chosen = append(chosen, p)
	}
	return chosen, nil
}
