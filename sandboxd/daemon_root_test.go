package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/wire"
)

// These tests run a whole daemon over an image of busybox alone. They need root, and fail without it.

// busyboxImage makes an image in the layout of docs/languages.md.
func busyboxImage(t *testing.T) string {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal("busybox is missing: apt-get install busybox-static")
	}
	dir := t.TempDir()
	for _, d := range []string{"home/user", "build", "packages", "tmp", "proc", "dev", "sys", "bin", "etc"} {
		if err := os.MkdirAll(filepath.Join(dir, "rootfs", d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, content string, mode os.FileMode) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("rootfs/bin/busybox", string(data), 0o755)
	write("image.json", `{"digest":"test"}`, 0o644)
	write("languages/toy/jail.json", `{"templates":{"run":{"pool":2,"pool_max":2,"pids":32},"compile":{"pool":1,"pool_max":1,"pids":32},"cold":{"pool":0}}}`, 0o644)
	if out, err := exec.Command("chroot", filepath.Join(dir, "rootfs"), "/bin/busybox", "--install", "-s", "/bin").CombinedOutput(); err != nil {
		t.Fatalf("install busybox: %v: %s", err, out)
	}
	return dir
}

// hang bounds every wait for something that should come at once. It is long, because the machine may be busy.
const hang = 3 * time.Minute

// said is a log that is read while it is written.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

// take is what was said since the last time.
func (s *said) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.text.Reset()
	return s.text.String()
}

// testDaemon is a daemon with a client.
type testDaemon struct {
	t      *testing.T
	log    said
	d      *daemon
	client *wire.Client
	config config
}

func startDaemon(t *testing.T, change func(*config)) *testDaemon {
	t.Helper()
	c := defaultConfig()
	c.Image, c.Profiles, c.User = busyboxImage(t), "../seccomp-profiles", "0"
	c.Socket = filepath.Join(t.TempDir(), "s.sock")
	c.CgroupParent = fmt.Sprintf("runtools-sandboxd-test-%d", os.Getpid())
	c.MaxJails, c.SelftestEvery = 100, 0
	if change != nil {
		change(&c)
	}
	if problems := checkHost(&c); len(problems) > 0 {
		t.Fatal(errHost(problems))
	}
	td := &testDaemon{t: t, client: &wire.Client{Path: c.Socket}, config: c}
	td.start()
	t.Cleanup(func() {
		td.stop()
		if err := forget(&td.config); err != nil {
			t.Error(err)
		}
		td.wantNothingLeft()
	})
	return td
}

func (td *testDaemon) start() {
	td.t.Helper()
	var err error
	if td.d, err = start(&td.config, slog.New(slog.NewTextHandler(io.MultiWriter(td.t.Output(), &td.log), nil))); err != nil {
		td.t.Fatal(err)
	}
	go td.d.server.serve()
}

func (td *testDaemon) stop() {
	td.t.Helper()
	td.d.server.drain(time.Second)
	if err := td.d.close(); err != nil {
		td.t.Error(err)
	}
}

func (td *testDaemon) wantNothingLeft() {
	td.t.Helper()
	left, _ := filepath.Glob("/sys/fs/cgroup/*/" + td.config.CgroupParent)
	more, _ := filepath.Glob("/sys/fs/cgroup/" + td.config.CgroupParent)
	if left = append(left, more...); len(left) > 0 {
		td.t.Errorf("cgroups left: %v", left)
	}
	if _, err := os.Stat(td.config.Socket); err == nil {
		td.t.Error("the socket is left")
	}
	if _, err := os.Stat(anchorFolder(&td.config)); err == nil {
		td.t.Error("the anchors are left")
	}
}

type ran struct {
	*wire.Result
	stdout, stderr string
	err            error
}

// run runs a shell script as a job; change may be nil.
func (td *testDaemon) run(script string, change func(*wire.Job)) ran {
	td.t.Helper()
	job := &wire.Job{Template: "toy/run", Argv: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=/bin"}, Limits: wire.Limits{WallMS: 30_000}}
	if change != nil {
		change(job)
	}
	return td.runJob(context.Background(), job, nil)
}

func (td *testDaemon) runJob(ctx context.Context, job *wire.Job, kill chan wire.Kill, more ...*os.File) (r ran) {
	var ends [2]*os.File
	var texts [2]chan string
	for i := range ends {
		read, write, err := os.Pipe()
		if err != nil {
			return ran{err: err}
		}
		ends[i], texts[i] = write, make(chan string, 1)
		go func() { // while the job runs: it may write more than a pipe holds
			defer read.Close()
			data, _ := io.ReadAll(read)
			texts[i] <- string(data)
		}()
	}
	r.Result, r.err = td.client.Run(ctx, job, kill, append(ends[:], more...)...)
	ends[0].Close()
	ends[1].Close()
	r.stdout, r.stderr = <-texts[0], <-texts[1]
	return r
}

// runWithFiles runs a script with files in the given workspace.
func (td *testDaemon) runWithFiles(script, contents string, files []wire.File, workspace wire.Volume) ran {
	td.t.Helper()
	fd, err := unix.MemfdCreate("files", unix.MFD_CLOEXEC)
	if err != nil {
		td.t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "files")
	defer f.Close()
	if _, err := f.WriteString(contents); err != nil {
		td.t.Fatal(err)
	}
	job := &wire.Job{Template: "toy/run", Argv: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=/bin"}, Limits: wire.Limits{WallMS: 30_000},
		Files: files, HasFiles: true, Workspace: workspace}
	return td.runJob(context.Background(), job, nil, f)
}

func wantCode(t *testing.T, err error, code wire.Code) {
	t.Helper()
	var w *wire.Error
	if !errors.As(err, &w) || w.Code != code {
		t.Errorf("got %v, want an error of code %s", err, code)
	}
}

func TestJobs(t *testing.T) {
	td := startDaemon(t, nil)
	t.Run("hello", func(t *testing.T) {
		r := td.run("echo hi; echo err >&2; exit 3", nil)
		if r.err != nil || r.stdout != "hi\n" || r.stderr != "err\n" || r.Code != 3 || r.Signal != 0 || r.Limit != "" {
			t.Errorf("%+v", r)
		}
		if r.WallNS <= 0 || r.CPUNS <= 0 || r.MemoryPeak <= 0 || r.MemoryMax != td.config.MemoryBytes || r.WorkspaceFiles != 1 {
			t.Errorf("usage %+v", r.Result)
		}
	})
	t.Run("cold template", func(t *testing.T) {
		r := td.run("echo hi", func(j *wire.Job) { j.Template = "toy/cold" })
		if r.err != nil || r.stdout != "hi\n" || r.PoolHit {
			t.Errorf("%+v", r)
		}
	})
	t.Run("unknown template", func(t *testing.T) {
		wantCode(t, td.run("", func(j *wire.Job) { j.Template = "toy/none" }).err, wire.CodeUnknownTemplate)
	})
	t.Run("unknown program", func(t *testing.T) {
		wantCode(t, td.run("", func(j *wire.Job) { j.Argv = []string{"/bin/none"} }).err, wire.CodeExec)
	})
	t.Run("invalid", func(t *testing.T) {
		wantCode(t, td.run("", func(j *wire.Job) { j.Argv = nil }).err, wire.CodeInvalid)
	})
	t.Run("signal", func(t *testing.T) {
		if r := td.run("kill -SEGV $$", nil); r.err != nil || r.Signal != int(unix.SIGSEGV) || r.Limit != "" {
			t.Errorf("%+v", r)
		}
	})
}

func TestLimitsFire(t *testing.T) {
	td := startDaemon(t, nil)
	for name, c := range map[string]struct {
		script string
		limits wire.Limits
		want   string
	}{
		"wall":            {"echo out; sleep 600", wire.Limits{WallMS: 200}, wire.LimitWall},
		"wall, stopped":   {"echo out; kill -STOP $$", wire.Limits{WallMS: 200}, wire.LimitWall},
		"wall, storm":     {"echo out; f() { f | f & }; f & exec sleep 600", wire.Limits{WallMS: 500}, wire.LimitWall},
		"cpu":             {"echo out; while :; do :; done", wire.Limits{WallMS: 60_000, CPUMS: 200}, wire.LimitCPU},
		"cpu, children":   {"echo out; (while :; do :; done) & (while :; do :; done) & wait", wire.Limits{WallMS: 60_000, CPUMS: 200}, wire.LimitCPU},
		"memory":          {"echo out; : | dd bs=100M count=1 if=/dev/zero of=/dev/null", wire.Limits{WallMS: hang.Milliseconds(), MemoryBytes: 32 << 20}, wire.LimitMemory},
		"memory in files": {"echo out; head -c 100000000 /dev/zero >/dev/shm/x; sleep 600", wire.Limits{WallMS: hang.Milliseconds(), MemoryBytes: 32 << 20}, wire.LimitMemory},
	} {
		t.Run(name, func(t *testing.T) {
			var r ran
			for limits := c.limits; limits.WallMS <= hang.Milliseconds(); limits.WallMS *= 4 {
				if r = td.run(c.script, func(j *wire.Job) { j.Limits = limits }); r.stdout != "" || r.Limit != wire.LimitWall {
					break // else the machine was too busy for it to begin
				}
			}
			// The shell may be quick enough to end by itself, with the signal of its child.
			killed := r.Signal == int(unix.SIGKILL) || name == "memory" && r.Code == 128+int(unix.SIGKILL)
			if r.err != nil || r.Limit != c.want || r.stdout != "out\n" || !killed {
				t.Errorf("%+v %+v, want limit %s and the output until then", r, r.Result, c.want)
			}
			if clean := td.run("echo clean", nil); clean.stdout != "clean\n" || clean.Limit != "" {
				t.Errorf("the next job: %+v", clean)
			}
		})
	}
}

// A wall time that is over before the program begins counts from there all the same.
func TestWallTimeShorterThanTheStart(t *testing.T) {
	td := startDaemon(t, nil)
	files := map[string]string{} // that take longer
	for i := range 900 {
		files[fmt.Sprintf("%d/%d", i, i)] = "x"
	}
	for range 3 {
		job := &wire.Job{Template: "toy/run", Argv: []string{"/bin/sleep", "600"}, Limits: wire.Limits{WallMS: 1}}
		r := td.runJobWithFiles(t, job, files)
		if r.err != nil || r.Limit != wire.LimitWall || time.Duration(r.WallNS) > placing-10*time.Second {
			t.Errorf("%v %+v", r.err, r.Result)
		}
	}
}

func TestKillByClient(t *testing.T) {
	td := startDaemon(t, nil)
	kill := make(chan wire.Kill, 1)
	kill <- wire.Kill{Limit: wire.LimitStderr}
	r := td.runJob(context.Background(), &wire.Job{Template: "toy/run", Argv: []string{"/bin/sleep", "600"}}, kill)
	if r.err != nil || r.Limit != wire.LimitStderr {
		t.Errorf("%+v", r)
	}
}

func TestHangUpKillsTheTree(t *testing.T) {
	td := startDaemon(t, nil)
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(300*time.Millisecond, cancel)
	start := time.Now()
	r := td.runJob(ctx, &wire.Job{Template: "toy/run", Argv: []string{"/bin/sh", "-c", "setsid sleep 600 & sleep 600"}}, nil)
	if !errors.Is(r.err, context.Canceled) {
		t.Errorf("%+v", r)
	}
	// runJob has read both pipes to their end: nobody holds them any more.
	if time.Since(start) > hang {
		t.Error("the tree outlived the connection")
	}
}

func TestWorkspaces(t *testing.T) {
	td := startDaemon(t, nil)
	with := func(v wire.Volume) func(*wire.Job) { return func(j *wire.Job) { j.Workspace = v } }
	if r := td.run("echo kept >f", with(wire.Volume{ID: "a", New: true})); r.err != nil || r.WorkspaceFiles != 2 || r.WorkspaceBytes != 4096 {
		t.Fatalf("%+v", r)
	}
	if r := td.run("cat f; stat -c '%u %g' f", with(wire.Volume{ID: "a"})); r.stdout != "kept\n1000 1000\n" {
		t.Errorf("%+v", r)
	}
	wantCode(t, td.run("", with(wire.Volume{ID: "a", New: true})).err, wire.CodeVolumeInUse)
	wantCode(t, td.run("", with(wire.Volume{ID: "b"})).err, wire.CodeUnknownVolume)
	if r := td.run("ls", nil); r.stdout != "" {
		t.Errorf("a job of no session found %q", r.stdout)
	}
	if err := td.client.Forget(context.Background(), "a", "never-there"); err != nil {
		t.Error(err)
	}
	wantCode(t, td.run("", with(wire.Volume{ID: "a"})).err, wire.CodeUnknownVolume)
}

// A volume is dropped only if nothing at all was changed in it, and nobody is left who could.
func TestUnchangedWorkspaceIsDropped(t *testing.T) {
	td := startDaemon(t, nil)
	const contents = "print(1)\nsecond"
	for name, c := range map[string]struct {
		script  string
		dropped bool
	}{
		"reads":              {"cat a b/c/d >/dev/null; echo x >/tmp/x", true},
		"exit code":          {"exit 3", true},
		"signal":             {"kill -SEGV $$", true},
		"new file":           {": >new", false},
		"new folder":         {"mkdir new", false},
		"new link":           {"ln -s a new", false},
		"hard link":          {"ln a new", false},
		"hard link in place": {"rm b/c/d; ln a b/c/d", false},
		"removed":            {"rm a", false},
		"moved":              {"mv a new", false},
		"rewritten":          {"printf 'print(2)\\n' >a", false},
		"shorter":            {"printf 'print' >a", false},
		"longer":             {"echo >>a", false},
		"same bytes again":   {"cat a >/tmp/a; cat /tmp/a >a", true},
		"mode":               {"chmod 600 a", false},
		"unreadable":         {"chmod 0 a", false},
		"mode of a folder":   {"chmod 700 b/c", false},
		"mode of the root":   {"chmod 700 .", false},
		"fifo in place":      {"rm a; mkfifo a", false},
		"link in place":      {"cp a /tmp/a; rm a; ln -s /tmp/a a", false},
		"folder in place":    {"rm a; mkdir a", false},
		"link above":         {"cp -r b /tmp/b; rm -r b; ln -s /tmp/b b; mkdir x x/y; cp a x/y/z", false},
		"straggler":          {"(sleep 600 &)", false},
	} {
		t.Run(name, func(t *testing.T) {
			r := td.runWithFiles(c.script, contents, []wire.File{{Name: "a", Size: 9}, {Name: "b/c/d", Size: 6}},
				wire.Volume{ID: "w", New: true, DropUnchanged: true})
			if r.err != nil || r.WorkspaceDropped != c.dropped {
				t.Fatalf("%+v %+v, want dropped: %v", r, r.Result, c.dropped)
			}
			if again := td.run("true", func(j *wire.Job) { j.Workspace = wire.Volume{ID: "w"} }); (again.err != nil) != c.dropped {
				t.Errorf("the next job: %v", again.err)
			}
			if err := td.client.Forget(context.Background(), "w"); err != nil {
				t.Fatal(err)
			}
		})
	}
	if r := td.run("true", func(j *wire.Job) { j.Workspace = wire.Volume{ID: "e", New: true, DropUnchanged: true} }); r.err != nil || !r.WorkspaceDropped {
		t.Errorf("an empty workspace: %+v", r)
	}
}

func TestWorkspaceIsBounded(t *testing.T) {
	td := startDaemon(t, func(c *config) { c.WorkspaceBytes, c.WorkspaceFiles = 64<<10, 8 })
	r := td.run("yes | head -c 100000 >big 2>/dev/null; stat -c %s big; rm big; touch 1 2 3 4 5 6 7 8 9 2>/dev/null; ls | wc -l", nil)
	if r.stdout != "65536\n7\n" {
		t.Errorf("%+v", r)
	}
}

func TestOneJobAtATimeInAWorkspace(t *testing.T) {
	td := startDaemon(t, nil)
	stdin, end := pipeEnds(t)
	done := make(chan ran)
	go func() {
		job := &wire.Job{Template: "toy/run", Argv: []string{"/bin/cat"}, Workspace: wire.Volume{ID: "w", New: true}, HasStdin: true}
		done <- td.runJob(t.Context(), job, nil, stdin)
	}()
	td.wantHolders("w", 1)
	wantCode(t, td.run("", func(j *wire.Job) { j.Workspace = wire.Volume{ID: "w"} }).err, wire.CodeVolumeInUse)
	end.Close()
	if r := <-done; r.err != nil {
		t.Error(r.err)
	}
	// At once after an answer the jail of the last job may still be there: the next one waits for it.
	for range 50 {
		if r := td.run("echo x >>f", func(j *wire.Job) { j.Workspace = wire.Volume{ID: "w"} }); r.err != nil {
			t.Fatal(r.err)
		}
	}
}

// holders is how many jobs have a volume.
func (td *testDaemon) holders(id string) int {
	vs := td.d.server.volumes
	vs.mu.Lock()
	defer vs.mu.Unlock()
	if vs.byID[id] == nil {
		return 0
	}
	return vs.byID[id].held
}

// wantHolders waits until n jobs have a volume.
func (td *testDaemon) wantHolders(id string, n int) {
	td.t.Helper()
	for deadline := time.Now().Add(hang); td.holders(id) != n; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			td.t.Fatalf("%d jobs have the volume %s, want %d", td.holders(id), id, n)
		}
	}
}

func TestBuildVolume(t *testing.T) {
	td := startDaemon(t, nil)
	build := func(script string, v wire.Volume) ran {
		return td.run(script, func(j *wire.Job) { j.Template, j.Build = "toy/compile", v })
	}
	if r := build("echo 'echo built' >/build/main; chmod +x /build/main", wire.Volume{ID: "x", New: true}); r.err != nil || r.BuildBytes != 4096 {
		t.Fatalf("%+v", r)
	}
	if r := build("/build/main; touch /build/y 2>&1", wire.Volume{ID: "x"}); r.stdout != "built\ntouch: /build/y: Read-only file system\n" {
		t.Errorf("%+v", r)
	}
	if r := build("echo x >/build/main; exit 1", wire.Volume{ID: "failed", New: true}); r.err != nil {
		t.Error(r.err)
	}
	wantCode(t, build("", wire.Volume{ID: "failed"}).err, wire.CodeUnknownBuild)
}

// Any number of jobs run from one build volume at a time; who would write to it is refused. Given up meanwhile, it stays until the last of
// them ends, and is gone for everybody else.
func TestBuildVolumeIsShared(t *testing.T) {
	td := startDaemon(t, nil)
	in := func(script string, v wire.Volume) ran {
		return td.run(script, func(j *wire.Job) { j.Template, j.Build = "toy/compile", v })
	}
	if r := in("echo built >/build/main", wire.Volume{ID: "x", New: true}); r.err != nil {
		t.Fatal(r.err)
	}
	stdin, end, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	var all sync.WaitGroup
	const readers = 8
	for range readers {
		all.Go(func() {
			r := td.runJob(context.Background(), &wire.Job{Template: "toy/run", Argv: []string{"/bin/sh", "-c", "read x; cat /build/main"},
				Env: []string{"PATH=/bin"}, Build: wire.Volume{ID: "x"}, HasStdin: true}, nil, stdin)
			if r.err != nil || r.stdout != "built\n" {
				t.Errorf("%+v", r)
			}
		})
	}
	td.wantHolders("x", readers)
	for range 4 { // one that ends takes it from nobody
		if r := in("cat /build/main", wire.Volume{ID: "x"}); r.err != nil || r.stdout != "built\n" {
			t.Errorf("%+v", r)
		}
	}
	td.wantHolders("x", readers)
	if n, err := td.d.server.volumes.forgetIdle(time.Now().Add(time.Hour)); n != 0 || err != nil {
		t.Errorf("%d volumes in use were taken for idle: %v", n, err)
	}
	wantCode(t, td.run("", func(j *wire.Job) { j.Workspace = wire.Volume{ID: "x"} }).err, wire.CodeVolumeInUse)
	wantCode(t, in("", wire.Volume{ID: "x", New: true}).err, wire.CodeVolumeInUse)
	if err := td.client.Forget(context.Background(), "x"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, in("", wire.Volume{ID: "x"}).err, wire.CodeUnknownBuild)
	end.Close()
	all.Wait()
	td.wantOnlyPools(t)
}

// A workspace may be copied by several jobs at a time, none of which can change it. Who takes it for its own afterwards waits for their jails to
// be gone, however soon it comes.
func TestWorkspaceIsCopied(t *testing.T) {
	td := startDaemon(t, nil)
	workspace := func(id string, isNew bool) func(*wire.Job) {
		return func(j *wire.Job) { j.Workspace = wire.Volume{ID: id, New: isNew} }
	}
	if r := td.run("echo old >f", workspace("w", true)); r.err != nil {
		t.Fatal(r.err)
	}
	for round := range 10 {
		var all sync.WaitGroup
		for i := range 3 {
			all.Go(func() {
				id := fmt.Sprintf("copy%d-%d", round, i)
				r := td.run("cp -a /build/. . && cat f; echo x 2>/dev/null >/build/f || echo refused", func(j *wire.Job) {
					j.Workspace, j.Build = wire.Volume{ID: id, New: true}, wire.Volume{ID: "w"}
				})
				if r.err != nil || r.stdout != "old\nrefused\n" {
					t.Errorf("%+v", r)
				}
			})
		}
		all.Wait()
		if r := td.run("cat f", workspace("w", false)); r.err != nil || r.stdout != "old\n" {
			t.Errorf("%+v", r)
		}
	}
	if r := td.run("echo own >>f; cat f", workspace("copy0-0", false)); r.err != nil || r.stdout != "old\nown\n" {
		t.Errorf("%+v", r)
	}
}

// A just-written program must start, however many others are being written and started: no process of ours may hold it open for
// writing (ETXTBSY; go-judge 4ef8811).
func TestNoTextFileBusy(t *testing.T) {
	td := startDaemon(t, nil)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 10 {
				id := fmt.Sprintf("b-%d-%d", w, i)
				c := td.run("cp /bin/busybox /build/echo", func(j *wire.Job) { j.Template, j.Build = "toy/compile", wire.Volume{ID: id, New: true} })
				r := td.run("", func(j *wire.Job) { j.Build, j.Argv = wire.Volume{ID: id}, []string{"/build/echo", "ran"} })
				if c.err != nil || r.err != nil || r.stdout != "ran\n" {
					t.Errorf("%v %+v", c.err, r)
				}
			}
		})
	}
	wg.Wait()
}

func TestNothingLeaks(t *testing.T) {
	td := startDaemon(t, func(c *config) { c.Networks = 1 }) // more would still be filling up
	settle := func() (fds []string, st *wire.Status) {
		for deadline := time.Now().Add(hang); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			var err error
			if st, err = td.client.Status(context.Background(), &wire.StatusRequest{}); err != nil {
				t.Fatal(err)
			}
			ready := 0
			for _, template := range st.Templates {
				ready += template.Ready
			}
			if ready == 3 && st.LiveJails == 3 && st.Jobs == 0 && st.Volumes == 3 { // the pools: 2 + 1
				break
			}
		}
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			target, _ := os.Readlink("/proc/self/fd/" + e.Name())
			fds = append(fds, target)
		}
		slices.Sort(fds)
		return fds, st
	}
	round := func() {
		td.run("echo hi", nil)
		td.run("", func(j *wire.Job) { j.Argv = []string{"/bin/none"} })
		td.run("", func(j *wire.Job) { j.Workspace = wire.Volume{ID: "unknown"} })
		td.run("", func(j *wire.Job) { j.Argv = nil })
		td.run("sleep 9", func(j *wire.Job) { j.Limits.WallMS = 20 })
		td.run("", func(j *wire.Job) { j.Build = wire.Volume{ID: "gone"} })
	}
	round()
	before, _ := settle()
	for range 20 {
		round()
	}
	after, st := settle()
	for start := time.Now(); len(after) > len(before)+5 && time.Since(start) < hang; time.Sleep(20 * time.Millisecond) { // what has ended may not be closed yet
		after, st = settle()
	}
	if st.LiveJails != 3 || st.Volumes != 3 {
		t.Errorf("%+v, want 3 jails and 3 volumes", st)
	}
	if len(after) > len(before)+5 { // the runtime's own come and go
		t.Errorf("%d descriptors open, %d before 120 jobs:\n%v\n%v", len(after), len(before), before, after)
	}
}

func TestBreakingTheContract(t *testing.T) {
	td := startDaemon(t, nil)
	for name, body := range map[string]string{
		"not JSON": "hello", "unknown field": `{"job":{"root":"/"}}`, "nothing": `{}`, "kill without job": `{"kill":{"limit":"stdout"}}`,
		"short": `{"job":`, "fewer descriptors": `{"job":{"template":"toy/run","argv":["/bin/true"],"env":[]}}`,
	} {
		t.Run(name, func(t *testing.T) {
			uc, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: td.config.Socket, Net: "unixpacket"})
			if err != nil {
				t.Fatal(err)
			}
			defer uc.Close()
			if _, err := uc.Write([]byte(body)); err != nil {
				t.Fatal(err)
			}
			answer := make([]byte, 4096)
			n, err := uc.Read(answer)
			if err != nil || !strings.Contains(string(answer[:n]), `"code":"invalid"`) {
				t.Errorf("answer %q, %v", answer[:n], err)
			}
		})
	}
	if r := td.run("echo well", nil); r.stdout != "well\n" {
		t.Errorf("afterwards: %+v", r)
	}
}

func TestOnlyTheConfiguredUserConnects(t *testing.T) {
	td := startDaemon(t, func(c *config) { c.User = "12345" })
	for uid, want := range map[uint32]bool{12345: true, 12346: false} {
		// The socket is opened to everyone, so that only the check of credentials is left.
		if err := os.Chmod(td.config.Socket, 0o666); err != nil {
			t.Fatal(err)
		}
		for dir := filepath.Dir(td.config.Socket); dir != os.TempDir(); dir = filepath.Dir(dir) {
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		got := askAs(t, uid, td.config.Socket)
		if got != want {
			t.Errorf("uid %d was answered: %v, want %v", uid, got, want)
		}
	}
}

// askAs asks for the status as another user, from a thread of its own.
func askAs(t *testing.T, uid uint32, socket string) bool {
	t.Helper()
	answered := make(chan bool)
	go func() {
		defer close(answered)
		// Never unlocked: the thread ends with the goroutine, and its uid with it.
		lockThread()
		if err := setThreadUID(uid); err != nil {
			t.Error(err)
			return
		}
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer unix.Close(fd)
		if err := unix.Connect(fd, &unix.SockaddrUnix{Name: socket}); err != nil {
			t.Error(err)
			return
		}
		_ = unix.Send(fd, []byte(`{"status":{}}`), unix.MSG_NOSIGNAL)
		n, _ := unix.Read(fd, make([]byte, 4096))
		answered <- n > 0
	}()
	return <-answered
}

func TestSecondDaemonIsRefused(t *testing.T) {
	td := startDaemon(t, nil)
	if _, err := start(&td.config, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "another sandboxd has this socket") {
		t.Errorf("got %v", err)
	}
	if r := td.run("echo well", nil); r.stdout != "well\n" {
		t.Errorf("the first one afterwards: %+v", r)
	}
}

func TestDrainRefusesAndEnds(t *testing.T) {
	td := startDaemon(t, nil)
	done := make(chan ran)
	go func() { done <- td.run("sleep 600", func(j *wire.Job) { j.Limits.WallMS = 0 }) }()
	time.Sleep(200 * time.Millisecond)
	td.d.server.drain(100 * time.Millisecond)
	if r := <-done; r.err == nil {
		t.Errorf("a job that outlived the drain was answered: %+v", r)
	}
}
