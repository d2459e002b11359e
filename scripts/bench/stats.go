package main

import (
	"math"
	"slices"
	"time"
)

// quantiles of some durations, in milliseconds.
type quantiles struct {
	N             int
	P50, P99, Max float64
}

func summarize(times []time.Duration) quantiles {
	sorted := slices.Sorted(slices.Values(times))
	at := func(q float64) float64 { return milliseconds(nearestRank(sorted, q)) }
	return quantiles{N: len(sorted), P50: at(0.5), P99: at(0.99), Max: at(1)}
}

func milliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

// nearestRank is the smallest of the sorted values that at least the share q of them do not exceed: always one that was measured.
func nearestRank[T any](sorted []T, q float64) (zero T) {
	if len(sorted) == 0 {
		return zero
	}
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

func median(values []float64) float64 { return nearestRank(slices.Sorted(slices.Values(values)), 0.5) }

// variation is the coefficient of variation in percent: the standard deviation of a sample over its mean.
func variation(values []float64) float64 {
	n := float64(len(values))
	if n < 2 {
		return 0
	}
	var sum, squares float64
	for _, v := range values {
		sum += v
	}
	mean := sum / n
	for _, v := range values {
		squares += (v - mean) * (v - mean)
	}
	return 100 * math.Sqrt(squares/(n-1)) / mean
}
