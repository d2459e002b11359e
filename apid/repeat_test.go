package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/runtools/runtools/pkg/wire"
)

func TestMedianAndItsInterval(t *testing.T) {
	// The ranks are those of tables, such as Conover's A3 for p = 1/2.
	for n, want := range map[int]string{1: "<nil>", 5: "<nil>", 6: "&[1 6]", 9: "&[2 8]", 10: "&[2 9]", 20: "&[6 15]", 100: "&[40 61]", 1000: "&[469 532]", 2000: "&[956 1045]"} {
		values := make([]float64, n)
		for i := range values {
			values[i] = float64(n - i)
		}
		s := summarise(values)
		if got := fmt.Sprint(s.CI95); got != want || s.Min != 1 || s.Max != float64(n) || s.Median != float64(n+1)/2 {
			t.Errorf("%d: %s, want %s: %+v", n, got, want, s)
		}
	}
}

func TestQuality(t *testing.T) {
	quiet := sample{wall: 100 * time.Millisecond, cpu: 90 * time.Millisecond, parked: true}
	with := func(n wire.Noise) sample { s := quiet; s.noise = n; return s }
	cold := quiet
	cold.parked = false
	for name, c := range map[string]struct {
		odd     sample // one of ten
		rest    sample
		machine machineLoad
		grade   string
		reason  string
	}{
		"quiet":       {quiet, quiet, machineLoad{200, 95, 0}, "A", ""},
		"no /proc":    {quiet, quiet, machineLoad{}, "A", ""},
		"steal":       {quiet, quiet, machineLoad{200, 95, 2}, "B", "steal: the host of this machine had 1.0 %"},
		"much steal":  {quiet, quiet, machineLoad{200, 150, 50}, "D", "steal"},
		"load":        {quiet, quiet, machineLoad{200, 195, 0}, "C", "load: other programs and the making of sandboxes took 52 %"},
		"throttled":   {with(wire.Noise{Throttled: 3}), quiet, machineLoad{}, "C", "held 1 of 10 runs"},
		"all":         {with(wire.Noise{Throttled: 3}), with(wire.Noise{Throttled: 1}), machineLoad{}, "D", "held 10 of 10 runs"},
		"one switch":  {with(wire.Noise{InvoluntarySwitches: 9}), quiet, machineLoad{}, "A", ""},
		"switches":    {with(wire.Noise{InvoluntarySwitches: 5}), with(wire.Noise{InvoluntarySwitches: 5}), machineLoad{}, "B", "5.0 a run"},
		"many":        {with(wire.Noise{InvoluntarySwitches: 200}), with(wire.Noise{InvoluntarySwitches: 200}), machineLoad{}, "D", "200.0 a run"},
		"page faults": {with(wire.Noise{MajorFaults: 7}), quiet, machineLoad{}, "B", "7 in 1 of 10 runs"},
		"cold":        {cold, quiet, machineLoad{}, "C", "1 of 10 runs found no runtime"},
	} {
		r := &repeated{machine: c.machine, samples: []sample{c.odd}}
		for range 9 {
			r.samples = append(r.samples, c.rest)
		}
		q := r.quality()
		if q.Grade != c.grade || (c.reason == "") != (len(q.Reasons) == 0) || !strings.Contains(strings.Join(q.Reasons, "; "), c.reason) {
			t.Errorf("%s: %+v, want %s, %s", name, q, c.grade, c.reason)
		}
	}
}

func TestMachineLoad(t *testing.T) {
	m := parseMachine("cpu  10 20 30 40 50 60 70 80 10 20\ncpu0 1 2\n")
	if m != (machineLoad{360, 270, 80}) {
		t.Errorf("got %+v", m)
	}
	for _, text := range []string{"", "cpu 1 2 3", "intr 1 2 3 4 5 6 7 8 9", "cpu a b c d e f g h i"} {
		if m := parseMachine(text); m != (machineLoad{}) {
			t.Errorf("%q: %+v", text, m)
		}
	}
	if m := readMachine(); m.ticks == 0 {
		t.Error("nothing of this machine")
	}
}

func TestRepeat(t *testing.T) {
	ts := newTestServer(t, nil)
	r := ts.execute(map[string]any{"language": "c", "code": "cat\nexit 3\n", "stdin": "in", "repeat": 7})
	if r.Run.Stdout != "in" || r.Run.Status != "RE" || r.Session != nil || !strings.Contains(r.Raw, `"repeat":{"runs":7,`) || !strings.Contains(r.Raw, `"outputs_equal":true`) {
		t.Errorf("got %s", r.Raw)
	}
	noisy, jobs := 0, ts.fake.asked()
	for _, j := range jobs {
		if noisy += count(j.Noise); j.Noise && j.Limits.WallMS != 300_000/7 {
			t.Errorf("a run had %d ms", j.Limits.WallMS)
		}
	}
	if len(jobs) != 8 || noisy != 7 || ts.fake.atOnce() != 1 {
		t.Errorf("%d jobs, %d measured, %d at one time", len(jobs), noisy, ts.fake.atOnce())
	}
	// A limit ends the series, a failed compilation begins none.
	if r := ts.execute(with(python("limit memory"), "repeat", 50)); r.Run.Status != "ML" || !strings.Contains(r.Raw, `"repeat":{"runs":1,`) {
		t.Errorf("got %s", r.Raw)
	}
	if r := ts.execute(map[string]any{"language": "c", "code": "#compile exit 1\n", "repeat": 5}); r.Run.Status != "CE" || strings.Contains(r.Raw, `"repeat"`) {
		t.Errorf("got %s", r.Raw)
	}
	ts.refused(with(python("fail internal"), "repeat", 3), errInternal)
	for name, c := range map[string]struct {
		fields map[string]any
		field  string
	}{
		"none":      {with(python(), "repeat", 0), "repeat"},
		"too often": {with(python(), "repeat", 101), "repeat"},
		"type":      {with(python(), "repeat", "5"), "repeat"},
		"tests":     {with(python(), "repeat", 5, "tests", []any{map[string]any{}}), "repeat"},
		"artifacts": {with(python(), "repeat", 5, "artifacts", []string{"x"}), "repeat"},
		"session":   {with(python(), "repeat", 5, "session_id", "x"), "session_id"},
		"too long":  {with(python(), "repeat", 5, "run_timeout", 60_001), "run_timeout"},
	} {
		if r := ts.refused(c.fields, errInvalidField); r.Error.Field != c.field {
			t.Errorf("%s: field %s: %s", name, r.Error.Field, r.Raw)
		}
	}
}
