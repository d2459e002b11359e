package main

import (
	"bytes"
	"encoding/json"
	"testing"
)

// What callers of a WebSocket send is read as encoding/json would, or refused.
func FuzzMessages(f *testing.F) {
	for _, seed := range []string{
		`{"type":"stdin","data":"\u00e9\n"}`, `{"type":"stdin","data":"AA==","encoding":"base64"}`, `{"type":"stdin_close"}`,
		`{"type":"signal","signal":"SIGINT"}`, `{"type":"resize","cols":80,"rows":24}`,
		`{"type":"data","stream":"stdin","data":"x"}`, `{"type":"init","language":"py"}`, `{"type":"stdin","data":"\ud800"}`, `0`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var std struct{ Type, Data, Encoding string }
		stdErr := json.Unmarshal(body, &std)
		m, ours := decodeMessage(bytes.Clone(body)) // in place
		p, pistons := decodePistonMessage(bytes.Clone(body))
		for _, refused := range []*apiError{ours, pistons} {
			if refused != nil && len(refused.body("")) > mostRefusal {
				t.Fatalf("refused in %d bytes", len(refused.body("")))
			}
		}
		switch {
		case ours == nil && stdErr != nil:
			t.Fatalf("accepted what encoding/json does not: %v", stdErr)
		case pistons == nil && !json.Valid(body): // of JSON, Piston passes over what it does not know
			t.Fatalf("accepted for Piston, and no JSON: %+v", p)
		case ours == nil && std.Encoding != "base64" && string(m.stdin) != std.Data:
			t.Fatalf("input is %q, want %q", m.stdin, std.Data)
		}
	})
}
