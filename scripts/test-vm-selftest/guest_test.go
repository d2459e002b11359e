//go:build testvm

// Package selftest shows that the guest of scripts/test-vm has what our jails are made of. It is for the guest alone:
//
//	go test -c -tags testvm -o bin/guest.test ./scripts/test-vm-selftest
//	scripts/test-vm -with bin/guest.test -- './guest.test -test.v'
package selftest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const cgroupRoot = "/sys/fs/cgroup"

// TestMain: run again by a test with this name, the binary is the hog that a memory limit must kill.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "hog" {
		os.Stdout.Write(bytes.Repeat([]byte{1}, 256<<20)) // written, or the compiler may leave it out
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestPureCgroup2(t *testing.T) {
	var fs unix.Statfs_t
	if err := unix.Statfs(cgroupRoot, &fs); err != nil || fs.Type != unix.CGROUP2_SUPER_MAGIC {
		t.Fatalf("%s: type %#x, %v", cgroupRoot, fs.Type, err)
	}
	got := read(t, filepath.Join(cgroupRoot, "cgroup.subtree_control"))
	for _, want := range []string{"memory", "pids", "cpu", "cpuset"} {
		if !strings.Contains(got, want) {
			t.Errorf("controller %s is not enabled: %s", want, got)
		}
	}
}

// TestMemoryMax: the limit kills, as a group, and the kernel counts it.
func TestMemoryMax(t *testing.T) {
	dir := newCgroup(t)
	write(t, filepath.Join(dir, "memory.max"), "33554432")
	write(t, filepath.Join(dir, "memory.oom.group"), "1")
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	cmd := exec.Command("/proc/self/exe")
	cmd.Args[0] = "hog"
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: fd}
	var exit *exec.ExitError
	if err := cmd.Run(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("the hog ended with %v, want SIGKILL", err)
	}
	if events := read(t, filepath.Join(dir, "memory.events")); !strings.Contains(events, "oom_group_kill 1") {
		t.Errorf("memory.events: %s", events)
	}
	for _, name := range []string{"memory.peak", "memory.swap.max", "cpu.stat", "pids.peak", "cgroup.kill"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

func TestNamespaces(t *testing.T) {
	kinds := []string{"user", "pid", "mnt", "net", "ipc", "uts", "cgroup", "time"}
	script := ""
	for _, kind := range kinds {
		script += "readlink /proc/self/ns/" + kind + ";"
	}
	cmd := exec.Command("/bin/sh", "-c", "echo $$;"+script)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC |
			unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWTIME,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 100000, Size: 65536}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 100000, Size: 65536}},
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	lines := strings.Fields(string(out))
	if lines[0] != "1" {
		t.Errorf("the child is pid %s of its namespace, want 1", lines[0])
	}
	for i, kind := range kinds[:len(kinds)-1] { // /proc still shows the pid namespace of the mount, which is ours
		outer, _ := os.Readlink("/proc/self/ns/" + kind)
		if lines[1+i] == outer {
			t.Errorf("%s namespace is not new: %s", kind, outer)
		}
	}
}

// TestIDMappedTmpfs: a tmpfs is cloned, id-mapped, and attached, as a session's workspace is. It is cloned from a path, as
// Linux clones mounts that are attached nowhere only from 6.15 on (see TestCloneOfDetached).
func TestIDMappedTmpfs(t *testing.T) {
	base := t.TempDir()
	if err := unix.Mount("tmpfs", base, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(base, unix.MNT_DETACH)
	write(t, filepath.Join(base, "file"), "")
	clone, err := unix.OpenTree(unix.AT_FDCWD, base, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		t.Fatal("open_tree:", err)
	}
	defer unix.Close(clone)
	userns := newUserNamespace(t)
	defer userns.Close()
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(userns.Fd())}
	if err := unix.MountSetattr(clone, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		t.Fatal("mount_setattr:", err)
	}
	at := t.TempDir()
	if err := unix.MoveMount(clone, "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		t.Fatal("move_mount:", err)
	}
	defer unix.Unmount(at, unix.MNT_DETACH)
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(at, "file"), &st); err != nil || st.Uid != 100000 {
		t.Errorf("owner %d, %v; want 100000", st.Uid, err)
	}
}

// TestCloneOfDetached holds a difference between kernels that code must not forget: before 6.15 a mount that fsmount made
// and nobody attached cannot be cloned.
func TestCloneOfDetached(t *testing.T) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	release := unix.ByteSliceToString(name.Release[:])
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		t.Fatalf("kernel release %q: %v", release, err)
	}
	tmpfs := newTmpfs(t)
	defer unix.Close(tmpfs)
	clone, err := unix.OpenTree(tmpfs, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err == nil {
		unix.Close(clone)
	}
	want := error(nil)
	if major < 6 || major == 6 && minor < 15 {
		want = unix.EINVAL
	}
	if err != want {
		t.Errorf("open_tree of a detached mount on %s: %v, want %v", release, err, want)
	}
}

func TestSeccompActions(t *testing.T) {
	actions := read(t, "/proc/sys/kernel/seccomp/actions_avail")
	for _, want := range []string{"kill_process", "errno", "user_notif", "log"} {
		if !strings.Contains(actions, want) {
			t.Errorf("seccomp action %s is missing: %s", want, actions)
		}
	}
}

// TestPivotRoot: the guest's root must not be the initramfs, whose root cannot be changed.
func TestPivotRoot(t *testing.T) {
	script := "mkdir -p /tmp/root && mount -t tmpfs tmpfs /tmp/root && mkdir /tmp/root/old && " +
		"cp /bin/busybox /tmp/root/ && cd /tmp/root && pivot_root . old && exec /busybox test -d /old/proc"
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// TestDescriptorsOverUnixSocket: SEQPACKET with SCM_RIGHTS, as between apid and sandboxd.
func TestDescriptorsOverUnixSocket(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Sendmsg(pair[0], []byte("x"), unix.UnixRights(int(w.Fd())), nil, 0); err != nil {
		t.Fatal(err)
	}
	w.Close()
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(pair[1], make([]byte, 8), oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		t.Fatalf("%d control messages, %v", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		t.Fatal(err)
	}
	got := os.NewFile(uintptr(fds[0]), "received")
	_, _ = got.WriteString("through")
	got.Close()
	if b, err := io.ReadAll(r); err != nil || string(b) != "through" {
		t.Errorf("read %q, %v", b, err)
	}
}

func newCgroup(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(cgroupRoot, "selftest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(dir) })
	return dir
}

func newTmpfs(t *testing.T) int {
	t.Helper()
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		t.Fatal("fsopen:", err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigSetString(fs, "size", "1048576"); err != nil {
		t.Fatal("fsconfig size:", err)
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		t.Fatal("fsconfig create:", err)
	}
	mnt, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		t.Fatal("fsmount:", err)
	}
	return mnt
}

// newUserNamespace maps 0 of the file system to 100000.
func newUserNamespace(t *testing.T) *os.File {
	t.Helper()
	cmd := exec.Command("/bin/sleep", "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 100000, Size: 65536}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 100000, Size: 65536}},
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	f, err := os.Open(filepath.Join("/proc", strconv.Itoa(cmd.Process.Pid), "ns/user"))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
