package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path"
	"time"

	"github.com/containerd/cgroups/v3/cgroup2"
	"golang.org/x/sys/unix"
)

type parentV2 struct {
	manager *cgroup2.Manager
	init    *cgroup2.Manager
	path    string
}

func openV2(parent string, weight uint64, memory int64) (Parent, error) {
	p := &parentV2{path: path.Join(root, parent)}
	if err := removeAll(p.path); err != nil {
		return nil, fmt.Errorf("cgroup: sweep %s: %w", p.path, err)
	}
	var err error
	// The controllers are turned on all the way down by asking for a leaf that uses them.
	if p.init, err = cgroup2.NewManager(root, path.Join(parent, "init"), resourcesV2(Limits{CPUWeight: initWeight})); err == nil {
		p.manager, err = cgroup2.Load(parent)
	}
	if err == nil {
		err = p.manager.Update(&cgroup2.Resources{CPU: &cgroup2.CPU{Weight: &weight}, Memory: &cgroup2.Memory{Max: &memory}})
	}
	if err != nil {
		return nil, fmt.Errorf("cgroup: %s: %w (the controllers cpu, memory and pids must be delegated to this cgroup)", p.path, err)
	}
	return p, nil
}

func resourcesV2(l Limits) *cgroup2.Resources {
	r := &cgroup2.Resources{CPU: &cgroup2.CPU{Weight: &l.CPUWeight}, Memory: &cgroup2.Memory{}, Pids: &cgroup2.Pids{}}
	if l.CPUs > 0 {
		quota := int64(l.CPUs * 100_000) // of the kernel's default period, 100 ms
		r.CPU.Max = cgroup2.NewCPUMax(&quota, nil)
	}
	if l.MemoryBytes > 0 {
		var noSwap int64
		group := true
		r.Memory = &cgroup2.Memory{Max: &l.MemoryBytes, Swap: &noSwap, OOMGroup: &group}
	}
	if l.Pids > 0 {
		r.Pids.Max = l.Pids
	}
	return r
}

func (p *parentV2) Version() int { return 2 }

func (p *parentV2) AddInit(pid int) error { return p.init.AddProc(uint64(pid)) }

func (p *parentV2) Delete() error { return removeAll(p.path) }

func (p *parentV2) NewLeaf(name string, limits Limits) (Leaf, error) {
	m, err := p.manager.NewChild(name, resourcesV2(limits))
	if err != nil {
		return nil, fmt.Errorf("cgroup: new leaf: %w", err)
	}
	folder := path.Join(p.path, name)
	c, err := openCounters(path.Join(folder, "cpu.stat"), path.Join(folder, "memory.peak"), path.Join(folder, "memory.events"))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cgroup: new leaf: %w", err), m.Delete())
	}
	return &leafV2{manager: m, folder: folder, counters: c}, nil
}

type leafV2 struct {
	manager *cgroup2.Manager
	folder  string
	counters
}

func (l *leafV2) Doors() ([]*os.File, error) {
	door, err := os.OpenFile(path.Join(l.folder, "cgroup.procs"), os.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("cgroup: %w", err)
	}
	return []*os.File{door}, nil
}

func (l *leafV2) SetMemory(bytes int64) error {
	return l.manager.Update(&cgroup2.Resources{Memory: &cgroup2.Memory{Max: &bytes}})
}

func (l *leafV2) SetWeight(weight uint64) error {
	return l.manager.Update(&cgroup2.Resources{CPU: &cgroup2.CPU{Weight: &weight}})
}

func (l *leafV2) ResetPeak() (int64, error) {
	// The reset counts for this open file alone: admin-guide/cgroup-v2.rst, memory.peak. Older kernels have it read-only.
	if _, err := l.peak.WriteString("reset"); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EBADF) {
		return 0, fmt.Errorf("cgroup: reset peak: %w", err)
	}
	return field(l.peak, "")
}

func (l *leafV2) Processes() (int, error) {
	list, err := l.manager.Procs(false)
	if err != nil {
		return 0, fmt.Errorf("cgroup: %w", err)
	}
	return len(list), nil
}

func (l *leafV2) Usage() (u Usage, err error) {
	microseconds, err := field(l.cpu, "usage_usec")
	if err != nil {
		return u, err
	}
	u.CPU = time.Duration(microseconds) * time.Microsecond
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
	return deleteSoon(l.manager.Delete)
}
