package main

import (
	"bytes"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonReader takes a request's body apart, strictly: names are compared exactly, each at most once, and strings keep every byte.
//
// encoding/json takes "Language" for "language", the last of two equal names, and half a surrogate pair for U+FFFD, and says little
// about where it stopped. A code runner that alters the code it was given is wrong, so the shapes of our requests are read by hand.
//
// Strings are unescaped in place: an escape is never shorter than what it stands for. They point into the body, which therefore must
// outlive them; a request of tens of megabytes is held in memory once.
type jsonReader struct {
	buf []byte
	pos int
}

func (r *jsonReader) syntax(format string, args ...any) *apiError {
	err := refuse(errInvalidJSON, format, args...)
	err.message = "the body is not valid JSON: byte " + strconv.Itoa(r.pos) + ": " + err.message
	return err
}

// document reads the one object that the body must be.
func (r *jsonReader) document(field func(name string) *apiError) *apiError {
	if len(bytes.TrimSpace(r.buf)) == 0 {
		return refuse(errInvalidJSON, "the body is empty; want a JSON object")
	}
	if !utf8.Valid(r.buf) {
		for r.pos < len(r.buf) {
			c, size := utf8.DecodeRune(r.buf[r.pos:])
			if c == utf8.RuneError && size == 1 {
				break
			}
			r.pos += size
		}
		return r.syntax("not UTF-8; other bytes go in base64, in a file with \"encoding\": \"base64\", in stdin with \"stdin_encoding\": \"base64\"")
	}
	if bytes.HasPrefix(r.buf, []byte("\ufeff")) {
		return r.syntax("a byte order mark; leave it out")
	}
	if r.peek() != '{' {
		return r.syntax("want an object")
	}
	if err := r.object("", field); err != nil {
		return err
	}
	if r.skipSpace(); r.pos != len(r.buf) {
		return r.syntax("data after the object")
	}
	return nil
}

// object reads an object; field must consume the value of the name it is given.
func (r *jsonReader) object(path string, field func(name string) *apiError) *apiError {
	if err := r.open(path, '{', "an object"); err != nil {
		return err
	}
	for first := true; ; first = false {
		if done, err := r.next('}', first); done || err != nil {
			return err
		}
		if r.peek() != '"' {
			return r.syntax("want a name in quotes")
		}
		name, err := r.quoted()
		if err != nil {
			return err
		}
		if r.peek() != ':' {
			return r.syntax("want a colon")
		}
		r.pos++
		if err := field(string(name)); err != nil {
			return err
		}
	}
}

// array reads an array; element must consume one value.
func (r *jsonReader) array(path string, element func(i int) *apiError) *apiError {
	if err := r.open(path, '[', "an array"); err != nil {
		return err
	}
	for i := 0; ; i++ {
		if done, err := r.next(']', i == 0); done || err != nil {
			return err
		}
		if err := element(i); err != nil {
			return err
		}
	}
}

func (r *jsonReader) open(path string, bracket byte, what string) *apiError {
	if r.peek() != bracket {
		return r.wrongType(path, what)
	}
	r.pos++
	return nil
}

// next moves past the comma before an element, or past the closing bracket.
func (r *jsonReader) next(closing byte, first bool) (done bool, err *apiError) {
	c := r.peek()
	switch {
	case c == closing:
		r.pos++
		return true, nil
	case first:
		return false, nil
	case c == ',':
		r.pos++
		if r.peek() == closing {
			return false, r.syntax("a comma before %q", closing)
		}
		return false, nil
	}
	return false, r.syntax("want a comma or %q", closing)
}

// null consumes a null, if that is what comes next.
func (r *jsonReader) null() bool { return r.peek() == 'n' && r.literal("null") }

func (r *jsonReader) boolean(path string) (bool, *apiError) {
	switch {
	case r.peek() == 't' && r.literal("true"):
		return true, nil
	case r.peek() == 'f' && r.literal("false"):
		return false, nil
	}
	return false, r.wrongType(path, "true or false")
}

func (r *jsonReader) literal(word string) bool {
	if !bytes.HasPrefix(r.buf[r.pos:], []byte(word)) {
		return false
	}
	r.pos += len(word)
	return true
}

// integer reads a whole number. 3e5 is one, as JSON does not tell the two apart.
func (r *jsonReader) integer(path string) (int64, *apiError) {
	c := r.peek()
	if c != '-' && (c < '0' || c > '9') {
		return 0, r.wrongType(path, "a whole number")
	}
	text, err := r.number(path)
	if err != nil {
		return 0, err
	}
	if v, err := strconv.ParseInt(text, 10, 64); err == nil {
		return v, nil
	}
	f, _ := strconv.ParseFloat(text, 64)
	if f != math.Trunc(f) {
		return 0, invalidField(path, "want a whole number, got %s", cut(text, mostShown))
	}
	if math.Abs(f) > exact { // and beyond what anything may be: who knows the bound tells it
		f = math.Copysign(exact, f)
	}
	return int64(f), nil
}

// exact is how far every whole number has its own float64.
const exact = 1 << 53

// outOfRange refuses a whole number. It repeats no other than the caller's: beyond exact integer does not know which it was.
func outOfRange(path string, n, least, most int64) *apiError {
	given := strconv.FormatInt(n, 10)
	switch {
	case n >= exact:
		given = "so large a number"
	case n <= -exact:
		given = "so low a number"
	}
	return invalidField(path, "%s is out of range, want %d to %d", given, least, most)
}

// float reads a number that is not negative.
func (r *jsonReader) float(path string) (float64, *apiError) {
	if c := r.peek(); c != '-' && (c < '0' || c > '9') {
		return 0, r.wrongType(path, "a number")
	}
	text, err := r.number(path)
	if err != nil {
		return 0, err
	}
	f, parseErr := strconv.ParseFloat(text, 64)
	if parseErr != nil || f < 0 {
		return 0, invalidField(path, "%s is out of range, want 0 or more", cut(text, mostShown))
	}
	return f, nil
}

func (r *jsonReader) number(path string) (string, *apiError) {
	start := r.pos
	digits := func() bool {
		from := r.pos
		for r.pos < len(r.buf) && r.buf[r.pos] >= '0' && r.buf[r.pos] <= '9' {
			r.pos++
		}
		return r.pos > from
	}
	accept := func(chars string) bool {
		if r.pos < len(r.buf) && bytes.IndexByte([]byte(chars), r.buf[r.pos]) >= 0 {
			r.pos++
			return true
		}
		return false
	}
	accept("-")
	if !accept("0") && !digits() {
		return "", r.syntax("%s: want a digit", path)
	}
	if accept(".") && !digits() {
		return "", r.syntax("%s: want a digit", path)
	}
	if accept("eE") {
		accept("+-")
		if !digits() {
			return "", r.syntax("%s: want a digit", path)
		}
	}
	return string(r.buf[start:r.pos]), nil
}

// text reads a string. The bytes are those of the body.
func (r *jsonReader) text(path string) ([]byte, *apiError) {
	if r.peek() != '"' {
		return nil, r.wrongType(path, "a string")
	}
	return r.quoted()
}

func (r *jsonReader) quoted() ([]byte, *apiError) {
	r.pos++
	start, end := r.pos, r.pos // end: of what has been unescaped
	for r.pos < len(r.buf) {
		c := r.buf[r.pos]
		switch {
		case c == '"':
			r.pos++
			return r.buf[start:end:end], nil
		case c < ' ':
			return nil, r.syntax("a control character in a string; write it as an escape")
		case c == '\\':
			char, err := r.escape()
			if err != nil {
				return nil, err
			}
			end += utf8.EncodeRune(r.buf[end:r.pos], char)
		default:
			r.buf[end] = c
			end++
			r.pos++
		}
	}
	return nil, r.syntax("the string does not end")
}

func (r *jsonReader) escape() (rune, *apiError) {
	if r.pos+1 >= len(r.buf) {
		return 0, r.syntax("the string does not end")
	}
	c := r.buf[r.pos+1]
	if c == 'u' {
		return r.unicodeEscape()
	}
	const plain, meant = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	i := bytes.IndexByte([]byte(plain), c)
	if i < 0 {
		return 0, r.syntax("unknown escape \\%c", c)
	}
	r.pos += 2
	return rune(meant[i]), nil
}

func (r *jsonReader) unicodeEscape() (rune, *apiError) {
	unit := func(at int) (rune, bool) {
		if at+6 > len(r.buf) || r.buf[at] != '\\' || r.buf[at+1] != 'u' {
			return 0, false
		}
		v, err := strconv.ParseUint(string(r.buf[at+2:at+6]), 16, 16)
		return rune(v), err == nil
	}
	char, ok := unit(r.pos)
	if !ok {
		return 0, r.syntax("want four hexadecimal digits after \\u")
	}
	if !utf16.IsSurrogate(char) {
		r.pos += 6
		return char, nil
	}
	low, ok := unit(r.pos + 6)
	pair := utf16.DecodeRune(char, low)
	if !ok || pair == utf8.RuneError {
		return 0, r.syntax("\\u%04x is half of a character and has no UTF-8 form", char)
	}
	r.pos += 12
	return pair, nil
}

func (r *jsonReader) skipSpace() {
	for r.pos < len(r.buf) {
		switch r.buf[r.pos] {
		case ' ', '\t', '\n', '\r':
			r.pos++
		default:
			return
		}
	}
}

// peek returns the first byte of what comes next, or 0 at the end.
func (r *jsonReader) peek() byte {
	r.skipSpace()
	if r.pos == len(r.buf) {
		return 0
	}
	return r.buf[r.pos]
}

// wrongType says what came instead, or that nothing sensible did.
func (r *jsonReader) wrongType(path, want string) *apiError {
	var got string
	switch c := r.peek(); {
	case c == '"':
		got = "a string"
	case c == '{':
		got = "an object"
	case c == '[':
		got = "an array"
	case c == '-' || c >= '0' && c <= '9':
		got = "a number"
	case c == 't' && r.literal("true"), c == 'f' && r.literal("false"):
		got = "a boolean"
	case c == 'n' && r.literal("null"):
		got = "null"
	case c == 0:
		return r.syntax("%s: the body ends where %s is wanted", path, want)
	default:
		return r.syntax("%s: want %s", path, want)
	}
	return invalidField(path, "want %s, got %s", want, got)
}
