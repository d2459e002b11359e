package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var when = time.Date(2026, 11, 24, 18, 0, 0, 0, time.UTC)

func TestFillReplacesOnlyWhatIsBetweenMarks(t *testing.T) {
	r := report{Sections: []measured{{Section: "tail", When: when, Commit: "abc1234", Machine: "2 vCPU", Load: 0.25, Tables: []table{sample}}}}
	page, err := r.fill([]byte("# Title\n<!-- bench:tail -->old<!-- end -->\nprose\n<!-- bench:pool -->kept<!-- end -->\nlast\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := "# Title\n<!-- bench:tail -->\n" + sample.markdown() + "\nMeasured 2026-11-24 at commit abc1234 on 2 vCPU; the load average before was 0.2.\n<!-- end -->\nprose\n" +
		"<!-- bench:pool -->kept<!-- end -->\nlast\n"
	if string(page) != want {
		t.Errorf("got\n%s\nwant\n%s", page, want)
	}
	if again, err := r.fill(page); err != nil || string(again) != want {
		t.Errorf("filling again: %v, changed: %v", err, string(again) != want)
	}
	if _, err := r.fill([]byte("<!-- bench:tail --> no end")); err == nil {
		t.Error("an open mark was accepted: all after it would be lost")
	}
}

func TestPutReplacesASectionAndKeepsTheOrder(t *testing.T) {
	var r report
	for _, name := range []string{"tail", "jail", "tail"} {
		r.put(measured{Section: name, Commit: "of " + name})
	}
	r.put(measured{Section: "tail", Commit: "new"})
	if len(r.Sections) != 2 || r.Sections[0].Section != "jail" || r.Sections[1].Commit != "new" {
		t.Errorf("got %+v", r.Sections)
	}
}

func TestPublishKeepsWhatWasMeasuredBefore(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "performance.md"), []byte("<!-- bench:tail --><!-- end --><!-- bench:pool --><!-- end -->"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"tail", "pool"} {
		if err := publish(dir, &measured{Section: name, When: when, Commit: name + "-commit", Tables: []table{sample}}); err != nil {
			t.Fatal(err)
		}
	}
	page, err := os.ReadFile(filepath.Join(dir, "performance.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"tail-commit", "pool-commit", "| python | 14.3 | 0.205 |"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("performance.md lacks %q:\n%s", want, page)
		}
	}
	if err := publish(t.TempDir(), nil); err == nil {
		t.Error("rendering without a performance.json succeeded")
	}
}

// The page of the repository has a place for every section that is measured by default.
func TestThePageHasEverySection(t *testing.T) {
	page, err := os.ReadFile("../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range sectionNames {
		if !strings.Contains(string(page), "<!-- bench:"+name+" -->") {
			t.Errorf("docs/performance.md has no mark for %s", name)
		}
	}
}
