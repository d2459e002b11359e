package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/lang"
	"github.com/runtools/runtools/pkg/wire"
)

// attackRun is one attack under way.
type attackRun struct {
	td        *testDaemon
	t         *testing.T
	a         *attack
	header    string
	languages *lang.Set // of the image; nil: it has bash and what is in compiled
	planted   planted

	jobs   map[string]*attackJob // by role, as they were made; nil: it does not compile
	output string                // what came of the program "output"
	lender string                // where programs run whose own jails hold no runtime; empty: in those
	met    bool                  // a program of this try was in a jail whose runtime was loaded before

	compiled string // where the image has the programs in C ready, as NAME-ROLE; empty: they are compiled in a jail
	template string // where these run, if not in c/run
}

// run makes the attack, and if its programs run in jails that hold no runtime, once more from jails that do.
func (r *attackRun) run() {
	r.jobs = map[string]*attackJob{}
	r.attack()
	for _, lender := range r.findLenders() {
		r.t.Run("lent by "+lender, func(t *testing.T) {
			lent := *r
			lent.t, lent.lender, lent.met = t, lender, false
			lent.attack()
			r.met = r.met || lent.met
		})
	}
	if r.meetsRuntime() && !r.met {
		r.t.Error("no program met a runtime that was loaded before: give it more memory, or say why not in a section lent")
	}
}

func (r *attackRun) attack() {
	got := map[string]string{}
	main := r.job("main")
	if _, ok := r.a.programs["output"]; ok {
		got["output"] = r.output
	}
	if _, ok := r.a.programs["peer"]; ok {
		got["main"], got["peer"] = r.together(main, r.job("peer"))
	} else if main != nil || r.a.wants["main"] != "" {
		got["main"] = r.inTurn("main", main)
	}
	if _, ok := r.a.programs["next"]; ok {
		got["next"] = r.inTurn("next", r.job("next"))
	}
	r.judge(got)
	r.wantClean()
}

// job is a role's program, compiled at the first call.
func (r *attackRun) job(role string) *attackJob {
	r.t.Helper()
	job, made := r.jobs[role]
	_, output := r.a.programs["output"]
	switch {
	case made:
	case output && role == "main":
		job = r.makeOutput()
	default:
		job = r.prepare(role)
	}
	r.jobs[role] = job
	if job == nil {
		return nil
	}
	if made {
		job = job.afresh()
	}
	if r.lender != "" && r.runtime(job.Template) == nil {
		job.Template = r.lender
	}
	job.Explain = r.a.full && role == "main"
	return job
}

// inTurn is what comes of a job.
func (r *attackRun) inTurn(role string, job *attackJob) (got string) {
	r.t.Helper()
	if job == nil {
		return "does not compile\n"
	}
	var res *wire.Result
	for start := time.Now(); ; job = job.afresh() {
		r.awaitRuntime(job)
		if got, res = r.do(job, nil, nil); !r.again(role, job, got, res, time.Since(start)) {
			break
		}
	}
	if role == "main" {
		r.judgeMain(job, res)
	}
	return got
}

// together is what comes of two jobs: the second begins when the first says that it is ready, which then lives until the second has ended.
func (r *attackRun) together(main, peer *attackJob) (mainGot, peerGot string) {
	r.t.Helper()
	if main == nil || peer == nil {
		return "does not compile\n", "does not compile\n"
	}
	for start := time.Now(); ; main, peer = main.afresh(), peer.afresh() {
		stdin, end, err := os.Pipe()
		if err != nil {
			r.t.Fatal(err)
		}
		var mainRes, peerRes *wire.Result
		ready, done := make(chan struct{}), make(chan struct{})
		r.awaitRuntime(main)
		go func() {
			defer close(done)
			mainGot, mainRes = r.do(main, stdin, ready)
		}()
		select {
		case <-ready:
			r.awaitRuntime(peer)
			peerGot, peerRes = r.do(peer, nil, nil)
			end.Close()
			<-done
		case <-done:
			end.Close()
			peerGot = "not run: main ended first"
		}
		stdin.Close()
		again := r.again("main", main, mainGot, mainRes, time.Since(start))
		if peerRes != nil {
			again = r.again("peer", peer, peerGot, peerRes, time.Since(start)) || again
		}
		if !again {
			r.judgeMain(main, mainRes)
			return mainGot, peerGot
		}
	}
}

// Attacks are given more time on a machine that is too busy for what they have, but no more than this.
const (
	mostWall = 2 * time.Minute
	mostCPU  = time.Minute
)

// again tells whether a try does not count, and changes the job for the next. One that must meet a runtime did not; or the machine was busy: a clock ended the
// job, which is not what the attack expects, or came before all its processes.
func (r *attackRun) again(role string, job *attackJob, got string, res *wire.Result, after time.Duration) bool {
	r.t.Helper()
	if res == nil {
		return false
	}
	want := r.want(role)
	if !res.Parked && (r.fits(job) || r.a.parked && role != "compile") {
		if after < 3*hang {
			return true
		}
		r.t.Errorf("%s: no jail of %s has its runtime loaded", role, job.Template)
		return false
	}
	r.met = r.met || res.Parked
	line, _, _ := strings.Cut(got, "\n")
	expected := strings.HasPrefix(want, line+"\n") || strings.HasPrefix(r.a.open[role], line+"\n")
	wall, cpu := job.Limits.WallMS, job.Limits.CPUMS
	switch {
	case role == "main" && r.a.full && !r.wasFull(res) && wall < hang.Milliseconds()/4:
		job.Limits.WallMS *= 4
	case expected:
	case res.Limit == wire.LimitWall && wall < mostWall.Milliseconds():
		job.Limits.WallMS *= 6
	case res.Limit == wire.LimitCPU && cpu < mostCPU.Milliseconds():
		job.Limits.CPUMS *= 6
	}
	if wall == job.Limits.WallMS && cpu == job.Limits.CPUMS {
		return false
	}
	r.t.Logf("%s gets more time: %s within %d ms of wall and %d ms of CPU time", role, line, wall, cpu)
	return true
}

// want is what is expected of a role, or of the compiler.
func (r *attackRun) want(role string) string {
	if want, ok := r.a.inLent[role]; ok && r.lender != "" {
		return want
	}
	if role == "compile" {
		return r.a.compile
	}
	return r.a.wants[role]
}

// judgeMain looks at what the result tells besides the outcome.
func (r *attackRun) judgeMain(job *attackJob, res *wire.Result) {
	r.t.Helper()
	if r.a.full && !r.wasFull(res) {
		r.t.Errorf("%s: it never had as many processes as it may have", r.a.title)
	}
	if r.a.violations == nil || r.lender != "" && len(r.a.inLent) > 0 {
		return
	}
	var got strings.Builder
	if res != nil {
		for _, v := range res.Violations {
			fmt.Fprintf(&got, "%s(%s): %d\n", v.Syscall, v.Args, v.Count)
		}
	}
	if got.String() != *r.a.violations {
		r.t.Errorf("%s: violations\n%swant\n%s", r.a.title, got.String(), *r.a.violations)
	}
}

func (r *attackRun) judge(got map[string]string) {
	r.t.Helper()
	known := len(r.a.open) > 0
	for role := range r.a.wants {
		want := r.want(role)
		if got[role] == want {
			continue
		}
		if open, ok := r.a.open[role]; ok && got[role] == open {
			r.t.Logf("OPEN: %s: %s", r.a.title, strings.ReplaceAll(got[role], "\n", " | "))
			known = false
			continue
		}
		r.t.Errorf("%s: %s got\n%swant\n%s", r.a.title, role, got[role], want)
		known = false
	}
	if known {
		r.t.Error("this hole is closed: remove the section open")
	}
}

func memfile(t *testing.T, contents string) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("files", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "files")
	if _, err := f.WriteString(contents); err != nil {
		t.Fatal(err)
	}
	return f
}

func (td *testDaemon) runJobWithFiles(t *testing.T, job *wire.Job, files map[string]string) ran {
	t.Helper()
	var all strings.Builder
	for name, content := range files {
		job.Files = append(job.Files, wire.File{Name: name, Size: int64(len(content))})
		all.WriteString(content)
	}
	job.HasFiles = true
	f := memfile(t, all.String())
	defer f.Close()
	return td.runJob(context.Background(), job, nil, f)
}

// do runs a job as apid would: reading both streams up to a cap, then asking for a kill. ready is closed at the first line of output.
func (r *attackRun) do(job *attackJob, stdin *os.File, ready chan<- struct{}) (got string, res *wire.Result) {
	var more []*os.File
	if stdin != nil {
		job.HasStdin = true
		more = append(more, stdin)
	}
	if job.HasFiles {
		f := memfile(r.t, job.contents)
		defer f.Close()
		more = append(more, f)
	}
	kill := make(chan wire.Kill, 2)
	out, outEnd := r.reader(kill, wire.LimitStdout, ready)
	errs, errEnd := r.reader(kill, wire.LimitStderr, nil)
	res, err := r.td.client.Run(context.Background(), &job.Job, kill, append([]*os.File{outEnd, errEnd}, more...)...)
	outEnd.Close()
	errEnd.Close()
	stdout, stderr := <-out, <-errs
	if stderr != "" {
		r.t.Logf("stderr: %.2000s", stderr)
	}
	r.wantNoSecret(stdout + stderr)
	if res != nil && res.Limit == wire.LimitStderr {
		stdout = "" // what came of the other stream until then is chance
	}
	return outcome(res, err) + stdout, res
}

func (r *attackRun) reader(kill chan<- wire.Kill, limit string, ready chan<- struct{}) (<-chan string, *os.File) {
	read, write, err := os.Pipe()
	if err != nil {
		r.t.Error(err)
	}
	all := make(chan string, 1)
	go func() {
		defer read.Close()
		var data []byte
		buf := make([]byte, 4096)
		for {
			n, err := read.Read(buf)
			data = append(data, buf[:n]...)
			if ready != nil && bytes.Contains(data, []byte("ready\n")) {
				close(ready)
				ready = nil
			}
			if len(data) > outputCap {
				data = nil // a flood is not compared
				kill <- wire.Kill{Limit: limit}
				_, _ = io.Copy(io.Discard, read)
				break
			}
			if err != nil {
				break
			}
		}
		all <- string(data)
	}()
	return all, write
}

// wantClean runs the job that every attack is followed by.
func (r *attackRun) wantClean() {
	r.t.Helper()
	job := &wire.Job{Template: "bash/run", Argv: []string{"/bin/bash", "-c", `shopt -s dotglob nullglob
echo files /home/user/* /tmp/* /dev/shm/*
cd /proc; echo processes [0-9]*
exec 3</dev/null 3<&-; echo descriptors /proc/self/fd/*
stat -fc 'inodes used: %c %d' /dev/shm | { read -r _ _ all free; echo $((all - free)) inode; }`},
		Env: []string{"PATH=/usr/bin:/bin"}, Limits: wire.Limits{WallMS: 20_000}}
	got := r.td.runJob(context.Background(), job, nil)
	const want = "files\nprocesses 2\ndescriptors /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3\n1 inode\n"
	if got.err != nil || got.stdout != want || got.Limit != "" || got.Code != 0 {
		r.t.Errorf("the next job: %v %+v %q", got.err, got.Result, got.stdout)
	}
}
