package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// writeSums writes beside the root of an image what its files are, as its builder does.
func writeSums(t *testing.T, image string) {
	t.Helper()
	rootfs := filepath.Join(image, "rootfs")
	var lines strings.Builder
	err := filepath.WalkDir(rootfs, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(&lines, "%x  %s\n", sha256.Sum256(data), strings.TrimPrefix(path, rootfs+"/"))
		return nil
	})
	if err := errors.Join(err, os.WriteFile(filepath.Join(image, sumsFile), []byte(lines.String()), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// flip changes the first byte of a file where it is, and, called again, changes it back.
func flip(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	_, err = f.ReadAt(b[:], 0)
	b[0] ^= 1
	_, werr := f.WriteAt(b[:], 0)
	if err := errors.Join(err, werr, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// rootWith makes the root of an image with such files, which hold their own names.
func rootWith(t *testing.T, files ...string) (image string, rootfs *os.File) {
	t.Helper()
	image = t.TempDir()
	for _, name := range files {
		path := filepath.Join(image, "rootfs", name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(name), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	rootfs, err := os.Open(filepath.Join(image, "rootfs"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rootfs.Close() })
	return image, rootfs
}

const whoChanged = " changed: by a hole of the kernel, if not by somebody on this machine"

// CVE-2022-0847, CVE-2026-31431: what a hole of the kernel writes into the image's page cache is seen, wherever a link leads and whenever it was.
func TestSentinelSeesAChangedImage(t *testing.T) {
	const libc, ruby, parked, other = "usr/lib/x86_64-linux-gnu/libc.so.6", "usr/bin/ruby3.2", "usr/lib/runtools/ruby/parked.so", "usr/share/other"
	image, rootfs := rootWith(t, libc, ruby, parked, other)
	path := func(name string) string { return filepath.Join(image, "rootfs", name) }
	for link, to := range map[string]string{"lib": "usr/lib", "usr/bin/ruby": "/usr/bin/ruby3.2"} { // absolute, as Debian's alternatives are
		if err := os.Symlink(to, path(link)); err != nil {
			t.Fatal(err)
		}
	}
	start := func() *sentinel { // as a sandboxd does that is started now
		return newSentinel(rootfs, map[string]*pool{
			"c/run":    {template: &template{}},
			"ruby/run": {template: &template{spec: templateSpec{Parked: &parkedSpec{Argv: []string{"/usr/bin/ruby"}, Env: map[string]string{"LD_PRELOAD": "/" + parked}}}}},
		})
	}
	if got, want := strings.Join(start().always, " "), "/bin/sh /lib/x86_64-linux-gnu/libc.so.6 /lib64/ld-linux-x86-64.so.2 /usr/bin/ruby /"+parked; got != want {
		t.Errorf("each run looks at %s, want %s", got, want)
	}
	if problem, unknown := start().check(sentinelTurn); !unknown || !strings.Contains(problem, "`make rootfs`") || len(problem) > 280 {
		t.Errorf("an image of an older builder: %q, %v", problem, unknown)
	}
	writeSums(t, image)
	serving := start()
	for what, s := range map[string]*sentinel{"before the start": nil, "after it": serving} {
		for _, name := range []string{"", libc, ruby, parked, other} {
			want := ""
			if name != "" {
				flip(t, path(name))
				want = "/" + name + whoChanged
			}
			one := s
			if s == nil {
				one = start()
			}
			if problem, unknown := one.check(sentinelTurn); unknown || problem != want {
				t.Errorf("%q was changed %s: %q, %v; want %q", name, what, problem, unknown, want)
			}
			if name != "" {
				flip(t, path(name))
			}
		}
	}
	// All at once, and one is gone.
	for _, name := range []string{libc, ruby, parked} {
		flip(t, path(name))
	}
	if err := os.Remove(path(other)); err != nil {
		t.Fatal(err)
	}
	if problem, unknown := serving.check(sentinelTurn); unknown || problem != "/"+ruby+", /"+parked+", /"+libc+" and 1 more"+whoChanged {
		t.Errorf("all were changed: %q, %v", problem, unknown)
	}
	if err := os.WriteFile(filepath.Join(image, sumsFile), []byte("no digest\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if problem, unknown := serving.check(sentinelTurn); !unknown || !strings.Contains(problem, "not a line") {
		t.Errorf("what is no list of digests: %q, %v", problem, unknown)
	}
}

// What does not fit into one run has its turn in a later one, and what was found changed is found again until it is mended.
func TestSentinelTakesTurns(t *testing.T) {
	image, rootfs := rootWith(t, "a", "b", "c")
	path := func(name string) string { return filepath.Join(image, "rootfs", name) }
	writeSums(t, image)
	s := newSentinel(rootfs, nil)
	s.next = 3*1000 + 1 // b: it begins anywhere
	check := func(want string) {
		t.Helper()
		if problem, unknown := s.check(2); unknown || problem != want { // two files, of a byte each
			t.Errorf("%q, %v; want %q", problem, unknown, want)
		}
	}
	flip(t, path("a"))
	check("") // b and c
	check("/a" + whoChanged)
	check("/a" + whoChanged)
	flip(t, path("a"))
	check("") // a and b
	flip(t, path("a"))
	flip(t, path("b"))
	check("/a" + whoChanged) // c and a
	check("/a, /b" + whoChanged)
}
