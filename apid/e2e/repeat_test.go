package e2e

import (
	"slices"
	"testing"
)

type figures struct {
	Median float64     `json:"median"`
	Min    float64     `json:"min"`
	Max    float64     `json:"max"`
	CI95   *[2]float64 `json:"ci95"`
}

type repeat struct {
	Runs         int     `json:"runs"`
	Wall         figures `json:"wall_ms"`
	CPU          figures `json:"cpu_ms"`
	MemoryKB     figures `json:"memory_kb"`
	OutputsEqual bool    `json:"outputs_equal"`
	Quality      struct {
		Grade   string   `json:"grade"`
		Reasons []string `json:"reasons"`
	} `json:"quality"`
}

// Each run begins with the same files and nothing else, and what is told of all of them can be true.
func TestRepeat(t *testing.T) {
	for name, c := range map[string]struct {
		language, code, stdout string
		equal                  bool
	}{
		"compiled": {"c", "#include <stdio.h>\nint main(void) { printf(\"%d\", getchar()); for (volatile int i = 0; i < 3000000; i++); fopen(\"left\", \"wx\") || puts(\"!\"); }", "97", true},
		"python":   {"python", "import os; print(sorted(os.listdir())); open('left', 'w')", "['main.py']\n", true},
		"random":   {"bash", "echo $RANDOM$RANDOM >&2", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			a := execute(t, program(c.language, c.code).with(request{"repeat": 8, "stdin": "a", "run_timeout": 10_000}))
			r := a.Repeat
			if r == nil || r.Runs != 8 || r.OutputsEqual != c.equal || a.Run.Stdout != c.stdout || a.SessionID != nil {
				t.Fatalf("%+v in %s", r, a)
			}
			for _, s := range []figures{r.Wall, r.CPU, r.MemoryKB} {
				if s.CI95 == nil || s.Min <= 0 || !slices.IsSorted([]float64{s.Min, s.CI95[0], s.Median, s.CI95[1], s.Max}) {
					t.Errorf("%+v", s)
				}
			}
			if q := r.Quality; len(q.Grade) != 1 || q.Grade < "A" || q.Grade > "D" || (q.Grade == "A") != (len(q.Reasons) == 0) {
				t.Errorf("%+v", q)
			}
		})
	}
	api.wantQuiet(t)
}
