package main

import "github.com/runtools/runtools/pkg/wire"

// endStragglers ends what the program left behind, before what it could write to is measured and handed on: r says whether the workspace is kept. Once the caller is
// answered all of it is killed anyhow, but until then a process may write on, and a session would count for less than it keeps: 60 MiB less, by sixteen that had
// waited for the end. Nobody waits for that who would not: callers' readers wait until the last process has closed its streams.
func (j *job) endStragglers(r *wire.Result) {
	kept := j.req.Workspace.ID != "" && !r.WorkspaceDropped || j.req.Build.New
	if kept && !j.renewable && !j.endRunner() {
		j.ready.jail.End()
	}
}

// endRunner says that nothing of the job's is left that could write. A parked runtime whose program has ended stops itself, for to free its memory would take long;
// but any program may say that it has ended, and have a timer wake it. Who was sent SIGKILL starts nothing and writes no more than it is about to. So the signal comes
// first, and then the look at who else is there. A runner that did not stop was waited for, and its number may be another's by now.
//
// The kernel frees a compiler's memory for 7 to 20 ms: with less weight it does not begin where we run, who have yet to hand the artifact over (3 ms of a C# hello).
func (j *job) endRunner() bool {
	if j.stopped {
		if j.req.Build.New {
			j.server.shares.yield(j.req.Account, j.ready.leaf)
		}
		j.ready.jail.KillStopped()
	}
	if j.ready.jail.NextPID() != 0 {
		return j.alone
	}
	left, err := j.ready.leaf.Processes()
	return err == nil && (len(left) == 0 || j.stopped && len(left) == 1 && left[0] == j.ready.jail.RunnerPID())
}

// nobodyLeft says that of a job in whose jail a second runner waits no process is left.
func (j *job) nobodyLeft() bool {
	left, err := j.ready.leaf.Processes()
	return err == nil && len(left) == 1 && left[0] == j.ready.jail.NextPID() && j.ready.jail.NextWaits()
}
