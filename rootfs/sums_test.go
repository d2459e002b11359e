package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The digests of an image are those of the files that are in it, whichever tree they are of, and from before anybody could write into them.
func TestSumImage(t *testing.T) {
	dir := t.TempDir()
	base, layer, image := filepath.Join(dir, "base"), filepath.Join(dir, "layer"), filepath.Join(dir, "image")
	root := filepath.Join(image, "rootfs")
	write := func(path, content string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(base, "usr/kept"), "base")
	write(filepath.Join(base, "usr/replaced"), "base")
	write(filepath.Join(base, "usr/becomes a link"), "base")
	write(filepath.Join(layer, "usr/replaced"), "layer")
	write(filepath.Join(layer, "usr/was a link"), "layer")
	err := errors.Join(
		os.Symlink("kept", filepath.Join(base, "usr/was a link")), os.Symlink("kept", filepath.Join(layer, "usr/becomes a link")),
		sumTree(layer, layer+treeSums), // base is of an older builder
		os.MkdirAll(root, 0o755), linkTree(base, root, nil, ""), linkTree(layer, root, map[string]string{}, "toy"),
		sumImage(image, []string{base, layer}),
	)
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(filepath.Join(image, sumsFile))
	if n := strings.Count(string(sums), "\n"); err != nil || n != 3 {
		t.Errorf("%d files, want 3: %v\n%s", n, err, sums)
	}
	check := exec.Command("sha256sum", "-c", "--quiet", "../"+sumsFile) // as docs/languages.md has it
	check.Dir = root
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	write(filepath.Join(root, "usr/kept"), "hole") // and so in the cache, of which the next image is made
	if err := sumImage(image, []string{base, layer}); err != nil {
		t.Fatal(err)
	}
	if again, err := os.ReadFile(filepath.Join(image, sumsFile)); err != nil || string(again) != string(sums) {
		t.Errorf("what was written later is taken for what was built: %v\n%s", err, again)
	}
	write(filepath.Join(root, "usr/more"), "")
	if err := sumImage(image, []string{base, layer}); err == nil || !strings.Contains(err.Error(), "usr/more") {
		t.Errorf("a file of no tree: %v", err)
	}
}
