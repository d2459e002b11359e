package cgroup

import (
	"fmt"
	"io"
	"os"
	"path"
	"regexp"
	"runtime"
	"slices"
	"testing"

	"github.com/containerd/cgroups/v3"
	"golang.org/x/sys/unix"
)

// Where systemd mounts v1, cpu and cpuacct are links to one hierarchy. Here cpu gets another name in that way, in a mount namespace of the test's own.
func TestHierarchyWithTwoNames(t *testing.T) {
	if cgroups.Mode() == cgroups.Unified {
		return // there is one, and it has one name
	}
	separateMounts(t)
	const again = "cpu-again"
	if err := os.Symlink("cpu", path.Join(root, again)); err != nil {
		t.Fatal(err)
	}
	controllers := controllersV1
	t.Cleanup(func() { controllersV1 = controllers })
	controllersV1 = append(slices.Clone(controllers), again)
	l := newLeaf(t, openTest(t), roomy)
	cmd, out := child(t, l, "cat /proc/self/cgroup")
	lines, err := io.ReadAll(out)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	for _, name := range controllers { // alone, or one of a joined hierarchy's
		in := regexp.MustCompile(fmt.Sprintf(`:([a-z,]+,)?%s(,[a-z,]+)?:/runtools-test-%d/job\n`, name, os.Getpid()))
		if err != nil || !in.Match(lines) {
			t.Errorf("a process of the leaf is not in %s of\n%s, %v", name, lines, err)
		}
	}
	if u, err := l.Usage(); err != nil || u.CPU == 0 {
		t.Errorf("usage %+v, %v", u, err)
	}
}

// separateMounts gives the test's thread the v1 hierarchies in a folder that nobody else sees.
func separateMounts(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	trees := map[string]int{}
	for _, name := range controllersV1 {
		tree, err := unix.OpenTree(unix.AT_FDCWD, path.Join(root, name), unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(tree)
		trees[name] = tree
	}
	if err := unix.Mount("cgroup", root, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	for name, tree := range trees {
		at := path.Join(root, name)
		if err := os.Mkdir(at, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.MoveMount(tree, "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			t.Fatal(err)
		}
	}
}
