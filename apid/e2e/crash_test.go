package e2e

import (
	"context"
	"fmt"
	"net/http"
	"syscall"
	"testing"
	"time"
)

// kill -9 is a crash. Jails must die with sandboxd, callers must be told, and the next start must clean up and serve.
func TestCrashOfSandboxd(t *testing.T) {
	s := startOwn(t, "crash", "")
	id, marker := randomMarker(), randomMarker()
	inSession := func(code string) request { return program("bash", code).with(request{"session_id": id}) }
	wantStdout(t, s.execute(t, s.key, inSession("echo 1 >f; echo x")), "x\n")

	sleeper := make(chan error, 1)
	go func() {
		response, content, err := s.send(context.Background(), s.key, http.MethodPost, "/v1/execute",
			program("bash", "setsid sleep 1000 & trap '' TERM HUP; sleep 1000").with(request{"env": request{"MARKER": marker}}))
		if err == nil && response.StatusCode < 500 {
			err = fmt.Errorf("%s: %s", response.Status, content)
		}
		sleeper <- err
	}()
	waitStarted(t, marker)
	old := s.inodes()
	s.sandboxd.command.Process.Signal(syscall.SIGKILL)
	<-s.sandboxd.done
	wantGone(t, marker)
	select {
	case err := <-sleeper:
		if err != nil {
			t.Errorf("the caller of the lost job: %v", err)
		}
	case <-time.After(hang):
		t.Error("the caller of the lost job was not answered")
	}
	// While it is away callers are told so, after a moment in which it might have come back.
	response, content, err := s.send(context.Background(), s.key, http.MethodPost, "/v1/execute", program("bash", "echo x"))
	if err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, response, content, http.StatusServiceUnavailable, "overloaded")

	if err := s.startSandboxd(); err != nil {
		t.Fatal(err)
	}
	if err := s.waitReady(); err != nil {
		t.Fatal(err)
	}
	if n, err := s.settledDirs(); err != nil || n != s.spare {
		t.Errorf("%d cgroup folders beside those of the pools, want %d: %v", n, s.spare, err)
	}
	s.wantSwept(t, old)
	a := s.execute(t, s.key, inSession("cat f; echo y"))
	if a.Run.Stdout != "1\ny\n" || a.SessionCreated {
		t.Errorf("want the session of before: %s", a)
	}
	wantStdout(t, s.execute(t, s.key, inSession("echo z")), "z\n")
}

// inodes tell a folder from a later one of the same name.
func (s *stack) inodes() map[string]uint64 {
	inodes := map[string]uint64{}
	for _, dir := range s.cgroupDirs() {
		var info syscall.Stat_t
		if syscall.Stat(dir, &info) == nil {
			inodes[dir] = info.Ino
		}
	}
	return inodes
}

// wantSwept fails if a folder is still the one of before the crash.
func (s *stack) wantSwept(t *testing.T, old map[string]uint64) {
	t.Helper()
	for dir, inode := range s.inodes() {
		if old[dir] == inode {
			t.Errorf("%s is left of before", dir)
		}
	}
}

// After both died, both start again on the same keys, socket and cgroup.
func TestCrashOfBoth(t *testing.T) {
	s := startOwn(t, "both", "")
	marker := randomMarker()
	go s.send(context.Background(), s.key, http.MethodPost, "/v1/execute",
		program("bash", "sleep 1000").with(request{"env": request{"MARKER": marker}}))
	waitStarted(t, marker)
	s.kill()
	wantGone(t, marker)
	before := s.spare
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	if s.spare != before {
		t.Errorf("%d cgroup folders beside those of the pools, %d before the crash", s.spare, before)
	}
	wantStdout(t, s.execute(t, s.key, program("c", "#include <stdio.h>\nint main(void) { puts(\"x\"); }")), "x\n")
}

// apid's death ends its jobs; its next start finds the sessions that were answered for, and nothing of the others is left in memory.
func TestCrashOfApid(t *testing.T) {
	s := startOwn(t, "apid", "")
	marker := randomMarker()
	wantStdout(t, s.execute(t, s.key, program("bash", "head -c 50M /dev/zero >f; export A=kept; echo x").with(request{"session_id": "a"})), "x\n")
	go s.send(context.Background(), s.key, http.MethodPost, "/v1/execute",
		program("bash", "head -c 50M /dev/zero >f; sleep 1000").with(request{"env": request{"MARKER": marker}}))
	waitStarted(t, marker)
	s.apid.command.Process.Signal(syscall.SIGKILL)
	<-s.apid.done
	wantGone(t, marker)
	if err := s.startApid(); err != nil {
		t.Fatal(err)
	}
	a := s.execute(t, s.key, program("bash", "ls; wc -c <f; echo $A").with(request{"session_id": "a"}))
	if wantStdout(t, a, "f\nmain.sh\n52428800\nkept\n"); a.SessionCreated {
		t.Error("session_created")
	}
	s.deleteSession(t, s.key, "a")
	s.wantQuiet(t)
	s.wantNoVolumes(t)
}

// wantNoVolumes fails unless every volume left is one of a jail in a pool, in a moment.
func (s *stack) wantNoVolumes(t *testing.T) {
	t.Helper()
	if err := eventually("the old sessions' volumes are gone", func() error {
		jails, err := s.metric("runtools_jails_live")
		if err != nil {
			return err
		}
		volumes, err := s.metric("runtools_volumes")
		if err == nil && volumes > jails {
			err = fmt.Errorf("%v volumes, %v jails", volumes, jails)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// SIGTERM lets what runs come to its end, and refuses what comes after.
func TestStopWaitsForJobs(t *testing.T) {
	s := startOwn(t, "drain", "")
	marker := randomMarker()
	answered := make(chan error, 1)
	go func() {
		a, err := s.try(s.key, program("bash", "sleep 5; echo ended well").with(request{"env": request{"MARKER": marker}}))
		if err == nil && a.Run.Stdout != "ended well\n" {
			err = fmt.Errorf("%s", a)
		}
		answered <- err
	}()
	waitStarted(t, marker)
	s.apid.command.Process.Signal(syscall.SIGTERM)
	if err := <-answered; err != nil {
		t.Error(err)
	}
	<-s.apid.done
	if !s.apid.command.ProcessState.Success() {
		t.Error(s.apid.failure("did not end well"))
	}
	if err := s.startApid(); err != nil {
		t.Fatal(err)
	}
}
