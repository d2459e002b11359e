package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// The chart: a row for each language, a bar for each way to run it, from the line of the bare command to the share of its time, on a
// logarithmic scale: a bar's length is how many times faster, to the left, or slower. It stands in an <img>, so it brings its colours for dark and light pages along.
const (
	chartWidth = 760
	labelWidth = 185.0 // left of the bars
	valueWidth = 90.0  // right of them
	rowHeight  = 40.0
	barHeight  = 13.0
	headHeight = 64.0
	footHeight = 44.0
	chartStyle = "text{font:13px system-ui,sans-serif;fill:#1f2328}.s{font-size:11px;fill:#59636e}.h{font-size:15px;font-weight:600}" +
		".parked{fill:#0969da}.cold{fill:#8c959f}.grid{stroke:#d1d9e0}.bare{stroke:#bc4c00;stroke-width:1.5}.b{fill:#bc4c00}" +
		"@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.s{fill:#9198a1}.parked{fill:#4493f8}.cold{fill:#656c76}.grid{stroke:#3d444d}" +
		".bare{stroke:#f0883e}.b{fill:#f0883e}}"
)

// chartRows are the rows of the language table that the chart shows, and their labels.
var chartRows = []struct{ name, label string }{
	{"python", "Python"}, {"javascript", "JavaScript"}, {"typescript", "TypeScript"}, {"ruby", "Ruby"}, {"bash", "Bash"}, {"java", "Java"},
	{"csharp", "C#"}, {"go", "Go"}, {"rust", "Rust"}, {"c", "C"}, {"c++ bits/stdc++.h", "C++"},
}

// chart draws the language table.
func chart(m *measured) []byte {
	values := map[string]map[string]float64{}
	for _, r := range m.Tables[0].Rows {
		values[r.Name] = r.Values
	}
	low, high := bounds(values)
	x := func(ratio float64) float64 {
		return labelWidth + (chartWidth-labelWidth-valueWidth)*(math.Log10(ratio)-low)/(high-low)
	}
	var b strings.Builder
	height := headHeight + rowHeight*float64(len(chartRows)) + footHeight
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %.0f" width="%d" height="%.0f" role="img">`+"\n", chartWidth, height, chartWidth, height)
	fmt.Fprintf(&b, "<title>Time of a hello over HTTP in a jail, as a share of the bare command's</title>\n<style>%s</style>\n", chartStyle)
	fmt.Fprintf(&b, `<text class="h" x="8" y="22">A hello over HTTP in a jail, against the bare command on the same machine</text>`+"\n")
	fmt.Fprintf(&b, `<rect class="parked" x="8" y="34" width="12" height="12" rx="2"/><text x="26" y="45">as served</text>`+
		`<rect class="cold" x="110" y="34" width="12" height="12" rx="2"/><text x="128" y="45">without parked runners</text>`+
		`<text class="s" x="%d" y="45" text-anchor="end">← faster · slower →</text>`+"\n", chartWidth-8)
	drawGrid(&b, low, high, height, x)
	for i, r := range chartRows {
		drawRow(&b, headHeight+rowHeight*float64(i), r.label, values[r.name], x)
	}
	fmt.Fprintf(&b, `<text class="s" x="8" y="%.0f">Medians, compile and run, measured %s at %s; see docs/performance.md</text>`+"\n",
		height-8, m.When.Format(time.DateOnly), m.Commit)
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

// bounds are the powers of ten between which all bars fit, with room for the labels of the left ones.
func bounds(values map[string]map[string]float64) (low, high float64) {
	low, high = -0.7, 0.1
	for _, r := range chartRows {
		for _, key := range []string{"parked_ratio", "cold_ratio"} {
			if v := values[r.name][key]; v > 0 {
				low, high = min(low, math.Log10(v)-0.5), max(high, math.Log10(v)+0.1)
			}
		}
	}
	return low, high
}

func drawGrid(b *strings.Builder, low, high, height float64, x func(float64) float64) {
	bottom := height - footHeight + 4
	for _, v := range []float64{0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10} {
		if l := math.Log10(v); l < low || l > high {
			continue
		}
		line, class, label := "grid", "s", strconv.FormatFloat(v, 'g', -1, 64)
		if v == 1 {
			line, class, label = "bare", "s b", "bare"
		}
		fmt.Fprintf(b, `<line class="%s" x1="%.1f" x2="%.1f" y1="%.0f" y2="%.0f"/>`, line, x(v), x(v), headHeight-4, bottom)
		fmt.Fprintf(b, `<text class="%s" x="%.1f" y="%.0f" text-anchor="middle">%s</text>`+"\n", class, x(v), bottom+14, label)
	}
}

func drawRow(b *strings.Builder, y float64, label string, values map[string]float64, x func(float64) float64) {
	fmt.Fprintf(b, `<text x="8" y="%.1f">%s</text>`, y+24, label)
	bare, ok := values["bare_p50"]
	if !ok {
		fmt.Fprintf(b, `<text class="s" x="%.1f" y="%.1f" text-anchor="end">not measured</text>`+"\n", labelWidth-8, y+24)
		return
	}
	fmt.Fprintf(b, `<text class="s" x="%.1f" y="%.1f" text-anchor="end">bare %s ms</text>`+"\n", labelWidth-8, y+24, format(bare))
	for i, way := range []string{"parked", "cold"} {
		ratio, ok := values[way+"_ratio"]
		if !ok {
			continue
		}
		top := y + 5 + float64(i)*(barHeight+2)
		from, to := min(x(1), x(ratio)), max(x(1), x(ratio))
		at, anchor := from-5, "end"
		if ratio > 1 {
			at, anchor = to+5, "start"
		}
		fmt.Fprintf(b, `<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="2"/>`, way, from, top, to-from, barHeight)
		fmt.Fprintf(b, `<text class="s" x="%.1f" y="%.1f" text-anchor="%s">%s · %s ms</text>`+"\n", at, top+barHeight-3, anchor, format(ratio), format(values[way+"_p50"]))
	}
}
