package main

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/cgroup"
	"github.com/runtools/runtools/pkg/wire"
)

// meters is what it takes to tell every limit of a job and its use (wire.Job.Explain). Other jobs have none, and pay nothing.
type meters struct {
	before   cgroup.Details // loading a runtime counts in the leaf, too
	tmp, shm *os.File       // the jail's own folders: its end would take them away before they are looked at
}

// openMeters is called before the job starts: nothing foreign has been in the jail.
func openMeters(r *readyJail) (m *meters, err error) {
	m = &meters{}
	if m.before, err = r.leaf.Details(); err != nil {
		return nil, err
	}
	m.tmp, m.shm, err = r.jail.Scratch()
	return m, err
}

func (m *meters) close() {
	if m == nil {
		return
	}
	for _, f := range []*os.File{m.tmp, m.shm} {
		if f != nil {
			f.Close()
		}
	}
}

// rlimitMeters are the names and units of what template.rlimits sets. Of none of them does the kernel keep the use, nor that it refused anything.
var rlimitMeters = map[int]struct{ name, unit string }{
	unix.RLIMIT_NOFILE:     {"open_files", "count"},
	unix.RLIMIT_FSIZE:      {"file_size", "bytes"},
	unix.RLIMIT_CORE:       {"core_file", "bytes"},
	unix.RLIMIT_STACK:      {"stack", "bytes"},
	unix.RLIMIT_MEMLOCK:    {"locked_memory", "bytes"},
	unix.RLIMIT_RTPRIO:     {"realtime_priority", "level"},
	unix.RLIMIT_NICE:       {"nice", "level"},
	unix.RLIMIT_SIGPENDING: {"pending_signals", "count"},
	unix.RLIMIT_MSGQUEUE:   {"message_queues", "bytes"},
}

// readMeters makes the table of a job that has ended; r is its result but for that.
func (j *job) readMeters(r *wire.Result) ([]wire.Meter, error) {
	now, err := j.ready.leaf.Details()
	if err != nil {
		return nil, err
	}
	was := j.meters.before
	wall, cpu := milliseconds(r.WallNS), milliseconds(r.CPUNS)
	table := []wire.Meter{
		{Name: wire.MeterWall, Unit: "ms", Limit: positive(j.req.Limits.WallMS), Used: &wall, Peak: &wall, Fired: new(r.Limit == wire.LimitWall)},
		{Name: wire.MeterCPU, Unit: "ms", Limit: positive(j.req.Limits.CPUMS), Used: &cpu, Peak: &cpu, Fired: new(r.Limit == wire.LimitCPU)},
	}
	if cpus := j.server.builder.limits.CPUs; cpus > 0 {
		table = append(table, wire.Meter{Name: "cpu_rate", Unit: "ms/s", Limit: new(int64(cpus * 1000)), Fired: new(now.Throttled > was.Throttled)})
	}
	spec := &j.ready.template.spec
	table = append(table,
		wire.Meter{Name: wire.MeterMemory, Unit: "bytes", Limit: &r.MemoryMax, Used: &now.Memory, Peak: &r.MemoryPeak, Fired: new(r.Limit == wire.LimitMemory)},
		wire.Meter{Name: "processes", Unit: "count", Limit: &spec.Pids, Used: &now.Pids, Peak: now.PidsPeak, Fired: new(now.Refused > was.Refused)})
	for _, l := range j.ready.template.rlimits() {
		m := wire.Meter{Name: rlimitMeters[l.Resource].name, Unit: rlimitMeters[l.Resource].unit, Limit: new(int64(l.Soft))}
		if l.Resource == unix.RLIMIT_FSIZE && r.Signal == int(unix.SIGXFSZ) {
			m.Fired = new(true) // a program that ignores the signal gets EFBIG, which nobody counts
		}
		table = append(table, m)
	}
	for _, f := range []struct {
		name  string
		mount *os.File
	}{{"workspace", j.mount}, {"build", j.writableBuild()}, {"tmp", j.meters.tmp}, {"shm", j.meters.shm}} {
		if f.mount != nil {
			if table, err = appendFolder(table, f.name, f.mount); err != nil {
				return nil, err
			}
		}
	}
	return table, nil
}

// writableBuild is the mount at /build if the job may fill it, else nil.
func (j *job) writableBuild() *os.File {
	if j.req.Build.New {
		return j.buildMnt
	}
	return nil
}

// appendFolder tells how full a tmpfs is. It keeps no peak, and does not count what it refused: that its limit was met is known only if it is
// full now.
func appendFolder(table []wire.Meter, name string, mount *os.File) ([]wire.Meter, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(mount.Fd()), &st); err != nil {
		return nil, fmt.Errorf("statfs %s: %w", name, err)
	}
	row := func(what, unit string, all, free uint64, size int64) wire.Meter {
		m := wire.Meter{Name: name + what, Unit: unit, Limit: new(int64(all) * size), Used: new(int64(all-free) * size)}
		if free == 0 {
			m.Fired = new(true)
		}
		return m
	}
	return append(table, row("_bytes", "bytes", st.Blocks, st.Bfree, st.Bsize), row("_files", "count", st.Files, st.Ffree, 1)), nil
}

// milliseconds rounds up, as apid does: what ran into a limit has used more than it, if only by a fraction.
func milliseconds(ns int64) int64 {
	return (ns + int64(time.Millisecond) - 1) / int64(time.Millisecond)
}

// positive is nil for a limit of 0, which is none.
func positive(n int64) *int64 {
	if n == 0 {
		return nil
	}
	return &n
}
