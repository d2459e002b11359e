package main

import (
	"fmt"
	"os"
	"path/filepath"
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
	for _, list := range []string{"x", "2-1", "-1", "1,", "0-1024", "1-"} {
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

func TestRuntimesLoadOffTheCPUsOfJobs(t *testing.T) {
	var own unix.CPUSet
	for _, cpu := range []int{1, 2, 3, 70} {
		own.Set(cpu)
	}
	for _, c := range []struct{ jobs, want []int }{
		{nil, nil}, {[]int{3}, []int{1, 2, 70}}, {[]int{1, 2, 3}, []int{70}}, {[]int{0, 1, 2, 3, 70}, []int{0, 1, 2, 3, 70}},
	} {
		if got := loadCPUs(&own, c.jobs); !slices.Equal(got, c.want) {
			t.Errorf("jobs on %v: runtimes load on %v, want %v", c.jobs, got, c.want)
		}
	}
}

// A program sees one CPU, and all of its threads are on it, whether its runtime was loaded before or starts with it; while it loads and waits, no
// thread of it is on a CPU of jobs.
func TestParkedRuntimesArePinned(t *testing.T) {
	cpus := allowedCPUs(t)
	const template = `{"pool": 1, "pool_max": 1, "pids": 32, "parked": {"argv": ["/bin/toy"], "env": {"THREADS": "1"}}}, "cold": {"pool": 1, "pids": 32}`
	td := startParked(t, template, func(c *config) { c.PinCPUs = cpus[1] })
	td.awaitReady(1)
	runners, _ := td.processes()
	loaded := 0
	for _, pid := range runners {
		switch got := affinities(t, pid); {
		case len(got) == 1: // nothing is loaded there
		case slices.ContainsFunc(got, func(list string) bool { _, many := strconv.Atoi(list); return many != nil || list == cpus[1] }):
			t.Errorf("the threads of a runtime that waits are on CPUs %q", got)
		default:
			loaded++
		}
	}
	if loaded != 1 {
		t.Errorf("%d runtimes wait, want 1", loaded)
	}
	want := "1" + strings.Repeat(" "+cpus[1]+" of 1", 4)
	for _, name := range []string{"toy/run", "toy/cold"} {
		r := td.run("", func(j *wire.Job) { toyJob("cpus")(j); j.Template, j.Env = name, []string{"THREADS=1"} })
		if r.err != nil || r.stdout != want || r.Parked != (name == "toy/run") {
			t.Errorf("%s: got %q, %+v, %v; want %q", name, r.stdout, r.Result, r.err, want)
		}
	}
}

// affinities are those of each thread of a process.
func affinities(t *testing.T, pid int) (lists []string) {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		status, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(status), "\nCpus_allowed_list:\t")
		list, _, _ := strings.Cut(rest, "\n")
		lists = append(lists, list)
	}
	return lists
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
