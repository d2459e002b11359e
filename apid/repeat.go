package main

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"slices"
	"time"

	"github.com/runtools/runtools/pkg/wire"
)

// A request with "repeat" is compiled once and run n times, each time in a fresh jail, to say how long the program takes and how far that can
// be trusted.
//
// The runs come one after another in one job slot: beside each other they would take caches, memory bandwidth and turbo clock from one another,
// and each would be measured with the noise of the rest. A run that a limit ended is the last: the next would most likely do the same.

// repeated is what a request with repeat did.
type repeated struct {
	samples []sample
	first   stageAnswer
	equal   bool // all wrote the same and ended the same way
	machine machineLoad
}

// sample is one run.
type sample struct {
	wall, cpu time.Duration
	memory    int64 // bytes
	noise     wire.Noise
	parked    bool // its runtime had been loaded before it began
}

func (p *plan) setRepeat(q *request, cfg *repeatConfig) *apiError {
	if q.repeat == nil {
		return nil
	}
	n, most := *q.repeat, time.Duration(cfg.MaxTime).Milliseconds()
	switch {
	case n < 1 || n > int64(cfg.MaxRuns):
		return outOfRange("repeat", n, 1, int64(cfg.MaxRuns))
	case q.tests != nil:
		return invalidField("repeat", "cannot stand beside tests")
	case q.artifacts != nil:
		return invalidField("repeat", "cannot stand beside artifacts: each run has a workspace of its own")
	case q.sessionID != "":
		return invalidField("session_id", "cannot stand beside repeat: each run has a workspace of its own")
	}
	if q.runTimeout == nil {
		p.run.wall = max(minTime, min(p.run.wall, most/n))
	}
	if p.run.wall*n > most {
		return invalidField("run_timeout", "%d ms for each of %d runs, at most %d ms together: want %d or less", p.run.wall, n, most, most/n)
	}
	p.repeat, p.ephemeral = int(n), true
	return nil
}

// runRepeated runs the program as often as the request says.
func (x *execution) runRepeated(ctx context.Context, j *preparedJob) *apiError {
	j.job.Noise = true
	j.setFiles(x.plan.files)
	r := &repeated{equal: true}
	x.repeated = r
	before := readMachine()
	for len(r.samples) < x.plan.repeat {
		out, err := x.runJob(ctx, j.jobInput)
		if err != nil {
			return x.explain(ctx, err)
		}
		x.call.timing.add(out)
		x.call.timing.run += time.Duration(out.result.WallNS)
		x.metrics.deny(x.call.language, out.result.Violations)
		ran := describe(j.limits, out)
		if r.add(&ran, out.result); ran.limit != nil {
			break
		}
	}
	r.machine = readMachine().since(before)
	x.ran = r.first
	x.ran.diagnostics = x.plan.diagnose(x.ran.stderr, false)
	return nil
}

func (r *repeated) add(ran *stageAnswer, result *wire.Result) {
	s := sample{wall: ran.wall, cpu: ran.cpu, memory: ran.memory, parked: result.Parked}
	if result.Noise != nil {
		s.noise = *result.Noise
	}
	if r.samples = append(r.samples, s); len(r.samples) == 1 {
		r.first = *ran
		return
	}
	f := &r.first
	r.equal = r.equal && ran.code == f.code && ran.signal == f.signal && ran.status == f.status && bytes.Equal(ran.stdout, f.stdout) && bytes.Equal(ran.stderr, f.stderr)
}

// spread sums up one figure of all runs.
type spread struct {
	Median float64     `json:"median"`
	Min    float64     `json:"min"`
	Max    float64     `json:"max"`
	CI95   *[2]float64 `json:"ci95"` // of the median; nil: there are too few runs
}

// summarise needs no assumption of how times are distributed, which is never normal: the interval is between two order statistics, the
// k-th smallest and the k-th largest, with the largest k for which the median lies outside with a probability of at most 5 %; that number is
// binomial (Conover, Practical Nonparametric Statistics, 3rd edition, section 3.2; David and Nagaraja, Order Statistics, section 7.1).
func summarise(values []float64) spread {
	slices.Sort(values)
	n := len(values)
	s := spread{Median: math.Round((values[(n-1)/2]+values[n/2])/2*1e4) / 1e4, Min: values[0], Max: values[n-1]}
	outside := 0.0 // probability of at most k below the median
	for k := 0; ; k++ {
		if outside += halves(n, k); 2*outside > 0.05 {
			if k > 0 {
				s.CI95 = &[2]float64{values[k-1], values[n-k]}
			}
			return s
		}
	}
}

// halves is the probability that k of n coins show heads. In logarithms: 2^-n is 0 for a float64 from n = 1075 on.
func halves(n, k int) float64 {
	log := func(n int) float64 { l, _ := math.Lgamma(float64(n) + 1); return l } // of n!
	return math.Exp(log(n) - log(k) - log(n-k) - float64(n)*math.Ln2)
}

// encode makes the answer's "repeat".
func (r *repeated) encode() []byte {
	figures := func(of func(*sample) float64) spread {
		values := make([]float64, len(r.samples))
		for i := range r.samples {
			values[i] = of(&r.samples[i])
		}
		return summarise(values)
	}
	ms := func(d time.Duration) float64 { return math.Round(float64(d)/1e3) / 1e3 }
	body, _ := json.Marshal(struct {
		Runs     int     `json:"runs"`
		Wall     spread  `json:"wall_ms"`
		CPU      spread  `json:"cpu_ms"`
		MemoryKB spread  `json:"memory_kb"`
		Equal    bool    `json:"outputs_equal"`
		Quality  quality `json:"quality"`
	}{
		len(r.samples),
		figures(func(s *sample) float64 { return ms(s.wall) }), figures(func(s *sample) float64 { return ms(s.cpu) }),
		figures(func(s *sample) float64 { return float64(s.memory >> 10) }), r.equal, r.quality(),
	})
	return body
}
