package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/runtools/runtools/pkg/wire"
)

// footprint is everything that could leak.
type footprint struct {
	SandboxdKiB, SpawnerKiB, ApidKiB int64
	Fds, ApidFds                     int
	Threads                          int64
	Processes                        int // below the spawner
	Cgroups, Mounts, NetNS           int
	Jails, Volumes                   int
}

// parts name what a footprint is made of. May is how far each may go up; memory and threads of Go's runtime breathe.
func (f *footprint) parts() []part {
	return []part{
		{"RSS of sandboxd, KiB", int(f.SandboxdKiB), 64 << 10}, {"RSS of the spawner, KiB", int(f.SpawnerKiB), 1 << 10},
		{"RSS of apid, KiB", int(f.ApidKiB), 128 << 10}, {"threads of sandboxd", int(f.Threads), 32},
		{"descriptors of sandboxd", f.Fds, 10}, {"descriptors of apid", f.ApidFds, 80}, {"processes", f.Processes, 0},
		{"cgroups", f.Cgroups, 0}, {"mounts", f.Mounts, 0}, {"network namespaces", f.NetNS, 2}, {"jails", f.Jails, 0}, {"volumes", f.Volumes, 0},
	}
}

type part struct {
	name  string
	value int
	may   int
}

// notOne is the row of growthTable that adds up what may not grow at all.
const notOne = "processes, cgroups, mounts, jails and volumes more"

func growthTable(title string, before, after footprint) table {
	t := table{Title: title, Columns: []column{{"before", "before"}, {"after", "after"}, {"may", "may grow by"}, {"grew", "grew by"}}}
	afterwards := after.parts()
	left := 0
	for i, p := range before.parts() {
		if p.may == 0 {
			left += max(0, afterwards[i].value-p.value)
		}
		t.Rows = append(t.Rows, row{Name: p.name, Values: map[string]float64{
			"before": float64(p.value), "after": float64(afterwards[i].value), "may": float64(p.may),
			"grew": float64(afterwards[i].value - p.value),
		}})
	}
	t.Rows = append(t.Rows, row{Name: notOne, Values: map[string]float64{"may": 0, "grew": float64(left)}})
	return t
}

// grewFrom is an error that names what grew more than it may.
func (f footprint) grewFrom(before footprint) (err error) {
	old := before.parts()
	for i, p := range f.parts() {
		if p.value > old[i].value+p.may {
			err = errors.Join(err, fmt.Errorf("%s grew from %d to %d", p.name, old[i].value, p.value))
		}
	}
	return err
}

func (s *server) footprint() (f footprint, err error) {
	pid := s.sandboxd.Process.Pid
	f.SandboxdKiB = statusField(pid, "status", "VmRSS:")
	f.Threads = statusField(pid, "status", "Threads:")
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return f, err
	}
	f.Fds = len(fds)
	apidFds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.apid.Process.Pid))
	if err != nil {
		return f, err
	}
	f.ApidFds, f.ApidKiB = len(apidFds), statusField(s.apid.Process.Pid, "status", "VmRSS:")
	nets := map[string]bool{}
	for _, fd := range fds {
		if target, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, fd.Name())); err == nil && len(target) > 4 && target[:4] == "net:" {
			nets[target] = true
		}
	}
	f.NetNS = len(nets)
	if f.Mounts, err = mountsOf(pid); err != nil {
		return f, err
	}
	err = filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && filepath.Base(filepath.Dir(path)) == s.cgroup {
			f.Cgroups++
		}
		return nil
	})
	if err != nil {
		return f, err
	}
	spawners, err := children(pid)
	if err != nil {
		return f, err
	}
	for _, spawner := range spawners {
		f.SpawnerKiB += statusField(spawner, "status", "VmRSS:")
	}
	below, err := descendants(pid)
	f.Processes = len(below)
	if err != nil {
		return f, err
	}
	st, err := s.wire.Status(context.Background(), &wire.StatusRequest{})
	if err != nil {
		return f, err
	}
	f.Jails, f.Volumes = st.LiveJails, st.Volumes
	return f, nil
}

// mountsOf counts the mounts of every mount namespace that a thread of the process is in: the vaults are such.
func mountsOf(pid int) (n int, err error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if err != nil {
		return 0, err
	}
	seen := map[string]bool{}
	for _, task := range tasks {
		ns, err := os.Readlink(task + "/ns/mnt")
		if err != nil || seen[ns] {
			continue // the thread has ended, or its namespace is counted
		}
		seen[ns] = true
		mounts, err := os.ReadFile(task + "/mountinfo")
		if err != nil {
			continue
		}
		n += bytes.Count(mounts, []byte{'\n'})
	}
	return n, nil
}

// settle waits until the pools are full and nothing is being torn down, as so many looks in a row find.
func (s *server) settle(looks int) error {
	var st *wire.Status
	for start, quiet := time.Now(), 0; time.Since(start) < 2*time.Minute; time.Sleep(10 * time.Millisecond) {
		var err error
		if st, err = s.wire.Status(context.Background(), &wire.StatusRequest{}); err != nil {
			return err
		}
		full := st.Jobs == 0
		ready := 0
		for _, t := range st.Templates {
			full = full && t.Ready >= t.Size
			ready += t.Ready
		}
		if full && st.LiveJails == ready {
			quiet++
		} else {
			quiet = 0
		}
		if quiet >= looks {
			return nil
		}
	}
	return fmt.Errorf("the pools do not settle within two minutes: %+v", *st)
}

// inParallel calls f so many times from some goroutines, until one fails.
func inParallel(ctx context.Context, goroutines, times int, f func() error) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var left atomic.Int64
	left.Store(int64(times))
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for left.Add(-1) >= 0 && ctx.Err() == nil {
				if err := f(); err != nil {
					fail(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// benchGrowth runs many jails and shows what is left of them, with daemons of its own: the pools of others still shrink.
func benchGrowth(ctx context.Context, b *bench) ([]table, error) {
	s, err := startServer(ctx, pair{name: "growth", bin: b.bin, image: b.image, firstUID: coldUID})
	if err != nil {
		return nil, err
	}
	defer s.stop()
	run := func(n int) (rate float64, err error) {
		start := time.Now()
		if err := inParallel(ctx, 8, n, func() error {
			_, _, err := s.job(&wire.Job{Template: "bash/run", Argv: []string{"/usr/bin/true"}, Env: []string{}}, "")
			return err
		}); err != nil {
			return 0, err
		}
		return float64(n) / time.Since(start).Seconds(), s.settle(20)
	}
	if _, err := run(1000); err != nil { // Go's heap and the kernel's caches reach their size
		return nil, err
	}
	before, err := s.footprint()
	if err != nil {
		return nil, err
	}
	rate, err := run(b.jails)
	if err != nil {
		return nil, err
	}
	after, err := s.footprint()
	if err != nil {
		return nil, err
	}
	t := growthTable(fmt.Sprintf("What is left of %d jails, 8 at a time, %.0f a second", b.jails, rate), before, after)
	return []table{t}, after.grewFrom(before)
}

// benchSessions makes idle sessions as callers do, and shows what each costs and whether they slow anything down.
func benchSessions(ctx context.Context, b *bench) ([]table, error) {
	s := b.parked
	if err := s.settle(20); err != nil {
		return nil, err
	}
	none, err := s.checkoutTimes(300)
	if err != nil {
		return nil, err
	}
	before := memoryUsed()
	start := time.Now()
	if err := inParallel(ctx, 16, b.sessions, func() error {
		_, err := s.execute(map[string]any{"language": "bash", "code": "echo hi"})
		return err
	}); err != nil {
		return nil, err
	}
	took := time.Since(start)
	if err := s.settle(20); err != nil {
		return nil, err
	}
	each := float64(memoryUsed()-before) / float64(b.sessions) / 1024
	many, err := s.checkoutTimes(300)
	if err != nil {
		return nil, err
	}
	before50, after50 := summarize(none.fromTake).P50, summarize(many.fromTake).P50
	return []table{{
		Title:   "Idle sessions",
		Columns: []column{{"made", "made/s"}, {"kib", "KiB each"}, {"none", "checkout ms, none"}, {"many", "with them"}, {"ratio", "ratio"}},
		Rows: []row{{Name: fmt.Sprintf("%d sessions", b.sessions), Values: map[string]float64{
			"made": float64(b.sessions) / took.Seconds(), "kib": each, "none": before50, "many": after50, "ratio": after50 / before50,
		}}},
		Notes: []string{"KiB each is what MemAvailable of the whole machine went down by: daemons, tmpfs, kernel objects alike."},
	}}, nil
}

// memoryUsed of the whole machine, bytes: MemTotal - MemAvailable counts daemons, tmpfs, kernel objects and percpu memory alike.
func memoryUsed() int64 {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	field := func(name string) int64 {
		at := bytes.Index(data, []byte(name))
		if at < 0 {
			return 0
		}
		words := bytes.Fields(data[at:])
		n, _ := strconv.ParseInt(string(words[1]), 10, 64)
		return n * 1024
	}
	return field("MemTotal:") - field("MemAvailable:")
}
