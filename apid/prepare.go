package main

import (
	"maps"

	"github.com/runtools/runtools/pkg/lang"
	"github.com/runtools/runtools/pkg/wire"
)

// Jobs as they are before anything has run: whatever cannot be sent is refused here.

// mergeEnvironment lays the request's variables over the session's.
func (x *execution) mergeEnvironment() *apiError {
	x.changes = nil
	if x.session != nil {
		x.changes = x.session.env
	}
	x.changes = mergeChanges(x.changes, x.plan.env)
	if problem := tooMuch(x.changes); problem != "" {
		return invalidField("env", "the environment would have %s", problem)
	}
	return nil
}

// prepare makes both jobs, and so refuses what cannot be sent before anything has run.
func (x *execution) prepare() (compile, run *preparedJob, err *apiError) {
	p := x.plan
	if stage := p.runtime.Compile; stage != nil {
		if compile, err = x.prepareStage(stage, &p.compile); err != nil {
			return nil, nil, err
		}
		x.build = volumeName(newVolume())
		compile.job.Build = wire.Volume{ID: x.build, New: true}
	}
	if p.ephemeral && (compile != nil || p.artifacts != nil) {
		x.scratch = volumeName(newVolume())
	}
	if run, err = x.prepareStage(p.runtime.Run, &p.run); err != nil {
		return nil, nil, err
	}
	run.stdin, run.readLater = p.stdin, p.artifacts != nil
	if compile == nil {
		run.own = p.files
		return nil, run, nil
	}
	compile.own = p.files
	return compile, run, nil
}

// preparedJob is a job without the workspace and the files, which are known when it is sent.
type preparedJob struct {
	jobInput
	own       []requestFile // the request's
	encoded   int           // bytes of its packet, at most, if it places the request's files
	limits    *stageLimits
	base      environment // before sessions and requests added to it
	reusable  bool        // what it makes may be kept
	readLater bool        // its workspace is read when it has ended: it stays, even if it is as it was given
}

func (x *execution) prepareStage(stage *lang.Stage, limits *stageLimits) (*preparedJob, *apiError) {
	p := x.plan
	argv := p.runtime.ExpandArgv(stage, lang.Inputs{Args: p.args, Files: p.names, Memory: limits.memory})
	base := p.baseEnvironment(stage, limits)
	if p.terminal != nil && limits == &p.run {
		base["TERM"] = terminalType
	}
	env := maps.Clone(base).change(x.changes)
	keepEnviron := stage.KeepEnv && x.session != nil
	if keepEnviron {
		preloadEnvkeep(env)
	}
	encoded, err := p.checkWords(argv, env)
	if err != nil {
		return nil, err
	}
	return &preparedJob{
		jobInput: jobInput{
			job: &wire.Job{
				Template: stage.Template,
				Argv:     argv,
				Env:      env.words(),
				Limits:   wire.Limits{WallMS: limits.wall, CPUMS: limits.cpu, MemoryBytes: limits.memory},
				Explain:  p.explain,
				Label:    x.call.label(),
				Account:  x.call.account(),
			},
			keepEnviron: keepEnviron,
			outputLimit: p.outputLimit,
		},
		encoded: encoded,
		limits:  limits,
		base:    base,
	}, nil
}
