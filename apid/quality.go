package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// quality says how far the figures of repeated runs can be trusted: A nothing disturbed them, B a little did, C compare them with care, D do not.
type quality struct {
	Grade   string   `json:"grade"`
	Reasons []string `json:"reasons"` // what lowered it, the worst is decisive; never null
}

// quality judges what the kernel counted while the runs went on. The bounds are ours: below the first of a row the effect is within what
// repeated runs of an undisturbed program differ by anyway, and from the last on it is as large as what callers want to tell apart.
func (r *repeated) quality() quality {
	const once, never = 1e-9, 2 // shares of the runs: a single one is enough; more than there can be, so that grade is not given
	q := quality{Grade: "A", Reasons: []string{}}
	lower := func(value float64, bounds [3]float64, format string, args ...any) {
		for i, grade := range []string{"D", "C", "B"} {
			if value >= bounds[2-i] {
				q.Grade = max(q.Grade, grade)
				q.Reasons = append(q.Reasons, fmt.Sprintf(format, args...))
				return
			}
		}
	}
	n := float64(len(r.samples))
	var wall, cpu time.Duration
	var throttled, faulty, cold int
	var switches, faults int64
	for i := range r.samples {
		s := &r.samples[i]
		wall, cpu = wall+s.wall, cpu+s.cpu
		switches, faults = switches+s.noise.InvoluntarySwitches, faults+s.noise.MajorFaults
		throttled += count(s.noise.Throttled > 0)
		faulty += count(s.noise.MajorFaults > 0)
		cold += count(s.parked != r.samples[0].parked)
	}
	if m := r.machine; m.ticks > 0 {
		steal := float64(m.steal) / float64(m.ticks)
		lower(steal, [3]float64{0.005, 0.02, 0.1}, "steal: the host of this machine had %.1f %% of its CPU time", 100*steal)
		others := float64(m.busy-m.steal)/float64(m.ticks) - float64(cpu)/float64(tick)/float64(m.ticks)
		lower(others, [3]float64{0.25, 0.5, 0.8}, "load: other programs and the making of sandboxes took %.0f %% of the machine", 100*others)
	}
	lower(float64(throttled)/n, [3]float64{never, once, 0.5}, "throttling: the CPU quota held %d of %d runs back", throttled, len(r.samples))
	if float64(switches) >= n { // one is the least that there can be: a short run with one is not yet suspect
		lower(float64(switches)/wall.Seconds(), [3]float64{20, 200, 1000}, "involuntary context switches: %.1f a run", float64(switches)/n)
	}
	lower(float64(faulty)/n, [3]float64{once, 0.5, never}, "major page faults: %d in %d of %d runs", faults, faulty, len(r.samples))
	lower(float64(min(cold, len(r.samples)-cold))/n, [3]float64{never, once, never}, "sandboxes: %d of %d runs found no runtime loaded ahead, unlike the rest, or the other way round",
		min(cold, len(r.samples)-cold), len(r.samples))
	return q
}

func count(is bool) int {
	if is {
		return 1
	}
	return 0
}

// machineLoad are counters of /proc/stat since the machine started, or between two moments, in ticks of all CPUs together. All are 0 where
// the file cannot be read.
type machineLoad struct{ ticks, busy, steal int64 }

// tick is the unit of /proc/stat on every architecture: proc_stat(5), USER_HZ.
const tick = 10 * time.Millisecond

func readMachine() machineLoad {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return machineLoad{}
	}
	return parseMachine(string(text))
}

// parseMachine reads "cpu  user nice system idle iowait irq softirq steal guest guest_nice"; the last two are in the first two already.
func parseMachine(text string) (m machineLoad) {
	line, _, _ := strings.Cut(text, "\n")
	words := strings.Fields(line)
	if len(words) < 9 || words[0] != "cpu" {
		return machineLoad{}
	}
	for i, word := range words[1:9] {
		n, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			return machineLoad{}
		}
		m.ticks += n
		if i != 3 && i != 4 { // idle, iowait
			m.busy += n
		}
		if i == 7 {
			m.steal = n
		}
	}
	return m
}

func (m machineLoad) since(before machineLoad) machineLoad {
	if m.ticks <= before.ticks {
		return machineLoad{}
	}
	return machineLoad{m.ticks - before.ticks, m.busy - before.busy, max(0, m.steal-before.steal)}
}
