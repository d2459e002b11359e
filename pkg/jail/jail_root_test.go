package jail

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// These tests make real jails and need root. Without it they fail; they never skip.

// allowAll is the smallest seccomp program: return SECCOMP_RET_ALLOW.
var allowAll = binary.NativeEndian.AppendUint32([]byte{0x06, 0, 0, 0}, unix.SECCOMP_RET_ALLOW)

var testIDs = IDs{First: 0x7ff00000, Count: 65536}

// image is a root of busybox alone, in the layout of docs/languages.md.
func image(t testing.TB) string {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal("busybox is missing: apt-get install busybox-static")
	}
	dir := t.TempDir()
	for _, d := range []string{"home/user", "build", "packages", "tmp", "proc", "dev", "sys", "bin", "etc"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bin/busybox"), data, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("chroot", dir, "/bin/busybox", "--install", "-s", "/bin").CombinedOutput(); err != nil {
		t.Fatalf("install busybox: %v: %s", err, out)
	}
	return dir
}

// devices is a folder on a tmpfs of its own mount, as OpenDevices wants it.
func devices(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	if err := os.Mkdir(filepath.Join(dir, "shm"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mknod(filepath.Join(dir, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "null"), 0o666); err != nil {
		t.Fatal(err)
	}
	return dir
}

// bench holds what all jails of a test share.
type bench struct {
	spawner    *Spawner
	root, devs string
	patience   time.Duration // a job is killed after so long; 0: 30 s
	built      func(*Jail)   // not nil: called between Build and Load
}

func newBench(t testing.TB) *bench {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test needs root: sudo go test, or make test")
	}
	s, err := Start(2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &bench{spawner: s, root: image(t), devs: devices(t)}
}

func (b *bench) spec(t testing.TB, j *Jail) *Spec {
	t.Helper()
	root, err := OpenTree(b.root, true, j.UserNS())
	if err != nil {
		t.Fatal(err)
	}
	dev, err := OpenDevices(b.devs, j.UserNS())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close(); dev.Close() })
	return &Spec{
		Root: root, Dev: dev, Tmp: Tmpfs{Bytes: 1 << 20, Inodes: 64}, Hostname: "sandbox",
		InitFilter: allowAll, Filter: allowAll,
	}
}

// volume is a tmpfs as a job gets it, with the host path it also hangs on.
func (b *bench) volume(t testing.TB, j *Jail, readOnly bool) (mount *os.File, path string) {
	t.Helper()
	path = t.TempDir()
	fs, err := NewTmpfs(8<<20, 100, UserID)
	if err != nil {
		t.Fatal(err)
	}
	defer fs.Close()
	if err := Attach(fs, path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(path, unix.MNT_DETACH) })
	mount, err = OpenTree(path, readOnly, j.UserNS())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mount.Close() })
	return mount, path
}

// packages is what an operator may have put together without care: writable by all, setuid root, a device.
func (b *bench) packages(t testing.TB, j *Jail) *os.File {
	t.Helper()
	dir := t.TempDir()
	busybox, err := os.ReadFile(filepath.Join(b.root, "bin/busybox"))
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(
		os.WriteFile(filepath.Join(dir, "f"), []byte("text\n"), 0o666), os.Chmod(filepath.Join(dir, "f"), 0o666),
		os.WriteFile(filepath.Join(dir, "busybox"), busybox, 0o755), os.Chmod(filepath.Join(dir, "busybox"), 0o755|os.ModeSetuid),
		unix.Mknod(filepath.Join(dir, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))), os.Chmod(filepath.Join(dir, "null"), 0o666),
		os.Chmod(dir, 0o777))
	if err != nil {
		t.Fatal(err)
	}
	mount, err := OpenTree(dir, true, j.UserNS())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mount.Close() })
	return mount
}

type outcome struct {
	stdout, stderr string
	exit           Exit
	err            error
}

// run builds a jail and runs a job in it; change may be nil.
func (b *bench) run(t testing.TB, script string, change func(*Spec, *Job, *Jail)) outcome {
	t.Helper()
	return b.runLoaded(t, script, change, nil, nil)
}

// runLoaded is run with a runtime loaded before, if load is not nil; it may take a minute, or what patience says.
func (b *bench) runLoaded(t testing.TB, script string, change func(*Spec, *Job, *Jail), load, env []string, patience ...time.Duration) outcome {
	t.Helper()
	j, err := b.spawner.Spawn(testIDs)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	spec := b.spec(t, j)
	workspace, _ := b.volume(t, j, false)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	out, outWrite := pipe(t)
	errs, errWrite := pipe(t)
	job := &Job{Workspace: workspace, Argv: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=/bin"},
		Stdin: null, Stdout: outWrite, Stderr: errWrite}
	if change != nil {
		change(spec, job, j)
	}
	if err := j.Build(spec); err != nil {
		return outcome{err: err}
	}
	if b.built != nil {
		b.built(j)
	}
	if load != nil {
		if err := j.Load(load, env, append(patience, time.Minute)[0]); err != nil {
			return outcome{err: err}
		}
	}
	err = j.Start(job)
	outWrite.Close()
	errWrite.Close()
	if err != nil {
		return outcome{err: err}
	}
	guard := time.AfterFunc(cmp.Or(b.patience, 2*time.Minute), j.Kill)
	defer guard.Stop()
	var o outcome
	o.exit, o.err = j.Wait()
	j.End() // as sandboxd does when it has answered
	o.stdout, o.stderr = drain(t, out), drain(t, errs)
	return o
}

func pipe(t testing.TB) (r, w *os.File) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	r, w = os.NewFile(uintptr(p[0]), "r"), os.NewFile(uintptr(p[1]), "w")
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

func memfd(t testing.TB, data string) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "test")
	t.Cleanup(func() { f.Close() })
	if _, err := f.WriteString(data); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	return f
}

func drain(t testing.TB, r io.Reader) string {
	t.Helper()
	all, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

func (o outcome) want(t *testing.T, stdout string) {
	t.Helper()
	if o.err != nil || o.stdout != stdout || o.stderr != "" || o.exit.Status != 0 {
		t.Errorf("got %q, stderr %q, status %#x, error %v; want %q", o.stdout, o.stderr, o.exit.Status, o.err, stdout)
	}
}

func TestProgramSeesItsJailAndNothingElse(t *testing.T) {
	b := newBench(t)
	for name, c := range map[string]struct{ script, want string }{
		"working directory": {"pwd", "/home/user\n"},
		"workspace":         {"echo hi >f && cat f", "hi\n"},
		"identity":          {"id -u; id -g; id -G", "1000\n1000\n1000\n"},
		"pid namespace":     {"echo $$; ls /proc >/tmp/l; grep -c '^[0-9]' /tmp/l", "2\n2\n"},
		"root is read-only": {"touch /x 2>&1; touch /bin/x 2>&1", "touch: /x: Read-only file system\ntouch: /bin/x: Read-only file system\n"},
		"root owns root":    {"stat -c '%u %g' / /bin/busybox", "0 0\n0 0\n"},
		"devices":           {"echo x >/dev/null; ls /dev", "null\nshm\n"},
		"first to go":       {"cat /proc/self/oom_score_adj", "1000\n"},
		"host name":         {"hostname", "sandbox\n"},
		"tmp":               {"echo hi >/tmp/f && cat /tmp/f; echo hi >/dev/shm/f && cat /dev/shm/f", "hi\nhi\n"},
		"capabilities":      {"grep Cap /proc/self/status | grep -vc 0000000000000000", "0\n"},
		"no new privs":      {"grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1\n"},
		"filter":            {"grep '^Seccomp:' /proc/self/status", "Seccomp:\t2\n"},
		"descriptors":       {"ls /proc/self/fd", "0\n1\n2\n3\n"}, // 3 is ls reading the folder
		"no host proc":      {"ls /proc/sys /proc/kcore 2>&1 | grep -c 'No such'", "2\n"},
		"PID 1 is hidden":   {"cat /proc/1/environ /proc/1/status 2>&1 | grep -c 'No such'", "2\n"},
		"environment":       {"env | sort", "PATH=/bin\nPWD=/home/user\nSHLVL=1\n"},
		"network":           {"ls /sys; ifconfig -a 2>/dev/null | grep -c 'HWaddr'; while :; do echo hi | nc -l -p 1234; done >/dev/null & until nc 127.0.0.1 1234 2>/dev/null | grep hi; do sleep 0.1; done", "0\nhi\n"}, // either nc may end because the other has no more to say
		"cgroup":            {"grep -v ':/$' /proc/self/cgroup", ""},
		"own session":       {"read a b c d e f rest </proc/self/stat; test $e = $f; echo $e", "2\n"},
		"umask":             {"umask", "0022\n"},
		"no namespaces":     {"unshare -U true 2>&1", "unshare: unshare(0x10000000): No space left on device\n"}, // no filter is in the way here
	} {
		t.Run(name, func(t *testing.T) {
			o := b.run(t, c.script, nil)
			o.exit.Status = 0
			o.want(t, c.want)
		})
	}
}

func TestSignalsAreDefault(t *testing.T) {
	b := newBench(t)
	// Without a shell in between: ash ignores SIGQUIT itself.
	o := b.run(t, "", func(_ *Spec, job *Job, _ *Jail) {
		job.Argv = []string{"/bin/grep", "-E", "Sig(Blk|Ign|Cgt)", "/proc/self/status"}
	})
	o.want(t, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\nSigCgt:\t0000000000000000\n")
}

// What sandboxd was started with open, by a shell or a CI runner, ends with it: no PID 1 holds it, and FDSize does not tell of it.
func TestInheritedDescriptorsEndInTheSpawner(t *testing.T) {
	ours, err := unix.FcntlInt(0, unix.F_DUPFD, 200) // without close-on-exec, unknown to Go
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ours)
	b := newBench(t)
	open, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(b.spawner.PID()), "fd"))
	if err != nil {
		t.Fatal(err)
	}
	var numbers []string
	for _, fd := range open {
		numbers = append(numbers, fd.Name())
	}
	if got := strings.Join(numbers, " "); got != "0 1 2 3" {
		t.Errorf("the spawner has %s open, want 0 1 2 3", got)
	}
	if r := b.run(t, "grep FDSize /proc/self/status", nil); r.stdout != "FDSize:\t64\n" {
		t.Errorf("a program sees %q, want 64 as on a plain machine", r.stdout)
	}
}

func TestExitIsReported(t *testing.T) {
	b := newBench(t)
	if o := b.run(t, "exit 3", nil); o.err != nil || o.exit.Status.ExitStatus() != 3 {
		t.Errorf("exit 3: %+v", o)
	}
	if o := b.run(t, "kill -SEGV $$", nil); o.err != nil || o.exit.Status.Signal() != unix.SIGSEGV {
		t.Errorf("SIGSEGV: %+v", o)
	}
}

func TestExecFailureIsOurError(t *testing.T) {
	b := newBench(t)
	o := b.run(t, "", func(_ *Spec, job *Job, _ *Jail) { job.Argv = []string{"/bin/none"} })
	if want := "jail: exec /bin/none: no such file or directory"; o.err == nil || o.err.Error() != want {
		t.Errorf("got %v, want %s", o.err, want)
	}
	var step *StepError
	if !errors.As(o.err, &step) || step.Stage != StageExec || step.File != -1 {
		t.Errorf("got %+v", step)
	}
}

// CVE-2019-5736: before exec /proc/self/exe is a copy of sandboxd's own binary.
func TestExecFollowsNoMagicLink(t *testing.T) {
	b := newBench(t)
	o := b.run(t, "", func(_ *Spec, job *Job, _ *Jail) { job.Argv = []string{"/proc/self/exe"} })
	if want := "jail: exec /proc/self/exe: too many levels of symbolic links"; o.err == nil || o.err.Error() != want {
		t.Errorf("got %v, want %s", o.err, want)
	}
}

func TestKillEndsEverything(t *testing.T) {
	b := newBench(t)
	b.patience = 300 * time.Millisecond
	for name, script := range map[string]string{
		"stopped":     "kill -STOP $$; sleep 600",
		"forking":     "f() { f | f & }; f; sleep 600",
		"new session": "setsid sleep 600 & sleep 600",
		"ignoring":    "trap '' TERM INT HUP; while :; do sleep 1; done",
	} {
		t.Run(name, func(t *testing.T) {
			o := b.run(t, script, func(s *Spec, _ *Job, _ *Jail) {
				s.Rlimits = []Rlimit{{unix.RLIMIT_NPROC, 100, 100}} // the storm must not reach the test machine
			})
			if !errors.Is(o.err, ErrKilled) {
				t.Errorf("got %+v, want ErrKilled", o)
			}
		})
	}
}

func TestWhatIsLeftBehindDies(t *testing.T) {
	b := newBench(t)
	start := time.Now()
	o := b.run(t, "(setsid sleep 600 &) ; echo out", nil)
	o.want(t, "out\n") // the pipe ends although sleep held it
	if time.Since(start) > time.Minute {
		t.Error("a process of the jail outlived the main process")
	}
}

func TestSpecFields(t *testing.T) {
	b := newBench(t)
	b.run(t, "hostname", func(s *Spec, _ *Job, _ *Jail) { s.Hostname = "other" }).want(t, "other\n")
	b.run(t, "ulimit -n; ulimit -Hn", func(s *Spec, _ *Job, _ *Jail) {
		s.Rlimits = []Rlimit{{unix.RLIMIT_NOFILE, 77, 99}}
	}).want(t, "77\n99\n")
	b.run(t, "for f in /tmp/f /dev/shm/f; do yes | head -c 300000 2>/dev/null >$f; stat -c %s $f; done",
		func(s *Spec, _ *Job, _ *Jail) { s.Tmp.Bytes = 256 << 10 }).want(t, "262144\n262144\n")
	b.run(t, "touch /tmp/1 /tmp/2 /tmp/3 /tmp/4 /tmp/5 2>/dev/null; ls /tmp | wc -l",
		func(s *Spec, _ *Job, _ *Jail) { s.Tmp.Inodes = 5 }).want(t, "4\n")
	b.run(t, "ls -a /packages", nil).want(t, ".\n..\n")
	b.run(t, "cat /packages/f; { echo x >/packages/f; } 2>&1; /packages/busybox id -u; grep -o ' /packages ro,nosuid,nodev' /proc/self/mountinfo; { echo >/packages/null; } 2>&1; true", func(s *Spec, _ *Job, j *Jail) { s.Packages = b.packages(t, j) }).
		want(t, "text\n/bin/sh: can't create /packages/f: Read-only file system\n1000\n /packages ro,nosuid,nodev\n/bin/sh: can't create /packages/null: Permission denied\n")
	door, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	var built *Jail
	b.run(t, "echo x", func(s *Spec, _ *Job, j *Jail) { s.Doors, built = []*os.File{door, door}, j }).want(t, "x\n")
	if got, err := os.ReadFile(door.Name()); err != nil || string(got) != "00" {
		t.Errorf("the runner wrote %q to its doors: %v", got, err)
	}
	if pid := built.RunnerPID(); pid <= 2 {
		t.Errorf("the runner has PID %d, want that which the host sees", pid)
	}
	shut, err := os.Open(door.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer shut.Close()
	if o := b.run(t, "", func(s *Spec, _ *Job, _ *Jail) { s.Doors = []*os.File{door, shut} }); o.err == nil || o.err.Error() != "jail: join cgroup: bad file descriptor" {
		t.Errorf("a door that does not let in: %v", o.err)
	}
	killAll := binary.NativeEndian.AppendUint32([]byte{0x06, 0, 0, 0}, unix.SECCOMP_RET_KILL_PROCESS)
	if o := b.run(t, "", func(s *Spec, _ *Job, _ *Jail) { s.Filter = killAll }); o.err == nil {
		t.Error("Filter was not loaded")
	}
	if o := b.run(t, "", func(s *Spec, _ *Job, _ *Jail) { s.InitFilter = killAll }); o.err == nil {
		t.Error("InitFilter was not loaded")
	}
}

func TestJobFields(t *testing.T) {
	b := newBench(t)
	t.Run("stdin", func(t *testing.T) {
		b.run(t, "cat", func(_ *Spec, job *Job, _ *Jail) { job.Stdin = memfd(t, "in\x00put") }).want(t, "in\x00put")
	})
	t.Run("files", func(t *testing.T) {
		b.run(t, "cat a b/c/d; cat b/e; stat -c '%a %u' b a", func(_ *Spec, job *Job, _ *Jail) {
			job.Contents = memfd(t, "AAABBCCCC")
			job.Files = []File{{"a", 3}, {"b/c/d", 2}, {"b/e", 4}}
		}).want(t, "AAABBCCCC755 1000\n644 1000\n")
	})
	t.Run("files too short", func(t *testing.T) {
		o := b.run(t, "", func(_ *Spec, job *Job, _ *Jail) {
			job.Contents = memfd(t, "A")
			job.Files = []File{{"a", 1}, {"b", 2}}
		})
		var step *StepError
		if !errors.As(o.err, &step) || step.Stage != StageFile || step.File != 1 || step.Errno != unix.ENODATA {
			t.Errorf("got %v", o.err)
		}
	})
	t.Run("environ", func(t *testing.T) {
		env := memfd(t, "")
		b.run(t, "printf 'A=1\\0' >/tmp/.environ", func(_ *Spec, job *Job, _ *Jail) { job.Environ = env }).want(t, "")
		got := make([]byte, 100)
		if n, _ := env.ReadAt(got, 0); string(got[:n]) != "A=1\x00" {
			t.Errorf("environ is %q", got[:n])
		}
		for name, script := range map[string]string{"link": "ln -s /bin/busybox /tmp/.environ", "fifo": "mkfifo /tmp/.environ", "folder": "mkdir /tmp/.environ"} {
			env := memfd(t, "")
			b.run(t, script, func(_ *Spec, job *Job, _ *Jail) { job.Environ = env }).want(t, "")
			if n, _ := env.ReadAt(got, 0); n != 0 {
				t.Errorf("%s: %d bytes of something that is no plain file came out", name, n)
			}
		}
	})
	t.Run("build", func(t *testing.T) {
		b.run(t, "touch /build/x 2>&1; stat -c %u /build", func(_ *Spec, job *Job, j *Jail) {
			job.Build, _ = b.volume(t, j, true)
		}).want(t, "touch: /build/x: Read-only file system\n1000\n")
	})
	t.Run("argv and env", func(t *testing.T) {
		b.run(t, "", func(_ *Spec, job *Job, _ *Jail) {
			job.Argv = []string{"/bin/sh", "-c", `echo "$0|$1|$2|$X"`, "zero", "", "two words"}
			job.Env = []string{"X=a=b"}
		}).want(t, "zero||two words|a=b\n")
	})
}

// A workspace that a program of the same session prepared must not lead anything of ours astray.
func TestHostileWorkspace(t *testing.T) {
	b := newBench(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		prepare func(dir string) error
		want    error
	}{
		"link":      {func(d string) error { return os.Symlink(secret, filepath.Join(d, "f")) }, nil},
		"fifo":      {func(d string) error { return unix.Mkfifo(filepath.Join(d, "f"), 0o666) }, nil},
		"folder":    {func(d string) error { return os.Mkdir(filepath.Join(d, "f"), 0o755) }, unix.EISDIR},
		"read-only": {func(d string) error { return os.WriteFile(filepath.Join(d, "f"), nil, 0) }, nil},
		"hard link": {func(d string) error {
			return errors.Join(os.WriteFile(filepath.Join(d, "g"), nil, 0o644), os.Link(filepath.Join(d, "g"), filepath.Join(d, "f")))
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			o := b.run(t, "cat f", func(_ *Spec, job *Job, j *Jail) {
				mount, dir := b.volume(t, j, false)
				if err := c.prepare(dir); err != nil {
					t.Fatal(err)
				}
				job.Workspace = mount
				job.Contents = memfd(t, "mine")
				job.Files = []File{{"f", 4}}
			})
			if c.want != nil {
				if !errors.Is(o.err, c.want) {
					t.Errorf("got %v, want %v", o.err, c.want)
				}
				return
			}
			o.want(t, "mine")
		})
	}
	if data, _ := os.ReadFile(secret); !bytes.Equal(data, []byte("secret")) {
		t.Errorf("the file behind the link now holds %q", data)
	}
}

func TestDeadSpawnerIsNoticed(t *testing.T) {
	s, err := Start(1)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := unix.Kill(s.PID(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.Dead():
	case <-time.After(time.Minute):
		t.Error("nobody noticed")
	}
	if _, err := s.Spawn(testIDs); err == nil {
		t.Error("a dead spawner made a jail")
	}
}

func TestFailingStepIsNamed(t *testing.T) {
	b := newBench(t)
	o := b.run(t, "", func(s *Spec, _ *Job, _ *Jail) { s.Tmp.Bytes = -1 })
	if o.err == nil || !strings.HasPrefix(o.err.Error(), "jail: mount tmpfs on /jail/tmp: ") {
		t.Errorf("got %v", o.err)
	}
}

func BenchmarkBuild(b *testing.B) {
	bench := newBench(b)
	for b.Loop() {
		j, err := bench.spawner.Spawn(testIDs)
		if err != nil {
			b.Fatal(err)
		}
		if err := j.Build(bench.spec(b, j)); err != nil {
			b.Fatal(err)
		}
		j.Close()
	}
}

func BenchmarkRun(b *testing.B) {
	bench := newBench(b)
	var total time.Duration
	for range b.N {
		j, err := bench.spawner.Spawn(testIDs)
		if err != nil {
			b.Fatal(err)
		}
		if err := j.Build(bench.spec(b, j)); err != nil {
			b.Fatal(err)
		}
		workspace, _ := bench.volume(b, j, false)
		null, _ := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		start := time.Now()
		if err := j.Start(&Job{Workspace: workspace, Argv: []string{"/bin/true"}, Stdin: null, Stdout: null, Stderr: null}); err != nil {
			b.Fatal(err)
		}
		if _, err := j.Wait(); err != nil {
			b.Fatal(err)
		}
		total += time.Since(start)
		null.Close()
		j.Close()
	}
	b.ReportMetric(float64(total.Microseconds())/float64(b.N), "us/run")
}

// A call that the filter hands over is the listener's to answer; closing it denies the call, and a call that nobody answers keeps no jail alive.
func TestListener(t *testing.T) {
	b := newBench(t)
	var handOver []byte // sethostname goes to the listener
	for _, i := range []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.SYS_SETHOSTNAME},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	} {
		handOver = append(binary.NativeEndian.AppendUint16(handOver, i.Code), i.Jt, i.Jf)
		handOver = binary.NativeEndian.AppendUint32(handOver, i.K)
	}
	for _, end := range []string{"close", "kill"} {
		j, err := b.spawner.Spawn(testIDs)
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		spec := b.spec(t, j)
		spec.Filter, spec.Listen = handOver, true
		if err := j.Build(spec); err != nil {
			t.Fatal(err)
		}
		workspace, _ := b.volume(t, j, false)
		out, outWrite := pipe(t)
		err = j.Start(&Job{Workspace: workspace, Argv: []string{"/bin/sh", "-c", "echo before; hostname x 2>&1; echo after"}, Env: []string{"PATH=/bin"}, Stdout: outWrite})
		outWrite.Close()
		if err != nil {
			t.Fatal(err)
		}
		raw, err := j.Listener().SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		err = raw.Read(func(fd uintptr) bool { // Go's runtime polls it
			poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			n, err := unix.Poll(poll, 0)
			return err != nil || n > 0
		})
		if err != nil {
			t.Fatal(err)
		}
		want := "before\nhostname: sethostname: Function not implemented\nafter\n"
		if end == "close" {
			j.Listener().Close()
		} else {
			want = "before\n"
			j.Kill()
		}
		if _, err := j.Wait(); (end == "kill") != errors.Is(err, ErrKilled) {
			t.Errorf("%s: %v", end, err)
		}
		if got := drain(t, out); got != want {
			t.Errorf("%s: %q, want %q", end, got, want)
		}
	}
}

// Were an empty path the working directory, a volume whose path got lost would be everything that a vault holds.
func TestOpenTreeWantsAPath(t *testing.T) {
	mount, err := OpenTree("", true, nil)
	if !errors.Is(err, unix.ENOENT) {
		t.Errorf("%v, %v", mount, err)
	}
}
