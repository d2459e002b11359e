package main

import "github.com/runtools/runtools/pkg/wire"

// measureWorkspace is what the workspace of a job that has ended holds: r says whether it is kept. What the program left behind is ended before. PID 1 is about to end
// it anyhow, but until it does a process may write on, and a session would count for less than it keeps: 60 MiB less, by sixteen that had waited for the end.
// Nobody waits for that who would not: callers' readers wait until the last process has closed its streams.
func (j *job) measureWorkspace(r *wire.Result) (bytes, files int64, err error) {
	if j.req.Workspace.ID != "" && !r.WorkspaceDropped && !j.renewable && !j.alone() {
		j.ready.jail.End()
	}
	return j.server.volumes.measure(j.workspace, j.mount)
}

// alone says that nothing of the job's is left that could write: a parked runtime whose program has ended stops itself, and then is killed.
func (j *job) alone() bool {
	n, err := j.ready.leaf.Processes()
	return err == nil && (n == 0 || n == 1 && j.stopped)
}
