package lang

import "strings"

// nearest is the name or alias of an installed language that somebody most likely meant by another, or "": one slip in three letters, two in six.
func (s *Set) nearest(meant string) string {
	meant = strings.ToLower(meant)
	known := s.Names() // before aliases that are as near
	for _, r := range s.Installed() {
		known = append(known, r.Aliases...)
	}
	best, fewest := "", len(meant)/3+1
	for _, name := range known {
		if n := slips(meant, name); n < fewest {
			best, fewest = name, n
		}
	}
	return best
}

// slips counts what turns one word into another: bytes that are added, left out or changed, and neighbours that changed places.
func slips(a, b string) int {
	var before []int // the row above the row above
	above := make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			changed := above[j]
			if a[i] != b[j] {
				changed++
			}
			row[j+1] = min(above[j+1]+1, row[j]+1, changed)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, above = above, row
	}
	return above[len(b)]
}
