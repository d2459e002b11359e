package main

import (
	"context"
	"errors"
	"time"

	"github.com/runtools/runtools/pkg/wire"
)

// setFiles has a job place files in its workspace before it starts.
func (in *jobInput) setFiles(files []requestFile) {
	in.files = files
	in.job.Files = make([]wire.File, len(files))
	for i, f := range files {
		in.job.Files[i] = wire.File{Name: f.name, Size: int64(len(f.content))}
	}
}

// place completes a job: its workspace, and the files that go there.
func (x *execution) place(ctx context.Context, j *preparedJob) *apiError {
	if len(x.held) > 0 && x.session != nil && !j.hasRoomFor(x.held) {
		if err := x.mountHeld(ctx); err != nil {
			return err
		}
	}
	files, kept := layOver(x.held, j.own)
	j.setFiles(files)
	x.kept = kept
	j.job.Workspace = x.workspace(!j.readLater && (j.reusable || fewAndSmall(files)))
	return nil
}

// hasRoomFor says whether files can travel with the job's own.
func (j *preparedJob) hasRoomFor(files []requestFile) bool {
	size := j.encoded
	for _, f := range files {
		size += encodedFile(f.name)
	}
	return len(j.own)+len(files) <= maxFiles && size <= maxEncoded && folderBytes(files, j.own) <= maxFolders
}

// workspace names the volume that a job gets. The scratch volume is made by the compile job, and is gone if that changed nothing. again
// says that the job's files may as well be given to the next job anew.
func (x *execution) workspace(again bool) wire.Volume {
	v := wire.Volume{ID: x.scratch, New: !x.scratchLive}
	if x.session != nil {
		v = wire.Volume{ID: volumeName(x.session.volume), New: x.session.form != formMounted}
	}
	v.New = v.New && v.ID != ""
	v.DropUnchanged = v.New && again
	return v
}

// settle records what a job left in the workspace and the environment.
func (x *execution) settle(j *preparedJob, left remains, changes []string) {
	x.held = nil
	if left.form == formGiven {
		x.held = j.files // for the run job after this one
	}
	switch {
	case x.session != nil:
		if left.form == formGiven {
			left.stored = encodeFiles(j.files)
		}
		x.sessions.settle(x.session, left, changes)
	case left.form == formGiven:
		x.scratch = ""
		if x.plan.artifacts != nil { // the program needs one that can be read
			x.scratch = volumeName(newVolume())
		}
	default:
		x.scratchLive = true
	}
}

func whatRemains(r *wire.Result) remains {
	if r.WorkspaceDropped {
		return remains{form: formGiven}
	}
	return remains{form: formMounted, bytes: r.WorkspaceBytes, inodes: r.WorkspaceFiles}
}

// A job whose caller hung up may still hold the session's volume when the next request of the session comes.
const (
	inUseRetry    = 10 * time.Millisecond
	inUsePatience = 3 * time.Second
)

// send has one job carried out and says in the caller's terms what went wrong.
func (x *execution) send(ctx context.Context, j *preparedJob) (*jobOutput, *apiError) {
	if err := x.place(ctx, j); err != nil {
		return nil, err
	}
	giveUp := time.Now().Add(inUsePatience)
	x.begun = true
	for {
		out, err := x.runJob(ctx, j.jobInput)
		if err == nil {
			x.call.timing.add(out)
			return out, nil
		}
		var theirs *wire.Error
		if errors.As(err, &theirs) && theirs.Code == wire.CodeVolumeInUse && time.Now().Before(giveUp) {
			select {
			case <-time.After(inUseRetry):
				continue
			case <-ctx.Done():
			}
		}
		return nil, x.explain(ctx, err)
	}
}

// explain turns a failure of ours into what the caller may know.
func (x *execution) explain(ctx context.Context, err error) *apiError {
	if ctx.Err() != nil {
		return contextError(ctx)
	}
	switch {
	case errors.Is(err, wire.ErrAway):
		return &apiError{code: errOverloaded, message: "the sandbox service is not available at present", cause: err}
	case errors.Is(err, wire.ErrLost):
		return &apiError{code: errInterrupted, message: "the sandbox service ended while the program may have run", cause: err}
	}
	var theirs *wire.Error
	if !errors.As(err, &theirs) {
		return internal(err)
	}
	if errors.Is(err, wire.ErrVersion) {
		x.metrics.misfits.Inc()
		return &apiError{code: errOverloaded, message: "the sandbox service is being upgraded", cause: err}
	}
	switch theirs.Code {
	case wire.CodeFile:
		return x.explainFile(theirs)
	case wire.CodeOverloaded:
		return &apiError{code: errOverloaded, message: "no room for another sandbox", cause: err}
	case wire.CodeUnknownVolume, wire.CodeUnknownBuild: // where carryOut knows nothing better
		return &apiError{code: errInterrupted, message: "what this request had made was lost with the sandbox service", cause: err}
	case wire.CodeLost:
		return &apiError{code: errInterrupted, message: "the sandbox was killed from outside while the program may have run", cause: err}
	case wire.CodeVolumeInUse:
		return &apiError{code: errOverloaded, message: "an earlier program of this session is still being ended", cause: err}
	}
	return internal(err)
}

// explainFile names the file as the caller counts them.
func (x *execution) explainFile(theirs *wire.Error) *apiError {
	if theirs.Index < 0 {
		refused := invalidField("session_id", "%s: an earlier program took the right to enter it from all that follow; delete the session", theirs.Message)
		refused.cause = theirs
		return refused
	}
	index := theirs.Index - x.kept
	if index < 0 || index >= len(x.plan.files) {
		return internal(theirs)
	}
	field := "code"
	if index -= x.plan.codeFiles; index >= 0 {
		field = fieldIndex("files", index) + ".name"
	}
	refused := invalidField(field, "%s", theirs.Message)
	refused.cause = theirs
	return refused
}
