package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/cgroup"
	"github.com/runtools/runtools/pkg/seccomp"
	"github.com/runtools/runtools/pkg/wire"
)

var errInjected = errors.New("injected")

// badParent makes leaves that fail in one call.
type badParent struct {
	cgroup.Parent
	call string
}

func (p badParent) NewLeaf(name string, l cgroup.Limits) (cgroup.Leaf, error) {
	if p.call == "NewLeaf" {
		return nil, errInjected
	}
	leaf, err := p.Parent.NewLeaf(name, l)
	return badLeaf{leaf, p.call}, err
}

type badLeaf struct {
	cgroup.Leaf
	call string
}

func (l badLeaf) fail(call string, otherwise func() error) error {
	if l.call == call {
		return errInjected
	}
	return otherwise()
}

func (l badLeaf) Doors() (doors []*os.File, err error) {
	err = l.fail("Doors", func() error { doors, err = l.Leaf.Doors(); return err })
	return doors, err
}
func (l badLeaf) SetWeight(w uint64) error {
	return l.fail("SetWeight", func() error { return l.Leaf.SetWeight(w) })
}
func (l badLeaf) WatchOOM(f func()) error {
	return l.fail("WatchOOM", func() error { return l.Leaf.WatchOOM(f) })
}

// imageWithout is an image that lacks a folder.
func imageWithout(t *testing.T, missing string) *overlays {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"dev", "proc", "tmp", "home/user", "build"} {
		if name != missing {
			if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	return newTestOverlays(t, dir, true)
}

// overlaysWithout are of an image, and lack a folder that they are made with.
func overlaysWithout(t *testing.T, missing string) *overlays {
	t.Helper()
	o := newTestOverlays(t, t.TempDir(), true)
	if err := o.vault.do(func() error { unix.Unmount(missing, unix.MNT_DETACH); return unix.Rmdir(missing) }); err != nil {
		t.Fatal(err)
	}
	return o
}

func newTestOverlays(t *testing.T, dir string, keep bool) *overlays {
	t.Helper()
	o, err := newOverlays(dir, keep)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.vault.close)
	return o
}

// Each step of building a jail is made to fail. The error names the step, nothing of the jail is left, and the next one can be built.
func TestEachStepOfABuildFails(t *testing.T) {
	td := startDaemon(t, func(c *config) {
		c.Networks = 1 // more would still be filling up
		if err := os.WriteFile(filepath.Join(c.Image, "languages/toy/jail.json"), []byte(`{"templates": {"cold": {"pool": 0}}}`), 0o644); err != nil {
			t.Fatal(err)
		}
	})
	good := td.d.server.builder
	template := td.d.server.pools.all["toy/cold"].template
	if err := good.devices.vault.do(func() error {
		return errors.Join(unix.Mkdir("/bare", 0o755), unix.Mount("bare", "/bare", "tmpfs", 0, ""))
	}); err != nil {
		t.Fatal(err)
	}
	noRoom := newVolumes(0, quota{1 << 20, 100}, quota{1 << 20, 100}, good.volumes.vaults.anchors)
	parked := func(argv ...string) func(*builder, *templateSpec, *seccomp.Filter) {
		return func(_ *builder, s *templateSpec, _ *seccomp.Filter) { s.Parked = &parkedSpec{Argv: argv} }
	}
	for _, c := range []struct {
		want string
		sabotage
	}{
		{"max_jails reached", func(b *builder, _ *templateSpec, _ *seccomp.Filter) { b.slots = newSlots(0x70000000, 0) }},
		{"injected", func(b *builder, _ *templateSpec, _ *seccomp.Filter) { b.cgroups = badParent{b.cgroups, "NewLeaf"} }},
		{"injected", func(b *builder, _ *templateSpec, _ *seccomp.Filter) { b.cgroups = badParent{b.cgroups, "WatchOOM"} }},
		{"injected", func(b *builder, _ *templateSpec, _ *seccomp.Filter) { b.cgroups = badParent{b.cgroups, "Doors"} }},
		{"uid_map", func(b *builder, _ *templateSpec, _ *seccomp.Filter) { b.slots = newSlots(0xffffff00, 1) }},
		{"max_volumes 0 reached", func(b *builder, _ *templateSpec, _ *seccomp.Filter) { b.volumes = noRoom }},
		{"open_tree /tree: ", func(b *builder, _ *templateSpec, _ *seccomp.Filter) { b.image = overlaysWithout(t, overlayTree) }},
		{"move_mount /lower: ", func(b *builder, _ *templateSpec, _ *seccomp.Filter) { b.image = overlaysWithout(t, overlayLower) }},
		{"mount overlay: ", func(b *builder, _ *templateSpec, _ *seccomp.Filter) { b.image = overlaysWithout(t, overlayEmpty) }},
		{"mount overlay: ", func(b *builder, _ *templateSpec, _ *seccomp.Filter) { b.packages = overlaysWithout(t, overlayEmpty) }},
		{"open_tree /none", func(b *builder, _ *templateSpec, _ *seccomp.Filter) { b.devices = devicesAt(b, "/none") }},
		{"attach /jail/dev: ", func(b *builder, _ *templateSpec, _ *seccomp.Filter) { b.image = imageWithout(t, "dev") }},
		{"mount tmpfs on /jail/tmp: ", func(b *builder, _ *templateSpec, _ *seccomp.Filter) { b.image = imageWithout(t, "tmp") }},
		{"mount tmpfs on /jail/tmp: ", func(_ *builder, s *templateSpec, _ *seccomp.Filter) { s.TmpBytes = -1 }},
		{"mount tmpfs on /jail/dev/shm: ", func(b *builder, _ *templateSpec, _ *seccomp.Filter) { b.devices = devicesAt(b, "/bare") }},
		{"mount proc on /jail/proc: ", func(b *builder, _ *templateSpec, _ *seccomp.Filter) { b.image = imageWithout(t, "proc") }},
		{"load seccomp filter: ", func(b *builder, _ *templateSpec, _ *seccomp.Filter) { b.policy.Load().init = make([]byte, 8) }},
		{"load seccomp filter: ", func(_ *builder, _ *templateSpec, f *seccomp.Filter) { f.BPF = make([]byte, 8) }},
		{"set rlimit 7: ", func(_ *builder, s *templateSpec, _ *seccomp.Filter) { s.OpenFiles = 1 << 40 }},
		{"park /bin/none: ", parked("/bin/none")},
		{"park /bin/true: it ended before it was ready", parked("/bin/true")},
		{"load toy/cold: injected", func(b *builder, s *templateSpec, _ *seccomp.Filter) {
			b.cgroups, s.Parked = badParent{b.cgroups, "SetWeight"}, &parkedSpec{Argv: []string{"/bin/true"}}
		}},
	} {
		// The jail of the last run is destroyed behind its answer.
		for deadline := time.Now().Add(hang); good.live.Load() != 0 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		}
		before := td.holding()
		err := c.build(good, template)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("want an error with %q, got %v", c.want, err)
		}
		after := td.holding()
		// What answers a filter's notifications ends a moment later.
		for deadline := time.Now().Add(hang); after.exceeds(before) && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			after = td.holding()
		}
		if after.exceeds(before) {
			t.Errorf("after %v: %+v are left, %+v before", err, after, before)
		}
		if r := td.run("echo x", func(j *wire.Job) { j.Template = "toy/cold" }); r.err != nil || r.stdout != "x\n" {
			t.Errorf("after %v: %+v", err, r)
		}
	}
}

// devicesAt has every jail get the same folder, as it is.
func devicesAt(b *builder, path string) *deviceFolders {
	return &deviceFolders{b.devices.vault, func(int) string { return path }, map[string]bool{path: true}}
}

// sabotage spoils a copy of what a jail is built from.
type sabotage func(*builder, *templateSpec, *seccomp.Filter)

func (s sabotage) build(good *builder, t *template) error {
	b := &builder{
		spawner: good.spawner, cgroups: good.cgroups, volumes: good.volumes, slots: good.slots, image: good.image,
		devices: good.devices, limits: good.limits, log: good.log, making: good.making, ending: good.ending,
	}
	b.serial.Store(1 << 40) // other names than the good one's
	holds := good.policy.Load()
	filter := *holds.inForce[t.name].filter
	bad := &template{name: t.name, spec: t.spec}
	b.policy.Store(&policy{init: holds.init, inForce: map[string]*variant{t.name: {filter: &filter}}})
	s(b, &bad.spec, &filter)
	r, err := b.build(bad)
	if err == nil {
		if bad.spec.Parked != nil {
			err = b.load(r, loadWeight)
		}
		b.release(r)
	}
	if live := b.live.Load(); live != 0 {
		return errors.Join(err, errors.New("the builder counts a live jail"))
	}
	return err
}

// held is what jails take of the daemon and the host.
type held struct{ descriptors, processes, leaves, volumes, mounts, slots int }

// exceeds says that something more is held. A jail has ten descriptors or so; a network namespace that is made ready, and the runtime's own, come
// and go.
func (h held) exceeds(before held) bool {
	return h.descriptors > before.descriptors+3 || h.processes > before.processes || h.leaves > before.leaves || h.volumes > before.volumes ||
		h.mounts > before.mounts || h.slots < before.slots
}

func (td *testDaemon) holding() held {
	b := td.d.server.builder
	descriptors, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		td.t.Fatal(err)
	}
	inits, err := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", b.spawner.PID()))
	if err != nil {
		td.t.Fatal(err)
	}
	leaves, _ := filepath.Glob("/sys/fs/cgroup/*/" + td.config.CgroupParent + "/job-*")
	more, _ := filepath.Glob("/sys/fs/cgroup/" + td.config.CgroupParent + "/job-*")
	mounts := 0
	b.volumes.vaults.mu.Lock()
	vaults := append([]*vault{b.devices.vault, b.image.vault}, b.volumes.vaults.all...)
	b.volumes.vaults.mu.Unlock()
	for _, v := range vaults {
		lines, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/mountinfo", v.thread))
		if err != nil {
			td.t.Fatal(err)
		}
		mounts += bytes.Count(lines, []byte("\n"))
	}
	volumes, _, _ := b.volumes.counts()
	b.slots.mu.Lock()
	defer b.slots.mu.Unlock()
	return held{len(descriptors), len(bytes.Fields(inits)), len(leaves) + len(more), volumes, mounts, len(b.slots.free)}
}
