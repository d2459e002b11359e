package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// CVE-2022-0847, CVE-2026-31431: what a hole of the kernel writes into the image's page cache is seen, wherever a link leads.
func TestSentinelSeesAChangedImage(t *testing.T) {
	image := t.TempDir()
	libc := filepath.Join(image, "rootfs/usr/lib/x86_64-linux-gnu/libc.so.6")
	ruby := filepath.Join(image, "rootfs/usr/bin/ruby3.2")
	for path, content := range map[string]string{libc: "libc", ruby: "ruby"} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"lib": "usr/lib", "usr/bin/ruby": "/usr/bin/ruby3.2"} { // absolute, as Debian's alternatives are
		if err := os.Symlink(to, filepath.Join(image, "rootfs", link)); err != nil {
			t.Fatal(err)
		}
	}
	rootfs, err := os.Open(filepath.Join(image, "rootfs"))
	if err != nil {
		t.Fatal(err)
	}
	defer rootfs.Close()
	s, err := newSentinel(rootfs, map[string]*pool{
		"c/run": {template: &template{}}, "ruby/run": {template: &template{spec: templateSpec{Parked: &parkedSpec{Argv: []string{"/usr/bin/ruby"}}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.sums) != 2 {
		t.Errorf("%d files are watched, want libc and ruby", len(s.sums))
	}
	if problem, _ := s.check(); problem != "" {
		t.Errorf("nothing was changed: %s", problem)
	}
	for path, content := range map[string]string{libc: "lib\x00", ruby: "rub\x00"} {
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if problem, unknown := s.check(); unknown || !strings.HasPrefix(problem, "/lib/x86_64-linux-gnu/libc.so.6, /usr/bin/ruby changed") {
		t.Errorf("both were changed: %s", problem)
	}
	if err := os.Remove(libc); err != nil {
		t.Fatal(err)
	}
	if problem, unknown := s.check(); unknown || !strings.HasPrefix(problem, "/usr/bin/ruby changed") {
		t.Errorf("one was changed, one is not there any more: %s", problem)
	}
}
