package lang

import (
	"errors"
	"strings"
	"testing"
)

// FuzzSelector reads what callers give as a version. It is refused in a few words, or selects; a plain number selects what begins with it, part by part.
func FuzzSelector(f *testing.F) {
	for _, seed := range []string{"*", "3", "v3.12", "3.12.0", ">=3.11 <3.14", "^1.2 || ~3", "3.x", "18446744073709551616", "1.2.3-rc.1+b", strings.Repeat("9", 100)} {
		f.Add(seed)
	}
	var known []*Runtime
	for _, version := range []string{"3.12.4", "3.11", "15", "0.1.2.3"} {
		number, err := splitNumber(version)
		if err != nil {
			f.Fatal(err)
		}
		known = append(known, &Runtime{Version: version, number: number})
	}
	f.Fuzz(func(t *testing.T, selector string) {
		matches, err := parseSelector(selector)
		if err != nil {
			if refused := new(*SelectorError); !errors.As(err, refused) || len(err.Error()) > 4*maxSelector+200 {
				t.Fatalf("%d bytes: %v", len(err.Error()), err)
			}
			return
		}
		plain := strings.TrimSpace(selector)
		digits := plain != "" && strings.Trim(plain, "0123456789") == ""
		for _, r := range known {
			got := matches(r)
			major, _, _ := strings.Cut(r.Version, ".")
			if want := strings.TrimLeft(plain, "0"); digits && got != (want == strings.TrimLeft(major, "0")) {
				t.Fatalf("%q selects %s: %v", selector, r.Version, got)
			}
		}
	})
}
