package main

import (
	"bytes"
	"math/big"
	"strings"
	"testing"
)

// A verdict is what the words say, taken apart in another way, and what exact numbers say of two that differ.
func FuzzChecker(f *testing.F) {
	f.Add("1 2\n3", "1\t2 3\n", 1e-6)
	f.Add("0.5 x", "0.50000001 x", 1e-6)
	f.Add("inf", "5", 1e-6)
	f.Add("nan -0 1e308", "nan 0 -1e308", 10.0)
	f.Fuzz(func(t *testing.T, want, got string, tolerance float64) {
		if !(tolerance >= 0 && tolerance <= 1e300) { // as the decoder has it, which takes no infinity
			return
		}
		exact := (&checker{kind: checkExact}).accepts([]byte(want), []byte(got))
		tokens := (&checker{kind: checkTokens}).accepts([]byte(want), []byte(got))
		floats := (&checker{kind: checkFloats, tolerance: tolerance}).accepts([]byte(want), []byte(got))
		if exact != (want == got) || exact && !tokens || tokens && !floats {
			t.Fatalf("exact %v, tokens %v, floats %v", exact, tokens, floats)
		}
		isSpace := func(c rune) bool { return strings.ContainsRune(" \t\n\v\f\r", c) }
		w, g := strings.FieldsFunc(want, isSpace), strings.FieldsFunc(got, isSpace)
		if same := strings.Join(w, " ") == strings.Join(g, " "); same != tokens {
			t.Fatalf("%q and %q: %v", w, g, tokens)
		}
		if !floats || tokens {
			return
		}
		if len(w) != len(g) {
			t.Fatalf("%q and %q are as many", w, g)
		}
		for i := range w {
			if w[i] == g[i] {
				continue
			}
			a, aErr := parseExact(w[i])
			b, bErr := parseExact(g[i])
			if aErr || bErr {
				t.Fatalf("%q and %q are taken for numbers", w[i], g[i])
			}
			// Twice the tolerance: floating point rounds.
			room := new(big.Float).SetFloat64(max(tolerance*2, 1e-12))
			if larger := new(big.Float).Abs(a); larger.Cmp(big.NewFloat(1)) > 0 {
				room.Mul(room, larger)
			}
			if new(big.Float).Abs(new(big.Float).Sub(a, b)).Cmp(room) > 0 {
				t.Fatalf("%q and %q are no further apart than %g", w[i], g[i], tolerance)
			}
		}
	})
}

// parseExact reads a finite number.
func parseExact(word string) (f *big.Float, bad bool) {
	f, _, err := big.ParseFloat(strings.ToLower(word), 0, 200, big.ToNearestEven)
	return f, err != nil || f.IsInf() || bytes.ContainsRune([]byte(word), '_')
}
