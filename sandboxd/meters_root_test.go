package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/runtools/runtools/pkg/wire"
)

// Each limit, when it is met, shows in its own row of the table and in no other.
func TestMetersTellWhichLimitFired(t *testing.T) {
	td := startDaemon(t, func(c *config) {
		c.WorkspaceBytes, c.WorkspaceFiles, c.BuildBytes, c.BuildFiles, c.CPUsPerJob = 1<<20, 20, 1<<20, 20, 0.2
		spec := `{"templates":{"run":{"pool":1,"pids":16,"file_bytes":65536,"tmp_bytes":1048576,"tmp_files":20}}}`
		if err := os.WriteFile(filepath.Join(c.Image, "languages/toy/jail.json"), []byte(spec), 0o644); err != nil {
			t.Fatal(err)
		}
	})
	const fill = "for i in 0 1 2 3 4 5 6 7 8 9 a b c d e f 10; do head -c 65536 /dev/zero >"
	const many = "for i in 0 1 2 3 4 5 6 7 8 9 a b c d e f 10 11 12 13; do touch "
	build := func(j *wire.Job) { j.Build = wire.Volume{ID: "b", New: true} }
	for name, c := range map[string]struct {
		script string
		change func(*wire.Job)
		fired  []string
	}{
		"none":      {"echo", build, nil},
		"wall":      {"sleep 600", func(j *wire.Job) { j.Limits.WallMS = 100 }, []string{"wall_time"}},
		"cpu":       {"while :; do :; done", func(j *wire.Job) { j.Limits.CPUMS = 200 }, []string{"cpu_time", "cpu_rate"}},
		"memory":    {"head -c 10000000 /dev/zero | tail", func(j *wire.Job) { j.Limits.MemoryBytes = 4 << 20 }, []string{"memory"}},
		"processes": {"for i in 0 1 2 3 4 5 6 7 8 9 a b c d e f; do sleep 600 & done", nil, []string{"processes"}},
		"file size": {"exec head -c 65537 /dev/zero >file", nil, []string{"file_size"}},
		"workspace": {fill + "$i; done", nil, []string{"workspace_bytes"}},
		"its files": {many + "$i; done", nil, []string{"workspace_files"}},
		"build":     {fill + "/build/$i; done", build, []string{"build_bytes"}},
		"its names": {many + "/build/$i; done", build, []string{"build_files"}},
		"tmp":       {fill + "/tmp/$i; done", nil, []string{"tmp_bytes"}},
		"tmp files": {many + "/tmp/$i; done", nil, []string{"tmp_files"}},
		"shm":       {fill + "/dev/shm/$i; done", nil, []string{"shm_bytes"}},
		"shm files": {many + "/dev/shm/$i; done", nil, []string{"shm_files"}},
		// The jail is dead when we look, and its /tmp is seen all the same.
		"two": {many + "/tmp/$i; done; kill -STOP $$", func(j *wire.Job) { j.Limits.WallMS = 2000 }, []string{"wall_time", "tmp_files"}},
	} {
		t.Run(name, func(t *testing.T) {
			want := slices.Sorted(slices.Values(c.fired))
			var r ran
			var fired []string
			// On a busy machine the clock may end it before it has met its other limit: then it gets more time.
			for more := int64(1); more == 1 || !slices.Equal(fired, want) && slices.Contains(fired, "wall_time") && more <= 16; more *= 4 {
				r = td.run(c.script, func(j *wire.Job) {
					j.Explain = true
					if c.change != nil {
						c.change(j)
					}
					j.Limits.WallMS *= more
				})
				if err := errors.Join(r.err, td.client.Forget(t.Context(), "b")); err != nil {
					t.Fatal(err)
				}
				fired = nil
				for _, m := range r.Meters {
					if m.Name == "" || m.Unit == "" {
						t.Errorf("%+v has no name or no unit", m)
					}
					if m.Fired != nil && *m.Fired {
						fired = append(fired, m.Name)
					}
				}
				// The quota of a fifth of a CPU may hold any of these back, on a machine that is busy.
				if !slices.Contains(want, "cpu_rate") {
					fired = slices.DeleteFunc(fired, func(name string) bool { return name == "cpu_rate" })
				}
				slices.Sort(fired)
			}
			if !slices.Equal(fired, want) {
				t.Errorf("fired: %v, want %v; stderr %s", fired, want, r.stderr)
			}
		})
	}
}

// The figures are those of the job, and nobody else gets any.
func TestMeters(t *testing.T) {
	td := startDaemon(t, nil)
	const script = "head -c 8192 /dev/zero >/tmp/a; head -c 20480 /dev/zero >/dev/shm/b; echo 1 >c; sleep 600 & sleep 600 & :"
	if r := td.run(script, nil); r.err != nil || r.Meters != nil {
		t.Errorf("without Explain: %v %+v", r.err, r.Meters)
	}
	r := td.run(script, func(j *wire.Job) { j.Explain, j.Limits.CPUMS = true, 5000 })
	if r.err != nil {
		t.Fatal(r.err)
	}
	rows := map[string]wire.Meter{}
	for _, m := range r.Meters {
		rows[m.Name] = m
	}
	for name, want := range map[string][2]int64{ // limit, used
		"tmp_bytes": {256 << 20, 8192}, "tmp_files": {65536, 2}, "shm_bytes": {256 << 20, 20480}, "shm_files": {65536, 2},
		"workspace_bytes": {td.config.WorkspaceBytes, 4096}, "workspace_files": {td.config.WorkspaceFiles, 2},
		"cpu_time": {5000, milliseconds(r.CPUNS)}, "wall_time": {30_000, milliseconds(r.WallNS)},
	} {
		if m := rows[name]; m.Limit == nil || m.Used == nil || *m.Limit != want[0] || *m.Used != want[1] {
			t.Errorf("%s: %+v, want limit and use %v", name, m, want)
		}
	}
	if m := rows["memory"]; *m.Limit != td.config.MemoryBytes || *m.Peak != r.MemoryPeak || *m.Fired {
		t.Errorf("memory: %+v", m)
	}
	if m := rows["processes"]; *m.Limit != 32 || *m.Fired || m.Peak != nil && (*m.Peak < 3 || *m.Peak > 32) {
		t.Errorf("processes: %+v, want a peak of the shell and two more at least", m)
	}
	for _, name := range []string{"build_bytes", "cpu_rate"} { // not in force
		if _, ok := rows[name]; ok {
			t.Errorf("%s: %+v", name, rows[name])
		}
	}
	// Of these our own limits may be as low, and then no attack would miss them.
	for name, want := range map[string]int64{"locked_memory": 8 << 20, "realtime_priority": 0, "nice": 0} {
		if m := rows[name]; m.Limit == nil || *m.Limit != want {
			t.Errorf("%s: %+v, want the limit %d", name, m, want)
		}
	}
	for _, l := range (&template{spec: defaultTemplate}).rlimits() {
		m, ok := rows[rlimitMeters[l.Resource].name]
		if !ok || *m.Limit != int64(l.Soft) || m.Used != nil || m.Peak != nil || m.Fired != nil {
			t.Errorf("rlimit %d: %+v", l.Resource, m)
		}
	}
	// A handle that the job left behind would hold the memory of its /tmp.
	td.stop()
	td.start()
	if n := openTmps(t); n != 0 {
		t.Errorf("%d descriptors of jails' folders are open", n)
	}
}

// openTmps counts our own descriptors of a jail's folders.
func openTmps(t *testing.T) (n int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if target, _ := os.Readlink("/proc/self/fd/" + e.Name()); target == "/tmp" || target == "/shm" || target == "/dev/shm" {
			n++
		}
	}
	return n
}
