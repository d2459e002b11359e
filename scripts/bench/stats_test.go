package main

import (
	"math"
	"testing"
	"time"
)

func TestNearestRank(t *testing.T) {
	hundred := make([]int, 100)
	for i := range hundred {
		hundred[i] = i + 1
	}
	for _, c := range []struct {
		sorted []int
		q      float64
		want   int
	}{
		{[]int{7}, 0.5, 7}, {[]int{7}, 0.99, 7},
		{[]int{1, 2}, 0.5, 1}, {[]int{1, 2, 3}, 0.5, 2}, {[]int{1, 2, 3}, 0.99, 3},
		{hundred, 0.5, 50}, {hundred, 0.99, 99}, {hundred, 1, 100}, {hundred, 0, 1},
		{nil, 0.5, 0},
	} {
		if got := nearestRank(c.sorted, c.q); got != c.want {
			t.Errorf("quantile %v of %d values = %d, want %d", c.q, len(c.sorted), got, c.want)
		}
	}
}

func TestSummarizeLeavesTheOrderAlone(t *testing.T) {
	times := []time.Duration{3 * time.Millisecond, time.Millisecond, 2500 * time.Microsecond}
	if got, want := summarize(times), (quantiles{N: 3, P50: 2.5, P99: 3, Max: 3}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if times[0] != 3*time.Millisecond {
		t.Error("the caller's times were sorted")
	}
}

func TestVariation(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{5, 5, 5}, 0},
		{[]float64{9, 11}, 100 * math.Sqrt2 / 10}, // deviations of 1 each, over n-1
		{[]float64{5}, 0},
	} {
		if got := variation(c.values); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("variation of %v = %v, want %v", c.values, got, c.want)
		}
	}
	if got := median([]float64{9, 1, 5}); got != 5 {
		t.Errorf("median = %v", got)
	}
}

func TestSlowStretches(t *testing.T) {
	for _, c := range []struct {
		name           string
		pieces         []time.Duration
		total, longest time.Duration
	}{
		{"nothing", nil, 0, 0},
		{"all alike", []time.Duration{10, 10, 10}, 0, 0},
		{"at the limit", []time.Duration{10, 10, 17}, 0, 0},
		{"one", []time.Duration{10, 18, 10}, 18, 18},
		{"two stretches", []time.Duration{10, 20, 30, 10, 40, 10, 10, 10}, 90, 50},
		{"at the end", []time.Duration{10, 10, 10, 20, 25}, 45, 45},
	} {
		if total, longest := slowStretches(c.pieces); total != c.total || longest != c.longest {
			t.Errorf("%s: %v in all, longest %v, want %v and %v", c.name, total, longest, c.total, c.longest)
		}
	}
}
