package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/runtools/runtools/pkg/wire"
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
			if err := b.quiet(ctx); err != nil {
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
	inside, err := benchLayers(ctx, b)
	return []table{inside, t}, err
}

// layers of a hello, from the outside in.
var layers = []string{
	"bare: `bash main.sh` started and awaited",
	"request: over HTTP, the connection kept",
	"job: on sandboxd's socket, pipes read to their end",
	"job: jail taken, volumes attached (checkout)",
	"job: capabilities dropped, files placed, runner woken (files)",
	"job: from exec to the end of the program (run)",
	"job: packets, descriptors, counters, the answer (the rest)",
}

// benchLayers takes a hello of bash apart from the outside: the program, the program as a job, the job as a request.
func benchLayers(ctx context.Context, b *bench) (table, error) {
	const n = 201
	t := table{
		Title:   "A hello of bash from the outside in: us",
		Columns: []column{{"p50", "p50"}, {"p99", "p99"}},
		Notes:   []string{fmt.Sprintf("%d of each, in turn. What the request costs above the job is apid, JSON and HTTP on both sides.", n)},
	}
	times := make([][]time.Duration, len(layers))
	for range n {
		all, err := layersOnce(ctx, b)
		if err != nil {
			return t, err
		}
		for i, d := range all {
			times[i] = append(times[i], d)
		}
	}
	for i, name := range layers {
		q := summarize(times[i])
		t.Rows = append(t.Rows, row{Name: name, Values: map[string]float64{"p50": 1000 * q.P50, "p99": 1000 * q.P99}})
	}
	return t, nil
}

// layersOnce measures each of layers once.
func layersOnce(ctx context.Context, b *bench) (all []time.Duration, err error) {
	p, err := find("bash")
	if err != nil {
		return nil, err
	}
	if err := b.quiet(ctx); err != nil {
		return nil, err
	}
	bare, err := p.runBare(b.bare, "profile", 1)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	r, _, err := b.parked.job(&wire.Job{Template: "bash/run", Argv: []string{"/bin/bash", p.file}, Env: bareEnv,
		Files: []wire.File{{Name: p.file, Size: int64(len(p.code))}}}, p.code)
	if err != nil {
		return nil, err
	}
	job := time.Since(start)
	if err := b.quiet(ctx); err != nil {
		return nil, err
	}
	a, err := p.runHTTP(b.parked, 1)
	if err != nil {
		return nil, err
	}
	checkout, files, run := time.Duration(r.CheckoutNS), time.Duration(r.FilesNS), time.Duration(r.WallNS)
	return []time.Duration{bare, a.took, job, checkout, files, run, job - checkout - files - run}, nil
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
