package main

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// What waits for a caller who is behind is the output and little more, however it came, and is told in the order of each stream. As an event each, these bytes would
// be forty times as much.
func TestPendingEventsAreOutput(t *testing.T) {
	e := newStream(appendMessage, 0)
	e.emit("compile", []byte(`{}`))
	const n = 200_000
	for i := range n {
		e.output(i%2, []byte{"abcdefghij"[i/2%10]}) // byte by byte, the streams in turn
	}
	e.output(0, []byte(strings.Repeat("€", chunkBytes))) // of which some end where a chunk does
	e.output(1, []byte{0xe2, 0x82})
	e.outputEnds()
	e.emitLater("exit", func() []byte { return []byte(`{}`) })
	e.end()
	if got := len(e.pending.list); got > mostPending+2 {
		t.Errorf("%d events wait", got)
	}
	if want := int64(n + 3*chunkBytes + 2 + 2); e.waiting() != want {
		t.Errorf("%d bytes wait, want %d", e.waiting(), want)
	}
	var names []string
	text := map[string]string{}
	for all := false; !all; {
		var chunk []byte
		chunk, _, all = e.take()
		if len(chunk) > 3*chunkBytes {
			t.Errorf("a chunk of %d bytes", len(chunk))
		}
		for line := range strings.Lines(string(chunk)) {
			var m struct {
				Type string
				Data struct{ Text string }
			}
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				t.Fatalf("%v: %.100s", err, line)
			}
			names = append(names, m.Type)
			text[m.Type] += m.Data.Text
		}
	}
	if names[0] != "compile" || names[len(names)-1] != "exit" || e.waiting() != 0 || e.pending.last != [2]int{} {
		t.Errorf("%s first, %s last, %d bytes and %v left", names[0], names[len(names)-1], e.waiting(), e.pending.last)
	}
	want := strings.Repeat("abcdefghij", n/20)
	if text["stdout"] != want+strings.Repeat("€", chunkBytes) || text["stderr"] != want+strings.Repeat(string(utf8.RuneError), 2) {
		t.Errorf("%d bytes of stdout and %d of stderr are not what was written", len(text["stdout"]), len(text["stderr"]))
	}
}
