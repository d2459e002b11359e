package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// The environment that a program left. Added to the base, the changes make the program's own again, but for what shells set for themselves.
func FuzzLeftBehind(f *testing.F) {
	f.Add("A=1\x00B=2\x00PYTHONX=1\x00", "A")
	f.Add("A=\xff\x00=x\x00B\x00SHLVL=3\x00A=2\x00LD_PRELOAD=x", "SHLVL=1")
	f.Fuzz(func(t *testing.T, environ, before string) {
		base := environment{"PATH": "/bin", "A": "0", "SHLVL": "0"}
		var old []string
		if name, _, _ := strings.Cut(before, "="); name != "" && utf8.ValidString(before) && !strings.Contains(before, "\x00") {
			old = []string{before}
		}
		changes := leftBehind([]byte(environ), environment{"PATH": "/bin", "A": "0", "SHLVL": "0"}, old)
		if !slices.IsSorted(changes) {
			t.Fatalf("%q is not sorted", changes)
		}
		names := map[string]bool{}
		for _, c := range changes {
			name, _, _ := strings.Cut(c, "=")
			if name == "" || strings.Contains(c, "\x00") || !utf8.ValidString(c) || names[name] {
				t.Fatalf("%q in %q", c, changes)
			}
			names[name] = true
		}
		got := base.change(changes)
		unreadable := map[string]bool{}
		want := map[string]string{}
		for entry := range strings.SplitSeq(environ, "\x00") {
			name, value, ok := strings.Cut(entry, "=")
			if _, twice := want[name]; ok && name != "" && !twice && utf8.ValidString(name) {
				if unreadable[name] = unreadable[name] || !utf8.ValidString(value); utf8.ValidString(value) {
					want[name] = value
				}
			}
		}
		for name, value := range want {
			if !shellNoise[name] && got[name] != value {
				t.Fatalf("%s is %q, and was left as %q", name, got[name], value)
			}
		}
		for name, value := range got {
			if _, left := want[name]; !left && !shellNoise[name] && !unreadable[name] {
				t.Fatalf("%s=%s was not left", name, value)
			}
		}
	})
}

// The list of files that match the patterns of artifacts. Sizes are what a program made of sparse files.
func FuzzFound(f *testing.F) {
	f.Add([]byte("12\ta.png\x009223372036854775807\tb\x009223372036854775807\tc\x00-1\td\x00x\te"), uint16(3), uint32(1<<20))
	f.Fuzz(func(t *testing.T, list []byte, most uint16, bytes uint32) {
		cfg := &artifactsConfig{MaxFiles: int(most), MaxBytes: int64(bytes)}
		found := parseFound(list)
		var c collected
		chosen, size := c.choose(found, cfg)
		sum := int64(0)
		for _, file := range chosen {
			if file.size < 0 || file.size > math.MaxInt64-sum || !utf8.ValidString(file.name) || strings.Contains(file.name, "\x00") {
				t.Fatalf("%+v", file)
			}
			sum += file.size
		}
		if len(chosen) > cfg.MaxFiles || sum != size || size > cfg.MaxBytes || len(chosen)+c.omitted != len(found) || c.bytes < 0 || (c.omitted > 0) != (c.message != "") {
			t.Fatalf("%d files of %d bytes, said to be %d; %+v", len(chosen), sum, size, c)
		}
	})
}

// A Range is either of RFC 9110's form, and then taken as it says, or ignored.
func FuzzParseRange(f *testing.F) {
	for _, seed := range []string{"bytes=0-9", "bytes=5-", "bytes=-5", "bytes=0-1,3-4", "bytes=0-9223372036854775807"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		r, ranged := parseRange(header)
		if !ranged {
			if r != (byteRange{0, math.MaxInt64}) {
				t.Fatalf("ignored, and %v", r)
			}
			return
		}
		from, to, _ := strings.Cut(strings.TrimPrefix(header, "bytes="), "-")
		if strings.Trim(from+to, "0123456789") != "" || r.count < 0 { // so many bytes are read
			t.Fatalf("%q: %v", header, r)
		}
		if from == "" {
			if r.first != -r.count || fmt.Sprint(r.count) != plainNumber(to) {
				t.Fatalf("%q: %v", header, r)
			}
			return
		}
		if fmt.Sprint(r.first) != plainNumber(from) || to == "" && r.count != math.MaxInt64 {
			t.Fatalf("%q: %v", header, r)
		}
	})
}

// plainNumber is a decimal number without zeros in front.
func plainNumber(digits string) string {
	if digits = strings.TrimLeft(digits, "0"); digits == "" {
		return "0"
	}
	return digits
}
