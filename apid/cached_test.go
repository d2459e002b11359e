package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/runtools/runtools/pkg/wire"
)

// cc is a program of the compiled language in a new session.
func cc(lines ...string) map[string]any {
	return map[string]any{"language": "c", "code": strings.Join(lines, "\n") + "\n"}
}

// wantCached fails unless the answer says so, and as many compile jobs were needed as it says.
func (ts *testServer) wantCached(want bool, fields map[string]any) *result {
	ts.t.Helper()
	before := ts.compileJobs()
	r := ts.execute(fields)
	jobs := ts.compileJobs() - before
	switch c := r.Compile; {
	case c == nil || c.Status != "OK":
		ts.t.Errorf("it was not compiled: %s", r.Raw)
	case want && (c.Cached == nil || !*c.Cached || jobs != 0 || c.TimeMS != 0 || c.CPUTimeMS != 0 || c.MemoryKB != 0 || *c.Code != 0):
		ts.t.Errorf("%d compile jobs, want none and cached: %s", jobs, r.Raw)
	case !want && (c.Cached != nil || jobs != 1 || c.CPUTimeMS == 0):
		ts.t.Errorf("%d compile jobs, want one and no cached: %s", jobs, r.Raw)
	}
	return r
}

func (ts *testServer) compileJobs() (n int) {
	for _, j := range ts.fake.asked() {
		if strings.HasSuffix(j.Template, "/compile") {
			n++
		}
	}
	return n
}

func TestCompileCache(t *testing.T) {
	ts := newTestServer(t, nil)
	first := ts.wantCached(false, cc("#compile warn careful", "args", "cat"))
	second := ts.wantCached(true, with(cc("#compile warn careful", "args", "cat"), "args", []string{"a"}, "stdin", "in", "run_timeout", 1000,
		"run_memory_limit", 64<<20, "ephemeral", true))
	if first.Run.Stdout != "[]\n" || second.Run.Stdout != "[\"a\"]\nin" || second.Compile.Stderr != "careful\n" {
		t.Errorf("%s%s", first.Raw, second.Raw)
	}
	ts.wantCached(false, cc("print silent"))
	if r := ts.wantCached(true, cc("print silent")); r.Compile.Stderr != "OK (0.000 sec real)" || r.Run.Stdout != "silent\n" {
		t.Errorf("%s", r.Raw)
	}
	for name, fields := range map[string]map[string]any{
		"another source":      cc("print x"),
		"a file more":         with(cc("print silent"), "files", []any{file("x.h", "")}),
		"a variable":          with(cc("print silent"), "env", map[string]string{"CPATH": "/tmp"}),
		"time to compile":     with(cc("print silent"), "compile_timeout", 5000),
		"CPU time to compile": with(cc("print silent"), "compile_cpu_time", 5000),
		"memory to compile":   with(cc("print silent"), "compile_memory_limit", 512<<20),
		"output of compiler":  with(cc("print silent"), "output_limit", 1000),
	} {
		ts.t.Log(name)
		ts.wantCached(false, fields)
		ts.wantCached(true, fields)
	}
	if got := ts.metric("runtools_compile_cache_hits_total"); got != "9" {
		t.Errorf("%s hits", got)
	}
	if got := ts.metric("runtools_compile_cache_misses_total"); got != "9" {
		t.Errorf("%s misses", got)
	}
	if got := ts.metric("runtools_compile_cache_entries"); got != "9" {
		t.Errorf("%s entries", got)
	}
	// Another key does not learn what this one runs.
	ts.key = ts.makeKey(ts.cfg.Keys, 0)
	ts.keys.checked.Store(-int64(keyCheckInterval))
	ts.wantCached(false, cc("print silent"))
	ts.wantCached(true, cc("print silent"))
}

func (ts *testServer) metric(name string) string {
	families, err := ts.metrics.registry.Gather()
	if err != nil {
		ts.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return fmt.Sprint(m.GetCounter().GetValue() + m.GetGauge().GetValue())
		}
	}
	return "no metric " + name
}

// Nothing is kept of a compiler that failed, that was ended, that wrote to the workspace, or that was denied a call.
func TestCompileNotKept(t *testing.T) {
	ts := newTestServer(t, nil)
	for _, step := range []string{"exit 1", "signal 11", "limit wall", "limit memory", "spew 2000000", "write log x", "deny x"} {
		for _, ephemeral := range []bool{false, true} {
			for range 2 {
				before := ts.compileJobs()
				r := ts.execute(with(cc("#compile "+step, "print x"), "ephemeral", ephemeral, "output_limit", 1000000))
				if r.Compile.Cached != nil || ts.compileJobs() != before+1 || strings.Contains(r.Raw, `"violations"`) != (step == "deny x") {
					t.Errorf("%s: %.500s", step, r.Raw)
				}
			}
		}
	}
	files := []any{}
	for i := range cachedFiles {
		files = append(files, file(fmt.Sprint(i), ""))
	}
	ts.wantCached(false, with(cc("print x"), "files", files))
	ts.wantCached(false, with(cc("print x"), "files", files))
	files = []any{file("big", strings.Repeat("x", cachedSources))}
	ts.wantCached(false, with(cc("print x"), "files", files))
	ts.wantCached(false, with(cc("print x"), "files", files))
	if n := ts.cache.counts(); n.entries != 0 || n.bytes != 0 {
		t.Errorf("%+v", n)
	}
}

// The operator's packages may change while we serve: what may be made with them is compiled each time, and by no compiler that has served before.
func TestCompileWithMirrorNotKept(t *testing.T) {
	ts := newTestServer(t, nil)
	for name, fields := range map[string]map[string]any{
		"names the folder":       cc("# include </packages/x.h>"),
		"a variable names it":    with(cc("print y"), "env", map[string]string{"CPATH": "/usr:/packages/x"}),
		"another file names it":  with(cc("print z"), "files", []any{file("x.h", "../../packages/x.h")}),
		"a word of the language": cc("# @import x"),
		"in UTF-16":              with(cc("print u"), "files", []any{file("x.h", "\ufeff@\x00i\x00m\x00p\x00o\x00r\x00t\x00")}),
	} {
		ts.t.Log(name)
		ts.wantCached(false, fields)
		ts.wantCached(false, fields)
	}
	for _, j := range ts.fake.asked() {
		if j.Owner != "" {
			t.Errorf("the compiler may serve again after %v", j.Files)
		}
	}
	ts.wantCached(false, cc("# packages/x import"))
	if all := ts.fake.asked(); !slices.ContainsFunc(all, func(j *wire.Job) bool { return j.Owner != "" }) {
		t.Error("no compiler may serve again")
	}
}

// What a session holds besides the request's files could reach the compiler: no cached build is used there, nor made.
func TestCompileCacheInSessions(t *testing.T) {
	ts := newTestServer(t, nil)
	s := func(fields map[string]any) map[string]any { return with(fields, "session_id", "s") }
	program := func() map[string]any { return cc("read x.h") }

	ts.wantCached(false, program())
	ts.wantCached(true, s(program()))                                              // new
	ts.wantCached(true, s(program()))                                              // it holds that one file
	ts.wantCached(false, s(with(program(), "files", []any{file("x.h", "given")}))) // not cached before, but kept: all files are the request's
	ts.wantCached(true, with(program(), "files", []any{file("x.h", "given")}))
	for range 2 {
		if r := ts.wantCached(false, s(program())); r.Run.Stdout != "given\n" {
			t.Errorf("a file of an earlier request: %s", r.Raw)
		}
	}
	ts.wantCached(true, s(with(program(), "files", []any{file("x.h", "given")}))) // again all are
	ts.execute(s(python("write x.h written")))
	for range 2 {
		if r := ts.wantCached(false, s(program())); r.Run.Stdout != "written\n" {
			t.Errorf("a file that a program wrote: %s", r.Raw)
		}
		ts.wantCached(false, s(with(program(), "files", []any{file("x.h", "given")})))
		ts.execute(s(python("write x.h written")))
	}
	if r := ts.wantCached(true, program()); r.Run.Stdout != "\n" {
		t.Errorf("elsewhere: %s", r.Raw)
	}
	if n := ts.cache.counts().entries; n != 2 {
		t.Errorf("%d entries, want the program with and without its header", n)
	}

	// The environment of a session counts.
	ts.execute(with(python("setenv CPATH=/tmp"), "session_id", "e"))
	ts.wantCached(false, with(program(), "session_id", "e"))
	ts.do("DELETE", "/v1/sessions/e", "")
	ts.wantCached(true, with(program(), "session_id", "e"))
}

// The run job, and the session after it, are what they would have been with a compile job.
func TestCompileCacheChangesNothingElse(t *testing.T) {
	big := strings.Repeat("x", givenBytes)
	for name, c := range map[string]struct {
		code string
		more []any
	}{
		"reads":           {"read d/x.h\nenv A", nil},
		"writes":          {"read d/x.h\nwrite d/x.h changed\nwrite new x", nil},
		"with large file": {"read d/x.h", []any{file("big", big)}},
		"fails":           {"exit 3", nil},
		"ephemeral":       {"read d/x.h", nil},
	} {
		t.Run(name, func(t *testing.T) {
			ts := newTestServer(t, nil)
			var runs [2]*wire.Job
			for i := range runs {
				q := with(cc(c.code), "files", append([]any{file("d/x.h", "text")}, c.more...), "env", map[string]string{"A": "1"})
				if name == "ephemeral" {
					q["ephemeral"] = true
				}
				first := ts.wantCached(i == 1, q)
				run := *ts.fake.lastJob()
				if run.Workspace.ID != "" {
					run.Workspace.ID = "some"
				}
				run.Build.ID, run.Label = "some", ""
				runs[i] = &run
				held := fmt.Sprint(ts.sessions.counts().forms)
				t.Logf("%s: %s", held, first.Raw)
				if first.Session == nil {
					continue
				}
				again := ts.execute(with(python("read d/x.h", "read new", "read main.c", "env A"), "session_id", *first.Session))
				if want := map[bool]string{false: "text\n\n", true: "changed\nx\n"}[name == "writes"] + c.code + "\n\nA=1 true\n"; again.Run.Stdout != want || again.Created {
					t.Errorf("round %d: %q, want %q", i, again.Run.Stdout, want)
				}
				ts.do("DELETE", "/v1/sessions/"+*first.Session, "")
			}
			if a, b := fmt.Sprintf("%+v", runs[0]), fmt.Sprintf("%+v", runs[1]); a != b {
				t.Errorf("run jobs differ:\n%s\n%s", a, b)
			}
		})
	}
}

// sandboxd was restarted, or had no use for a volume that nobody used: the request compiles again, and the caller sees nothing of it.
func TestLostBuild(t *testing.T) {
	ts := newTestServer(t, nil)
	for _, extra := range []string{"", "session_id", "ephemeral"} {
		q := func() map[string]any {
			switch extra {
			case "session_id":
				return with(cc("read main.c", "env A"), "session_id", "s", "env", map[string]string{"A": "1"})
			case "ephemeral":
				return with(cc("read main.c", "#"), "ephemeral", true)
			}
			return cc("read main.c", "print x")
		}
		ts.execute(q())
		ts.wantCached(true, q())
		ts.fake.mu.Lock()
		clear(ts.fake.volumes)
		ts.fake.mu.Unlock()
		r := ts.wantCached(false, q())
		if !strings.HasPrefix(r.Run.Stdout, "read main.c\n") || r.Created {
			t.Errorf("%s", r.Raw)
		}
		ts.wantCached(false, q()) // the one that lost it kept nothing
		ts.wantCached(true, q())
	}
}

// Evicted between compile and run: the program runs all the same.
func TestBuildEvictedAtOnce(t *testing.T) {
	ts := newTestServer(t, func(c *config) { c.Cache.MaxEntries = 1 })
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			if r := ts.execute(cc(fmt.Sprintf("print %d", i%5))); r.Run.Stdout != fmt.Sprintln(i%5) || r.Compile.Status != "OK" {
				t.Errorf("%s", r.Raw)
			}
		})
	}
	all.Wait()
	eventually(t, "all but one volume are forgotten", func() bool { return ts.fake.volumeCount() == 1 && ts.cache.counts().entries == 1 })
}

func TestManyCompileTheSame(t *testing.T) {
	ts := newTestServer(t, func(c *config) { c.Queue.MaxJobs = 20 })
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			r := ts.execute(with(cc("#compile sleep 200ms", "args"), "args", []string{fmt.Sprint(i)}))
			if r.Run.Stdout != fmt.Sprintf("[\"%d\"]\n", i) {
				t.Errorf("%s", r.Raw)
			}
		})
	}
	all.Wait()
	if n := ts.compileJobs(); n != 1 {
		t.Errorf("it was compiled %d times", n)
	}
}

func TestCompileCacheOff(t *testing.T) {
	ts := newTestServer(t, func(c *config) { c.Cache.MaxBytes = 0 })
	ts.wantCached(false, cc("print x"))
	ts.wantCached(false, cc("print x"))
	eventually(t, "the build volumes are forgotten", func() bool { return ts.fake.volumeCount() == 0 })
	if n := ts.cache.counts(); n.misses != 0 {
		t.Errorf("%+v", n)
	}
}
