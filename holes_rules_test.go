package runtools

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// Each hole that SECURITY.md says is closed has an attack that tries it.
func TestPublishedHolesHaveAttacks(t *testing.T) {
	text, err := os.ReadFile("SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for row := range strings.Lines(string(text)) {
		cells := strings.Split(row, "|")
		if !strings.HasPrefix(row, "| CVE-") || len(cells) < 5 {
			continue
		}
		rows++
		attacks := regexp.MustCompile("`([a-z0-9-]+)`").FindAllStringSubmatch(cells[3], -1)
		if len(attacks) == 0 {
			t.Errorf("no attack: %s", row)
		}
		for _, m := range attacks {
			if _, err := os.Stat("sandboxd/testdata/attack/" + m[1] + ".txtar"); err != nil {
				t.Errorf("%s names an attack that is not there: %s", strings.TrimSpace(cells[1]), m[1])
			}
		}
	}
	if rows < 15 {
		t.Errorf("%d holes are listed", rows)
	}
}
