package main

import (
	"cmp"
	"slices"
	"time"

	"github.com/runtools/runtools/pkg/cgroup"
	"github.com/runtools/runtools/pkg/wire"
)

// progress is what is shown of a job that runs. A job writes it twice; the counters are read by who asks, so being looked at costs a job nothing.
type progress struct {
	asked  time.Duration // when, monotonic
	leaf   cgroup.Leaf   // nil: it has no jail yet
	before time.Duration // of CPU that its jail used before
}

// show makes the counters of a job's jail known.
func (s *server) show(j *job, before time.Duration) {
	s.mu.Lock()
	if p := s.running[j]; p != nil { // a self test is none of a client's
		p.leaf, p.before = j.ready.leaf, before
	}
	s.mu.Unlock()
}

// longest is the jobs that have run longest. One that ends meanwhile takes its leaf with it: what cannot be read is not known.
func (s *server) longest() []wire.Running {
	type shown struct {
		wire.Running
		progress
	}
	now := monotonic()
	s.mu.Lock()
	all := make([]shown, 0, len(s.running))
	for j, p := range s.running {
		all = append(all, shown{wire.Running{Template: j.req.Template, Label: j.req.Label, AgeNS: int64(now - p.asked), CPUNS: -1, Memory: -1}, *p})
	}
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b shown) int { return cmp.Compare(b.AgeNS, a.AgeNS) })
	all = all[:min(len(all), wire.MaxRunning)]
	list := make([]wire.Running, len(all))
	for i, r := range all {
		list[i] = r.Running
		if r.leaf == nil {
			continue
		}
		if used, err := r.leaf.CPU(); err == nil {
			list[i].CPUNS = int64(used - r.before)
		}
		if d, err := r.leaf.Details(); err == nil {
			list[i].Memory = d.Memory
		}
	}
	return list
}
