package main

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/runtools/runtools/pkg/wire"
)

// control is what a control file of a cgroup below ours says. name is for v1, with its controller, and for v2.
func (td *testDaemon) control(cgroup, v1, v2 string) string {
	td.t.Helper()
	path := "/sys/fs/cgroup/" + td.config.CgroupParent + "/" + cgroup + "/" + v2
	if controller, file, _ := strings.Cut(v1, "/"); td.d.cgroups.Version() == 1 {
		path = "/sys/fs/cgroup/" + controller + "/" + td.config.CgroupParent + "/" + cgroup + "/" + file
	}
	data, err := os.ReadFile(path)
	if err != nil {
		td.t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

// Jobs have bounds together, and have no more memory than that: the kernel ends one of them, which did nothing wrong, and the others go on. apid/e2e/trouble_test.go
// has what callers are told.
func TestAllJobsTogether(t *testing.T) {
	const one, total = 48 << 20, 48 << 20 // a job that comes near its own limit is said to have met it
	td := startDaemon(t, func(c *config) { c.TotalWeight, c.TotalMemory, c.MemoryBytes = 700, total, one })
	for _, c := range []struct{ cgroup, v1, want1, v2, want2 string }{
		{".", "cpu/cpu.shares", "7168", "cpu.weight", "700"},
		{"init", "cpu/cpu.shares", "102400", "cpu.weight", "10000"},
		{".", "memory/memory.limit_in_bytes", "50331648", "memory.max", "50331648"},
	} {
		want := map[int]string{1: c.want1, 2: c.want2}[td.d.cgroups.Version()]
		if got := td.control(c.cgroup, c.v1, c.v2); got != want {
			t.Errorf("%s of %s is %s, want %s", c.v2, c.cgroup, got, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	hold := func() {
		// dd keeps what it has read, for nobody reads what it writes.
		const script = "mkfifo p; exec 3<>p; exec dd if=/dev/zero bs=30000000 >&3"
		job := &wire.Job{Template: "toy/run", Argv: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=/bin"}, Limits: wire.Limits{WallMS: 2 * hang.Milliseconds()}}
		go func() { ended <- td.runJob(ctx, job, nil).err }()
	}
	hold()
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		used, err := td.d.cgroups.Memory()
		if err != nil {
			t.Fatal(err)
		}
		if used > 25<<20 {
			break
		}
		if time.Since(start) > hang {
			t.Fatalf("all together have %d bytes", used)
		}
	}
	hold()
	wantCode(t, <-ended, wire.CodeLost)
	if log := td.log.take(); !strings.Contains(log, "for want of memory on the host") {
		t.Errorf("the log does not tell:\n%s", log)
	}
	if r := td.run("echo x", nil); r.err != nil || r.stdout != "x\n" {
		t.Errorf("the next job: %+v", r)
	}
	cancel()
	<-ended
}
