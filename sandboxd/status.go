package main

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/runtools/runtools/pkg/wire"
)

// denied counts denied calls since start. Languages are those of the image and names those that the kernel has, so it stays small.
type denied struct {
	mu     sync.Mutex
	counts map[wire.Denial]uint64 // Count in the key is 0
}

func (d *denied) add(template string, list []wire.Violation) {
	if len(list) == 0 {
		return
	}
	language, _, _ := strings.Cut(template, "/")
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.counts == nil {
		d.counts = map[wire.Denial]uint64{}
	}
	for _, v := range list {
		d.counts[wire.Denial{Language: language, Syscall: v.Syscall}] += v.Count
	}
}

// most is the counts, the largest first.
func (d *denied) most() (list []wire.Denial) {
	d.mu.Lock()
	for k, n := range d.counts {
		k.Count = n
		list = append(list, k)
	}
	d.mu.Unlock()
	slices.SortFunc(list, func(a, b wire.Denial) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Language, b.Language), strings.Compare(a.Syscall, b.Syscall))
	})
	return list[:min(len(list), wire.MaxDenials)]
}

func (s *server) status(req *wire.StatusRequest) *wire.Status {
	ps := s.pools
	st := &wire.Status{
		LiveJails: int(s.builder.live.Load()), Jobs: int(ps.jobs.Load()),
		PoolHits: ps.hits.Load(), PoolMisses: ps.misses.Load(), Parked: ps.parked.Load(), Reused: ps.reused.Load(),
		Built: s.builder.built.Load(), Failed: s.builder.failed.Load(),
		Selftest: s.selftest.status(), Seccomp: s.builder.policy.Load().status(),
		UptimeMS: time.Since(s.started).Milliseconds(), MaxJails: s.maxJails,
		PoolBytes: ps.held.Load(), PoolBudget: ps.budget, Denials: s.denied.most(),
	}
	st.Volumes, st.Workspaces, st.Builds = s.volumes.counts()
	s.reloads.report(st.Seccomp)
	var err error
	if st.Memory, err = s.builder.cgroups.Memory(); err != nil {
		s.log.Error("status", "error", err)
	}
	jobs := map[string]int{}
	s.mu.Lock()
	for j := range s.running {
		jobs[j.req.Template]++
	}
	s.mu.Unlock()
	if req.Jobs {
		st.Running = s.longest()
	}
	for name, p := range ps.all {
		st.Templates = append(st.Templates, wire.Template{
			Name: name, Ready: len(p.ready), Size: int(p.target()), Jobs: jobs[name], Built: p.template.built.Load(), Bytes: p.bytes.Load(),
		})
	}
	return st
}
