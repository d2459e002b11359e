package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/wire"
)

// Image and mirror seen from jails that follow each other in one slot. What jails see of each other at one time is attacked in testdata/attack.
func TestOverlays(t *testing.T) {
	mirror := t.TempDir()
	if err := os.Chmod(mirror, 0o755); err != nil {
		t.Fatal(err)
	}
	td := startDaemon(t, func(c *config) {
		c.Packages, c.MaxJails = mirror, 1
		if err := os.WriteFile(filepath.Join(c.Image, "languages/toy/jail.json"), []byte(`{"templates": {"cold": {"pool": 0}}}`), 0o644); err != nil {
			t.Fatal(err)
		}
	})
	run := func(script string) ran {
		t.Helper()
		for range 3000 { // the jail before is destroyed behind its answer
			if td.d.server.builder.live.Load() == 0 {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		return td.run(script, func(j *wire.Job) { j.Template = "toy/cold" })
	}
	want := func(script, want string) {
		t.Helper()
		if r := run(script); r.err != nil || r.stdout != want {
			t.Errorf("%s: %+v, want %q", script, r, want)
		}
	}
	want("cat /packages/new || echo none", "none\n")
	if err := os.WriteFile(filepath.Join(mirror, "new"), []byte("added\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	want("cat /packages/new", "added\n") // also where it was looked for before

	// As on any filesystem: one device number; and the numbers of files are those that their folder tells.
	want(`[ $(stat -c %d / /bin /bin/busybox /etc /packages/../bin/sh | sort -u | wc -l) = 1 ] && [ $(stat -c %i /bin/busybox) = $(ls -i /bin | sed -n 's/ *\([0-9]*\) busybox$/\1/p') ] && echo one`, "one\n")
	want("stat -c '%u %g %a' /bin/busybox /packages/new", "0 0 755\n0 0 644\n")

	// What mountinfo tells of the two is the same on every host.
	r := run("grep overlay /proc/self/mountinfo")
	if strings.Count(r.stdout, "\n") != 2 || strings.Contains(r.stdout, mirror) || strings.Contains(r.stdout, td.config.Image) || strings.Contains(r.stdout, "rootfs") {
		t.Errorf("mountinfo: %+v", r)
	}
}

// The jails of a slot follow each other in one overlay of the image; of a mirror each has one of its own.
func TestOverlaysAreKept(t *testing.T) {
	sleeper := exec.Command("sleep", "1h")
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: attackedUIDs, Size: idsPerJail}}
	sleeper.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids, Pdeathsig: unix.SIGKILL}
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { sleeper.Process.Kill(); sleeper.Wait() }()
	userNS, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", sleeper.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	defer userNS.Close()
	for _, keep := range []bool{true, false} {
		o := newTestOverlays(t, t.TempDir(), keep)
		var devices []uint64
		for _, slot := range []int{0, 0, 1} {
			mount, err := o.open(slot, userNS)
			if err != nil {
				t.Fatal(err)
			}
			defer mount.Close()
			var st unix.Stat_t
			if err := unix.Fstat(int(mount.Fd()), &st); err != nil {
				t.Fatal(err)
			}
			devices = append(devices, st.Dev)
		}
		if (devices[0] == devices[1]) != keep || devices[2] == devices[0] || devices[2] == devices[1] {
			t.Errorf("keep %v: %v", keep, devices)
		}
	}
}
