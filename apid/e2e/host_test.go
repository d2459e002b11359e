package e2e

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
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

// spareDirs are the cgroup folders that no jail of a full pool accounts for. It is an error while pools are filled or jobs run. Pools grow and
// shrink with demand, so the folders themselves are not a constant.
func (s *stack) spareDirs() (int, error) {
	sums, err := s.metricSums("runtools_jails_live", "runtools_pool_ready", "runtools_pool_size")
	if err != nil {
		return 0, err
	}
	if live, ready, size := sums[0], sums[1], sums[2]; live != ready || ready != size {
		return 0, fmt.Errorf("%d jails, %d of %d ready", live, ready, size)
	}
	names, _ := filepath.Glob("/sys/fs/cgroup/*/" + s.cgroup) // under each name of each hierarchy of v1
	return len(s.cgroupDirs()) - max(1, len(names))*sums[0], nil
}

// settledDirs waits until the pools are full and nothing changes any more, and returns spareDirs.
func (s *stack) settledDirs() (int, error) {
	const still = 5 // looks without a change
	last, same := -1, 0
	err := eventually("pools are full", func() error {
		n, err := s.spareDirs()
		if err != nil || n != last {
			last, same = n, 0
		}
		if same++; err == nil && same < still {
			err = fmt.Errorf("still changing: %d cgroup folders", last)
		}
		return err
	})
	return last, err
}

// wantQuiet fails unless the daemons come back to what they held when they had just started.
func (s *stack) wantQuiet(t *testing.T) {
	t.Helper()
	err := eventually("jobs are gone", func() error {
		n, err := s.spareDirs()
		if err == nil && n != s.spare {
			err = fmt.Errorf("%d cgroup folders beside those of the pools, want %d:\n%s", n, s.spare, strings.Join(s.cgroupDirs(), "\n"))
		}
		return err
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
	for deadline := time.Now().Add(hang); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		left = append(append(processes("cgroup", s.cgroup), processes("environ", "E2E_STACK="+s.cgroup)...), processes("cmdline", s.dir)...)
		if len(left) == 0 {
			break
		}
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
	return errors.Join(append(errs, s.leftFiles())...)
}

// leftFiles looks at the folder of a stopped stack, where the daemons have their temporary files as well. What is not its settings, keys, locks and the
// journal of apid, is of what ran: sockets, anchors of vaults.
func (s *stack) leftFiles() (err error) {
	filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, e error) error {
		name := strings.TrimPrefix(strings.TrimPrefix(path, s.dir), "/")
		first, rest, below := strings.Cut(name, "/")
		_, number := strconv.Atoi(rest)
		switch {
		case e != nil:
			err = errors.Join(err, e)
		case name == "", slices.Contains(s.settings, first) && (!below || first != "state" && first != "tmp"):
		case name == "s.sock.lock", name == "keys.lock", first == "state" && number == nil:
		default:
			err = errors.Join(err, fmt.Errorf("%s is left", path))
		}
		return nil
	})
	for path, info := range publicFiles() {
		if path != s.dir && path != s.cgroupLock() && !s.strangers[path] && s.has(path, info) {
			err = errors.Join(err, fmt.Errorf("%s is left, of uid %d", path, info.Uid))
		}
	}
	return err
}

// publicFolders are where programs leave files that are in no folder of their own.
var publicFolders = []string{"/tmp", "/var/tmp", "/run", "/run/lock", "/dev/shm"}

// publicFiles are what they hold, and whose it is.
func publicFiles() map[string]*syscall.Stat_t {
	all := map[string]*syscall.Stat_t{}
	for _, folder := range publicFolders {
		entries, _ := os.ReadDir(folder) // a machine may lack one
		for _, e := range entries {
			var info syscall.Stat_t
			if path := filepath.Join(folder, e.Name()); syscall.Lstat(path, &info) == nil { // else it is gone
				all[path] = &info
			}
		}
	}
	return all
}

// has says that a file on the host is of this stack, and not of others that run at the same time: by its name, or because apid made it or a process of a jail.
// What sandboxd makes is root's, and known by its name, or by its place: TMPDIR.
func (s *stack) has(path string, info *syscall.Stat_t) bool {
	return strings.Contains(path, s.cgroup) || strings.Contains(path, filepath.Base(s.dir)) ||
		info.Uid == apidUser || info.Uid >= s.firstUID && info.Uid < s.firstUID+stackUIDs
}
