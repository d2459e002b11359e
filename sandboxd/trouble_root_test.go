package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/runtools/runtools/pkg/wire"
)

// While the kernel makes no cgroup no jail can be built: one job has the jail that was ready, others are refused as not begun, and a filler tries again
// once a second. When the trouble is over the pool is full again, and of what was half made nothing is left. apid/e2e/trouble_test.go has other troubles.
func TestNoMoreCgroups(t *testing.T) {
	td := startDaemon(t, func(c *config) {
		c.Networks = 1
		if err := os.WriteFile(filepath.Join(c.Image, "languages/toy/jail.json"), []byte(`{"templates": {"run": {"pool": 1, "pool_max": 1}}}`), 0o644); err != nil {
			t.Fatal(err)
		}
	})
	td.awaitReady(1)
	before, start := td.holding(), time.Now()
	before.mounts = 1 << 20 // the first jail of a slot makes some that stay
	over := td.refuseCgroups()
	if r := td.run("echo x", nil); r.err != nil || r.stdout != "x\n" || !r.PoolHit {
		t.Errorf("in the jail that is ready: %+v", r)
	}
	for range 5 {
		if r := td.run("echo x", nil); !errors.Is(r.err, wire.ErrAway) {
			t.Errorf("without cgroups: %+v", r)
		}
	}
	log := ""
	for ; !strings.Contains(log, "fill pool") && time.Since(start) < hang; time.Sleep(10 * time.Millisecond) {
		log += td.log.take()
	}
	if !strings.Contains(log, "build toy/run: cgroup: new leaf: mkdir ") {
		t.Errorf("the log does not tell:\n%s", log)
	}
	over()
	td.awaitReady(1)
	log += td.log.take()
	if tries, most := strings.Count(log, "fill pool"), runtime.NumCPU()+int(time.Since(start)/retryBuild); tries < 1 || tries > most {
		t.Errorf("fillers failed %d times, want 1 to %d", tries, most)
	}
	after := td.holding()
	for deadline := time.Now().Add(hang); after.exceeds(before) && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		after = td.holding()
	}
	if after.exceeds(before) {
		t.Errorf("%+v are held, %+v before", after, before)
	}
	if r := td.run("echo x", nil); r.err != nil || r.stdout != "x\n" || !r.PoolHit {
		t.Errorf("afterwards: %+v", r)
	}
}

// refuseCgroups has the kernel make no leaf until over is called. v2 can be told so. In v1 the names of the next ones are taken, in the second hierarchy: there
// is something to be undone.
func (td *testDaemon) refuseCgroups() (over func()) {
	td.t.Helper()
	if td.d.cgroups.Version() == 2 {
		set := func(most string) {
			if err := os.WriteFile(filepath.Join("/sys/fs/cgroup", td.config.CgroupParent, "cgroup.max.descendants"), []byte(most), 0); err != nil {
				td.t.Fatal(err)
			}
		}
		set("0")
		return func() { set("max") }
	}
	const tries = 300 // more than there are, the filler's included
	next := td.d.server.builder.serial.Load() + 1
	name := func(n uint64) string { return fmt.Sprintf("/sys/fs/cgroup/pids/%s/job-%d", td.config.CgroupParent, n) }
	for n := next; n < next+tries; n++ {
		if err := os.Mkdir(name(n), 0o755); err != nil {
			td.t.Fatal(err)
		}
	}
	return func() {
		for n := next; n < next+tries; n++ {
			if err := os.Remove(name(n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				td.t.Fatal(err)
			}
		}
	}
}
