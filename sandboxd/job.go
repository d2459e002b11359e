package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/jail"
	"github.com/runtools/runtools/pkg/wire"
)

// job is one request on its way through a jail. This file is the one place where pool, volumes, cgroup and jail meet.
type job struct {
	server *server
	conn   *wire.Conn // to the client
	req    *wire.Job
	fds    jobFiles

	ready     *readyJail
	hit       bool
	workspace *volume  // what is attached at /home/user; the jail's own or a kept one
	mount     *os.File // of workspace
	build     *volume  // what is attached at /build, or nil
	buildMnt  *os.File

	stopped   bool // jail.Exit.Stopped
	renewable bool // the jail may serve its owner again
	then      bool // it is a compiler's: the program may follow in the jail
	passesOn  bool // and does
	alone     bool // of a jail in which a runner waits: no process of the job is left

	meters *meters // nil: nobody wants to see them
	noise  *noise  // nil: nor these

	apart    func(*template) (*readyJail, error) // makes a jail that is none of the pools' (selftest.go); nil: it has one of them
	free     func()                              // gives its CPU back, and its share of all
	killed   chan<- string                       // reasons to kill it
	answered <-chan struct{}                     // closed when the caller has its answer; nil: nobody is answered
	signals  *signals                            // for its program, or nil
	cause    cause
}

// jobFiles are the descriptors that came with the request.
type jobFiles struct {
	stdout, stderr, stdin, contents, environ *os.File
	all                                      []*os.File
}

func sortFiles(j *wire.Job, files []*os.File) (jobFiles, error) {
	if len(files) != j.Fds() {
		return jobFiles{}, wire.Errorf(wire.CodeInvalid, "%d descriptors came with a job that needs %d", len(files), j.Fds())
	}
	f := jobFiles{all: files}
	rest := files
	if j.Terminal == nil {
		f.stdout, f.stderr, rest = files[0], files[1], files[2:]
	}
	for _, want := range []struct {
		has  bool
		into **os.File
	}{{j.HasStdin, &f.stdin}, {j.HasFiles, &f.contents}, {j.HasEnviron, &f.environ}} {
		if want.has {
			*want.into, rest = rest[0], rest[1:]
		}
	}
	for _, stdio := range []*os.File{f.stdin, f.stdout, f.stderr} {
		if stdio == nil {
			continue
		}
		// Only what passes bytes: a program could walk from a folder, or connect through a socket, to what is the host's.
		var st unix.Stat_t
		if err := unix.Fstat(int(stdio.Fd()), &st); err != nil {
			return jobFiles{}, wire.Errorf(wire.CodeNotBegun, "descriptor for the program: %v", err) // no matter of the contract: worth another try
		}
		if kind := st.Mode & unix.S_IFMT; kind != unix.S_IFIFO && kind != unix.S_IFREG {
			return jobFiles{}, wire.Errorf(wire.CodeInvalid, "a descriptor for the program is neither a pipe nor a file")
		}
		// Programs expect descriptors that block; the client's runtime may have made its pipes non-blocking, and the flag
		// belongs to what both sides share.
		if err := unix.SetNonblock(int(stdio.Fd()), false); err != nil {
			return jobFiles{}, wire.Errorf(wire.CodeNotBegun, "descriptor for the program: %v", err)
		}
	}
	return f, nil
}

// monotonic is the clock that zygote.c stamps with.
func monotonic() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic("sandboxd: internal error: CLOCK_MONOTONIC: " + err.Error())
	}
	return time.Duration(ts.Nano())
}

// run carries the job out, in these phases. Everything that a phase took is given back by finish, whatever happened.
func (j *job) run(kills <-chan string) (result *wire.Result, err error) {
	defer func() { j.finish(result) }()
	start := monotonic()
	if err := j.takeJail(); err != nil {
		return nil, err
	}
	if err := j.takeVolumes(); err != nil {
		return nil, j.notBegun(err)
	}
	if err := j.setLimits(); err != nil {
		return nil, j.notBegun(err)
	}
	before, err := j.ready.leaf.CPU()
	if err != nil {
		return nil, j.notBegun(err)
	}
	if j.req.Explain {
		if j.meters, err = openMeters(j.ready); err != nil {
			return nil, j.notBegun(err)
		}
	}
	if j.req.Noise {
		if j.noise, err = beginNoise(j.ready); err != nil {
			return nil, j.notBegun(err)
		}
	}
	taken := monotonic()
	j.server.show(j, before)
	j.ready.denials.begin()
	if r := j.server.builder.recorder; r != nil {
		r.job(j.req.Template)
	}
	if err := j.start(); err != nil {
		return nil, err
	}
	stop := j.watch(kills, before)
	if j.signals != nil {
		defer j.signals.deliver(j.ready.jail)()
	}
	exit, err := j.ready.jail.Wait()
	stop()
	if err != nil && !errors.Is(err, jail.ErrKilled) {
		return nil, j.startError(err)
	}
	if err == nil && exit.Started == 0 { // the runner ended before it came to exec: nothing has run
		return nil, j.notBegun(errors.New("the runner ended"))
	}
	j.stopped, j.renewable = exit.Stopped, exit.Renewable
	result, err = j.result(exit, err, before)
	if result != nil {
		if j.apart == nil {
			j.ready.variant.tally.end(result)
		}
		result.CheckoutNS, result.FilesNS = int64(taken-start), int64(max(0, exit.Started-taken))
		result.ExecAt = int64(exit.Started)
	}
	return result, err
}

func (j *job) takeJail() (err error) {
	p := j.server.pools.all[j.req.Template] // there is one, see handleJob
	if j.apart != nil {
		j.ready, err = j.apart(p.template)
	} else if j.ready = j.server.pools.successor(p, j.req); j.ready != nil {
		j.hit = true
	} else {
		j.ready, j.hit, err = j.server.pools.take(p, j.memoryLimit(), j.req.Owner, j.req.Terminal != nil)
	}
	if err != nil {
		return j.notBegun(err)
	}
	j.then = j.mayPassOn()
	if j.free, err = j.server.pinner.pin(j.ready.jail.RunnerPID()); err != nil {
		return j.notBegun(err)
	}
	if unpin := j.free; j.apart == nil {
		unshare := j.server.shares.join(j.req.Account, j.ready.leaf)
		j.free = func() { unpin(); unshare(j.renewable || j.passesOn) }
	}
	return nil
}

// notBegun has the client try again in a moment: what kept us from making a jail, or killed one that was to have the job, may be over then.
func (j *job) notBegun(err error) error {
	var known *wire.Error
	if errors.As(err, &known) {
		return err
	}
	j.server.log.Error("no jail for a job", "template", j.req.Template, "error", err)
	return wire.Errorf(wire.CodeNotBegun, "no jail can be made or used, see the log of sandboxd")
}

// takeVolumes decides what is attached where. The jail came with an empty workspace: it becomes the session's, or is left unused.
func (j *job) takeVolumes() error {
	vs := j.server.volumes
	switch w := j.req.Workspace; {
	case w.ID == "" || w.New:
		if w.New {
			if err := vs.name(j.ready.workspace, w.ID); err != nil {
				return err
			}
		}
		j.workspace, j.mount = j.ready.workspace, j.ready.mount
		j.ready.workspace, j.ready.mount = nil, nil
	default:
		var err error
		if j.workspace, err = vs.acquire(w.ID, false); err != nil {
			return err
		}
		if j.mount, err = vs.open(j.workspace, false, j.ready.jail.UserNS()); err != nil {
			return err
		}
	}
	return j.takeBuild()
}

func (j *job) takeBuild() (err error) {
	vs := j.server.volumes
	switch b := j.req.Build; {
	case b.ID == "":
		return nil
	case b.New:
		if j.build, err = vs.create(buildVolume); err != nil {
			return err
		}
		if err = vs.name(j.build, b.ID); err != nil {
			return err
		}
	default:
		if j.build, err = vs.acquire(b.ID, true); err != nil {
			return unknownBuild(err)
		}
	}
	j.buildMnt, err = vs.open(j.build, !j.req.Build.New, j.ready.jail.UserNS())
	return err
}

// unknownBuild tells the one volume that cannot be had from the other.
func unknownBuild(err error) error {
	var theirs *wire.Error
	if errors.As(err, &theirs) && theirs.Code == wire.CodeUnknownVolume {
		return wire.Errorf(wire.CodeUnknownBuild, "%s", theirs.Message)
	}
	return err
}

// setLimits changes the leaf where the job wants something else than what the filler set.
func (j *job) setLimits() error {
	if m := j.memoryLimit() + j.ready.residue; m != j.server.builder.limits.MemoryBytes {
		return j.ready.leaf.SetMemory(m)
	}
	return nil
}

func (j *job) memoryLimit() int64 {
	if m := j.req.Limits.MemoryBytes; m > 0 {
		return m
	}
	return j.server.builder.limits.MemoryBytes
}

func (j *job) jailJob() *jail.Job {
	files := make([]jail.File, len(j.req.Files))
	for i, f := range j.req.Files {
		files[i] = jail.File{Name: f.Name, Size: f.Size}
	}
	return &jail.Job{
		Workspace: j.mount, Build: j.buildMnt,
		Files: files, Contents: j.fds.contents,
		Argv: j.req.Argv, Env: j.req.Env,
		Stdin: j.fds.stdin, Stdout: j.fds.stdout, Stderr: j.fds.stderr,
		Environ: j.fds.environ,
		Signals: j.signals != nil,
		Compare: j.req.Workspace.DropUnchanged,
		Again:   j.ready.owner != "",
		Then:    j.then,
	}
}

// startError tells the caller's mistakes from ours.
func (j *job) startError(err error) error {
	if errors.Is(err, jail.ErrTooLarge) {
		return wire.Errorf(wire.CodeFile, "the names of all files and the folders above them are too long together")
	}
	if errors.Is(err, unix.EPIPE) { // PID 1 was killed, or the runner before it was woken
		return j.notBegun(err)
	}
	var step *jail.StepError
	if !errors.As(err, &step) {
		return err
	}
	switch step.Stage {
	case jail.StageFile:
		return &wire.Error{Code: wire.CodeFile, Index: step.File, Message: fmt.Sprintf("%s: %s", step.Step, step.Errno)}
	case jail.StageWorkDir: // an earlier job of the session closed it
		return &wire.Error{Code: wire.CodeFile, Index: -1, Message: fmt.Sprintf("the working directory: %s", step.Errno)}
	case jail.StageExec:
		return wire.Errorf(wire.CodeExec, "%v", err)
	case jail.StageWait: // the program may have begun
		return err
	}
	return j.notBegun(err)
}

func (j *job) result(exit jail.Exit, waitErr error, cpuBefore time.Duration) (*wire.Result, error) {
	u, err := j.ready.leaf.Usage()
	if err != nil {
		return nil, err
	}
	u.MemoryPeak -= j.ready.residue
	j.cause.mu.Lock()
	limit, ended := j.cause.limit, j.cause.killed
	j.cause.mu.Unlock()
	if waitErr == nil && (limit == wire.LimitWall || limit == wire.LimitCPU) && exit.Ended <= ended {
		limit = "" // the program had ended when the timer fired
	}
	r := &wire.Result{
		Violations: j.ready.denials.list(), Limit: limit, CPUNS: int64(u.CPU - cpuBefore), MemoryPeak: u.MemoryPeak, MemoryMax: j.memoryLimit(), PoolHit: j.hit, Parked: j.ready.loaded,
	}
	if j.apart == nil {
		j.server.denied.add(j.req.Template, r.Violations)
	}
	if j.ready.jail.NextPID() != 0 { // PID 1 has not looked
		j.alone = j.nobodyLeft()
		exit.Same = exit.Same && j.alone
	}
	r.WorkspaceDropped = j.req.Workspace.DropUnchanged && waitErr == nil && exit.Same
	j.passesOn = j.then && waitErr == nil && j.alone
	j.endStragglers(r) // also if there will be no result: the session is kept, and measured
	switch {
	case waitErr != nil && limit == "":
		// PID 1 died and none of us killed it: the kernel did, for want of memory on the host.
		j.server.log.Error("job lost", "template", j.req.Template, "error", waitErr)
		return nil, wire.Errorf(wire.CodeLost, "the sandbox was killed from outside")
	case waitErr != nil:
		r.Signal = int(unix.SIGKILL)
	case exit.Status.Signaled():
		r.Signal, ended = int(exit.Status.Signal()), exit.Ended
	default:
		r.Code, ended = exit.Status.ExitStatus(), exit.Ended
	}
	switch {
	case u.OOMKills == 0 || limit != "":
	case reached(u.MemoryPeak, r.MemoryMax):
		r.Limit = wire.LimitMemory
	default:
		j.server.log.Error("the kernel killed a process of a job for want of memory on the host", "template", j.req.Template, "peak", u.MemoryPeak, "limit", r.MemoryMax)
		return nil, wire.Errorf(wire.CodeLost, "the host has no memory left")
	}
	if exit.Started > 0 { // else it was killed before it began
		r.WallNS = int64(max(0, ended-exit.Started))
	}
	if r.WorkspaceBytes, r.WorkspaceFiles, err = j.server.volumes.measure(j.workspace, j.mount); err != nil {
		return nil, err
	}
	if j.buildMnt != nil {
		if r.BuildBytes, _, err = j.server.volumes.measure(j.build, j.buildMnt); err != nil {
			return nil, err
		}
	}
	if j.noise != nil {
		if r.Noise, err = j.noise.since(j.ready, exit); err != nil {
			return nil, err
		}
	}
	if j.meters != nil {
		r.Meters, err = j.readMeters(r)
	}
	return r, err
}

// handOver lets the job that runs an artifact have it at once. Nothing can write to it any more (endStragglers), but a compiler's jail takes the kernel 7 to 20 ms to free
// (C#, Java), and the caller would wait for them.
func (j *job) handOver() {
	if err := j.server.volumes.release(j.build, true); err != nil {
		j.server.log.Error("release volume", "error", err)
	}
	j.build = nil
}

// finish gives everything back, in the background: the answer does not wait for it. result is nil if there is none.
func (j *job) finish(result *wire.Result) {
	vs := j.server.volumes
	for v, mount := range map[*volume]*os.File{j.workspace: j.mount, j.build: j.buildMnt} {
		if v != nil {
			vs.end(v, mount, result != nil)
		}
	}
	j.meters.close()
	keepWorkspace := j.req.Workspace.ID != ""
	if j.req.Workspace.New {
		// Of one that nobody waits for any more, nobody knows.
		keepWorkspace = result != nil && !result.WorkspaceDropped && result.Limit != hangUp
	}
	if keepWorkspace && j.workspace != nil && !j.workspace.lasting { // a host without memory may have kept it from that after the job before
		if err := vs.last(j.workspace); err != nil {
			j.server.log.Error("a workspace will not outlive sandboxd", "error", err)
		}
	}
	keepBuild := !j.req.Build.New || result != nil && result.Limit == "" && result.Signal == 0 && result.Code == 0
	j.passesOn = j.passesOn && keepBuild && result != nil
	if j.req.Build.New && keepBuild && !j.renewable {
		j.handOver()
	}
	letGo := func() {
		for v, keep := range map[*volume]bool{j.workspace: keepWorkspace, j.build: keepBuild} {
			if v == nil {
				continue
			}
			if err := vs.release(v, keep); err != nil {
				j.server.log.Error("release volume", "error", err)
			}
		}
	}
	if j.free != nil {
		j.free()
	}
	pools := j.server.pools
	switch {
	case j.ready == nil:
		letGo()
	case j.renewable && result != nil && result.Limit == "":
		pools.giveBack(j.ready, letGo)
	case j.passesOn:
		pools.passOn(j.ready, j.req.Build.ID, result.BuildBytes, letGo)
	default:
		if j.ready.owner != "" {
			pools.kept.lost(j.ready.keptBy())
		}
		pools.builder.destroyAfter(j.answered, j.ready, letGo)
	}
}
