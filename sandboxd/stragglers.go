package main

import (
	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/wire"
)

// measureWorkspace is what the workspace of a job that has ended holds: r says whether it is kept. What the program left behind is ended before. Once the
// caller is answered all of it is killed anyhow, but until then a process may write on, and a session would count for less than it keeps: 60 MiB less, by sixteen that had waited for the end.
// Nobody waits for that who would not: callers' readers wait until the last process has closed its streams.
func (j *job) measureWorkspace(r *wire.Result) (bytes, files int64, err error) {
	if j.req.Workspace.ID != "" && !r.WorkspaceDropped && !j.renewable && !j.endRunner() {
		j.ready.jail.End()
	}
	return j.server.volumes.measure(j.workspace, j.mount)
}

// keepsFiles says that something of what the job writes may stay when it has ended.
func (j *job) keepsFiles() bool { return j.req.Workspace.ID != "" || j.req.Build.New }

// endRunner says that nothing of the job's is left that could write. A parked runtime whose program has ended stops itself, for to free its memory would take long;
// but any program may say that it has ended, and have a timer wake it. Who was sent SIGKILL starts nothing and writes no more than it is about to. So the signal comes
// first, and then the look at who else is there. A runner that did not stop was waited for, and its number may be another's by now.
func (j *job) endRunner() bool {
	if j.stopped {
		j.ready.jail.Signal(unix.SIGKILL)
	}
	left, err := j.ready.leaf.Processes()
	return err == nil && (len(left) == 0 || j.stopped && len(left) == 1 && left[0] == j.ready.jail.RunnerPID())
}
