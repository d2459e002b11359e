package main

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/runtools/runtools/pkg/lang"
	"github.com/runtools/runtools/pkg/wire"
)

// How the program of an attack comes to run: as apid would have it, by the languages of the image. sandboxd itself knows none.

// attackJob is a job and the contents of its files, one after the other.
type attackJob struct {
	wire.Job
	contents string

	sources *attackJob // what compiled it, in the workspace that it has; nil: it has a new one
}

// afresh is the job for another try, without what the last one left in the workspace.
func (j *attackJob) afresh() *attackJob {
	again := *j
	if j.sources != nil {
		again.Workspace, again.Files, again.HasFiles, again.contents = wire.Volume{}, j.sources.Files, true, j.sources.contents
	}
	return &again
}

func (j *attackJob) addFiles(names []string, contents map[string]string) {
	j.HasFiles = true
	for _, name := range names {
		j.Files = append(j.Files, wire.File{Name: name, Size: int64(len(contents[name]))})
		j.contents += contents[name]
	}
}

func (r *attackRun) wantNoSecret(text string) {
	r.t.Helper()
	if r.planted.secret != "" && strings.Contains(text, r.planted.secret) {
		r.t.Errorf("%s: got the secret of the host: %.500q", r.a.title, text)
	}
}

// prepare compiles a program if its language wants that, and returns the job that runs it. nil: it does not compile.
func (r *attackRun) prepare(role string) *attackJob {
	r.t.Helper()
	p := r.a.programs[role]
	switch {
	case p.language == "sh" || r.compiled != "" && p.language == "bash":
		job := &attackJob{Job: wire.Job{Template: "bash/run", Argv: []string{"/bin/" + p.language, "main.sh"}, Env: words(lang.BaseEnv), Limits: r.a.limits}}
		job.addFiles([]string{"main.sh"}, map[string]string{"main.sh": p.source})
		return job
	case r.compiled != "":
		return &attackJob{Job: wire.Job{Template: r.template, Argv: []string{r.compiled + r.a.name + "-" + role}, Env: words(lang.BaseEnv), Limits: r.a.limits}}
	}
	compile, run := r.stages(role)
	if compile == nil {
		return run
	}
	return r.compile(role, compile, run)
}

// stages are the jobs that a request becomes: compile is nil where there is nothing to do.
func (r *attackRun) stages(role string) (compile, run *attackJob) {
	r.t.Helper()
	p := r.a.programs[role]
	language, err := r.languages.Resolve(p.language, "")
	if err != nil {
		r.t.Fatal(err)
	}
	in := lang.Inputs{Files: []string{language.Main}, Memory: r.a.limits.MemoryBytes}
	files := map[string]string{language.Main: p.source}
	if role == "main" {
		in.Files = append(in.Files, slices.Sorted(maps.Keys(r.a.files))...)
		maps.Copy(files, r.a.files)
	}
	run = r.newJob(role, language.Run, language, in)
	if language.Compile == nil {
		run.addFiles(in.Files, files)
		return nil, run
	}
	in.Memory = cmp.Or(language.Compile.Memory, r.td.config.MemoryBytes)
	compile = r.newJob(role, language.Compile, language, in)
	compile.Limits = wire.Limits{WallMS: hang.Milliseconds(), MemoryBytes: in.Memory}
	if role == "main" && strings.HasPrefix(r.a.compile, "limit ") {
		compile.Limits = r.a.limits
	}
	if p.language == "c" && (role != "main" || r.a.compile == "") {
		compile.Argv = []string{"/usr/bin/gcc-13", "-O1", "-w", "-std=gnu17", "-fuse-ld=mold", "-o", "/build/main", "main.c", "-lm", "-pthread"}
		in.Files, files["attack.h"] = append(in.Files, "attack.h"), r.header
	}
	compile.addFiles(in.Files, files)
	return compile, run
}

// compile makes the program in a jail. What that job leaves in the workspace is there when the program runs.
func (r *attackRun) compile(role string, compile, run *attackJob) *attackJob {
	r.t.Helper()
	id := "attack-" + r.a.name + "-" + role
	compile.Build, compile.Workspace = wire.Volume{ID: id, New: true}, wire.Volume{ID: id + "-home", New: true}
	run.Build, run.Workspace, run.sources = wire.Volume{ID: id}, wire.Volume{ID: id + "-home"}, compile
	forget := func() {
		if err := r.td.client.Forget(context.Background(), id, id+"-home"); err != nil {
			r.t.Error(err)
		}
	}
	r.t.Cleanup(forget)
	var got, messages string
	for start := time.Now(); ; forget() {
		r.awaitRuntime(compile)
		contents := memfile(r.t, compile.contents)
		res := r.td.runJob(context.Background(), &compile.Job, nil, contents)
		contents.Close()
		got, messages = outcome(res.Result, res.err), res.stdout+res.stderr
		r.wantNoSecret(messages)
		if !r.again("compile", compile, got, res.Result, time.Since(start)) {
			break
		}
	}
	if role == "main" && r.a.compile != "" {
		r.judgeCompile(got, messages)
	} else if got != "code 0\n" {
		r.t.Errorf("%s does not compile: %s%s", role, got, messages)
	}
	if got != "code 0\n" {
		return nil
	}
	return run
}

func (r *attackRun) judgeCompile(got, messages string) {
	r.t.Helper()
	status, want, _ := strings.Cut(r.a.compile, "\n")
	missing := want == "" && messages != "" && !strings.HasPrefix(status, "limit ")
	for line := range strings.Lines(want) {
		missing = missing || !strings.Contains(messages, strings.TrimSuffix(line, "\n"))
	}
	if got != status+"\n" || missing {
		r.t.Errorf("%s: the compiler got\n%s%.3000swant\n%s", r.a.title, got, messages, r.a.compile)
	}
}

// makeOutput runs the program that stands for a compiler, and returns the job that runs what it left.
func (r *attackRun) makeOutput() *attackJob {
	r.t.Helper()
	language, err := r.languages.Resolve(r.a.made, "")
	if err != nil {
		r.t.Fatal(err)
	}
	run := r.newJob("main", language.Run, language, lang.Inputs{Files: []string{language.Main}, Memory: r.a.limits.MemoryBytes})
	id := "attack-" + r.a.name
	run.Build = wire.Volume{ID: id}
	compiler := r.prepare("output")
	compiler.Build = wire.Volume{ID: id, New: true}
	r.t.Cleanup(func() {
		if err := r.td.client.Forget(context.Background(), id); err != nil {
			r.t.Error(err)
		}
	})
	r.output, _ = r.do(compiler, nil, nil)
	return run
}

func (r *attackRun) newJob(role string, stage *lang.Stage, language *lang.Runtime, in lang.Inputs) *attackJob {
	env := words(language.ExpandEnv(stage, in))
	if role == "main" {
		env = append(env, r.a.env...)
	}
	return &attackJob{Job: wire.Job{Template: stage.Template, Argv: language.ExpandArgv(stage, in), Env: env, Limits: r.a.limits}}
}

// words are the variables as they are given to a process.
func words(env map[string]string) (list []string) {
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list
}
