package main

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

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

// allowedCPUs are two CPUs that this process may use.
func allowedCPUs(t *testing.T) (cpus []string) {
	t.Helper()
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		t.Fatal(err)
	}
	for cpu := 0; len(cpus) < 2; cpu++ {
		if cpu == 1024 {
			t.Fatal("wants two CPUs")
		}
		if set.IsSet(cpu) {
			cpus = append(cpus, strconv.Itoa(cpu))
		}
	}
	return cpus
}

// Two jobs that run together get two CPUs, each one, with all of their threads and children.
func TestJobsArePinned(t *testing.T) {
	cpus := allowedCPUs(t)
	td := startDaemon(t, func(c *config) { c.PinCPUs = strings.Join(cpus, ",") })
	const script = "sleep 600 & read x; grep Cpus_allowed_list /proc/$$/status /proc/$!/status | cut -f2; kill $!"
	stdin, end := pipeEnds(t)
	var jobs sync.WaitGroup
	seen := make(chan string, 2)
	for range 2 {
		jobs.Go(func() {
			job := &wire.Job{Template: "toy/run", Argv: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=/bin"}, HasStdin: true}
			r := td.runJob(t.Context(), job, nil, stdin)
			if r.err != nil || r.Limit != "" {
				t.Errorf("%+v, %v", r.Result, r.err)
			}
			seen <- r.stdout
		})
	}
	p := td.d.server.pinner
	running := func() int {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.jobs[0] + p.jobs[1]
	}
	for deadline := time.Now().Add(hang); running() != 2 && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
	}
	end.Close()
	jobs.Wait()
	got := []string{<-seen, <-seen}
	slices.Sort(got)
	want := []string{cpus[0] + "\n" + cpus[0] + "\n", cpus[1] + "\n" + cpus[1] + "\n"}
	if slices.Sort(want); !slices.Equal(got, want) {
		t.Errorf("CPUs allowed: %q", got)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, n := range p.jobs {
		if n != 0 {
			t.Errorf("%d jobs are left on CPU %d", n, i)
		}
	}
}
