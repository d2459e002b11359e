package main

import (
	"encoding/json"
	"reflect"
	"testing"
)

var sample = table{
	Title:   "Hello: ms",
	Columns: []column{{"bare", "bare"}, {"ratio", "ratio"}},
	Rows: []row{
		{Name: "python", Values: map[string]float64{"bare": 14.26, "ratio": 0.2049}},
		{Name: "c++ a|b", Values: map[string]float64{"bare": 1846.4}},
	},
	Notes: []string{"In turn."},
}

func TestTableAsText(t *testing.T) {
	const want = `Hello: ms
           bare  ratio
  python   14.3  0.205
  c++ a|b  1846      –
  * In turn.
`
	if got := sample.text(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestTableAsMarkdown(t *testing.T) {
	const want = `**Hello: ms**

|  | bare | ratio |
|---|---:|---:|
| python | 14.3 | 0.205 |
| c++ a\|b | 1846 | – |

- In turn.
`
	if got := sample.markdown(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestTableSurvivesJSON(t *testing.T) {
	data, err := json.Marshal(sample)
	if err != nil {
		t.Fatal(err)
	}
	var back table
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, sample) {
		t.Errorf("got %+v", back)
	}
}

func TestFormat(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 4: "4", 128000: "128000", 999.6: "1000", 99.96: "100.0", 45.678: "45.7", 1.005: "1.00", 0.2049: "0.205", -1.26: "-1.26"} {
		if got := format(v); got != want {
			t.Errorf("format(%v) = %s, want %s", v, got, want)
		}
	}
}
