package main

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

func TestPatterns(t *testing.T) {
	for pattern, c := range map[string]struct{ yes, no string }{
		"*.png":         {"a.png .png a.b.png", "out/a.png a.pngx apng"},
		"**/*.png":      {"a.png out/a.png a/b/c.png", "a.pn"},
		"out/**":        {"out/a out/b/c", "out xout/a"},
		"out/*/x?.txt":  {"out/a/x1.txt", "out/a/x.txt out/x1.txt out/a/b/x1.txt"},
		"a.b+(c)[d]{e}": {"a.b+(c)[d]{e}", "axb+(c)[d]{e} a.bb(c)[d]{e}"},
		`$^|\`:          {`$^|\`, "a"},
		"a**b":          {"ab axb", "a/b"},
		"**":            {"a a/b", ""},
	} {
		// Go's syntax has all of what is used of POSIX's.
		expression := regexp.MustCompile("^(" + regex(pattern) + ")$")
		for name := range strings.FieldsSeq(c.yes) {
			if !expression.MatchString("./" + name) {
				t.Errorf("%s (%s) does not match %s", pattern, regex(pattern), name)
			}
		}
		for name := range strings.FieldsSeq(c.no) {
			if expression.MatchString("./" + name) {
				t.Errorf("%s (%s) matches %s", pattern, regex(pattern), name)
			}
		}
	}
}

func TestArtifactsThatFit(t *testing.T) {
	cfg := &artifactsConfig{MaxFiles: 2, MaxBytes: 100}
	c := &collected{}
	files := parseFound([]byte("50\tb\x0060\tc\x0050\td\n\x00-1\te\x001\t\xff\x00x\tf\x0040\ta\x00"))
	chosen, size := c.choose(files, cfg)
	if got := fmt.Sprint(chosen, size, c.omitted, c.bytes); got != "[{a 40} {b 50}] 90 2 110" || c.message == "" {
		t.Errorf("got %s, %s", got, c.message)
	}
	c = &collected{}
	long := bytes.Repeat([]byte("1\t"+strings.Repeat("x", 3990)+"\x00"), 20) // names that no job could be given
	if chosen, _ := c.choose(parseFound(long), &artifactsConfig{MaxFiles: 100, MaxBytes: 100}); len(chosen) != collectNames/3995 {
		t.Errorf("%d of %d", len(chosen), 20)
	}
	c = &collected{}
	tooLong := []byte("1\t" + strings.Repeat("x", longPath-2) + "\x001\t" + strings.Repeat("x", longPath-3) + "\x00") // with ./ before them
	if chosen, _ := c.choose(parseFound(tooLong), &artifactsConfig{MaxFiles: 100, MaxBytes: 100}); len(chosen) != 1 || c.omitted != 1 || !strings.Contains(c.message, "4000") {
		t.Errorf("%d chosen, %d omitted: %s", len(chosen), c.omitted, c.message)
	}
}

func TestArtifactsAreRefused(t *testing.T) {
	ts := newTestServer(t, nil)
	for name, c := range map[string]struct {
		fields map[string]any
		field  string
	}{
		"none":     {with(python(), "artifacts", []string{}), "artifacts"},
		"type":     {with(python(), "artifacts", "*.png"), "artifacts"},
		"too many": {with(python(), "artifacts", strings.Split(strings.Repeat("a ", 32)+"a", " ")), "artifacts"},
		"empty":    {with(python(), "artifacts", []string{"a", ""}), "artifacts[1]"},
		"absolute": {with(python(), "artifacts", []string{"/etc/*"}), "artifacts[0]"},
		"above":    {with(python(), "artifacts", []string{"../*"}), "artifacts[0]"},
		"dot":      {with(python(), "artifacts", []string{"./*"}), "artifacts[0]"},
		"folder":   {with(python(), "artifacts", []string{"a/"}), "artifacts[0]"},
		"tests":    {with(python(), "artifacts", []string{"a"}, "tests", []any{map[string]any{}}), "artifacts"},
	} {
		if r := ts.refused(c.fields, errInvalidField); r.Error.Field != c.field {
			t.Errorf("%s: field %s: %s", name, r.Error.Field, r.Raw)
		}
	}
}
