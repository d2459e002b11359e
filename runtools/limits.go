package main

import (
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"

	"github.com/runtools/runtools/pkg/client"
)

// writeLimits prints the limits of each stage as a table. "-" is what nobody counts.
func writeLimits(w io.Writer, res *client.Result) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if res.Compile != nil {
		writeStageLimits(table, "COMPILE", res.Compile)
	}
	writeStageLimits(table, "RUN", &res.Run)
	_ = table.Flush() // into memory
}

func writeStageLimits(w io.Writer, stage string, s *client.Stage) {
	if len(s.Limits) == 0 { // it did not run: compiled before, or never
		return
	}
	fmt.Fprintf(w, "%s\tLIMIT\tUSED\tPEAK\tUNIT\tFIRED\tSET BY\n", stage)
	for _, l := range s.Limits {
		limit := "none"
		if l.Limit != nil {
			limit = count(l.Limit)
		}
		fired, setBy := "-", "operator"
		if l.Fired != nil {
			fired = map[bool]string{true: "YES", false: "no"}[*l.Fired]
		}
		if l.SetBy != "" {
			setBy = l.SetBy
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.Name, limit, count(l.Used), count(l.Peak), l.Unit, fired, setBy)
	}
}

func count(n *int64) string {
	if n == nil {
		return "-"
	}
	return strconv.FormatInt(*n, 10)
}
