package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/runtools/runtools/pkg/cgroup"
	"github.com/runtools/runtools/pkg/wire"
)

// laxParent makes leaves without some of their limits.
type laxParent struct {
	cgroup.Parent
	memory, pids bool
}

func (p laxParent) NewLeaf(name string, l cgroup.Limits) (cgroup.Leaf, error) {
	if p.pids {
		l.Pids = 32768
	}
	leaf, err := p.Parent.NewLeaf(name, l)
	if p.memory && err == nil {
		return laxLeaf{leaf}, nil
	}
	return leaf, err
}

type laxLeaf struct{ cgroup.Leaf }

func (laxLeaf) SetMemory(int64) error { return nil }

// A layer that is taken away is found, by the check that is meant for it, and takes the node out of readiness until it is back.
func TestSelftestFindsABrokenLayer(t *testing.T) {
	var loader, other string // busybox needs neither
	td := startDaemon(t, func(c *config) {
		loader, other = filepath.Join(c.Image, "rootfs/lib64/ld-linux-x86-64.so.2"), filepath.Join(c.Image, "rootfs/etc/other")
		for _, path := range []string{loader, other} {
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("as built"), 0o755)); err != nil {
				t.Fatal(err)
			}
		}
		writeSums(t, c.Image)
		flip(t, loader)                                                           // before sandboxd starts
		spec := `{"templates":{"run":{"pool":0},"compile":{"pool":0,"pids":32}}}` // nobody but the self test builds a jail
		if err := os.WriteFile(filepath.Join(c.Image, "languages/toy/jail.json"), []byte(spec), 0o644); err != nil {
			t.Fatal(err)
		}
		c.SelftestEvery = 0
	})
	st, b := td.d.server.selftest, td.d.server.builder
	st.every = time.Hour // it has a state, and nobody but us runs it
	if s := st.status(); s.Passed || s.Runs != 0 {
		t.Errorf("before the first run: %+v", s)
	}
	found, s := failing(t, st.run()), st.status()
	if !slices.Equal(found, []string{"image"}) || s.Passed || len(s.Failed) != 1 || !strings.HasPrefix(s.Failed[0], "image in all: /lib64/ld-linux-x86-64.so.2 changed") {
		t.Errorf("the loader was changed before the start: found %v, status %+v", found, s)
	}
	flip(t, loader)
	td.wantNoJails()
	filter := b.policy.Load().inForce["toy/compile"].filter
	good, cgroups, ids := filter.BPF, b.cgroups, b.slots
	// return SECCOMP_RET_ALLOW
	allow := []byte{6, 0, 0, 0, 0, 0, 0xff, 0x7f}
	for name, c := range map[string]struct {
		spoil func()
		found []string
	}{
		"nothing":      {func() {}, nil},
		"memory limit": {func() { b.cgroups = laxParent{cgroups, true, false} }, []string{"memory"}},
		"pids limit":   {func() { b.cgroups = laxParent{cgroups, false, true} }, []string{"forks"}},
		"filter":       {func() { filter.BPF = allow }, []string{"seccomp"}},
		"image":        {func() { flip(t, other) }, []string{"image"}},
		"user ids":     {func() { b.slots = &slots{free: []int{0, 0, 0, 0}} }, []string{"privileges"}},
	} {
		t.Run(name, func(t *testing.T) {
			c.spoil()
			found := failing(t, st.run())
			status := st.status()
			b.cgroups, filter.BPF = cgroups, good
			if name == "image" {
				flip(t, other)
			}
			td.wantNoJails()
			b.slots = ids
			if !slices.Equal(found, c.found) {
				t.Errorf("found %v, want %v", found, c.found)
			}
			if status.Passed != (c.found == nil) || (status.Failed == nil) != (c.found == nil) || status.Runs == 0 {
				t.Errorf("status %+v", status)
			}
		})
	}
	if found := failing(t, st.run()); found != nil || !st.status().Passed {
		t.Errorf("mended, and still %v, %+v", found, st.status())
	}
}

// failing are the names of the checks that failed, each once.
func failing(t *testing.T, checks []wire.Check) (names []string) {
	t.Helper()
	for _, c := range checks {
		if c.Inconclusive {
			t.Errorf("inconclusive: %+v", c)
		} else if c.Problem != "" {
			t.Logf("%s in %s: %s", c.Name, c.Template, c.Problem)
			names = append(names, c.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// A jail in which a runtime waits is attacked as well: every attack in its turn, and a layer that is missing there is found.
func TestSelftestWithARuntime(t *testing.T) {
	td := startParked(t, `{"pool": 0, "pids": 64, "parked": {"argv": ["/bin/toy"]}}`, func(c *config) { c.SelftestEvery = 0 })
	st := td.d.server.selftest
	filter := td.d.server.builder.policy.Load().inForce["toy/run"].filter
	good := filter.BPF
	var attacked []string
	for range 6 {
		a, template := st.whenParked([]string{"toy/run"})
		if a == nil || template != "toy/run" {
			t.Fatalf("%v in %q", a, template)
		}
		attacked = append(attacked, a.name)
		if c := st.check(a, template, true); c.Problem != "" || c.Template != "toy/run (parked)" {
			t.Errorf("%+v", c)
		}
		if a.name == filterCheck {
			filter.BPF = []byte{6, 0, 0, 0, 0, 0, 0xff, 0x7f} // return SECCOMP_RET_ALLOW
			if c := st.check(a, template, true); c.Problem == "" || c.Inconclusive {
				t.Errorf("without a filter: %+v", c)
			}
			filter.BPF = good
		}
		st.runs++
	}
	slices.Sort(attacked)
	if want := []string{"forks", "image", "network", "privileges", "processes", "seccomp"}; !slices.Equal(attacked, want) {
		t.Errorf("attacked by %v, want %v", attacked, want)
	}
	if checks := st.run(); !slices.ContainsFunc(checks, func(c wire.Check) bool { return c.Template == "toy/run (parked)" }) {
		t.Errorf("%+v", checks)
	}
	td.wantNoJails()
}

func (td *testDaemon) wantNoJails() {
	td.t.Helper()
	for range 18_000 {
		if td.d.server.builder.live.Load() == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	td.t.Error("jails of the self test are left")
}

// The schedule begins at start, and jobs do not wait for it. What cannot be tested says nothing: neither that it holds nor that it does not.
func TestSelftestSchedule(t *testing.T) {
	td := startDaemon(t, func(c *config) {
		writeSums(t, c.Image)
		c.SelftestEvery = duration(time.Hour)
	})
	if r := td.run("echo hi", nil); r.stdout != "hi\n" {
		t.Errorf("%+v", r)
	}
	var s *wire.Selftest
	for range 6000 {
		status, err := td.client.Status(t.Context(), &wire.StatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if s = status.Selftest; s.Runs != 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if !s.Passed || s.AgoMS > time.Hour.Milliseconds() || s.Failed != nil {
		t.Fatalf("%+v", s)
	}
	// The run's last jail ends behind its check, and would give a slot back to those that are taken here.
	for deadline := time.Now().Add(hang); ; time.Sleep(time.Millisecond) {
		ready := 0
		for _, p := range td.d.server.pools.all {
			ready += len(p.ready)
		}
		if td.d.server.builder.live.Load() == int64(ready) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d jails, %d are ready", td.d.server.builder.live.Load(), ready)
		}
	}
	slots := td.d.server.builder.slots
	slots.mu.Lock()
	free := slots.free
	slots.free = nil
	slots.mu.Unlock()
	checks, err := td.client.Selftest(t.Context())
	slots.mu.Lock()
	slots.free = append(slots.free, free...)
	slots.mu.Unlock()
	if err != nil || len(checks) < 2 || !checks[1].Inconclusive || !strings.Contains(checks[1].Problem, "max_jails") {
		t.Errorf("without room for a jail: %v %+v", err, checks)
	}
	if status, err := td.client.Status(context.Background(), &wire.StatusRequest{}); err != nil || !status.Selftest.Passed {
		t.Errorf("%v %+v", err, status.Selftest)
	}
	// Unless it is so for too long.
	st := td.d.server.selftest
	st.mu.Lock()
	st.at = st.at.Add(-st.stuckAfter())
	st.mu.Unlock()
	if status, err := td.client.Status(t.Context(), &wire.StatusRequest{}); err != nil || status.Selftest.Passed || !strings.Contains(status.Selftest.Stuck, "max_jails") {
		t.Errorf("%v %+v", err, status.Selftest)
	}
	checks, err = td.client.Selftest(t.Context())
	if err != nil || failing(t, checks) != nil || len(checks) < 8 || !st.status().Passed {
		t.Errorf("%v %+v", err, checks)
	}
	// By hand: in the daemon that serves, and without any.
	for _, first := range []string{"ok", "no sandboxd at "} {
		var out strings.Builder
		err := selftestCommand(&td.config, &out)
		if err != nil || !strings.HasPrefix(out.String(), first) || !strings.HasSuffix(out.String(), " held\n") || strings.Contains(out.String(), "FAIL") {
			t.Errorf("%v\n%s", err, &out)
		}
		if first == "ok" {
			if n := td.d.server.pools.misses.Load() + td.d.server.pools.hits.Load(); n != 1 {
				t.Errorf("%d jobs were counted, one was a caller's", n)
			}
			td.stop()
		}
	}
	if err := printChecks(io.Discard, []wire.Check{{Name: "a"}, {Name: "b", Problem: "seen"}}); err == nil {
		t.Error("a check failed, and the command did not")
	}
	td.config.SelftestEvery = 0
	td.start()
}

// Nobody asks, and a layer that goes while sandboxd serves is found, and so is that it is back.
func TestSelftestComesAgain(t *testing.T) {
	var loader string
	td := startDaemon(t, func(c *config) {
		loader = filepath.Join(c.Image, "rootfs/lib64/ld-linux-x86-64.so.2") // looked at in each run; busybox needs none
		if err := errors.Join(os.MkdirAll(filepath.Dir(loader), 0o755), os.WriteFile(loader, []byte("as built"), 0o755)); err != nil {
			t.Fatal(err)
		}
		writeSums(t, c.Image)
		c.SelftestEvery = duration(time.Second)
	})
	for i, passed := range []bool{true, false, true} {
		if i > 0 {
			flip(t, loader)
		}
		for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
			if s := td.d.server.selftest.status(); s.Runs > 0 && s.Passed == passed {
				break
			} else if time.Since(began) > hang {
				t.Fatalf("want passed: %t, got %+v", passed, s)
			}
		}
	}
}
