package lang

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// maxSelector bounds the work of a selector, in bytes. Real ones are shorter than a tenth of it.
const maxSelector = 256

var (
	versionNumber  = regexp.MustCompile(`[0-9]+(\.[0-9]+)*`)
	prefixSelector = regexp.MustCompile(`^v?[0-9]+(\.[0-9]+)*$`)
)

// numberOf takes the first dotted number out of what a tool printed: "5.2.37(1)-release" and "go1.24.4" are real answers.
func numberOf(printed string) ([]uint64, error) {
	dotted := versionNumber.FindString(printed)
	if dotted == "" {
		return nil, fmt.Errorf("%q holds no number", printed)
	}
	return splitNumber(dotted)
}

func splitNumber(dotted string) ([]uint64, error) {
	var number []uint64
	for part := range strings.SplitSeq(dotted, ".") {
		n, err := strconv.ParseUint(part, 10, 63)
		if err != nil {
			return nil, fmt.Errorf("%q is not a version number", dotted)
		}
		number = append(number, n)
	}
	return number, nil
}

// semverOf drops what semver has no place for: parts after the third, and suffixes such as "-release", which semver would take for
// a pre-release and leave out of every range.
func semverOf(number []uint64) *semver.Version {
	var three [3]uint64
	copy(three[:], number)
	return semver.New(three[0], three[1], three[2], "", "")
}

// parseSelector turns a selector into a test.
func parseSelector(selector string) (func(*Runtime) bool, error) {
	if len(selector) > maxSelector { // with the space around it, which an error about it repeats
		return nil, &SelectorError{selector[:32] + "...", fmt.Sprintf("it has %d bytes, at most %d", len(selector), maxSelector)}
	}
	selector = strings.TrimSpace(selector)
	if selector == "" || selector == "*" {
		return func(*Runtime) bool { return true }, nil
	}
	if prefixSelector.MatchString(selector) {
		want, err := splitNumber(strings.TrimPrefix(selector, "v"))
		if err != nil {
			return nil, &SelectorError{selector, "a part of the number is too large"}
		}
		return func(r *Runtime) bool { return hasPrefix(r.number, want) }, nil
	}
	constraint, err := semver.NewConstraint(selector)
	if err != nil {
		return nil, &SelectorError{selector, `want "*", a prefix such as "3" or "3.12", or a range such as ">=3.11 <3.14"`}
	}
	return func(r *Runtime) bool { return constraint.Check(semverOf(r.number)) }, nil
}

// hasPrefix is true for 3.12.4 and 3.12, and for 3.12 and 3.12.0: a tool may leave out a trailing zero.
func hasPrefix(number, want []uint64) bool {
	for i, n := range want {
		if i < len(number) && number[i] != n || i >= len(number) && n != 0 {
			return false
		}
	}
	return true
}

// newestFirst orders versions of one language; those that do not work come last, whatever their number.
func newestFirst(a, b *Runtime) int {
	if (a.Err == "") != (b.Err == "") {
		if a.Err == "" {
			return -1
		}
		return 1
	}
	if c := slices.Compare(b.number, a.number); c != 0 {
		return c
	}
	return strings.Compare(a.Folder, b.Folder)
}
