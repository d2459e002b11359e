package main

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// table is what a section measured. Text, Markdown, JSON and the chart are all made from it, so that they cannot differ.
type table struct {
	Title   string   `json:"title"`
	Columns []column `json:"columns"`
	Rows    []row    `json:"rows"`
	Notes   []string `json:"notes,omitempty"`
}

// column says under which key a row's value stands, and what stands above it.
type column struct {
	Key  string `json:"key"`
	Head string `json:"head"`
}

// row holds numbers by the key of their column; what was not measured is absent.
type row struct {
	Name   string             `json:"name"`
	Values map[string]float64 `json:"values"`
}

// format keeps three digits, which is more than any of this repeats to.
func format(v float64) string {
	a := max(v, -v)
	switch {
	case v == float64(int64(v)), a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	case a >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

// cells are the table's texts, the heads first.
func (t *table) cells() [][]string {
	head := []string{""}
	for _, c := range t.Columns {
		head = append(head, c.Head)
	}
	all := [][]string{head}
	for _, r := range t.Rows {
		line := []string{r.Name}
		for _, c := range t.Columns {
			text := "–"
			if v, ok := r.Values[c.Key]; ok {
				text = format(v)
			}
			line = append(line, text)
		}
		all = append(all, line)
	}
	return all
}

// text is the table for a terminal.
func (t *table) text() string {
	cells := t.cells()
	widths := make([]int, len(t.Columns)+1)
	for _, line := range cells {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	b.WriteString(t.Title + "\n")
	for _, line := range cells {
		fmt.Fprintf(&b, "  %-*s", widths[0], line[0])
		for i, cell := range line[1:] {
			fmt.Fprintf(&b, "  %*s", widths[i+1], cell)
		}
		b.WriteString("\n")
	}
	for _, note := range t.Notes {
		b.WriteString("  * " + note + "\n")
	}
	return b.String()
}

// markdown is the table for docs/performance.md.
func (t *table) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "**%s**\n\n", t.Title)
	for i, line := range t.cells() {
		for j := range line {
			line[j] = strings.ReplaceAll(line[j], "|", `\|`)
		}
		b.WriteString("| " + strings.Join(line, " | ") + " |\n")
		if i == 0 {
			b.WriteString("|---" + strings.Repeat("|---:", len(t.Columns)) + "|\n")
		}
	}
	for i, note := range t.Notes {
		if i == 0 {
			b.WriteString("\n")
		}
		b.WriteString("- " + note + "\n")
	}
	return b.String()
}
