package main

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/runtools/runtools/pkg/wire"
)

func TestParseCPUs(t *testing.T) {
	for list, want := range map[string][]int{"": nil, "3": {3}, "0-2,5": {0, 1, 2, 5}} {
		if got, err := parseCPUs(list); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v", list, got, err)
		}
	}
	for _, list := range []string{"x", "2-1", "-1", "1,", "0-9999", "1-"} {
		if _, err := parseCPUs(list); err == nil || !strings.Contains(err.Error(), "pin_cpus") {
			t.Errorf("%q: %v", list, err)
		}
	}
}

// Two jobs that run together get two CPUs, each one, with all of their threads and children.
func TestJobsArePinned(t *testing.T) {
	td := startDaemon(t, func(c *config) { c.PinCPUs = "0-1" })
	const script = "sleep 30 & sleep 1; grep Cpus_allowed_list /proc/$$/status /proc/$!/status | cut -f2; kill $!"
	var jobs sync.WaitGroup
	seen := make(chan string, 2)
	for range 2 {
		jobs.Go(func() {
			r := td.run(script, func(j *wire.Job) { j.Limits.WallMS = 60_000 })
			if r.err != nil || r.Limit != "" {
				t.Errorf("%+v, %v", r.Result, r.err)
			}
			seen <- r.stdout
		})
	}
	jobs.Wait()
	got := []string{<-seen, <-seen}
	slices.Sort(got)
	if !slices.Equal(got, []string{"0\n0\n", "1\n1\n"}) {
		t.Errorf("CPUs allowed: %q", got)
	}
	p := td.d.server.pinner
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, n := range p.jobs {
		if n != 0 {
			t.Errorf("%d jobs are left on CPU %d", n, i)
		}
	}
}
