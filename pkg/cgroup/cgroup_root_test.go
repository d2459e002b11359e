package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/cgroups/v3"
)

// These tests need root and a cgroup filesystem; without them they fail.

func openTest(t *testing.T) Parent {
	t.Helper()
	name := fmt.Sprintf("runtools-test-%d", os.Getpid())
	p, err := Open(name, 100, 1<<40)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Delete(); err != nil {
			t.Error(err)
		}
		for _, h := range append([]string{""}, controllersV1...) {
			if _, err := os.Stat(path.Join(root, h, name)); err == nil {
				t.Errorf("%s/%s is left over", h, name)
			}
		}
	})
	t.Logf("cgroup v%d", p.Version())
	return p
}

// child runs a shell that enters the leaf, in a process group of its own, and then script.
func child(t *testing.T, l Leaf, script string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	doors, err := l.Doors()
	if err != nil {
		t.Fatal(err)
	}
	enter := ""
	for i, door := range doors {
		defer door.Close()
		enter += fmt.Sprintf("printf 0 >&%d; ", 3+i) // by the shell itself
	}
	cmd := exec.Command("/bin/sh", "-c", enter+script)
	cmd.ExtraFiles = doors
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that all of it can be killed
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewReader(out)
}

func newLeaf(t *testing.T, p Parent, limits Limits) Leaf {
	t.Helper()
	l, err := p.NewLeaf("job", limits)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Delete(); err != nil {
			t.Error(err)
		}
	})
	return l
}

var roomy = Limits{MemoryBytes: 16 << 20, Pids: 10, CPUWeight: 100}

func TestMemoryLimitKillsAndIsCounted(t *testing.T) {
	p := openTest(t)
	l := newLeaf(t, p, roomy)
	// Watched before there is anything to see. The kill is told first: after it we look.
	group, killed := make(chan int, 1), make(chan struct{})
	var once sync.Once
	if err := l.WatchOOM(func() { once.Do(func() { close(killed); syscall.Kill(-<-group, syscall.SIGKILL) }) }); err != nil {
		t.Fatal(err)
	}
	// dd has a buffer of bs bytes. In the emulator tail, which makes its own larger again and again, takes a minute for that.
	cmd, _ := child(t, l, "dd bs=100M count=1 if=/dev/zero of=/dev/null; sleep 1000")
	group <- cmd.Process.Pid
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case <-done: // the OOM ended the whole group, not only dd: else sleep would still run
	case <-time.After(3 * time.Minute): // in an emulator that is given little time
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		t.Fatal("an OOM of one process did not end the job")
	}
	u, err := l.Usage()
	if err != nil {
		t.Fatal(err)
	}
	noticed := u.OOMKills > 0
	select {
	case <-killed: // v1: we were quicker than the kernel, which then counts nothing
		noticed = true
	default:
	}
	if !noticed || u.MemoryPeak < 15<<20 || u.MemoryPeak > 16<<20 {
		t.Errorf("usage %+v, want an OOM kill at a peak of about 16 MiB", u)
	}
}

func TestSetMemoryRaisesAndLowers(t *testing.T) {
	p := openTest(t)
	l := newLeaf(t, p, roomy)
	for _, bytes := range []int64{512 << 20, 8 << 20, 64 << 20} {
		if err := l.SetMemory(bytes); err != nil {
			t.Fatalf("%d: %v", bytes, err)
		}
	}
	cmd, out := child(t, l, "dd bs=20000000 count=1 if=/dev/zero | wc -c")
	line, _ := out.ReadString('\n')
	if cmd.Wait(); strings.TrimSpace(line) != "20000000" {
		t.Errorf("a program within the raised limit printed %q", line)
	}
}

func TestPidsLimit(t *testing.T) {
	p := openTest(t)
	l := newLeaf(t, p, Limits{MemoryBytes: 64 << 20, Pids: 3, CPUWeight: 100})
	cmd, out := child(t, l, "for i in 1 2 3 4 5 6; do sleep 2 & done 2>/dev/null; wait; echo end")
	all, _ := io.ReadAll(out)
	cmd.Wait()
	// dash gives up at the first fork that fails.
	if strings.Contains(string(all), "end") {
		t.Errorf("six processes started under a limit of 3: %q", all)
	}
}

func TestCPUIsCountedAndQuotaHolds(t *testing.T) {
	p := openTest(t)
	l := newLeaf(t, p, Limits{MemoryBytes: 64 << 20, Pids: 10, CPUWeight: 100, CPUs: 0.2})
	start := time.Now()
	cmd, _ := child(t, l, "timeout 1 sh -c 'while :; do :; done'")
	cmd.Wait()
	wall := time.Since(start)
	u, err := l.Usage()
	if err != nil {
		t.Fatal(err)
	}
	if u.CPU < 10*time.Millisecond || u.CPU > wall/2 {
		t.Errorf("a busy loop used %v of CPU in %v under a quota of 0.2 CPUs", u.CPU, wall)
	}
}

func TestOpenSweepsWhatACrashLeft(t *testing.T) {
	p := openTest(t)
	l, err := p.NewLeaf("left", roomy)
	if err != nil {
		t.Fatal(err)
	}
	cmd, _ := child(t, l, "sleep 600")
	defer cmd.Process.Kill()
	go func() { // as init would reap it
		cmd.Wait()
	}()
	again, err := Open(fmt.Sprintf("runtools-test-%d", os.Getpid()), 100, 1<<40)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.NewLeaf("left", roomy); err != nil {
		t.Errorf("after the sweep: %v", err)
	}
}

func TestParentMustNotBeTheRoot(t *testing.T) {
	for _, name := range []string{"", "/", "a/.."} {
		if _, err := Open(name, 100, 1<<40); err == nil {
			t.Errorf("Open(%q) succeeded", name)
		}
	}
}

func TestProcesses(t *testing.T) {
	l := newLeaf(t, openTest(t), roomy)
	count := func(want int) {
		t.Helper()
		if got, err := l.Processes(); err != nil || len(got) != want {
			t.Errorf("processes %v, %v; want %d", got, err, want)
		}
	}
	count(0)
	cmd, out := child(t, l, "sleep 1000 >/dev/null & echo started; kill -STOP $$; kill $!; wait")
	if _, err := out.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	count(2)
	for cmd.ProcessState == nil { // until it has stopped, this is of no effect
		_ = cmd.Process.Signal(syscall.SIGCONT)
		time.Sleep(10 * time.Millisecond)
		if left, err := l.Processes(); err == nil && len(left) == 0 {
			_ = cmd.Wait()
		}
	}
	count(0)
}

// The peak counts anew from what is in use; on v2 before Linux 6.12 it stays, and ErrPeakStays says so.
func TestResetPeak(t *testing.T) {
	l := newLeaf(t, openTest(t), roomy)
	cmd, _ := child(t, l, "dd bs=8000000 count=1 if=/dev/zero of=/dev/null")
	cmd.Wait()
	can := true
	if v2, ok := l.(*leafV2); ok {
		info, err := v2.peak.Stat()
		if err != nil {
			t.Fatal(err)
		}
		can = info.Mode().Perm()&0o200 != 0
	}
	before, err := l.Usage()
	if err != nil {
		t.Fatal(err)
	}
	reset, err := l.ResetPeak()
	if errors.Is(err, ErrPeakStays) == can || err != nil && !errors.Is(err, ErrPeakStays) {
		t.Fatalf("reset: %v; it can be reset: %v", err, can)
	}
	after, err := l.Usage()
	if err != nil {
		t.Fatal(err)
	}
	const most = 6 << 20 // pages of files and of the kernel may be the leaf's for a while
	if before.MemoryPeak < 7<<20 || reset > most == can || after.MemoryPeak > most == can {
		t.Errorf("peak %d, reset to %d, then %d; it can be reset: %v", before.MemoryPeak, reset, after.MemoryPeak, can)
	}
}

// Below a systemd unit: ours is beside the cgroup of the unit's own process. While that is in the unit's, v2 hands no controller on, and Open leaves nothing behind.
func TestParentInAUnit(t *testing.T) {
	unit := fmt.Sprintf("runtools-unit-%d", os.Getpid())
	t.Cleanup(func() {
		for _, h := range append([]string{""}, controllersV1...) {
			if err := removeAll(path.Join(root, h, unit)); err != nil {
				t.Error(err)
			}
		}
	})
	if cgroups.Mode() == cgroups.Unified {
		daemon := exec.Command("/bin/sleep", "600")
		if err := errors.Join(os.MkdirAll(path.Join(root, unit, "daemon"), 0o755), daemon.Start()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { daemon.Process.Kill(); daemon.Wait() })
		move := func(to string) {
			t.Helper()
			if err := os.WriteFile(path.Join(root, to, "cgroup.procs"), fmt.Append(nil, daemon.Process.Pid), 0); err != nil {
				t.Fatal(err)
			}
		}
		move(unit)
		if _, err := Open(unit+"/jails", 100, 1<<40); err == nil {
			t.Error("Open succeeded below a cgroup with processes")
		}
		if _, err := os.Stat(path.Join(root, unit, "jails")); err == nil {
			t.Error("what could not be opened is left")
		}
		move(unit + "/daemon")
	}
	p, err := Open(unit+"/jails", 100, 1<<40)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Delete(); err != nil {
			t.Error(err)
		}
	})
	cmd, out := child(t, newLeaf(t, p, roomy), "cat /proc/self/cgroup")
	lines, _ := io.ReadAll(out)
	if err := cmd.Wait(); err != nil || !strings.Contains(string(lines), ":/"+unit+"/jails/job\n") {
		t.Errorf("a process of the leaf is in\n%s, %v", lines, err)
	}
}
