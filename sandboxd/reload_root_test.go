package main

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/seccomp"
	"github.com/runtools/runtools/pkg/wire"
)

// profilesWith makes a folder of profiles for toys: base.json after a change, and init.json.
func profilesWith(t *testing.T, change func(*seccomp.Profile)) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"base", "init"} {
		p, err := seccomp.Read("../seccomp-profiles/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		if name == "base" {
			change(p)
		}
		writeFile(t, filepath.Join(dir, name+".json"), p.JSON())
	}
	return dir
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// without takes all rules for calls away, so that they are ENOSYS.
func without(calls ...string) func(*seccomp.Profile) {
	return func(p *seccomp.Profile) {
		for i := range p.Syscalls {
			r := &p.Syscalls[i]
			r.Names = slices.DeleteFunc(slices.Clone(r.Names), func(name string) bool { return slices.Contains(calls, name) })
		}
		p.Syscalls = slices.DeleteFunc(p.Syscalls, func(r seccomp.Rule) bool { return len(r.Names) == 0 })
	}
}

// asAllowed takes them away and allows them.
func asAllowed(calls ...string) func(*seccomp.Profile) {
	return func(p *seccomp.Profile) {
		without(calls...)(p)
		p.Syscalls = append(p.Syscalls, seccomp.Rule{Why: "test", Names: calls, Action: "SCMP_ACT_ALLOW"})
	}
}

func (td *testDaemon) reload(change func(*config)) error {
	c := td.config
	change(&c)
	return td.d.reload(context.Background(), &c, slog.New(slog.NewTextHandler(td.t.Output(), nil)))
}

func (td *testDaemon) seccomp() *wire.Seccomp {
	td.t.Helper()
	status, err := td.client.Status(context.Background(), &wire.StatusRequest{})
	if err != nil {
		td.t.Fatal(err)
	}
	return status.Seccomp
}

// tally finds what the status tells of the jobs of a template under a use.
func (td *testDaemon) tally(template, use string) wire.Tally {
	td.t.Helper()
	for _, tally := range td.seccomp().Tallies {
		if tally.Template == template && tally.Use == use {
			return tally
		}
	}
	return wire.Tally{}
}

// link makes one call of symlink, and says whether that went well.
const link = "ln -s a b 2>/dev/null && echo made || echo denied"

// violation is what the answer says of a call, by name: busybox makes others of its own.
func (r *ran) violation(name string) (v wire.Violation) {
	for _, v := range r.Violations {
		if v.Syscall == name {
			return v
		}
	}
	return v
}

// Under load: no job fails, one that runs keeps its profile, and whoever begins after the reload has the new one.
func TestReload(t *testing.T) {
	td := startDaemon(t, func(c *config) { c.Profiles = profilesWith(t, without()) })
	before := td.seccomp()
	stop, jobs, load := make(chan struct{}), atomic.Int64{}, sync.WaitGroup{}
	for range 3 {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if r := td.run(link, nil); r.err != nil || r.Code != 0 || r.stdout != "made\n" && r.stdout != "denied\n" {
					t.Errorf("a job under load: %v %+v %q", r.err, r.Result, r.stdout)
				}
				jobs.Add(1)
			}
		})
	}
	finish := td.begin("echo begun; read go; " + link)
	const reloads = 6
	for i := range reloads {
		denied := i%2 == 0
		dir := profilesWith(t, without())
		if denied {
			dir = profilesWith(t, without("symlink"))
		}
		if err := td.reload(func(c *config) { c.Profiles = dir }); err != nil {
			t.Fatal(err)
		}
		for range 4 {
			if r := td.run(link, nil); r.err != nil || (r.stdout == "denied\n") != denied || (r.violation("symlink").Count == 1) != denied {
				t.Errorf("after reload %d: %v %+v %q", i, r.err, r.Result, r.stdout)
			}
		}
	}
	if out := finish(); out != "made\n" {
		t.Errorf("the job that ran all the time: %q", out)
	}
	close(stop)
	load.Wait()
	after := td.seccomp()
	if after.Reloads != reloads || after.Failures != 0 || after.InForce != before.InForce || jobs.Load() == 0 {
		t.Errorf("%d jobs; before %+v, after %+v", jobs.Load(), before, after)
	}
}

// begin starts a script that says a line and reads one. finish gives it that, and returns what else it says.
func (td *testDaemon) begin(script string) (finish func() string) {
	td.t.Helper()
	var in, out [2]*os.File
	for _, pipe := range []*[2]*os.File{&in, &out} {
		var err error
		if pipe[0], pipe[1], err = os.Pipe(); err != nil {
			td.t.Fatal(err)
		}
	}
	ended := make(chan error, 1)
	go func() {
		_, err := td.client.Run(context.Background(), &wire.Job{Template: "toy/run", Argv: []string{"/bin/sh", "-c", script}, Env: []string{"PATH=/bin"},
			HasStdin: true}, nil, out[1], out[1], in[0])
		out[1].Close()
		in[0].Close()
		ended <- err
	}()
	lines := bufio.NewReader(out[0])
	if line, err := lines.ReadString('\n'); err != nil {
		td.t.Fatalf("%q, %v, %v", line, err, <-ended)
	}
	return func() string {
		in[1].WriteString("go\n")
		in[1].Close()
		rest, _ := io.ReadAll(lines)
		out[0].Close()
		if err := <-ended; err != nil {
			td.t.Error(err)
		}
		return string(rest)
	}
}

// What is wrong with a file keeps everything as it was.
func TestReloadRefuses(t *testing.T) {
	good := profilesWith(t, without())
	td := startDaemon(t, func(c *config) { c.Profiles = good })
	td.awaitReady(2)
	built := func() uint64 { return td.d.server.builder.built.Load() }
	before := td.seccomp()
	for i, c := range []struct {
		name, want string
		change     func(*config)
	}{
		{"syntax", "base.json: line 2: ", func(c *config) {
			c.Profiles = profilesWith(t, without("symlink"))
			writeFile(t, c.Profiles+"/base.json", "{\n\"syscalls\": x}")
		}},
		{"one of two", "toy.json, with what it extends: line 2: syscalls[", func(c *config) {
			c.Profiles = profilesWith(t, without("symlink"))
			writeFile(t, c.Profiles+"/toy.json", `{"why": "test", "extends": "base", "syscalls": [`+"\n"+`{"why": "test", "names": ["symlnk"], "action": "SCMP_ACT_ALLOW"}]}`)
		}},
		{"one that nobody uses", "none.json: line 1: ", func(c *config) {
			c.Profiles = profilesWith(t, without("symlink"))
			writeFile(t, c.Profiles+"/none.json", "")
		}},
		{"empty", "holds no profiles", func(c *config) { c.Profiles = t.TempDir() }},
		{"PID 1's", "init.json", func(c *config) {
			c.Profiles = profilesWith(t, without("symlink"))
			os.Remove(c.Profiles + "/init.json")
		}},
		{"no jail", "base.json: sendmsg is denied", func(c *config) { c.Profiles = profilesWith(t, without("sendmsg")) }},
		// Well formed, but no program can be started.
		{"no job", `: function not implemented; denied until then: execve("/dev/null", &, `, func(c *config) { c.Profiles = profilesWith(t, without("execve")) }},
		{"no packet", "a jail with the new profiles does not work: ", func(c *config) { c.Profiles = profilesWith(t, without("recvmsg")) }},
		{"candidate", "seccomp.candidate: no language would get a profile of", func(c *config) {
			c.Profiles, c.Seccomp.Candidate = profilesWith(t, without("symlink")), t.TempDir()
			writeFile(t, c.Seccomp.Candidate+"/other.json", `{"syscalls": [{"names": ["sendmsg"], "action": "SCMP_ACT_ALLOW"}], "defaultAction": "SCMP_ACT_KILL_PROCESS"}`)
		}},
		{"candidate in shadow", "sendmsg is denied", func(c *config) { c.Seccomp.Candidate = profilesWith(t, without("sendmsg")) }},
	} {
		err := td.reload(c.change)
		was := built()
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", c.name, err, c.want)
			continue
		}
		s := td.seccomp()
		if s.InForce != before.InForce || s.Candidate != "" || s.Failures != uint64(i+1) || s.Failure != err.Error() {
			t.Errorf("%s: %+v, want %s in force and failure %q", c.name, s, before.InForce, err)
		}
		if r := td.run(link, nil); r.err != nil || r.stdout != "made\n" || !r.PoolHit {
			t.Errorf("%s: the next job: %v %+v %q", c.name, r.err, r.Result, r.stdout)
		}
		td.awaitReady(2)
		if n := built() - was; n != 1 {
			t.Errorf("%s: %d jails were built, want the one that the job used up", c.name, n)
		}
	}
	// What is the same stays ready.
	was := built()
	if err := td.reload(func(c *config) { c.Profiles = profilesWith(t, without()) }); err != nil || built() != was {
		t.Errorf("%v, and %d jails were built for the same profiles", err, built()-was)
	}
	if s := td.seccomp(); s.Failure != "" || s.Reloads != 1 {
		t.Errorf("%+v", s)
	}
}

// In shadow a candidate denies nothing, allows nothing, and what it would deny is counted.
func TestShadow(t *testing.T) {
	candidate := profilesWith(t, func(p *seccomp.Profile) {
		without("symlink", "umask")(p)
		asAllowed("chroot", "sethostname")(p)
	})
	td := startDaemon(t, func(c *config) { c.Seccomp = seccompConfig{candidate, modeShadow, 1} })
	for _, template := range []string{"toy/run", "toy/cold"} {
		for range 2 {
			r := td.run("ln -s a b && ln -s a c && echo made; chroot /tmp sh; hostname x; exit 3", func(j *wire.Job) { j.Template = template })
			if r.err != nil || r.stdout != "made\n" || r.Code != 3 ||
				r.stderr != "chroot: can't change root directory to '/tmp': Operation not permitted\nhostname: sethostname: Operation not permitted\n" {
				t.Errorf("%v %+v %q %q", r.err, r.Result, r.stdout, r.stderr)
			}
			if r.violation("chroot").Count != 1 || r.violation("sethostname").Count != 1 || r.violation("symlink").Count != 0 {
				t.Errorf("violations %+v", r.Violations)
			}
		}
		got := td.tally(template, modeShadow)
		if len(got.Tried) != 1 || got.Tried[0] != (wire.Tried{Syscall: "symlink", Args: `"a", "b"`, Count: 4, Jobs: 2}) ||
			got.Jobs != 2 || got.Failed != 2 || got.Denied < 4 || got.Killed != 0 {
			t.Errorf("%s: %+v", template, got)
		}
		if inForce := td.tally(template, wire.InForce); inForce.Jobs != 0 {
			t.Errorf("%+v", inForce)
		}
	}
	// A flood is held up, not cut off.
	if r := td.run("i=0; while [ $i -lt 1300 ]; do umask 027; i=$((i+1)); done; umask", func(j *wire.Job) {
		j.Template, j.Limits.WallMS = "toy/compile", hang.Milliseconds()
	}); r.err != nil || r.stdout != "0027\n" {
		t.Errorf("%v %+v %q %q", r.err, r.Result, r.stdout, r.stderr)
	}
	if got := td.tally("toy/compile", modeShadow).Tried; len(got) != 1 || got[0].Syscall != "umask" || got[0].Count < 1300 || got[0].Jobs != 1 {
		t.Errorf("%+v", got)
	}
	s := td.seccomp()
	if s.Mode != modeShadow || s.Candidate == "" || s.Share != 1 {
		t.Errorf("%+v", s)
	}
	var out strings.Builder
	if err := seccompShadow(td.config.Socket, 3, &out); err == nil || !strings.Contains(err.Error(), "not safe to promote: the candidate denies what jobs use: toy/cold symlink, toy/compile umask, toy/run symlink") ||
		!strings.Contains(out.String(), `  symlink("a", "b"): 4 calls, in 2 jobs`) {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// A canary enforces, on its share of the jails alone.
func TestCanary(t *testing.T) {
	td := startDaemon(t, nil)
	trial := seccompConfig{profilesWith(t, without("symlink")), modeCanary, 0.25}
	if err := td.reload(func(c *config) { c.Seccomp = trial }); err != nil {
		t.Fatal(err)
	}
	denied := 0
	for range 8 {
		r := td.run(link, func(j *wire.Job) { j.Template = "toy/cold" })
		if r.err != nil || (r.stdout == "denied\n") != (r.violation("symlink").Count == 1) {
			t.Fatalf("%v %+v %q", r.err, r.Result, r.stdout)
		}
		denied += int(r.violation("symlink").Count)
	}
	canary, inForce := td.tally("toy/cold", modeCanary), td.tally("toy/cold", wire.InForce)
	if denied != 2 || canary.Jobs != 2 || canary.Denied != inForce.Denied/3+2 || inForce.Jobs != 6 ||
		len(canary.Tried) != 1 || canary.Tried[0] != (wire.Tried{Syscall: "symlink", Args: `"a", "b"`, Count: 2, Jobs: 2}) {
		t.Errorf("%d denied; %+v, %+v", denied, canary, inForce)
	}
	// Promoted: what was on trial is in force, for all.
	if err := td.reload(func(c *config) { c.Profiles, c.Seccomp = trial.Candidate, trial }); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if r := td.run(link, nil); r.stdout != "denied\n" {
			t.Errorf("%v %q", r.err, r.stdout)
		}
	}
	if err := seccompShadow(td.config.Socket, 3, io.Discard); err == nil || !strings.Contains(err.Error(), "the candidate changes nothing") {
		t.Error(err)
	}
}

// A compiler that waits for its owner is given up with its profile.
func TestReloadGivesKeptCompilersUp(t *testing.T) {
	td := startCompiler(t, 100)
	for _, want := range []string{"job 1 ", "job 2 "} {
		if r := td.run("", compileJob("alice")); r.err != nil || r.stdout != want {
			t.Fatalf("%v %q", r.err, r.stdout)
		}
		td.awaitKept(1)
	}
	if err := td.reload(func(c *config) { c.Profiles = profilesWith(t, without("symlink")) }); err != nil {
		t.Fatal(err)
	}
	td.awaitKept(0)
	td.awaitReady(2)
	if r := td.run("", compileJob("alice")); r.err != nil || r.stdout != "job 1 " || !r.Parked {
		t.Errorf("%v %+v %q", r.err, r.Result, r.stdout)
	}
}

// SIGHUP, with the daemon as main runs it.
func TestHangupReloads(t *testing.T) {
	c := defaultConfig()
	c.Image, c.Profiles, c.User = busyboxImage(t), profilesWith(t, without()), "0"
	c.Socket, c.CgroupParent, c.MaxJails = filepath.Join(t.TempDir(), "s.sock"), "runtools-sandboxd-hangup", 100
	td := &testDaemon{t: t, client: &wire.Client{Path: c.Socket}, config: c}
	ended := make(chan error, 1)
	go func() {
		ended <- serve(&c, func() (config, error) {
			next := c
			next.Profiles, next.MaxJails = profilesWith(t, without("symlink")), 50
			return next, nil
		}, slog.New(slog.NewTextHandler(t.Output(), nil)))
	}()
	await := func(what string, done func(*wire.Status) bool) {
		for start := time.Now(); ; time.Sleep(5 * time.Millisecond) {
			if status, err := td.client.Status(context.Background(), &wire.StatusRequest{}); err == nil && done(status) {
				return
			} else if time.Since(start) > hang {
				t.Fatalf("%s: %+v, %v", what, status, err)
			}
		}
	}
	await("start", func(*wire.Status) bool { return true })
	if r := td.run(link, nil); r.stdout != "made\n" {
		t.Errorf("%v %q", r.err, r.stdout)
	}
	unix.Kill(os.Getpid(), unix.SIGHUP)
	await("reload", func(s *wire.Status) bool { return s.Seccomp.Reloads == 1 })
	if r := td.run(link, nil); r.stdout != "denied\n" {
		t.Errorf("%v %q", r.err, r.stdout)
	}
	unix.Kill(os.Getpid(), unix.SIGTERM)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := forget(&c); err != nil {
		t.Error(err)
	}
	td.wantNothingLeft()
}
