package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/chart.svg anew; then look at it")

// chartSample has what a chart may meet: faster and slower, no cold run, a row that was not measured.
var chartSample = measured{Section: "languages", When: when, Commit: "abc1234", Tables: []table{{Rows: []row{
	{Name: "python", Values: map[string]float64{"bare_p50": 14.2, "parked_p50": 4.1, "parked_ratio": 0.289, "cold_p50": 16, "cold_ratio": 1.13}},
	{Name: "bash", Values: map[string]float64{"bare_p50": 1.37, "parked_p50": 2.06, "parked_ratio": 1.5, "cold_p50": 4.2, "cold_ratio": 3.07}},
	{Name: "java", Values: map[string]float64{"bare_p50": 810, "parked_p50": 29, "parked_ratio": 0.0358}},
}}}}

func TestChartGolden(t *testing.T) {
	const golden = "testdata/chart.svg"
	got := chart(&chartSample)
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the chart is not %s any more; go test ./scripts/bench -update, and look at it", golden)
	}
}

func TestChartIsXML(t *testing.T) {
	dec := xml.NewDecoder(bytes.NewReader(chart(&chartSample)))
	for {
		_, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A bar begins at the line of bare and goes to the left if we are faster, to the right if slower.
func TestBarsBeginAtBare(t *testing.T) {
	x := func(ratio float64) float64 { return 100 * ratio }
	for _, c := range []struct {
		ratio float64
		want  string
	}{{0.25, `x="25.0" y="5.0" width="75.0"`}, {1.5, `x="100.0" y="5.0" width="50.0"`}} {
		var b strings.Builder
		drawRow(&b, 0, "X", map[string]float64{"bare_p50": 1, "parked_ratio": c.ratio, "parked_p50": c.ratio}, x)
		if !strings.Contains(b.String(), c.want) {
			t.Errorf("ratio %v drew %s", c.ratio, b.String())
		}
	}
}
