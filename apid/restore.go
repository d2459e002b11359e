package main

import (
	"context"
	"errors"
	"time"

	"github.com/runtools/runtools/pkg/wire"
)

// unpackTar is the counterpart of packTar. Folders get their modes and times last, or one without the write bit could not be filled.
var unpackTar = []string{"/usr/bin/tar", "--extract", "--file=-", "--preserve-permissions", "--no-same-owner", "--delay-directory-restore",
	"--warning=no-timestamp"}

// unpack mounts the session's workspace again, if it was packed. One that cannot be unpacked is lost: better none of its files than some.
func (x *execution) unpack(ctx context.Context) *apiError {
	if x.session == nil || x.session.form != formPacked {
		return nil
	}
	started := time.Now()
	defer func() { x.call.timing.checkout += time.Since(started) }()
	tar, err := decompress(x.session.stored)
	if err != nil {
		return internal(err)
	}
	in, err := x.keyToolJob(tarWall, toolWords, unpackTar...)
	if err != nil {
		return internal(err)
	}
	in.stdin = tar
	out, err := x.restore(ctx, in)
	switch failed := (*toolFailure)(nil); {
	case errors.As(err, &failed):
		x.log.Error("a packed session could not be unpacked and is lost", "id", x.call.id, "err", err)
		x.lose()
		return nil
	case err != nil: // not for good: the session stays packed
		return x.explain(ctx, err)
	}
	x.packer.unpacks.Add(1)
	x.mounted(out)
	return nil
}

// mountHeld makes a volume of the files that requests gave, for a request whose own files leave no room for them in a job.
func (x *execution) mountHeld(ctx context.Context) *apiError {
	in, err := x.keyToolJob(tarWall, toolWords, "/usr/bin/true")
	if err != nil {
		return internal(err)
	}
	in.setFiles(x.held)
	x.kept = len(x.held)
	out, err := x.restore(ctx, in)
	if err != nil {
		return x.explain(ctx, err)
	}
	x.mounted(out)
	return nil
}

// toolFailure is a tool that ran and failed, as it would the next time.
type toolFailure struct{ error }

// restore runs a job that fills the session's new volume.
func (x *execution) restore(ctx context.Context, in jobInput) (*jobOutput, error) {
	in.job.Workspace = wire.Volume{ID: volumeName(x.session.volume), New: true}
	out, err := x.runJob(ctx, in)
	if err != nil {
		return nil, err
	}
	if r := out.result; r.Signal != 0 && r.Limit == "" { // by no doing of its own: it would not fail the next time
		return nil, wire.Errorf(wire.CodeLost, "a tool was killed by signal %d", r.Signal)
	}
	if err := out.toolError(); err != nil {
		return nil, &toolFailure{err}
	}
	return out, nil
}

func (x *execution) mounted(out *jobOutput) {
	x.held = nil
	x.sessions.settle(x.session, whatRemains(out.result), x.session.env)
}

// lose begins the session again, empty.
func (x *execution) lose() {
	x.sessions.restart(x.session)
	x.fresh, x.created = true, true
}
