package runtools

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// Each hole that SECURITY.md says is closed has an attack or a test that tries it, and each that is named there is there.
func TestPublishedHolesHaveAttacks(t *testing.T) {
	text, err := os.ReadFile("SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]bool{}
	for _, file := range tracked(t, "*_test.go") {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(string(data), -1) {
			tests[m[1]] = true
		}
	}
	_, section, _ := strings.Cut(string(text), "\n## Published holes\n")
	section, _, _ = strings.Cut(section, "\n## ")
	rows := 0
	for row := range strings.Lines(section) {
		cells := strings.Split(row, "|")
		if len(cells) < 5 || strings.HasPrefix(row, "|---") || strings.Contains(cells[3], " attacks ") || strings.HasPrefix(cells[2], " *open*") {
			continue
		}
		rows++
		named := regexp.MustCompile("`([a-z0-9-]+)`|(Test\\w+)").FindAllStringSubmatch(cells[3], -1)
		if len(named) == 0 {
			t.Errorf("no attack: %s", row)
		}
		for _, m := range named {
			_, err := os.Stat("sandboxd/testdata/attack/" + m[1] + ".txtar")
			if m[1] != "" && err != nil || m[2] != "" && !tests[m[2]] {
				t.Errorf("%s names what is not there: %s", strings.TrimSpace(cells[1]), m[0])
			}
		}
	}
	if rows < 40 { // else the section is not read
		t.Errorf("%d holes are listed", rows)
	}
}
