package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/runtools/runtools/pkg/client"
)

// benchCommand is `runtools bench`: the same program many times.
func (a *app) benchCommand() *cobra.Command {
	f := new(executeFlags)
	var runs, parallel int
	cmd := &cobra.Command{
		Use:   "bench (--code CODE | --file FILE...) [-- ARG...]",
		Short: "Run a program many times and show how long it takes",
		Long: `Run a program many times, each time in a fresh sandbox without a session, and show how the times are spread:
"answer" is what this client waited for, network and queue included; the other rows are the server's figures.

Exit status: 0 all runs succeeded, 1 not, 125 some were not run.`,
		Example: "  runtools bench --file sort.py -n 50 -p 4",
		Args:    argsAfterDash,
		RunE: func(cmd *cobra.Command, args []string) error {
			if runs < 1 || parallel < 1 {
				return usagef("--runs and --parallel want at least 1")
			}
			c, req, err := a.prepare(cmd, f, args)
			if err != nil {
				return err
			}
			req.Ephemeral = true
			return a.bench(cmd.Context(), c, req, f.form, runs, parallel)
		},
	}
	f.defineProgram(cmd.Flags())
	f.defineStdin(cmd.Flags())
	f.defineLimits(cmd.Flags())
	f.defineForm(cmd.Flags(), "print the figures", "say nothing of runs that failed, but by the exit status")
	cmd.Flags().IntVarP(&runs, "runs", "n", 20, "how many runs")
	cmd.Flags().IntVarP(&parallel, "parallel", "p", 1, "how many at a time")
	_ = cmd.RegisterFlagCompletionFunc("lang", a.completeLanguage)
	return cmd
}

// benchRun is one run: its result, and how long the answer took.
type benchRun struct {
	answer time.Duration
	*client.Result
}

var errNotCompiled = errors.New("compilation failed")

func (a *app) bench(ctx context.Context, c *client.Client, req *client.Request, form outputForm, runs, parallel int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	results := make([]benchRun, runs)
	progress := a.progress(form)
	var next, done atomic.Int64
	var workers sync.WaitGroup
	began := time.Now()
	for range min(parallel, runs) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(runs) && ctx.Err() == nil; i = next.Add(1) - 1 {
				start := time.Now()
				res, err := c.Execute(ctx, req)
				if err != nil {
					cancel(err)
					return
				}
				results[i] = benchRun{time.Since(start), res}
				if res.Run.Status == client.CompilationFailure {
					cancel(errNotCompiled) // so will all others
				}
				progress.show("runtools: %d of %d runs", done.Add(1), runs)
			}
		})
	}
	workers.Wait()
	took := time.Since(began)
	progress.show("")
	if err := context.Cause(ctx); errors.Is(err, errNotCompiled) {
		i := slices.IndexFunc(results, func(r benchRun) bool { return r.Result != nil && r.Run.Status == client.CompilationFailure })
		if err := a.print(outputForm{}, results[i].Result); err != nil {
			return err
		}
		return exitStatus(statusOf(results[i].Result))
	} else if err != nil {
		return err
	}
	return a.printBench(form, results, took, parallel)
}

// spread is how one figure is distributed. Percentiles are figures that occurred (nearest rank).
type spread struct {
	Min float64 `json:"min"`
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

func spreadOf(figures []float64) spread {
	slices.Sort(figures)
	rank := func(percent int) float64 { return figures[(len(figures)*percent+99)/100-1] }
	return spread{figures[0], rank(50), rank(90), rank(99), figures[len(figures)-1]}
}

// benchRow is one figure of each run.
type benchRow struct {
	name, title string
	of          func(benchRun) float64
}

var benchRows = []benchRow{
	{"answer_ms", "answer ms", func(r benchRun) float64 { return float64(r.answer.Microseconds()) / 1000 }},
	{"compile_ms", "compile ms", func(r benchRun) float64 { return r.Compile.TimeMS }},
	{"run_ms", "run ms", func(r benchRun) float64 { return r.Run.TimeMS }},
	{"cpu_ms", "cpu ms", func(r benchRun) float64 { return r.Run.CPUTimeMS }},
	{"memory_kb", "memory KiB", func(r benchRun) float64 { return float64(r.Run.MemoryKB) }},
}

func (a *app) printBench(form outputForm, results []benchRun, took time.Duration, parallel int) error {
	failed := results[:0:0]
	for _, r := range results {
		if statusOf(r.Result) != 0 {
			failed = append(failed, r)
		}
	}
	report := map[string]any{"runs": len(results), "parallel": parallel, "failed": len(failed), "seconds": took.Seconds()}
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\tmin\tp50\tp90\tp99\tmax\t")
	for _, row := range benchRows {
		var figures []float64
		for _, r := range results {
			if row.name != "compile_ms" || r.Compile != nil && !r.Compile.Cached {
				figures = append(figures, row.of(r))
			}
		}
		if len(figures) == 0 {
			continue // nothing was compiled
		}
		s := spreadOf(figures)
		report[row.name] = s
		fmt.Fprintf(table, "%s\t%.6g\t%.6g\t%.6g\t%.6g\t%.6g\t\n", row.title, s.Min, s.P50, s.P90, s.P99, s.Max)
	}
	if form.json {
		body, err := json.Marshal(report)
		if err == nil {
			err = writeJSON(a.stdout, body)
		}
		if err != nil {
			return err
		}
	} else {
		table.Flush()
		fmt.Fprintf(a.stdout, "%s%d runs, %d at a time, in %.3g s: %.3g a second\n", text.String(), len(results), parallel, took.Seconds(), float64(len(results))/took.Seconds())
	}
	if len(failed) == 0 {
		return nil
	}
	if !form.json && !form.quiet {
		why := failed[0].Run.Note()
		if why == "" {
			why = fmt.Sprintf("exit code %d", *failed[0].Run.Code)
		}
		fmt.Fprintf(a.stderr, "%s %d of %d runs failed; the first: %s\n", a.paint(a.stderr, red, "runtools:"), len(failed), len(results), why)
	}
	return exitStatus(1)
}
