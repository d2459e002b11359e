package main

import (
	"fmt"
	"strings"

	"github.com/runtools/runtools/pkg/client"
)

// printRepeat says on stderr what the runs of one program took.
func (a *app) printRepeat(r *client.Repeat) {
	line := func(what, unit string, s client.Spread) {
		interval := ""
		if s.CI95 != nil {
			interval = fmt.Sprintf("95 %% between %g and %g, ", s.CI95[0], s.CI95[1])
		}
		fmt.Fprintf(a.stderr, "runtools: %s %g %s (%smin %g, max %g)\n", what, s.Median, unit, interval, s.Min, s.Max)
	}
	fmt.Fprintf(a.stderr, "runtools: %d runs, medians:\n", r.Runs)
	line("wall", "ms", r.WallMS)
	line("CPU", "ms", r.CPUMS)
	line("memory", "KiB", r.MemoryKB)
	if !r.OutputsEqual {
		fmt.Fprintln(a.stderr, "runtools: the runs did not all write the same and end the same way; the output is that of the first")
	}
	fmt.Fprintln(a.stderr, strings.TrimSuffix("runtools: quality "+r.Quality.Grade+": "+strings.Join(r.Quality.Reasons, "; "), ": "))
}
