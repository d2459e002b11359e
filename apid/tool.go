package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/runtools/runtools/pkg/lang"
	"github.com/runtools/runtools/pkg/wire"
)

// Jobs of our own: tools of the image (find, tar, cp, cat, true) in a jail like that of any program, as the jail's user. They are how apid looks at what
// foreign code has left.

// tool is a command of the image that works on a session's workspace in place of a program.
type tool struct {
	argv   []string
	files  []requestFile // placed before
	most   int64         // bytes of its output
	packs  bool          // whether that is compressed: out.packed
	grows  bool          // it may leave the workspace larger
	advice string        // what a caller can do whose answer would have more
	out    *jobOutput
}

const (
	toolWall = 30 * time.Second
	// noSuchFile is what the tools exit with when there is none, which no command of theirs does.
	noSuchFile = 44
	// toolWords is enough of the output of a tool that has nothing to say but what went wrong, bytes.
	toolWords = 4 << 10
)

// withTool runs a tool in a session when it is its turn there and in the queue.
func (s *server) withTool(c *call, name string, t *tool) *apiError {
	x := &execution{server: s, call: c, plan: &plan{sessionID: name, files: t.files}, tool: t}
	ctx, done := s.whileWanted(c)
	defer done()
	if err := x.perform(ctx); err != nil {
		return err
	}
	switch err := t.out.toolError(); {
	case x.unkept != "":
		return refuse(errRateLimited, "%s", x.unkept)
	case t.out.result.Code == noSuchFile:
		return refuse(errNotFound, "this session has no such file")
	case t.out.stdout.over():
		return refuse(errTooLarge, "the answer would have more than %d bytes; %s", t.most, t.advice)
	case t.out.result.Limit == wire.LimitWall:
		return refuse(errInvalidField, "it could not be read within %v; is it a FIFO?", toolWall)
	case err != nil:
		return &apiError{code: errInvalidField, field: "path", message: "path: " + strings.TrimSpace(shown(string(t.out.stderr.data))), cause: err}
	}
	return nil
}

// runTool is jobs for a tool.
func (x *execution) runTool(ctx context.Context) *apiError {
	in, err := x.keyToolJob(toolWall, x.tool.most, x.tool.argv...)
	if err != nil {
		return internal(err)
	}
	if x.tool.packs {
		in.packer = &x.packer
	}
	j := &preparedJob{jobInput: in, own: x.tool.files}
	out, failed := x.send(ctx, j)
	if failed != nil {
		if failed.code == errInvalidField && failed.field != "session_id" {
			failed.message = "path: " + strings.TrimPrefix(failed.message, failed.field+": ")
			failed.field = "path"
		}
		return failed
	}
	x.tool.out = out
	x.settle(j, whatRemains(out.result), x.session.env)
	return nil
}

// useTool runs a tool in the session of a request that is not for a tool.
func (x *execution) useTool(ctx context.Context, t *tool) *apiError {
	x.tool = t
	defer func() { x.tool = nil }()
	return x.runTool(ctx)
}

// toolInputs are placeholders' values for a program that looks at none.
var toolInputs = lang.Inputs{Files: []string{"none"}, Memory: 256 << 20}

// toolJob is a job that runs a tool of the image and not a caller's program. All languages share one image: the first one's jail does.
// Every job has a label and an account: a sandboxd of a version that knew none would refuse callers' jobs, and the probe must see that.
func (s *server) toolJob(label string, wall time.Duration, outputLimit int64, argv ...string) (jobInput, error) {
	installed := s.langs.Installed()
	if len(installed) == 0 {
		return jobInput{}, errors.New("no language is installed")
	}
	stage := installed[0].Run
	return jobInput{outputLimit: outputLimit, job: &wire.Job{
		Template: stage.Template,
		Label:    label,
		Account:  "apid",
		Argv:     argv,
		Env:      environment(installed[0].ExpandEnv(stage, toolInputs)).words(),
		Limits:   wire.Limits{WallMS: wall.Milliseconds(), MemoryBytes: toolInputs.Memory},
	}}, nil
}

// keyToolJob is a toolJob that a caller's request needs, and on that key's account.
func (x *execution) keyToolJob(wall time.Duration, outputLimit int64, argv ...string) (jobInput, error) {
	in, err := x.server.toolJob(x.call.label(), wall, outputLimit, argv...)
	if err == nil {
		in.job.Account = x.call.account()
	}
	return in, err
}

// toolError is why a tool did not do its work.
func (out *jobOutput) toolError() error {
	if r := out.result; r.Code != 0 || r.Signal != 0 || r.Limit != "" {
		return fmt.Errorf("code %d, signal %d, limit %q, stderr %q", r.Code, r.Signal, r.Limit, out.stderr.data)
	}
	return nil
}
