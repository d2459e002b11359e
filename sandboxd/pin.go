package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// pinner gives each running job one CPU of a list, the one with the fewest jobs on it. It is for timings that can be compared, not for
// confinement: a program may change its affinity again.
type pinner struct {
	mu   sync.Mutex
	cpus []int
	jobs []int // of each of cpus
}

// newPinner returns nil, which pins nothing, for an empty list.
func newPinner(cpus []int) *pinner {
	if len(cpus) == 0 {
		return nil
	}
	return &pinner{cpus: cpus, jobs: make([]int, len(cpus))}
}

// newPinners are for jobs, and for runtimes that are loaded: each on one CPU as well, for CLR, JVM and V8 size their pools by the CPUs that they see
// when they start, and a program would see more with a runtime that was loaded before than with its own.
func newPinners(list string) (jobs, loads *pinner, err error) {
	cpus, err := parseCPUs(list)
	if err != nil {
		return nil, nil, err
	}
	var own unix.CPUSet
	if err := unix.SchedGetaffinity(0, &own); err != nil {
		return nil, nil, fmt.Errorf("CPUs of sandboxd: %w", err)
	}
	return newPinner(cpus), newPinner(loadCPUs(&own, cpus)), nil
}

// loadCPUs are those of our own that are not the jobs', so that no job shares its CPU with a filler; the jobs', at a filler's weight, if there are no others.
func loadCPUs(own *unix.CPUSet, jobs []int) (cpus []int) {
	if len(jobs) == 0 {
		return nil
	}
	for cpu := range mostCPUs {
		if own.IsSet(cpu) && !slices.Contains(jobs, cpu) {
			cpus = append(cpus, cpu)
		}
	}
	if len(cpus) == 0 {
		return jobs
	}
	return cpus
}

// pin ties all threads of a process, in which nothing foreign runs, to one CPU. release gives the CPU back; the process stays on it.
func (p *pinner) pin(pid int) (release func(), err error) {
	if p == nil {
		return func() {}, nil
	}
	p.mu.Lock()
	best := 0
	for i, n := range p.jobs {
		if n < p.jobs[best] {
			best = i
		}
	}
	p.jobs[best]++
	p.mu.Unlock()
	release = func() {
		p.mu.Lock()
		p.jobs[best]--
		p.mu.Unlock()
	}
	if err := setAffinity(pid, p.cpus[best]); err != nil {
		release()
		return nil, fmt.Errorf("pin to CPU %d: %w", p.cpus[best], err)
	}
	return release, nil
}

// setAffinity ties a process's threads to a CPU; those that are started later inherit it. A thread that is not tied yet may start another behind
// our back, so it looks until there is none that it has not seen.
func setAffinity(pid, cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	const rounds = 100 // more is no runtime that starts, but somebody who keeps us here
	tied := map[string]bool{}
	for range rounds {
		threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			return nil // killed meanwhile; the job will say so
		}
		if err != nil {
			return err
		}
		more := false
		for _, t := range threads {
			if tied[t.Name()] {
				continue
			}
			tid, err := strconv.Atoi(t.Name())
			if err != nil {
				return err
			}
			if err := unix.SchedSetaffinity(tid, &set); err != nil && err != unix.ESRCH {
				return err
			}
			tied[t.Name()], more = true, true
		}
		if !more {
			return nil
		}
	}
	return fmt.Errorf("process %d starts threads faster than they can be tied to CPU %d", pid, cpu)
}

// mostCPUs is for how many CPUs a unix.CPUSet has bits: to one beyond them nothing can be tied.
const mostCPUs = len(unix.CPUSet{}) * strconv.IntSize

// parseCPUs reads "2-5,7" as the kernel writes such lists.
func parseCPUs(list string) ([]int, error) {
	var cpus []int
	if list == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(list, ",") {
		low, high, isRange := strings.Cut(part, "-")
		if !isRange {
			high = low
		}
		first, err1 := strconv.Atoi(low)
		last, err2 := strconv.Atoi(high)
		if err1 != nil || err2 != nil || first < 0 || last < first || last >= mostCPUs {
			return nil, fmt.Errorf(`pin_cpus: %q is not a CPU or a range below %d; write it like "2-5,7"`, part, mostCPUs)
		}
		for cpu := first; cpu <= last; cpu++ {
			cpus = append(cpus, cpu)
		}
	}
	return cpus, nil
}
