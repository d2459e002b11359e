package main

import (
	"context"
	"errors"
	"maps"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestGrowthIsNamed(t *testing.T) {
	before := footprint{Mounts: 10, Fds: 100, SandboxdKiB: 20 << 10}
	after := before
	after.Fds += 5 // within what it may
	if err := after.grewFrom(before); err != nil {
		t.Error(err)
	}
	after.Mounts++
	after.SandboxdKiB += 1 << 20
	err := after.grewFrom(before)
	if err == nil || !strings.Contains(err.Error(), "mounts grew from 10 to 11") || !strings.Contains(err.Error(), "RSS of sandboxd") {
		t.Errorf("got %v", err)
	}
	if err := before.grewFrom(after); err != nil {
		t.Errorf("less is no growth: %v", err)
	}
	r := report{Sections: []measured{{Section: "growth", Tables: []table{growthTable("", before, after)}}}}
	if grew, ok := r.cell("growth", notOne, "grew"); !ok || grew != 1 {
		t.Errorf("the bar sees %v, %v, of one mount", grew, ok)
	}
}

// Calls that take longer than the window are still counted: two for each caller.
func TestRateOfSlowCalls(t *testing.T) {
	var calls atomic.Int64
	rate, err := rateOf(t.Context(), 3, 0, time.Millisecond, func(int) error {
		time.Sleep(2 * time.Millisecond)
		calls.Add(1)
		return nil
	})
	if err != nil || rate <= 0 || math.IsInf(rate, 0) || math.IsNaN(rate) || calls.Load() < 7 {
		t.Errorf("rate %v of %d calls, %v", rate, calls.Load(), err)
	}
}

// The calls that use up what was ready are not counted, however quick they are.
func TestRateOfLeavesOutTheLead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		rate, err := rateOf(t.Context(), 1, 50, time.Second, func(int) error {
			if calls++; calls <= 50 {
				time.Sleep(5 * time.Millisecond)
			} else {
				time.Sleep(50 * time.Millisecond)
			}
			return nil
		})
		if err != nil || math.Abs(rate-20) > 1e-9 {
			t.Errorf("rate %v, want 20: %v", rate, err)
		}
	})
}

// Callers in step end all at once: three calls each 0.7 s are 4.3 a second, wherever a window begins and ends.
func TestRateOfCallersInStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rate, err := rateOf(t.Context(), 3, 3, 2*time.Second, func(int) error { time.Sleep(700 * time.Millisecond); return nil })
		if err != nil || math.Abs(rate-3/0.7) > 1e-9 {
			t.Errorf("rate %v, want %v: %v", rate, 3/0.7, err)
		}
	})
}

func TestErrorsEndTheLoops(t *testing.T) {
	broken := errors.New("broken")
	fail := func() error { return broken }
	if _, err := rateOf(t.Context(), 4, 0, time.Hour, func(int) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("rateOf: %v", err)
	}
	if _, err := openLoop(t.Context(), 1000, 10*time.Millisecond, fail); !errors.Is(err, broken) {
		t.Errorf("openLoop: %v", err)
	}
	if err := inParallel(t.Context(), 4, 1000, fail); !errors.Is(err, broken) {
		t.Errorf("inParallel: %v", err)
	}
	if _, err := beside(t.Context(), fail, func() error { return nil }); !errors.Is(err, broken) {
		t.Errorf("beside: %v", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := rateOf(cancelled, 1, 0, time.Hour, func(int) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("rateOf after a cancel: %v", err)
	}
}

// An open loop does not wait for answers: calls overlap when they are slower than they come.
func TestOpenLoopDoesNotWait(t *testing.T) {
	const callTime = 50 * time.Millisecond
	start := time.Now()
	times, err := openLoop(t.Context(), 2000, 100*time.Millisecond, func() error { time.Sleep(callTime); return nil })
	if err != nil || len(times) < 50 {
		t.Fatalf("%d calls, %v", len(times), err)
	}
	if took := time.Since(start); took > time.Duration(len(times))*callTime/2 {
		t.Errorf("%d calls of %v took %v: one after the other", len(times), callTime, took)
	}
	for _, d := range times {
		if d < callTime {
			t.Fatalf("a call of %v is said to have taken %v", callTime, d)
		}
	}
}

func TestParseTiming(t *testing.T) {
	got := parseTiming("auth;dur=0.012, queue;dur=0, run;dur=1.5")
	if want := map[string]float64{"auth": 0.012, "queue": 0, "run": 1.5}; !maps.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if len(parseTiming("")) != 0 {
		t.Error("an absent header has phases")
	}
}

func TestChosenSections(t *testing.T) {
	all, err := chosen("")
	if err != nil || len(all) != len(sections)-1 {
		t.Errorf("by default %d of %d sections, %v: all but soak", len(all), len(sections), err)
	}
	some, err := chosen("tail,soak")
	if err != nil || len(some) != 2 || some[1].name != "soak" {
		t.Errorf("got %v, %v", some, err)
	}
	if _, err := chosen("tial"); err == nil {
		t.Error("an unknown section was accepted")
	}
}

// Each bar is a cell that the sections can fill: a renamed row would silently be "not measured" for ever.
func TestBarsNameRowsThatExist(t *testing.T) {
	rows := map[string]bool{}
	for _, p := range programs {
		rows["languages/"+p.name] = true
		for _, n := range []string{"2", "8", "32"} {
			rows["throughput/"+p.name+", "+n+" at a time"] = true
		}
	}
	for _, b := range bars {
		if (b.section == "languages" || b.section == "throughput") && !rows[b.section+"/"+b.row] {
			t.Errorf("%s: no row %q in %s", b.what, b.row, b.section)
		}
	}
	for _, r := range chartRows {
		if !rows["languages/"+r.name] {
			t.Errorf("the chart's row %q is not in the language table", r.name)
		}
	}
}

func TestBarsTable(t *testing.T) {
	r := report{Sections: []measured{
		{Section: "languages", Tables: []table{{Rows: []row{{Name: "python", Values: map[string]float64{"parked_ratio": 0.25}}}}}},
		{Section: "throughput", Tables: []table{{Rows: []row{{Name: "python, 8 at a time", Values: map[string]float64{"ratio": 4}}}}}},
	}}
	share := map[string]float64{}
	for _, row := range r.barsTable().Rows {
		if v, ok := row.Values["share"]; ok {
			share[row.Name] = v
		}
	}
	if want := map[string]float64{"python, hello": 0.5, "python, 8 at a time, runs/s": 0.5}; !maps.Equal(share, want) {
		t.Errorf("got %v, want %v", share, want)
	}
}

func TestShareOfABarOfNothing(t *testing.T) {
	b := bar{}
	if none, one := b.share(0), b.share(1); none > 1 || one <= 1 {
		t.Errorf("0: %v, 1: %v; at most 1 is met", none, one)
	}
}

func TestBurstCountsWhatFails(t *testing.T) {
	var calls atomic.Int64
	times, failed := burst(t.Context(), 20, func() (time.Duration, error) {
		if calls.Add(1)%4 == 0 {
			return 0, errors.New("broken")
		}
		return time.Second, nil
	})
	if calls.Load() != 20 || failed != 5 || times.N != 15 || times.Max != 1000 {
		t.Errorf("%d calls, %d failed, %+v", calls.Load(), failed, times)
	}
}

// Distinct programs are what keeps an artifact cache out of the figures.
func TestProgramsCarryTheNonce(t *testing.T) {
	for _, p := range programs {
		for _, code := range []string{p.code, p.bareCode} {
			if code != "" && (!strings.Contains(code, "NONCE") || withNonce(code, 1) == withNonce(code, 2)) {
				t.Errorf("%s: every run is the same program", p.name)
			}
		}
	}
	if a, b := fresh(), fresh(); a == b {
		t.Error("fresh gave the same number twice")
	}
}
