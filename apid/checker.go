package main

import (
	"bytes"
	"math"
	"strconv"
)

// checker compares what a program wrote with what was expected of it.
type checker struct {
	kind      string  // of checkerKinds
	tolerance float64 // floats: absolute, or relative to the expected number, whichever allows more
}

// Kinds of checkers, as in docs/api.md.
const (
	checkTokens = "tokens" // the same words, whatever space is between them
	checkExact  = "exact"  // the same bytes
	checkFloats = "floats" // tokens, where two numbers may differ a little
)

const defaultTolerance = 1e-6

// accepts says whether got is right. Neither is kept.
func (c *checker) accepts(want, got []byte) bool {
	if c.kind == checkExact {
		return bytes.Equal(want, got)
	}
	for {
		w, g := token(&want), token(&got)
		if len(w) == 0 || len(g) == 0 {
			return len(w) == len(g)
		}
		if !bytes.Equal(w, g) && !(c.kind == checkFloats && c.close(w, g)) {
			return false
		}
	}
}

// token cuts the next word off, "" at the end. Space is that of C's isspace.
func token(text *[]byte) []byte {
	rest := bytes.TrimLeft(*text, " \t\n\v\f\r")
	end := bytes.IndexAny(rest, " \t\n\v\f\r")
	if end < 0 {
		end = len(rest)
	}
	*text = rest[end:]
	return rest[:end]
}

// close compares two numbers. What is no finite number equals nothing else.
func (c *checker) close(want, got []byte) bool {
	w, err := strconv.ParseFloat(string(want), 64)
	if err != nil {
		return false
	}
	g, err := strconv.ParseFloat(string(got), 64)
	if err != nil {
		return false
	}
	if math.IsInf(w, 0) || math.IsInf(g, 0) { // ParseFloat reads "inf", to which any distance would be small
		return false
	}
	difference := math.Abs(w - g)
	return difference <= c.tolerance || difference <= c.tolerance*math.Abs(w)
}
