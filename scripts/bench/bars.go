package main

import "fmt"

// bar is a figure that the project set itself.
type bar struct {
	what, section, row, column string
	bar, aim                   float64
	rate                       bool // more is better
}

// bars are ratios to bare except where a unit is named. Each is one cell of the tables.
var bars = buildBars()

func buildBars() []bar {
	all := []bar{
		{"checkout to first instruction, p50 ms", "jail", "from sandboxd taking the jail (checkout)", "p50", 0.7, 0.5, false},
		{"checkout to first instruction, p99 ms", "jail", "from sandboxd taking the jail (checkout)", "p99", 2.5, 1.7, false},
	}
	for _, h := range []struct {
		name     string
		bar, aim float64
	}{
		{"python", 0.5, 0.3}, {"javascript", 0.2, 0.1}, {"typescript", 0.25, 0.1}, {"ruby", 0.2, 0.1}, {"java", 0.1, 0.05}, {"csharp", 0.08, 0.04},
		{"bash", 1.6, 1.5}, {"c", 1, 0.9}, {"c++ bits/stdc++.h", 0.7, 0.6}, {"go", 0.7, 0.5}, {"rust", 0.9, 0.8},
	} {
		all = append(all, bar{h.name + ", hello", "languages", h.name, "parked_ratio", h.bar, h.aim, false})
	}
	for _, p := range programs {
		levels, least, aim := []int{2, 8}, 1.0, 2.0
		switch {
		case p.name == "typescript, types stripped" || p.language == "cpp" && p.name != "c++ bits/stdc++.h":
			continue
		case p.name == "python":
			levels, least, aim = []int{8, 32}, 2, 3
		case p.name == "bash":
			levels, least, aim = []int{8}, 0.35, 0.45
		case p.compiled:
			aim = 1.3
		}
		for _, n := range levels {
			name := fmt.Sprintf("%s, %d at a time", p.name, n) // as shipped: "…, compilers kept" is another row
			all = append(all, bar{name + ", runs/s", "throughput", name, "ratio", least, aim, true})
		}
	}
	for _, name := range burstPrograms {
		all = append(all, bar{"a burst of ten times the pool, " + name + ": requests that failed", "pool", name, "errors", 0, 0, false})
	}
	for _, p := range cpuPrograms {
		all = append(all,
			bar{p.name + ", CPU time beside refills / idle", "harness", p.name, "refill_cpu", 1.02, 1, false},
			bar{p.name + ", CPU time beside refills / idle, pinned", "harness", p.name, "pinned_cpu", 1.02, 1, false},
			bar{p.name + ", wall time beside refills / idle, pinned", "harness", p.name, "pinned_wall", 1.1, 1, false},
		)
	}
	return append(all,
		bar{"a built jail, PSS KiB", "memory", "nothing loaded", "pss", 400, 265, false},
		bar{"parked Python, PSS KiB", "memory", "python3", "pss", 4096, 2048, false},
		bar{"bash, p99/p50 at 80 % load", "tail", "bash", "ratio", 3, 2, false},
		bar{"python, p99/p50 at 80 % load", "tail", "python", "ratio", 3, 2, false},
		bar{"an event after the program's write, p50 ms", "api", "an event, the first", "p50", 2, 2, false},
		bar{"20 tests of a C++ program / compile + 1 run", "api", "c++ iostream", "ratio", 2, 2, false},
		bar{"fork of a session of 10 MB, p50 ms", "api", "a fork", "p50", 20, 20, false},
		bar{"growth: processes, cgroups, mounts, jails, volumes left", "growth", notOne, "grew", 0, 0, false},
		bar{"c, CPU time against bare, %", "harness", "c", "off", 2, 0, false},
		bar{"python, CPU time against bare, %", "harness", "python", "off", 2, 0, false},
		bar{"c, variation of CPU time / bare's", "harness", "c", "cv", 1, 1, false},
		bar{"python, variation of CPU time / bare's", "harness", "python", "cv", 1, 1, false},
	)
}

// barsTable sets what was measured beside the bars.
func (r *report) barsTable() table {
	t := table{
		Title:   "Bars",
		Columns: []column{{"measured", "measured"}, {"bar", "bar"}, {"aim", "aim"}, {"share", "of the bar"}},
		Notes: []string{
			"Of the bar: at most 1 is met; of a bar of 0, nothing but 0 is. Hello and runs/s are ratios to bare. A line stands for what has not been measured.",
			fmt.Sprintf("Java's and C#'s runs/s are those as shipped, with a compiler jail for each job; with compiler_jobs = %d they are rows of their own below.", keptJobs),
			"One bar is no figure: every program of the fidelity corpus sees the same bare, cold and parked. `TestFidelity` (make test-fidelity) holds it and prints the counts.",
		},
	}
	for _, b := range bars {
		row := row{Name: b.what, Values: map[string]float64{"bar": b.bar, "aim": b.aim}}
		if v, ok := r.cell(b.section, b.row, b.column); ok {
			row.Values["measured"], row.Values["share"] = v, b.share(v)
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// share is how much of the bar a value takes: at most 1 if it meets the bar.
func (b *bar) share(v float64) float64 {
	switch {
	case b.rate:
		return b.bar / v
	case b.bar == 0 && v > 0:
		return 1 + v // JSON has no infinity
	case b.bar == 0:
		return 0
	}
	return v / b.bar
}

// cell finds a value by the names of its row and column, in the first table of a section that has it.
func (r *report) cell(section, name, column string) (float64, bool) {
	m := r.section(section)
	if m == nil {
		return 0, false
	}
	for _, t := range m.Tables {
		for _, row := range t.Rows {
			if v, ok := row.Values[column]; ok && row.Name == name {
				return v, true
			}
		}
	}
	return 0, false
}
