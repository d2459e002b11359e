package jail

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pair is a jail with two runners.
func (b *bench) pair(t *testing.T) *Jail {
	t.Helper()
	j := b.parked(t)
	if err := j.AddSuccessor(); err != nil {
		t.Fatal(err)
	}
	return j
}

// turn runs a script in it with a workspace of its own; build may be nil.
func (b *bench) turn(t *testing.T, j *Jail, first bool, build *os.File, script string, whileRuns func()) (Exit, string) {
	t.Helper()
	work, _ := b.volume(t, j, false)
	out, outWrite := pipe(t)
	err := j.Start(&Job{Workspace: work, Build: build, Argv: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=/bin"}, Stdout: outWrite, Stderr: outWrite, Then: first})
	outWrite.Close()
	if err != nil {
		t.Fatal(err)
	}
	guard := time.AfterFunc(time.Minute, j.Kill)
	defer guard.Stop()
	if whileRuns != nil {
		whileRuns()
	}
	exit, err := j.Wait()
	if err != nil {
		t.Fatal(err)
	}
	work.Close() // they hold the mounts
	if build != nil {
		build.Close()
	}
	return exit, drain(t, out)
}

// The program follows its compiler: as the process that it would be in a new jail, with the rights of one, and finds no file of that job but the artifact.
func TestFollow(t *testing.T) {
	b := newBench(t)
	j := b.pair(t)
	var owner unix.Stat_t // the host's root, and not the jail's user, if it cannot be dumped: then nobody may trace it or open what it has (ptrace(2))
	if err := unix.Stat(fmt.Sprintf("/proc/%d/environ", j.NextPID()), &owner); err != nil || owner.Uid != 0 {
		t.Errorf("the program's runner can be dumped: its files are uid %d's, %v", owner.Uid, err)
	}
	build, path := b.volume(t, j, false)
	exit, out := b.turn(t, j, true, build, "echo $$; id -u; echo x >left; cp /bin/busybox /build/busybox; ls -d /proc/2; cat /proc/2/environ", nil)
	if want := "3\n1000\n"; !strings.HasPrefix(out, want) || strings.Count(out, "No such file") != 2 || exit.Status != 1<<8 {
		t.Errorf("the compiler: %q, %+v; want %q and nothing of the other runner", out, exit, want)
	}
	next := j.NextPID()
	if err := j.Follow(time.Minute); err != nil {
		t.Fatal(err)
	}
	if next == 0 || j.RunnerPID() != next || j.NextPID() != 0 {
		t.Errorf("the runner is %d, then %d; %d was to be next", j.RunnerPID(), j.NextPID(), next)
	}
	artifact, err := OpenTree(path, true, j.UserNS())
	if err != nil {
		t.Fatal(err)
	}
	var init string
	exit, out = b.turn(t, j, false, artifact, `echo $$; id -u; pwd; ls -A . /tmp /dev/shm; /build/busybox echo made; echo x 2>/dev/null >/build/busybox || echo read-only
		grep -E "Cap(Prm|Eff|Bnd|Inh)|NoNew|Seccomp:" /proc/self/status; ls /proc/self/fd | wc -l; umount /build 2>&1; sleep 0.3`, func() {
		for start := time.Now(); time.Since(start) < time.Minute; time.Sleep(time.Millisecond) {
			if _, ok := j.Started(); ok {
				break
			}
		}
		status, err := os.ReadFile("/proc/" + strconv.Itoa(pidOf(t, j.pidfd)) + "/status")
		if err != nil {
			t.Error(err)
		}
		init = string(status)
	})
	none := strings.Repeat("0", 16)
	want := fmt.Sprintf("2\n1000\n%s\n.:\n\n/dev/shm:\n\n/tmp:\nmade\nread-only\nCapInh:\t%s\nCapPrm:\t%s\nCapEff:\t%s\nCapBnd:\t%s\nNoNewPrivs:\t1\nSeccomp:\t2\n4\n", WorkDir, none, none, none, none)
	if !strings.HasPrefix(out, want) || exit.Status != 0 {
		t.Errorf("the program: %q, %+v; want %q", out, exit, want)
	}
	for _, want := range []string{"\nCapEff:\t" + none, "\nCapPrm:\t" + none} {
		if !strings.Contains(init, want) {
			t.Errorf("PID 1 has no %q behind the program:\n%s", want, init)
		}
	}
}

// Behind the compiler PID 1 has capabilities that rest.
func TestPID1BehindACompiler(t *testing.T) {
	b := newBench(t)
	j := b.pair(t)
	b.turn(t, j, true, nil, "sleep 0.3", func() {
		time.Sleep(50 * time.Millisecond)
		status, err := os.ReadFile("/proc/" + strconv.Itoa(pidOf(t, j.pidfd)) + "/status")
		want := fmt.Sprintf("\nCapPrm:\t%016x\nCapEff:\t%016x\n", initCaps, 0)
		if err != nil || !strings.Contains(string(status), want) {
			t.Errorf("no %q: %v\n%s", want, err, status)
		}
	})
}

// What a compiler leaves in the folders, or does to the runner that waits, and that runner is not used. A signal to its own group is nothing of the kind.
func TestFollowRefused(t *testing.T) {
	b := newBench(t)
	for script, c := range map[string]struct {
		want    string
		instead func(next int) error
	}{
		"echo x >/tmp/f":             {want: "files in /tmp"},
		"mkdir /dev/shm/d":           {want: "files in /tmp"},
		"kill -STOP 2":               {want: "does not answer"},
		"kill -KILL 2":               {want: ""},
		"kill -TERM 2":               {want: ""},
		"kill -STOP 2; kill -ALRM 2": {want: ""},
		"trap '' TERM; kill -TERM 0": {want: "follows"},
		": prlimit": {want: "changed limits", instead: func(next int) error {
			return lower(next)
		}},
	} {
		j := b.pair(t)
		exit, out := b.turn(t, j, true, nil, script, nil)
		if exit.Status != 0 {
			t.Errorf("%s: %q, %+v", script, out, exit)
		}
		if c.instead != nil {
			if err := c.instead(j.NextPID()); err != nil {
				t.Fatal(err)
			}
		}
		err := j.Follow(200 * time.Millisecond)
		if c.want == "follows" && err != nil || c.want != "follows" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", script, err, c.want)
		}
	}
}

// lower takes a runner's descriptors from it, as a process of its own user can: a thread that is one, and ends.
func lower(pid int) error {
	failed := make(chan error)
	go func() {
		runtime.LockOSThread()
		for _, call := range []uintptr{unix.SYS_SETRESGID, unix.SYS_SETRESUID} {
			id := uintptr(testIDs.First + UserID)
			if _, _, errno := unix.RawSyscall(call, id, id, id); errno != 0 {
				failed <- errno
				return
			}
		}
		failed <- unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{}, nil)
	}()
	return <-failed
}

// Clear, by which a jail is made ready for the program, fails while somebody holds a file of the compiler's.
func TestFollowOfAHolder(t *testing.T) {
	b := newBench(t)
	j := b.pair(t)
	b.turn(t, j, true, nil, "(setsid sleep 100 >/dev/null 2>&1 &)", nil) // it stands in the workspace
	if err := j.Follow(time.Minute); err == nil || err.Error() != "jail: unmount /home/user: device or resource busy" {
		t.Errorf("with a process left: %v", err)
	}
	j = b.pair(t)
	b.turn(t, j, true, nil, ":", nil)
	if err := j.Follow(time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, _, err := j.Scratch(); err == nil {
		t.Error("folders are opened by way of a runner beside which a compiler ran")
	}
}

// A runner that cannot clone another is no success, and a filter that kills it no hang.
func TestNoSuccessor(t *testing.T) {
	b := newBench(t)
	for _, verdict := range []uint32{unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM), unix.SECCOMP_RET_KILL_PROCESS} {
		j, err := b.spawner.Spawn(testIDs)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(j.Close)
		spec := b.spec(t, j)
		spec.Filter = denyCall(unix.SYS_CLONE, verdict)
		if err := j.Build(spec); err != nil {
			t.Fatal(err)
		}
		if err := j.AddSuccessor(); err == nil {
			t.Errorf("%#x: there are two", verdict)
		}
	}
}

// denyCall is a program that answers one call with a verdict and lets all others pass.
func denyCall(number, verdict uint32) (bpf []byte) {
	for _, i := range []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: number},
		{Code: unix.BPF_RET, K: verdict},
		{Code: unix.BPF_RET, K: unix.SECCOMP_RET_ALLOW},
	} {
		bpf = binary.NativeEndian.AppendUint16(bpf, i.Code)
		bpf = append(bpf, i.Jt, i.Jf)
		bpf = binary.NativeEndian.AppendUint32(bpf, i.K)
	}
	return bpf
}
