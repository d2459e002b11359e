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
