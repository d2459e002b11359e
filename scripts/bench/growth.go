package main

import (
	"bytes"
	"context"
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
	SandboxdKiB int64 `json:"sandboxd_rss_kib"`
	SpawnerKiB  int64 `json:"spawner_rss_kib"`
	Fds         int   `json:"sandboxd_fds"`
	Threads     int64 `json:"sandboxd_threads"`
	Cgroups     int   `json:"cgroups"`
	Mounts      int   `json:"mounts"`
	NetNS       int   `json:"net_namespaces"`
	Jails       int   `json:"jails"`
	Volumes     int   `json:"volumes"`
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
	if spawners, err := children(pid); err == nil && len(spawners) > 0 {
		f.SpawnerKiB = statusField(spawners[0], "status", "VmRSS:")
	}
	st, err := s.wire.Status(context.Background())
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

// settle waits until the pools are full and nothing is being torn down.
func (s *server) settle() error {
	quiet := 0
	for range 600 {
		st, err := s.wire.Status(context.Background())
		if err != nil {
			return err
		}
		full := st.Jobs == 0
		ready := 0
		for _, t := range st.Templates {
			full = full && t.Ready == t.Size
			ready += t.Ready
		}
		if full && st.LiveJails == ready {
			quiet++
		} else {
			quiet = 0
		}
		if quiet > 5 {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("the pools do not settle")
}

// benchGrowth runs many jails and shows what is left of them.
func benchGrowth(s *server, n int) (any, error) {
	run := func(n int) (float64, error) {
		var left atomic.Int64
		left.Store(int64(n))
		var wg sync.WaitGroup
		errs := make(chan error, 8)
		start := time.Now()
		for range 8 {
			wg.Go(func() {
				for left.Add(-1) >= 0 {
					if _, _, err := s.job(&wire.Job{Template: "bash/run", Argv: []string{"/usr/bin/true"}, Env: []string{}}, ""); err != nil {
						errs <- err
						return
					}
				}
			})
		}
		wg.Wait()
		select {
		case err := <-errs:
			return 0, err
		default:
			return float64(n) / time.Since(start).Seconds(), s.settle()
		}
	}
	if _, err := run(1000); err != nil { // Go's heap and the kernel's caches reach their size
		return nil, err
	}
	before, err := s.footprint()
	if err != nil {
		return nil, err
	}
	rate, err := run(n)
	if err != nil {
		return nil, err
	}
	after, err := s.footprint()
	if err != nil {
		return nil, err
	}
	fmt.Printf("%d jails, 8 at a time, %.0f a second:\n  before %+v\n  after  %+v\n", n, rate, before, after)
	// Memory and threads of the runtime breathe; everything else must be as before.
	if after.Cgroups > before.Cgroups || after.Mounts > before.Mounts || after.Jails > before.Jails || after.Volumes > before.Volumes ||
		after.Fds > before.Fds+10 || after.NetNS > before.NetNS+2 {
		return nil, fmt.Errorf("something grew")
	}
	return map[string]any{"jails": n, "per_second": rate, "before": before, "after": after}, nil
}

// benchSessions makes idle sessions as callers do, and shows what each costs and whether they slow anything down.
func benchSessions(s *server, n int) (any, error) {
	if err := s.settle(); err != nil {
		return nil, err
	}
	none, err := s.checkoutTimes(300)
	if err != nil {
		return nil, err
	}
	before := memoryUsed()
	start := time.Now()
	var left atomic.Int64
	left.Store(int64(n))
	var wg sync.WaitGroup
	errs := make(chan error, 16)
	for range 16 {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if _, _, err := s.execute(map[string]any{"language": "bash", "code": "echo hi"}); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return nil, err
	default:
	}
	took := time.Since(start)
	if err := s.settle(); err != nil {
		return nil, err
	}
	each := float64(memoryUsed()-before) / float64(n)
	many, err := s.checkoutTimes(300)
	if err != nil {
		return nil, err
	}
	a, b := summarize(none.fromTake), summarize(many.fromTake)
	fmt.Printf("%d idle sessions (made at %.0f a second): %.1f KiB each, all told; checkout p50 %.2f ms against %.2f ms with none: %.2f\n",
		n, float64(n)/took.Seconds(), each/1024, b.P50, a.P50, b.P50/a.P50)
	return map[string]any{"sessions": n, "bytes_each": each, "checkout_none": a, "checkout_many": b}, nil
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
