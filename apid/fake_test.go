package main

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runtools/runtools/pkg/wire"
)

// fakeSandboxd speaks pkg/wire and executes nothing. A "program" is a list of lines, each a command of [fakeJob.step].
// Lines that begin with "#compile " are carried out by the compile job, the others by the run job.
type fakeSandboxd struct {
	t    testing.TB
	path string

	mu      sync.Mutex
	volumes map[string]*fakeVolume
	jobs    []*wire.Job // all there were
	running int
	most    int // running at one time
	killed  int // by hang-up
	forgot  map[string]int
	tar     fakeTar
	gate    chan struct{} // a program that awaits goes on when the test sends

	selftest *wire.Selftest // of the status
	broken   *wire.Error    // each job is answered with it
}

type fakeVolume struct {
	files map[string]string
	inUse bool
}

func startFake(t testing.TB) *fakeSandboxd {
	f := &fakeSandboxd{t: t, path: filepath.Join(t.TempDir(), "s"), volumes: map[string]*fakeVolume{}, forgot: map[string]int{}, gate: make(chan struct{})}
	ln, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: f.path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			uc, err := ln.AcceptUnix()
			if err != nil {
				return
			}
			go f.serve(wire.NewConn(uc))
		}
	}()
	return f
}

func (f *fakeSandboxd) serve(conn *wire.Conn) {
	defer conn.Close()
	var req wire.Request
	files, err := conn.Recv(&req)
	if err != nil {
		return
	}
	if err := req.Validate(); err != nil {
		wire.CloseAll(files)
		conn.Send(&wire.Reply{Error: wire.Errorf(wire.CodeInvalid, "%v", err)})
		return
	}
	switch {
	case req.Forget != nil:
		f.forget(req.Forget)
		conn.Send(&wire.Reply{})
	case req.List != nil:
		conn.Send(&wire.Reply{IDs: f.list(req.List.After)})
	case req.Status != nil:
		f.mu.Lock()
		status := wire.Status{Selftest: f.selftest, Volumes: len(f.volumes), LiveJails: 3, PoolHits: 7, Templates: []wire.Template{{Name: "py/run", Ready: 1, Size: 2}},
			Seccomp: &wire.Seccomp{InForce: "aa", Reloads: 2, Failures: 1, Candidate: "bb", Mode: "shadow", Share: 0.1, Tallies: []wire.Tally{
				{Template: "py/run", Use: wire.InForce, Jobs: 9, Failed: 3, Denied: 4},
				{Template: "py/run", Use: "shadow", Jobs: 2, Failed: 1, Killed: 1, Tried: []wire.Tried{{Syscall: "link", Args: `"a", "b"`, Count: 6, Jobs: 1}}},
			}}}
		f.mu.Unlock()
		conn.Send(&wire.Reply{Status: &status})
	case req.Job != nil && (req.Job.Label == "" || req.Job.Account == ""): // see toolJob
		wire.CloseAll(files)
		conn.Send(&wire.Reply{Error: wire.Errorf(wire.CodeInvalid, "a job without a label or an account")})
	case req.Job != nil:
		f.job(conn, req.Job, files)
	}
}

// asked is the jobs there were so far.
func (f *fakeSandboxd) asked() []*wire.Job {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.jobs)
}

// atOnce is the most jobs that ran at one time.
func (f *fakeSandboxd) atOnce() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.most
}

func (f *fakeSandboxd) list(after string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	ids := slices.Sorted(maps.Keys(f.volumes))
	return slices.DeleteFunc(ids, func(id string) bool { return id <= after })
}

func (f *fakeSandboxd) forget(req *wire.Forget) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if req.All {
		clear(f.volumes)
	}
	for _, id := range req.IDs {
		f.forgot[id]++
		delete(f.volumes, id)
	}
}

// fakeJob is one job being carried out.
type fakeJob struct {
	*fakeSandboxd
	job             *wire.Job
	stdout, stderr  *os.File
	stdin, contents *os.File
	environ         *os.File
	env             map[string]string
	workspace       *fakeVolume
	given           map[string]string // files of the job, where nothing else was in the workspace
	build           *fakeVolume
	result          wire.Result
	ended           bool
	linger          bool
	stop            chan string // limit, or "hangup"
	fail            *wire.Error
}

func (f *fakeSandboxd) job(conn *wire.Conn, job *wire.Job, files []*os.File) {
	j := &fakeJob{fakeSandboxd: f, job: job, stdout: files[0], stderr: files[1], env: map[string]string{}, stop: make(chan string, 4)}
	rest := files[2:]
	for _, slot := range []struct {
		has bool
		to  **os.File
	}{{job.HasStdin, &j.stdin}, {job.HasFiles, &j.contents}, {job.HasEnviron, &j.environ}} {
		if slot.has {
			*slot.to, rest = rest[0], rest[1:]
		}
	}
	release, err := j.attach()
	if err == nil {
		if err = j.place(); err != nil {
			release()
			if job.Workspace.New {
				f.forget(&wire.Forget{IDs: []string{job.Workspace.ID}})
			}
		}
	}
	if err != nil {
		wire.CloseAll(files)
		conn.Send(&wire.Reply{Error: err})
		return
	}
	go j.listen(conn)
	j.run()
	if j.environ != nil && !j.linger {
		for name, value := range j.env {
			fmt.Fprintf(j.environ, "%s=%s\x00", name, value)
		}
	}
	j.result.PoolHit, j.result.CheckoutNS, j.result.FilesNS, j.result.MemoryPeak = true, 1000, 2000, 4<<20
	j.result.MemoryMax = job.Limits.MemoryBytes
	for _, text := range j.workspace.files {
		j.result.WorkspaceBytes += int64(len(text))
	}
	j.result.WorkspaceFiles = int64(len(j.workspace.files)) + 1
	j.result.WorkspaceDropped = job.Workspace.DropUnchanged && j.fail == nil && maps.Equal(j.given, j.workspace.files)
	release()
	reply := &wire.Reply{Result: &j.result}
	if j.fail != nil {
		reply = &wire.Reply{Error: j.fail}
	}
	if j.linger { // the result overtakes the last of the output
		conn.Send(reply)
		time.Sleep(50 * time.Millisecond)
		io.WriteString(j.stdout, "late\n")
		wire.CloseAll(files)
		return
	}
	wire.CloseAll(files)
	conn.Send(reply)
}

// attach finds or makes the volumes.
func (j *fakeJob) attach() (release func(), err *wire.Error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.jobs = append(j.jobs, j.job)
	take := func(v wire.Volume, shared bool) (*fakeVolume, *wire.Error) {
		volume := j.volumes[v.ID]
		switch {
		case v.ID == "":
			return &fakeVolume{files: map[string]string{}}, nil
		case v.New && volume != nil, volume != nil && volume.inUse:
			return nil, wire.Errorf(wire.CodeVolumeInUse, "volume %s is in use", v.ID)
		case !v.New && volume == nil:
			return nil, wire.Errorf(wire.CodeUnknownVolume, "no volume %s", v.ID)
		case v.New:
			volume = &fakeVolume{files: map[string]string{}}
			j.volumes[v.ID] = volume
		}
		volume.inUse = v.New || !shared
		return volume, nil
	}
	if j.workspace, err = take(j.job.Workspace, false); err != nil {
		return nil, err
	}
	if j.build, err = take(j.job.Build, true); err != nil {
		if err.Code == wire.CodeUnknownVolume {
			err.Code = wire.CodeUnknownBuild
		}
		j.workspace.inUse = false
		return nil, err
	}
	j.running++
	j.most = max(j.most, j.running)
	return func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.running--
		j.workspace.inUse, j.build.inUse = false, false
		if j.result.WorkspaceDropped {
			delete(j.volumes, j.job.Workspace.ID)
		}
		if j.job.Build.New && (j.result.Code != 0 || j.result.Signal != 0 || j.result.Limit != "") {
			delete(j.volumes, j.job.Build.ID)
		}
	}, nil
}

// place writes the files of the job into the workspace.
func (j *fakeJob) place() *wire.Error {
	j.mu.Lock()
	broken := j.broken
	j.mu.Unlock()
	if broken != nil {
		return broken
	}
	for i, file := range j.job.Files {
		content := make([]byte, file.Size)
		if _, err := io.ReadFull(j.contents, content); err != nil {
			return wire.Errorf(wire.CodeInternal, "contents of %s: %v", file.Name, err)
		}
		if strings.HasPrefix(file.Name, "refused") {
			return &wire.Error{Code: wire.CodeFile, Index: i, Message: "a folder is in the way"}
		}
		for other := range j.workspace.files {
			if strings.HasPrefix(file.Name, other+"/") || strings.HasPrefix(other, file.Name+"/") {
				return &wire.Error{Code: wire.CodeFile, Index: i, Message: other + " is in the way"}
			}
		}
		j.workspace.files[file.Name] = string(content)
	}
	j.given = maps.Clone(j.workspace.files)
	return nil
}

// listen waits for a kill or a hang-up.
func (j *fakeJob) listen(conn *wire.Conn) {
	for {
		var req wire.Request
		if _, err := conn.Recv(&req); err != nil {
			j.stop <- "hangup"
			return
		}
		if req.Kill != nil {
			j.stop <- req.Kill.Limit
		}
	}
}

func (j *fakeJob) run() {
	for _, word := range j.job.Env {
		name, value, _ := strings.Cut(word, "=")
		j.env[name] = value
	}
	if strings.HasPrefix(j.env["LD_PRELOAD"], envkeep) { // as envkeep does
		if rest := strings.TrimPrefix(j.env["LD_PRELOAD"], envkeep); rest == "" {
			delete(j.env, "LD_PRELOAD")
		} else {
			j.env["LD_PRELOAD"] = rest[1:]
		}
	}
	started := time.Now()
	switch argv := j.job.Argv; {
	case argv[0] == "/usr/bin/tar":
		j.runTar()
		return
	case argv[0] == "/usr/bin/cp":
		j.runCopy()
		return
	case slices.Equal(argv, uncopyable):
		for name := range j.workspace.files {
			if strings.HasPrefix(name, "unreadable") {
				fmt.Fprintln(j.stdout, "./"+name)
			}
		}
		return
	}
	for line := range strings.Lines(j.program()) {
		if j.ended {
			break
		}
		j.step(strings.TrimRight(line, "\n"))
	}
	j.result.WallNS = int64(time.Since(started)) + 1
	j.result.CPUNS = 1_234_567
}

// program is what this job is to do, by its template.
func (j *fakeJob) program() string {
	switch argv := j.job.Argv; {
	case argv[0] == "/usr/bin/true":
		return ""
	case strings.HasSuffix(j.job.Template, "/compile"):
		source := j.workspace.files[argv[1]]
		j.build.files["main"] = source
		var steps []string
		for line := range strings.Lines(source) {
			if step, ok := strings.CutPrefix(line, "#compile "); ok {
				steps = append(steps, step)
			}
		}
		return strings.Join(steps, "")
	case j.job.Build.ID != "":
		return j.build.files["main"]
	default:
		return j.workspace.files[argv[1]]
	}
}

// step carries out one line of a program.
func (j *fakeJob) step(line string) {
	command, rest, _ := strings.Cut(line, " ")
	number, _ := strconv.Atoi(rest)
	switch command {
	case "", "#compile", "#":
	case "print":
		fmt.Fprintln(j.stdout, rest)
	case "warn":
		fmt.Fprintln(j.stderr, rest)
	case "bytes":
		var all []byte
		for word := range strings.FieldsSeq(rest) {
			n, _ := strconv.ParseUint(word, 16, 8)
			all = append(all, byte(n))
		}
		j.stdout.Write(all) // at once: a reader must not come between
	case "spew":
		j.spew(j.stdout, number)
	case "spewerr":
		j.spew(j.stderr, number)
	case "cat":
		if j.stdin != nil {
			io.Copy(j.stdout, j.stdin)
		}
	case "args":
		fmt.Fprintf(j.stdout, "%q\n", j.job.Argv[2:])
	case "env":
		value, set := j.env[rest]
		fmt.Fprintf(j.stdout, "%s=%s %v\n", rest, value, set)
	case "setenv":
		name, value, _ := strings.Cut(rest, "=")
		j.env[name] = value
	case "bigenv":
		j.env["BIG"] = strings.Repeat("x", number)
	case "manyenv":
		for i := range number {
			j.env[fmt.Sprint("V", i)] = ""
		}
	case "unsetenv":
		delete(j.env, rest)
	case "write":
		name, text, _ := strings.Cut(rest, " ")
		j.workspace.files[name] = text
	case "fill":
		j.workspace.files["filler"] = strings.Repeat("x", number)
	case "read":
		fmt.Fprintln(j.stdout, j.workspace.files[rest])
	case "sleep":
		d, _ := time.ParseDuration(rest)
		j.sleep(d)
	case "await":
		select {
		case <-j.gate:
		case why := <-j.stop:
			j.end(why)
		}
	case "exit":
		j.result.Code, j.ended = number, true
	case "signal":
		j.result.Signal, j.ended = number, true
	case "limit":
		j.result.Limit, j.result.Signal, j.ended = rest, 9, true
	case "deny":
		j.result.Violations = append(j.result.Violations, wire.Violation{Syscall: "mount", Args: rest, Count: 3}, wire.Violation{Syscall: wire.OtherSyscalls, Count: 1})
	case "linger":
		j.linger, j.ended = true, true
	case "fail":
		j.fail, j.ended = wire.Errorf(wire.Code(rest), "secret detail"), true
	default:
		j.t.Errorf("the fake does not know %q", line)
	}
}

// spew writes as a program does that is killed when it writes too much.
func (j *fakeJob) spew(w *os.File, n int) {
	chunk := bytes.Repeat([]byte("x"), 4096)
	for n > 0 && !j.ended {
		size := min(n, len(chunk))
		w.Write(chunk[:size])
		n -= size
		select {
		case why := <-j.stop:
			j.end(why)
		default:
		}
	}
}

func (j *fakeJob) sleep(d time.Duration) {
	select {
	case <-time.After(d):
	case why := <-j.stop:
		j.end(why)
	}
}

func (j *fakeJob) end(why string) {
	j.ended = true
	j.result.Signal = 9
	if why != "hangup" {
		j.result.Limit = why
		return
	}
	j.mu.Lock()
	j.killed++
	j.mu.Unlock()
}
