package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"time"

	"github.com/containerd/cgroups/v3/cgroup1"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// controllersV1 are the hierarchies that a leaf lives in.
var controllersV1 = []string{"memory", "pids", "cpu", "cpuacct"}

func hierarchyV1() ([]cgroup1.Subsystem, error) {
	for _, name := range controllersV1 {
		if _, err := os.Stat(path.Join(root, name)); err != nil {
			return nil, fmt.Errorf("cgroup v1 controller %s is not mounted: %w", name, err)
		}
	}
	return []cgroup1.Subsystem{
		cgroup1.NewMemory(root), cgroup1.NewPids(root), cgroup1.NewCpu(root), cgroup1.NewCpuacct(root),
	}, nil
}

type parentV1 struct {
	path string // below each hierarchy
	init cgroup1.Cgroup
	swap bool // the kernel accounts for swap
}

func openV1(parent string, weight uint64) (Parent, error) {
	p := &parentV1{path: parent}
	if err := p.Delete(); err != nil {
		return nil, fmt.Errorf("cgroup: sweep %s: %w", parent, err)
	}
	_, err := os.Stat(path.Join(root, "memory/memory.memsw.limit_in_bytes"))
	p.swap = err == nil
	for _, group := range []struct {
		path   string
		weight uint64
	}{{parent, weight}, {path.Join(parent, "init"), initWeight}} {
		r := &specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: shares(group.weight)}}
		if p.init, err = cgroup1.New(cgroup1.StaticPath(group.path), r, cgroup1.WithHierarchy(hierarchyV1)); err != nil {
			return nil, fmt.Errorf("cgroup: %s: %w", group.path, err)
		}
	}
	return p, nil
}

// shares turns cpu.weight of v2, 1..10000 with default 100, into cpu.shares of v1, 2..262144 with default 1024.
func shares(weight uint64) *uint64 {
	s := max(2, weight*1024/100)
	return &s
}

func (p *parentV1) resources(l Limits) *specs.LinuxResources {
	r := &specs.LinuxResources{
		CPU:    &specs.LinuxCPU{Shares: shares(l.CPUWeight)},
		Memory: p.memory(l.MemoryBytes),
		Pids:   &specs.LinuxPids{Limit: &l.Pids},
	}
	if l.CPUs > 0 {
		period := uint64(100_000) // microseconds, the kernel's default
		quota := int64(l.CPUs * float64(period))
		r.CPU.Period, r.CPU.Quota = &period, &quota
	}
	return r
}

func (p *parentV1) memory(bytes int64) *specs.LinuxMemory {
	// v1 counts TCP buffers apart, and only once there is a limit.
	m := &specs.LinuxMemory{Limit: &bytes, KernelTCP: &bytes}
	if p.swap {
		m.Swap = &bytes // memory + swap together: none of it can be swap
	} else {
		var never uint64
		m.Swappiness = &never
	}
	return m
}

func (p *parentV1) Version() int { return 1 }

func (p *parentV1) AddInit(pid int) error { return p.init.AddProc(uint64(pid)) }

func (p *parentV1) Delete() error {
	var errs []error
	for _, name := range controllersV1 {
		errs = append(errs, removeAll(path.Join(root, name, p.path)))
	}
	return errors.Join(errs...)
}

func (p *parentV1) NewLeaf(name string, limits Limits) (Leaf, error) {
	group := path.Join(p.path, name)
	cg, err := cgroup1.New(cgroup1.StaticPath(group), p.resources(limits), cgroup1.WithHierarchy(hierarchyV1))
	if err != nil {
		return nil, fmt.Errorf("cgroup: new leaf: %w", err)
	}
	memory := path.Join(root, "memory", group)
	c, err := openCounters(path.Join(root, "cpuacct", group, "cpuacct.usage"),
		path.Join(memory, "memory.max_usage_in_bytes"), path.Join(memory, "memory.oom_control"))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cgroup: new leaf: %w", err), cg.Delete())
	}
	return &leafV1{cgroup: cg, parent: p, counters: c, memory: limits.MemoryBytes}, nil
}

type leafV1 struct {
	cgroup cgroup1.Cgroup
	parent *parentV1
	counters
	memory   int64 // the limit in force, bytes
	oomEvent *os.File
}

func (l *leafV1) Add(pid int) error { return l.cgroup.AddProc(uint64(pid)) }

// SetMemory writes one limit at a time: memory + swap may never be below memory, and the library's own order is wrong for raising
// both (v3.1.3 swaps the soft limit instead).
func (l *leafV1) SetMemory(bytes int64) error {
	updates := []*specs.LinuxMemory{{Limit: &bytes}, {KernelTCP: &bytes}}
	if l.parent.swap {
		updates = append(updates, &specs.LinuxMemory{Swap: &bytes})
	}
	if bytes > l.memory {
		slices.Reverse(updates)
	}
	for _, m := range updates {
		if err := l.cgroup.Update(&specs.LinuxResources{Memory: m}); err != nil {
			return fmt.Errorf("cgroup: set memory: %w", err)
		}
	}
	l.memory = bytes
	return nil
}

func (l *leafV1) SetWeight(weight uint64) error {
	if err := l.cgroup.Update(&specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: shares(weight)}}); err != nil {
		return fmt.Errorf("cgroup: set weight: %w", err)
	}
	return nil
}

func (l *leafV1) ResetPeak() (int64, error) {
	// The library has no call for it. Any write resets.
	if _, err := l.peak.WriteString("0"); err != nil {
		return 0, fmt.Errorf("cgroup: reset peak: %w", err)
	}
	return field(l.peak, "")
}

func (l *leafV1) Usage() (u Usage, err error) {
	nanoseconds, err := field(l.cpu, "")
	if err != nil {
		return u, err
	}
	u.CPU = time.Duration(nanoseconds)
	if u.MemoryPeak, err = field(l.peak, ""); err != nil {
		return u, err
	}
	u.OOMKills, err = field(l.oom, "oom_kill")
	return u, err
}

// WatchOOM exists because v1 kills one process and lets the others go on.
func (l *leafV1) WatchOOM(kill func()) error {
	fd, err := l.cgroup.OOMEventFD()
	if err != nil {
		return fmt.Errorf("cgroup: watch OOM: %w", err)
	}
	if err := unix.SetNonblock(int(fd), true); err != nil { // so that the runtime polls it and Delete can end the read
		unix.Close(int(fd))
		return fmt.Errorf("cgroup: watch OOM: %w", err)
	}
	l.oomEvent = os.NewFile(fd, "oom event")
	go func() {
		var count [8]byte
		// The kernel also signals when the cgroup is removed; Delete closes the file before that.
		if _, err := l.oomEvent.Read(count[:]); err == nil {
			kill()
		}
	}()
	return nil
}

func (l *leafV1) Delete() error {
	if l.oomEvent != nil {
		l.oomEvent.Close()
	}
	l.close()
	return deleteSoon(l.cgroup.Delete)
}

// deleteSoon retries: after the last process of a cgroup was reaped the kernel still needs a moment to let go of it.
func deleteSoon(remove func() error) (err error) {
	const tries = 100
	for i := range tries {
		if err = remove(); err == nil {
			return nil
		}
		time.Sleep(time.Duration(i) * time.Millisecond)
	}
	return fmt.Errorf("cgroup: delete leaf: %w", err)
}
