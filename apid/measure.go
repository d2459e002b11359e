package main

import (
	"context"
	"errors"
	"time"

	"github.com/runtools/runtools/pkg/wire"
)

// measureTime is for a job that does nothing, behind one that is being ended, on the busiest machine.
const measureTime = time.Minute

// measure finds out what a job left in the session's workspace that did not say: its caller hung up, it was killed from outside, or one of its files could
// not be placed, behind others. A workspace in which not even that can be done is given up, as its size would not be known.
func (x *execution) measure(failed *apiError) {
	if failed == nil || !x.begun || x.fresh || !x.grows() || x.session.form != formMounted {
		return
	}
	if failed.is(wire.CodeOverloaded) || failed.is(wire.CodeInvalid) { // the job was not begun; what those before it left is on record
		return
	}
	if errors.Is(failed.cause, wire.ErrAway) || errors.Is(failed.cause, wire.ErrLost) { // as after any restart of sandboxd: the next request tells
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), measureTime)
	defer cancel()
	in, err := x.keyToolJob(toolWall, toolWords, "/usr/bin/true")
	if err != nil {
		return
	}
	in.job.Workspace = wire.Volume{ID: volumeName(x.session.volume)}
	for patience := time.Now().Add(inUsePatience); ; {
		out, err := x.runJob(ctx, in)
		if err == nil {
			x.sessions.settle(x.session, whatRemains(out.result), x.session.env)
			return
		}
		var theirs *wire.Error
		switch known := errors.As(err, &theirs); {
		case known && theirs.Code == wire.CodeOverloaded && time.Now().After(patience): // no reason to lose files: the next job in here measures
			return
		case ctx.Err() != nil:
			x.lose()
			return
		case !known: // sandboxd is away
			return
		case theirs.Code == wire.CodeFile && failed.is(wire.CodeFile): // closed by a program of an earlier request: nothing could be placed
			return
		case theirs.Code == wire.CodeFile || theirs.Code == wire.CodeUnknownVolume:
			x.lose()
			return
		case theirs.Code != wire.CodeVolumeInUse && theirs.Code != wire.CodeOverloaded && theirs.Code != wire.CodeLost: // no caller's doing
			return
		}
		time.Sleep(inUseRetry)
	}
}
