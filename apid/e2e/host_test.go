package e2e

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What the daemons hold on the host, seen from outside.

func randomMarker() string { return "marker" + strings.ToLower(rand.Text()) }

// cgroupDirs are all folders below the stack's parent, in all hierarchies.
func (s *stack) cgroupDirs() (dirs []string) {
	roots, _ := filepath.Glob("/sys/fs/cgroup/*/" + s.cgroup)
	for _, root := range append(roots, "/sys/fs/cgroup/"+s.cgroup) {
		filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil // jails come and go while we look
		})
	}
	return dirs
}

// settledLeaves waits until the pools are full: nothing is made or removed any more.
func (s *stack) settledLeaves() (int, error) {
	const still = 30 // looks without a change
	last, same := -1, 0
	err := eventually("pools are full", func() error {
		if n := len(s.cgroupDirs()); n != last {
			last, same = n, 0
		}
		if same++; same < still {
			return fmt.Errorf("still changing: %d cgroup folders", last)
		}
		return nil
	})
	return last, err
}

// wantQuiet fails unless the daemons come back to what they held when they had just started.
func (s *stack) wantQuiet(t *testing.T) {
	t.Helper()
	err := eventually("jobs are gone", func() error {
		if n := len(s.cgroupDirs()); n != s.pools {
			return fmt.Errorf("%d cgroup folders, want %d:\n%s", n, s.pools, strings.Join(s.cgroupDirs(), "\n"))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// processes are the host's processes for which a file of /proc/<pid> holds text.
func processes(file, text string) (pids []string) {
	paths, _ := filepath.Glob("/proc/[0-9]*/" + file)
	for _, path := range paths {
		pid := strings.Split(path, "/")[2]
		content, err := os.ReadFile(path)
		if err == nil && pid != fmt.Sprint(os.Getpid()) && bytes.Contains(content, []byte(text)) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// leftovers is nil when nothing of a stopped stack is left on the host.
func (s *stack) leftovers() error {
	var errs []error
	var left []string
	// The kernel takes a moment to reap what was killed.
	for range 100 {
		left = append(append(processes("cgroup", s.cgroup), processes("environ", "E2E_STACK="+s.cgroup)...), processes("cmdline", s.dir)...)
		if len(left) == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	for _, pid := range left {
		cmdline, _ := os.ReadFile("/proc/" + pid + "/cmdline")
		errs = append(errs, fmt.Errorf("process %s is left: %q", pid, cmdline))
	}
	for _, dir := range s.cgroupDirs() {
		errs = append(errs, fmt.Errorf("cgroup %s is left", dir))
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	errs = append(errs, err)
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, s.dir) || strings.Contains(line, s.cgroup) {
			errs = append(errs, fmt.Errorf("mount is left: %s", line))
		}
	}
	if _, err := os.Lstat(s.path("s.sock")); !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, fmt.Errorf("the socket is left: %v", err))
	}
	return errors.Join(errs...)
}
