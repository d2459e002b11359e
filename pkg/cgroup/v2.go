package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"time"

	"github.com/containerd/cgroups/v3/cgroup2"
	"golang.org/x/sys/unix"
)

// The library makes what lives as long as we do. Leaves are made by our own system calls, as in v1.go: for each leaf the library would have the kernel turn the
// controllers on again in every folder above it, under a lock of the whole machine, and for one removal it reads lists of processes.

type parentV2 struct {
	path string // with root
	init *cgroup2.Manager
	dir  int  // path, O_PATH; -1: not open
	swap bool // the kernel can swap
}

func openV2(parent string, weight uint64, memory int64) (_ Parent, err error) {
	p := &parentV2{path: path.Join(root, parent), dir: -1}
	if err := removeAll(p.path); err != nil {
		return nil, fmt.Errorf("cgroup: sweep %s: %w", p.path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Delete())
		}
	}()
	// The controllers are turned on all the way down by asking for a child that uses them.
	own := uint64(initWeight)
	using := &cgroup2.Resources{CPU: &cgroup2.CPU{Weight: &own}, Memory: &cgroup2.Memory{}, Pids: &cgroup2.Pids{}}
	if p.init, err = cgroup2.NewManager(root, path.Join(parent, "init"), using); err != nil {
		return nil, fmt.Errorf("cgroup: %s: %w (the controllers cpu, memory and pids must be delegated to this cgroup)", p.path, err)
	}
	_, err = os.Stat(path.Join(p.path, "memory.swap.max"))
	p.swap = err == nil
	if p.dir, err = unix.Open(p.path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return nil, fmt.Errorf("cgroup: open %s: %w", p.path, err)
	}
	if err := errors.Join(p.write("cpu.weight", int64(weight)), p.write("memory.max", memory)); err != nil {
		return nil, fmt.Errorf("cgroup: %s: %w", p.path, err)
	}
	return p, nil
}

// write sets one value of a file below the parent.
func (p *parentV2) write(file string, value int64) error {
	return writeFile(p.dir, file, strconv.AppendInt(nil, value, 10))
}

func (p *parentV2) Version() int { return 2 }

func (p *parentV2) AddInit(pid int) error { return p.init.AddProc(uint64(pid)) }

func (p *parentV2) Delete() error {
	err := removeAll(p.path)
	if p.dir >= 0 {
		err = errors.Join(err, unix.Close(p.dir))
		p.dir = -1
	}
	return err
}

func (p *parentV2) NewLeaf(name string, limits Limits) (_ Leaf, err error) {
	if err := unix.Mkdirat(p.dir, name, 0o755); err != nil {
		return nil, fmt.Errorf("cgroup: new leaf: mkdir %s: %w", name, err)
	}
	l := &leafV2{parent: p, name: name}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("cgroup: new leaf: %w", err), l.Delete())
		}
	}()
	if err := l.limit(limits); err != nil {
		return nil, err
	}
	l.counters, err = openCounters(l.path("cpu.stat"), l.path("memory.peak"), l.path("memory.events"))
	if err != nil {
		return nil, err
	}
	return l, nil
}

type leafV2 struct {
	parent *parentV2
	name   string
	counters
}

func (l *leafV2) path(file string) string { return path.Join(l.parent.path, l.name, file) }

func (l *leafV2) write(file string, value int64) error {
	return l.parent.write(l.name+"/"+file, value)
}

func (l *leafV2) limit(limits Limits) error {
	if err := l.write("pids.max", limits.Pids); err != nil {
		return err
	}
	if l.parent.swap {
		if err := l.write("memory.swap.max", 0); err != nil {
			return err
		}
	}
	if err := l.write("memory.oom.group", 1); err != nil {
		return err
	}
	if err := l.SetMemory(limits.MemoryBytes); err != nil {
		return err
	}
	if err := l.SetWeight(limits.CPUWeight); err != nil || limits.CPUs == 0 {
		return err
	}
	return l.write("cpu.max", int64(limits.CPUs*100_000)) // microseconds of the kernel's default period, 100 ms
}

func (l *leafV2) Doors() ([]*os.File, error) {
	fd, err := unix.Openat(l.parent.dir, l.name+"/cgroup.procs", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cgroup: open cgroup.procs: %w", err)
	}
	return []*os.File{os.NewFile(uintptr(fd), "cgroup.procs")}, nil
}

func (l *leafV2) SetMemory(bytes int64) error {
	if err := l.write("memory.max", bytes); err != nil {
		return fmt.Errorf("cgroup: set memory: %w", err)
	}
	return nil
}

func (l *leafV2) SetWeight(weight uint64) error {
	if err := l.write("cpu.weight", int64(weight)); err != nil {
		return fmt.Errorf("cgroup: set weight: %w", err)
	}
	return nil
}

func (l *leafV2) ResetPeak() (int64, error) {
	// The reset counts for this open file alone: admin-guide/cgroup-v2.rst, memory.peak. Older kernels have it read-only.
	_, err := l.peak.WriteAt([]byte("0"), 0)
	stays := errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EBADF)
	if err != nil && !stays {
		return 0, fmt.Errorf("cgroup: reset peak: %w", err)
	}
	bytes, err := field(l.peak, "")
	if err == nil && stays {
		err = ErrPeakStays
	}
	return bytes, err
}

func (l *leafV2) Processes() ([]int, error) { return processes(l.path("cgroup.procs")) }

func (l *leafV2) CPU() (time.Duration, error) {
	microseconds, err := field(l.cpu, "usage_usec")
	return time.Duration(microseconds) * time.Microsecond, err
}

func (l *leafV2) Usage() (u Usage, err error) {
	if u.CPU, err = l.CPU(); err != nil {
		return u, err
	}
	if u.MemoryPeak, err = field(l.peak, ""); err != nil {
		return u, err
	}
	u.OOMKills, err = field(l.oom, "oom_kill")
	return u, err
}

// WatchOOM has nothing to do: memory.oom.group makes the kernel kill the whole leaf.
func (l *leafV2) WatchOOM(func()) error { return nil }

func (l *leafV2) Delete() error {
	l.close()
	return removeLeaf(l.parent.dir, l.name)
}
