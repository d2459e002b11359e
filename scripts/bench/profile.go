package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// phases of the header Server-Timing, in order.
var phases = []string{"auth", "queue", "checkout", "files", "compile", "run", "collect"}

// benchProfile shows where the time of a hello goes, by what the answers tell.
func benchProfile(ctx context.Context, b *bench) ([]table, error) {
	const n = 101
	t := table{
		Title:   "Where the time of a hello goes: medians, us",
		Columns: []column{{"whole", "whole"}},
		Notes: []string{
			fmt.Sprintf("%d requests each, one at a time. Whole is what the client measures; the phases are those of Server-Timing.", n),
			"The rest is HTTP on both sides, JSON, the pipes and the exchange of packets between the daemons: whole less all phases.",
		},
	}
	for _, name := range append(phases, "rest") {
		t.Columns = append(t.Columns, column{name, name})
	}
	for i := range programs {
		p := &programs[i]
		if i > 0 && programs[i-1].language == p.language {
			continue
		}
		all := map[string][]float64{}
		for runs, begun := 0, time.Now(); runs < n && (runs < leastRuns || time.Since(begun) < 3*time.Second); runs++ {
			if err := b.quiet(); err != nil {
				return nil, err
			}
			a, err := p.runHTTP(b.parked, fresh())
			if err != nil {
				return nil, err
			}
			whole := float64(a.took.Microseconds())
			rest := whole
			for phase, ms := range parseTiming(a.timing) {
				all[phase] = append(all[phase], 1000*ms)
				rest -= 1000 * ms
			}
			all["whole"], all["rest"] = append(all["whole"], whole), append(all["rest"], rest)
		}
		r := row{Name: p.language, Values: map[string]float64{}}
		for phase, us := range all {
			r.Values[phase] = median(us)
		}
		if !p.compiled {
			delete(r.Values, "compile")
		}
		t.Rows = append(t.Rows, r)
	}
	return []table{t}, ctx.Err()
}

// parseTiming reads "auth;dur=0.012, queue;dur=0.001": ms by phase.
func parseTiming(header string) map[string]float64 {
	all := map[string]float64{}
	for part := range strings.SplitSeq(header, ", ") {
		name, value, ok := strings.Cut(part, ";dur=")
		if ms, err := strconv.ParseFloat(value, 64); ok && err == nil {
			all[name] = ms
		}
	}
	return all
}
