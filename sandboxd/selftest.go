package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/runtools/runtools/pkg/wire"
)

// probeFiles hold one probe for each layer of a jail. TestAttacks makes them as well.
//
//go:embed testdata/attack/selftest-*.txtar
var probeFiles embed.FS

// filterCheck is made in the jails of every template, for the filter is what differs between them. The other checks are made in one template,
// each time in the next; and one of them in a jail whose runtime is loaded, each time of the next template that has such, until each was made in all.
const filterCheck = "seccomp"

// selftest attacks jails from inside, to find what a test on another machine cannot: a kernel, a configuration or an image that takes a layer
// away. It builds jails beside the pools, one after the other, at the lowest CPU weight.
//
//	pending --run--> passed <--run--> failed        (a run that tells nothing changes nothing: the machine may be busy)
//	                   |  ^
//	       stuckAfter  v  | run
//	                  stuck                         (but not for ever: what was seen so long ago says nothing of the node as it is)
//
// While it is not passed the node is not ready: apid's /readyz says so, and a balancer sends nothing here. That holds from the start to the
// end of the first run, a second at most on an idle machine: nobody has seen yet that this node holds. Jobs that come all the same are
// carried out; to refuse them would have every other client of a lone node pay for a check that may itself be wrong.
type selftest struct {
	server *server
	probes []*probe
	rootfs *os.File      // of the image
	every  time.Duration // 0: only when asked

	ctx    context.Context // until the server drains
	cancel context.CancelFunc
	worker sync.WaitGroup

	running  sync.Mutex // one run at a time
	runs     int        // under running
	sentinel *sentinel  // likewise

	mu     sync.Mutex
	failed []string  // of the last run that told anything
	at     time.Time // of its end
	told   int       // runs that told anything
	untold string    // why the last run told nothing; "" if it did
	warned bool      // that it is stuck
}

// selftestRetry is how soon a run is repeated that failed or told nothing.
const selftestRetry = 10 * time.Second

// stuckAfter is how old a word on the jails may be. A run of a starving machine takes a minute.
func (st *selftest) stuckAfter() time.Duration { return max(3*st.every, 5*time.Minute) }

// weight is how much CPU a check gets: less than any job, until nothing was told for so long that the node would soon not be ready. Then as much as a job
// does: a node that is busy for hours must not be taken for one of which nobody knows whether it holds.
func (st *selftest) weight() uint64 {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.told > 0 && st.untold != "" && time.Since(st.at) > st.stuckAfter()/2 {
		return st.server.builder.limits.CPUWeight
	}
	return loadWeight
}

// newSelftest reads the probes and begins the schedule.
func newSelftest(s *server, image string, every time.Duration) (*selftest, error) {
	st := &selftest{server: s, every: every}
	if s.builder.recorder != nil {
		st.every = 0 // its calls are not the programs', and nothing is denied
	}
	files, err := probeFiles.ReadDir("testdata/attack")
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		data, err := probeFiles.ReadFile(path.Join("testdata/attack", f.Name()))
		if err != nil {
			return nil, err
		}
		p, err := parseProbe(f.Name(), data)
		if err != nil {
			return nil, err
		}
		p.name = strings.TrimPrefix(p.name, "selftest-")
		st.probes = append(st.probes, p)
	}
	if st.rootfs, err = os.Open(filepath.Join(image, "rootfs")); err != nil {
		return nil, err
	}
	st.sentinel = newSentinel(st.rootfs, s.pools.all)
	st.ctx, st.cancel = context.WithCancel(context.Background())
	if st.every > 0 {
		st.worker.Go(st.work)
	}
	return st, nil
}

func (st *selftest) close() error {
	st.cancel()
	st.worker.Wait()
	return st.rootfs.Close()
}

func (st *selftest) work() {
	for {
		pause := st.every
		if slices.ContainsFunc(st.run(), func(c wire.Check) bool { return c.Problem != "" }) {
			pause = min(pause, selftestRetry)
		}
		select {
		case <-time.After(pause):
		case <-st.ctx.Done():
			return
		}
	}
}

// run makes every check once. When the server drains it gives up, and what it saw counts for nothing.
func (st *selftest) run() (checks []wire.Check) {
	st.running.Lock()
	defer st.running.Unlock()
	checks = append(checks, st.imageCheck())
	templates := slices.Sorted(maps.Keys(st.server.pools.all))
	for i, p := range st.probes {
		in := []string{templates[(st.runs+i)%len(templates)]}
		if p.name == filterCheck {
			in = templates
		}
		for _, template := range in {
			checks = append(checks, st.check(p, template, false))
		}
	}
	if p, template := st.whenParked(templates); p != nil {
		checks = append(checks, st.check(p, template, true))
	}
	st.runs++
	if st.ctx.Err() == nil {
		st.conclude(checks)
	}
	return checks
}

// whenParked is this run's check of a jail whose runtime is loaded: the runtime starts the probe in its own place, as it does with every program that
// is not for it. nil: no template has a runtime. Probes with limits of their own are left out, for those are not what a runtime needs.
func (st *selftest) whenParked(templates []string) (*probe, string) {
	templates = slices.DeleteFunc(templates, func(name string) bool { return st.server.pools.all[name].template.spec.Parked == nil })
	probes := slices.DeleteFunc(slices.Clone(st.probes), func(p *probe) bool { return p.limits != defaultLimits })
	if len(templates) == 0 || len(probes) == 0 {
		return nil, ""
	}
	return probes[st.runs/len(templates)%len(probes)], templates[st.runs%len(templates)]
}

// conclude takes a run over into the state, and tells of a change.
func (st *selftest) conclude(checks []wire.Check) {
	var failed []string
	untold := ""
	for _, c := range checks {
		switch {
		case c.Inconclusive:
			untold = fmt.Sprintf("%.300s", c.Name+" in "+c.Template+": "+c.Problem)
			st.server.log.Warn("self test: a check could not be made", "check", c.Name, "template", c.Template, "why", c.Problem)
		case c.Problem != "":
			failed = append(failed, fmt.Sprintf("%.300s", c.Name+" in "+c.Template+": "+c.Problem))
		}
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if failed == nil && untold != "" {
		st.untold = untold
		if stuck := st.stuckLocked(); stuck != "" && st.told > 0 && !st.warned {
			st.warned = true
			st.server.log.Error("the self test tells nothing: this node is not ready", "why", stuck)
		}
		return
	}
	before, first := st.failed, st.told == 0 || st.warned
	st.failed, st.at, st.untold, st.warned = failed[:min(len(failed), wire.MaxFailed)], time.Now(), "", false
	st.told++
	switch {
	case len(failed) > 0 && !slices.Equal(failed, before):
		st.server.log.Error("the self test failed: this node is not ready", "attacks that were not held", strings.Join(failed, "; "))
	case len(failed) == 0 && (first || len(before) > 0):
		st.server.log.Info("the self test passed", "checks", len(checks))
	}
}

// status is nil if there is no schedule.
func (st *selftest) status() *wire.Selftest {
	if st.every == 0 {
		return nil
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	s := &wire.Selftest{Runs: st.told, Failed: st.failed, Stuck: st.stuckLocked()}
	if st.told > 0 {
		s.Passed, s.AgoMS = len(st.failed) == 0 && s.Stuck == "", time.Since(st.at).Milliseconds()
	}
	return s
}

// stuckLocked is why it is not known, or not any more, that the jails hold, or "". It looks at the clock: a run that never ends tells nothing either.
func (st *selftest) stuckLocked() string {
	switch {
	case st.told == 0 && st.untold != "":
		return "no run could be completed yet: " + st.untold
	case st.told == 0 || len(st.failed) > 0 || time.Since(st.at) <= st.stuckAfter():
		return ""
	case st.untold != "":
		return fmt.Sprintf("no run could be completed for more than %v: %s", st.stuckAfter(), st.untold)
	}
	return fmt.Sprintf("no run has ended for more than %v", st.stuckAfter())
}

// check runs one probe.
func (st *selftest) check(p *probe, in string, parked bool) wire.Check {
	c := wire.Check{Name: p.name, About: p.about, Template: in}
	build, limits := st.server.pools.buildApart, p.limits
	if parked {
		c.Template += " (parked)"
		build, limits.MemoryBytes = st.server.pools.parkApart, 0 // as for a job that says nothing: the runtime is in it
	}
	got, err := st.attack(p, in, limits, func(t *template) (*readyJail, error) { return build(t, st.weight()) })
	want := p.want
	switch {
	case err != nil:
		c.Problem, c.Inconclusive = err.Error(), true
	case got.text != want && got.late && !strings.HasPrefix(want, "limit "+wire.LimitWall):
		c.Problem, c.Inconclusive = fmt.Sprintf("not done within %d ms", p.limits.WallMS), true
	case got.text != want:
		c.Problem = fmt.Sprintf("got %.150q, want %.100q", got.text, want)
	case p.violations != nil:
		for line := range strings.Lines(*p.violations) {
			if !slices.Contains(got.violations, line) {
				c.Problem = "denied, but not named: " + strings.TrimSpace(line)
			}
		}
	}
	return c
}

// attacked is what became of a probe, in the words of the section want.
type attacked struct {
	text       string
	late       bool // it ran out of wall time
	violations []string
}

// attack runs the program in a jail of its own. An error says nothing about the sandbox.
func (st *selftest) attack(p *probe, in string, limits wire.Limits, build func(*template) (*readyJail, error)) (got attacked, err error) {
	read, write, err := os.Pipe()
	if err != nil {
		return got, err
	}
	defer read.Close()
	defer write.Close()
	job := &job{server: st.server, apart: build, fds: jobFiles{stdout: write, stderr: write}, req: &wire.Job{
		Template: in, Argv: []string{"/bin/sh", "-c", p.source, "sh"}, Env: []string{"PATH=/usr/local/bin:/usr/bin:/bin"}, Limits: limits,
	}}
	output := make(chan []byte, 1)
	kills := make(chan string, 2)
	go func() { output <- readCapped(read, kills) }()
	end := context.AfterFunc(st.ctx, func() { kills <- hangUp })
	defer end()
	result, err := job.run(kills)
	write.Close()
	if err != nil || result.Limit == hangUp {
		return got, errors.Join(err, st.ctx.Err())
	}
	if err := read.SetReadDeadline(time.Now().Add(outlived)); err != nil {
		return got, err
	}
	stdout := <-output
	if stdout == nil {
		return attacked{text: "a process outlived its job"}, nil
	}
	got = attacked{text: outcome(result, nil) + string(stdout), late: result.Limit == wire.LimitWall}
	for _, v := range result.Violations {
		got.violations = append(got.violations, fmt.Sprintf("%s(%s): %d\n", v.Syscall, v.Args, v.Count))
	}
	return got, nil
}

// outlived is how long after the end of its jail nobody can have the pipe of a job open any more.
const outlived = 10 * time.Second

// readCapped reads to the end; nil if that does not come. A program that writes too much is ended.
func readCapped(r *os.File, kills chan<- string) []byte {
	data, err := io.ReadAll(io.LimitReader(r, outputCap))
	if len(data) == outputCap {
		kills <- wire.LimitStdout
		_, err = io.Copy(io.Discard, r)
	}
	if err != nil {
		return nil
	}
	return append([]byte{}, data...)
}

// buildApart makes a jail that no pool counts, for a job that waits for everybody else's. It has the profile in force: what attacks call would
// tell nothing of a candidate.
func (ps *pools) buildApart(t *template, weight uint64) (*readyJail, error) {
	ps.turn <- struct{}{}
	p := ps.builder.policy.Load()
	r, err := ps.builder.buildUnder(t, p, p.inForce[t.name])
	<-ps.turn
	if err != nil {
		return nil, err
	}
	if err := r.leaf.SetWeight(weight); err != nil {
		ps.builder.release(r)
		return nil, err
	}
	return r, nil
}

// parkApart makes such a jail in which the template's runtime waits.
func (ps *pools) parkApart(t *template, weight uint64) (*readyJail, error) {
	r, err := ps.buildApart(t, weight)
	if err != nil {
		return nil, err
	}
	ps.load <- struct{}{}
	err = ps.builder.load(r, weight)
	<-ps.load
	if err == nil {
		err = r.leaf.SetWeight(weight) // again, for it has a job's now
	}
	if err != nil {
		ps.builder.release(r)
		return nil, err
	}
	return r, nil
}
