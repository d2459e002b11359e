package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"time"

	"github.com/containerd/cgroups/v3/cgroup1"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// The library makes what lives as long as we do. Leaves come and go with every job, so they are made by our own system calls, relative to open
// folders: making one, moving into it and removing it took 45 % of sandboxd's CPU through the library (perf, 8 jobs at a time), which for
// one removal walks and lists all files of all hierarchies.

// controllersV1 are those that a leaf has limits or counters of.
var controllersV1 = []string{"memory", "pids", "cpu", "cpuacct"}

// hierarchiesV1 returns one controller of each hierarchy. Two may share one, which then has both names: where systemd mounts v1, cpu and cpuacct are links to
// the folder cpu,cpuacct. In it a leaf is made, joined and removed once.
func hierarchiesV1() (names []string, err error) {
	type folder struct{ device, inode uint64 }
	seen := map[folder]bool{}
	for _, name := range controllersV1 {
		var st unix.Stat_t
		if err := unix.Stat(path.Join(root, name), &st); err != nil {
			return nil, fmt.Errorf("cgroup: v1 controller %s is not mounted: %w", name, err)
		}
		if at := (folder{st.Dev, st.Ino}); !seen[at] {
			seen[at] = true
			names = append(names, name)
		}
	}
	return names, nil
}

// subsystemsV1 are the library's, to which it makes no difference whether two share a hierarchy: it makes what is not there yet.
func subsystemsV1() ([]cgroup1.Subsystem, error) {
	return []cgroup1.Subsystem{
		cgroup1.NewMemory(root), cgroup1.NewPids(root), cgroup1.NewCpu(root), cgroup1.NewCpuacct(root),
	}, nil
}

type parentV1 struct {
	path        string // below each hierarchy
	init        cgroup1.Cgroup
	hierarchies []string       // a controller of each
	dirs        map[string]int // of each controller: our folder, O_PATH
	swap        bool           // the kernel accounts for swap
}

func openV1(parent string, weight uint64, memory int64) (_ Parent, err error) {
	p := &parentV1{path: parent, dirs: map[string]int{}}
	if p.hierarchies, err = hierarchiesV1(); err != nil {
		return nil, err
	}
	if err := p.Delete(); err != nil {
		return nil, fmt.Errorf("cgroup: sweep %s: %w", parent, err)
	}
	_, err = os.Stat(path.Join(root, "memory/memory.memsw.limit_in_bytes"))
	p.swap = err == nil
	var never uint64
	for _, group := range []struct {
		path   string
		weight uint64
		memory *int64
	}{{parent, weight, &memory}, {path.Join(parent, "init"), initWeight, nil}} {
		r := &specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: shares(group.weight)}, Memory: &specs.LinuxMemory{Limit: group.memory}}
		if !p.swap {
			r.Memory.Swappiness = &never // leaves inherit it
		}
		if p.init, err = cgroup1.New(cgroup1.StaticPath(group.path), r, cgroup1.WithHierarchy(subsystemsV1)); err != nil {
			return nil, fmt.Errorf("cgroup: %s: %w", group.path, err)
		}
	}
	for _, name := range controllersV1 {
		if p.dirs[name], err = unix.Open(path.Join(root, name, parent), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
			return nil, errors.Join(fmt.Errorf("cgroup: open %s of %s: %w", parent, name, err), p.Delete())
		}
	}
	return p, nil
}

// shares turns cpu.weight of v2, 1..10000 with default 100, into cpu.shares of v1, 2..262144 with default 1024.
func shares(weight uint64) *uint64 {
	s := max(2, weight*1024/100)
	return &s
}

func (p *parentV1) Version() int { return 1 }

func (p *parentV1) AddInit(pid int) error { return p.init.AddProc(uint64(pid)) }

func (p *parentV1) Delete() error {
	var errs []error
	for _, name := range controllersV1 {
		errs = append(errs, removeAll(path.Join(root, name, p.path)))
		if dir, open := p.dirs[name]; open {
			errs = append(errs, unix.Close(dir))
			delete(p.dirs, name)
		}
	}
	return errors.Join(errs...)
}

func (p *parentV1) NewLeaf(name string, limits Limits) (_ Leaf, err error) {
	l := &leafV1{parent: p, name: name}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("cgroup: new leaf: %w", err), l.Delete())
		}
	}()
	for _, hierarchy := range p.hierarchies {
		if err := unix.Mkdirat(p.dirs[hierarchy], name, 0o755); err != nil {
			return nil, fmt.Errorf("mkdir in %s: %w", hierarchy, err)
		}
	}
	if err := l.write("pids", "pids.max", limits.Pids); err != nil {
		return nil, err
	}
	if err := l.SetMemory(limits.MemoryBytes); err != nil {
		return nil, err
	}
	if err := l.setCPU(limits); err != nil {
		return nil, err
	}
	l.counters, err = openCounters(l.path("cpuacct", "cpuacct.usage"), l.path("memory", "memory.max_usage_in_bytes"), l.path("memory", "memory.oom_control"))
	if err != nil {
		return nil, err
	}
	return l, nil
}

type leafV1 struct {
	parent *parentV1
	name   string
	counters
	memory   int64 // the limit in force, bytes; 0: none yet
	oomEvent *os.File
}

func (l *leafV1) path(controller, file string) string {
	return path.Join(root, controller, l.parent.path, l.name, file)
}

// write sets one value.
func (l *leafV1) write(controller, file string, value int64) error {
	return l.writeText(controller, file, strconv.AppendInt(nil, value, 10))
}

func (l *leafV1) writeText(controller, file string, text []byte) error {
	return writeFile(l.parent.dirs[controller], l.name+"/"+file, text)
}

// Doors are the lists of tasks, one in each hierarchy. Moving a whole process, by cgroup.procs, takes a lock that every fork and exit on the machine
// needs, and may wait for a grace period of RCU for it: of 100 moves, 20 ms apart, one in ten took 12 ms and more. A thread that moves itself
// does not take it (cgroup_procs_write_start in kernel/cgroup/cgroup.c): 0.12 ms.
func (l *leafV1) Doors() (doors []*os.File, err error) {
	for _, hierarchy := range l.parent.hierarchies {
		fd, err := unix.Openat(l.parent.dirs[hierarchy], l.name+"/tasks", unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			for _, door := range doors {
				door.Close()
			}
			return nil, fmt.Errorf("cgroup: open tasks of %s: %w", hierarchy, err)
		}
		doors = append(doors, os.NewFile(uintptr(fd), "tasks of "+hierarchy))
	}
	return doors, nil
}

// SetMemory writes one limit at a time: memory + swap may never be below memory.
func (l *leafV1) SetMemory(bytes int64) error {
	// v1 counts the buffers of TCP, and those of UDP with them, apart, and only once there is a limit.
	files := []string{"memory.limit_in_bytes", "memory.kmem.tcp.limit_in_bytes"}
	if l.parent.swap {
		files = append(files, "memory.memsw.limit_in_bytes") // memory + swap together: none of it can be swap
	}
	if l.memory != 0 && bytes > l.memory {
		slices.Reverse(files)
	}
	for _, file := range files {
		if err := l.write("memory", file, bytes); err != nil {
			return fmt.Errorf("cgroup: set memory: %w", err)
		}
	}
	l.memory = bytes
	return nil
}

func (l *leafV1) setCPU(limits Limits) error {
	if err := l.SetWeight(limits.CPUWeight); err != nil || limits.CPUs == 0 {
		return err
	}
	const period = 100_000 // microseconds, the kernel's default
	return l.write("cpu", "cpu.cfs_quota_us", int64(limits.CPUs*period))
}

func (l *leafV1) SetWeight(weight uint64) error {
	if err := l.write("cpu", "cpu.shares", int64(*shares(weight))); err != nil {
		return fmt.Errorf("cgroup: set weight: %w", err)
	}
	return nil
}

func (l *leafV1) ResetPeak() (int64, error) {
	if _, err := l.peak.WriteAt([]byte("0"), 0); err != nil { // any write resets
		return 0, fmt.Errorf("cgroup: reset peak: %w", err)
	}
	return field(l.peak, "")
}

func (l *leafV1) Processes() ([]int, error) { return processes(l.path("pids", "cgroup.procs")) }

func (l *leafV1) CPU() (time.Duration, error) {
	nanoseconds, err := field(l.cpu, "")
	return time.Duration(nanoseconds), err
}

func (l *leafV1) Usage() (u Usage, err error) {
	if u.CPU, err = l.CPU(); err != nil {
		return u, err
	}
	if u.MemoryPeak, err = field(l.peak, ""); err != nil {
		return u, err
	}
	u.OOMKills, err = field(l.oom, "oom_kill")
	return u, err
}

// WatchOOM exists because v1 kills one process and lets the others go on. Documentation: cgroup-v1/memory.rst, section 10.
func (l *leafV1) WatchOOM(tell func()) error {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK) // the runtime polls it, so that Delete can end the read
	if err != nil {
		return fmt.Errorf("cgroup: watch OOM: %w", err)
	}
	l.oomEvent = os.NewFile(uintptr(fd), "oom event")
	if err := l.writeText("memory", "cgroup.event_control", fmt.Appendf(nil, "%d %d", fd, l.oom.Fd())); err != nil {
		return fmt.Errorf("cgroup: watch OOM: %w", err)
	}
	go func() {
		var count [8]byte
		// The kernel also signals when the cgroup is removed; Delete closes the file before that.
		for {
			if _, err := l.oomEvent.Read(count[:]); err != nil {
				return
			}
			tell()
		}
	}()
	return nil
}

func (l *leafV1) Delete() error {
	if l.oomEvent != nil {
		l.oomEvent.Close()
	}
	l.close()
	var errs []error
	for _, hierarchy := range l.parent.hierarchies {
		errs = append(errs, removeLeaf(l.parent.dirs[hierarchy], l.name))
	}
	return errors.Join(errs...)
}
