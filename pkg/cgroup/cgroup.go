// Package cgroup bounds and accounts for the processes of one job: a leaf with limits, its usage, its end.
// It works on cgroup v2 and on v1, over containerd/cgroups; [Open] finds out which the host has.
//
// Layout, the same in each hierarchy:
//
//	<parent>/init      what belongs to no job: the spawner and the PID 1 of every jail. They do little, but every job waits for
//	                   it, so their CPU share is the highest there is
//	<parent>/<leaf>    the processes of one job
package cgroup

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"time"

	"github.com/containerd/cgroups/v3"
	"golang.org/x/sys/unix"
)

// root is where every distribution mounts cgroups.
const root = "/sys/fs/cgroup"

// Limits of a leaf.
type Limits struct {
	MemoryBytes int64   // hard limit, tmpfs pages and kernel memory included; swap is off
	Pids        int64   // processes and threads
	CPUWeight   uint64  // 1..10000, as cpu.weight of v2; 100 is the kernel's default
	CPUs        float64 // quota in CPUs; 0 means none
}

// Usage of a leaf since it was made.
type Usage struct {
	CPU        time.Duration // user + system
	MemoryPeak int64         // bytes
	OOMKills   int64         // processes that the kernel killed because of MemoryBytes
}

// Details of a leaf since it was made.
type Details struct {
	Memory    int64  // bytes in use
	Pids      int64  // processes and threads that there are
	PidsPeak  *int64 // the most there were; nil: this kernel does not count
	Refused   int64  // forks that failed because of Limits.Pids
	Throttled int64  // periods of the scheduler in which Limits.CPUs held the leaf back
}

// ErrPeakStays comes with a peak that could not be counted anew: it may be of before. No job fails for that.
var ErrPeakStays = errors.New("cgroup: this kernel cannot count a peak anew")

// Leaf is the cgroup of one job.
type Leaf interface {
	// Doors opens the files by which a process of one thread enters the leaf: it writes "0" to each. The kernel goes by the rights of who opened
	// them, so it needs none of its own. The caller closes them.
	Doors() ([]*os.File, error)
	// SetMemory changes the memory limit, bytes.
	SetMemory(bytes int64) error
	// SetWeight changes the CPU weight, 1..10000.
	SetWeight(weight uint64) error
	// ResetPeak makes MemoryPeak count anew from what is in use, and returns that, bytes. A v2 kernel before 6.12 cannot: there the
	// peak stays, and comes with ErrPeakStays.
	ResetPeak() (int64, error)
	// Processes are those in it, by number; one that ends is there no more before it is waited for.
	Processes() ([]int, error)
	// CPU time of all that is or was in it.
	CPU() (time.Duration, error)
	// Usage reads all counters.
	Usage() (Usage, error)
	// Details reads what Usage leaves out because few ask for it.
	Details() (Details, error)
	// WatchOOM calls tell whenever the leaf, or the parent, runs out of memory where the kernel ends only one of its processes (v1), so that
	// an OOM can end the job on both versions. It returns at once; Delete ends the watch.
	WatchOOM(tell func()) error
	// Delete removes the leaf, whose processes must be dead. It retries for a while: the kernel may still be busy with them.
	Delete() error
}

// Parent is the cgroup under which all of ours live.
type Parent interface {
	// Version is 1 or 2.
	Version() int
	// NewLeaf makes a leaf.
	NewLeaf(name string, limits Limits) (Leaf, error)
	// Memory in use by everything in it, bytes.
	Memory() (int64, error)
	// AddInit moves a process into the init leaf.
	AddInit(pid int) error
	// Delete removes the parent and whatever leaves are left, killing their processes first.
	Delete() error
}

// Open makes the parent cgroup at a path below the root of the hierarchies. What a crashed predecessor left there is killed and
// removed first, so the path must be ours alone. weight, 1..10000, is the CPU share of everything in it against its siblings, which
// are whole services under systemd, but single processes on a v1 host without one. memory, bytes, is the most that all in it may use together:
// beyond it the kernel kills a process of some leaf.
func Open(parent string, weight uint64, memory int64) (Parent, error) {
	parent = path.Clean("/" + parent)
	if parent == "/" {
		return nil, errors.New("cgroup: the parent must not be the root: choose a name for cgroup_parent")
	}
	switch cgroups.Mode() {
	case cgroups.Unified:
		return openV2(parent, weight, memory)
	case cgroups.Legacy, cgroups.Hybrid:
		return openV1(parent, weight, memory)
	}
	return nil, errors.New("cgroup: nothing is mounted on " + root + ": mount cgroup2 there")
}

// initWeight is the CPU weight of init; the kernel's maximum.
const initWeight = 10000

// counters are the files of a leaf that are read for every job, opened when the leaf is made. The library's Stat opens and parses
// every file of every controller (0.3 ms on v1, measured), which would be on the way of each answer.
type counters struct {
	cpu, peak, oom *os.File
}

func openCounters(cpu, peak, oom string) (counters, error) {
	var c counters
	var err error
	if c.cpu, err = os.Open(cpu); err == nil {
		if c.peak, err = openPeak(peak); err == nil {
			c.oom, err = os.Open(oom)
		}
	}
	if err != nil {
		c.close()
	}
	return c, err
}

// openPeak opens for writing, too, where the file can be reset.
func openPeak(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return os.Open(path)
	}
	return f, nil
}

func (c *counters) close() {
	for _, f := range []*os.File{c.cpu, c.peak, c.oom} {
		if f != nil {
			f.Close()
		}
	}
}

// field reads the number behind name in a file of "name number" lines, or the whole file's number if name is "".
func field(f *os.File, name string) (int64, error) {
	var buf [4096]byte
	n, err := readOnce(f, buf[:])
	if n == 0 {
		return 0, fmt.Errorf("read %s: %w", f.Name(), cmp.Or(err, io.EOF))
	}
	for line := range bytes.Lines(buf[:n]) {
		key, value, found := bytes.Cut(bytes.TrimSpace(line), []byte{' '})
		if !found {
			key, value = nil, key
		}
		if string(key) == name {
			return strconv.ParseInt(string(value), 10, 64)
		}
	}
	return 0, fmt.Errorf("read %s: no field %q", f.Name(), name)
}

// readOnce reads a file from its start with one call, where File.ReadAt makes two: the kernel hands these out whole.
func readOnce(f *os.File, buf []byte) (n int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	closed := raw.Control(func(fd uintptr) {
		for {
			if n, err = unix.Pread(int(fd), buf, 0); err != unix.EINTR {
				return
			}
		}
	})
	return max(n, 0), errors.Join(closed, err)
}

// writeFile sets one value in a file below an open cgroup folder.
func writeFile(dir int, file string, text []byte) error {
	base := path.Base(file)
	fd, err := unix.Openat(dir, file, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", base, err)
	}
	defer unix.Close(fd)
	// A limit of memory that has to wait gives way to signals, and Go's runtime sends itself some (SIGURG).
	for {
		if _, err = unix.Pwrite(fd, text, 0); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("write %s to %s: %w", text, base, err)
	}
	return nil
}

// removeLeaf removes a leaf below an open cgroup folder, if it is there. It retries: after the last process of a cgroup was reaped the kernel still needs a moment to
// let go of it.
func removeLeaf(dir int, name string) (err error) {
	const tries = 100
	for i := range tries {
		if err = unix.Unlinkat(dir, name, unix.AT_REMOVEDIR); err == nil || err == unix.ENOENT {
			return nil
		}
		time.Sleep(time.Duration(i) * time.Millisecond)
	}
	return fmt.Errorf("cgroup: delete leaf: %w", err)
}

// removeAll kills what runs in a cgroup folder and below, and removes the folders. The path is ours and holds nothing that
// foreign code could have made: no jail sees a cgroup filesystem.
func removeAll(folder string) error {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeAll(path.Join(folder, e.Name())); err != nil {
				return err
			}
		}
	}
	const tries = 200 // x 10 ms: longer than the kernel takes to tear a killed process down
	for range tries {
		if err = killAll(folder); err != nil {
			return err
		}
		if err = os.Remove(folder); err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return err
}

// processes reads a list of them.
func processes(list string) (pids []int, err error) {
	text, err := os.ReadFile(list)
	if err != nil {
		return nil, fmt.Errorf("cgroup: %w", err)
	}
	for _, word := range bytes.Fields(text) {
		pid, err := strconv.Atoi(string(word))
		if err != nil {
			return nil, fmt.Errorf("cgroup: %w", err)
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// killAll kills each process of a cgroup. It need not be atomic: the first round ends the PID 1 of every jail, and with it the jail.
func killAll(folder string) error {
	procs, err := os.ReadFile(path.Join(folder, "cgroup.procs"))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	for _, word := range bytes.Fields(procs) {
		pid, err := strconv.Atoi(string(word))
		if err != nil || pid <= 1 || pid == os.Getpid() {
			continue
		}
		// A PID just read from our own cgroup; it can be another process by now only if the one we wanted dead is dead.
		if fd, err := unix.PidfdOpen(pid, 0); err == nil {
			if inCgroup(folder, pid) {
				_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
			}
			unix.Close(fd)
		}
	}
	return nil
}

// inCgroup asks again, after the process was pinned by a pidfd, so that a reused PID is never killed.
func inCgroup(folder string, pid int) bool {
	procs, err := os.ReadFile(path.Join(folder, "cgroup.procs"))
	if err != nil {
		return false
	}
	for _, word := range bytes.Fields(procs) {
		if string(word) == strconv.Itoa(pid) {
			return true
		}
	}
	return false
}
