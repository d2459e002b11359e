package main

import (
	"testing"

	"github.com/runtools/runtools/pkg/wire"
)

// Requests that each leave something keep a memory cgroup each: the session counts for them, until its files are copied.
func TestManyRequestsOfASession(t *testing.T) {
	ts := newTestServer(t, nil)
	request := func(n int) {
		t.Helper()
		for range n {
			if r := ts.execute(with(python("read data"), "session_id", "s")); r.Created || r.Run.Stdout != "kept\n" {
				t.Fatalf("got %s", r.Raw)
			}
		}
	}
	ts.execute(lend("s", "write data kept"))
	first := ts.sessions.counts().bytes
	request(mostLeaves - 1)
	if got := ts.sessions.counts().bytes - first; (got+leafCost/2)/leafCost != mostLeaves-1 {
		t.Errorf("%d requests more count for %d bytes", mostLeaves-1, got)
	}
	if job := ts.fake.lastJob(); job.Build.ID != "" {
		t.Error("copied before it is worth it")
	}

	// It cannot be copied, for a reason of its own or of ours: it stays, counts, and is tried again later.
	for _, how := range []string{"exit", "overloaded"} {
		ts.fake.setTar(fakeTar{copy: how})
		jobs := ts.fake.jobCount()
		request(mostLeaves)
		if got := ts.fake.jobCount() - jobs; got != mostLeaves+1 {
			t.Errorf("%s: %d jobs for %d requests, want one more", how, got, mostLeaves)
		}
	}
	eventually(t, "what was begun is gone", func() bool { return ts.fake.volumeCount() == 1 })
	if got := ts.sessions.counts(); got.bytes-first < (3*mostLeaves-2)*leafCost || got.forms[formMounted] != 1 {
		t.Errorf("%d bytes, %v", got.bytes-first, got.forms)
	}

	ts.fake.setTar(fakeTar{})
	jobs := ts.fake.jobCount()
	request(1)
	if got := ts.fake.jobCount() - jobs; got != 2 {
		t.Errorf("%d jobs, want a copy", got)
	}
	eventually(t, "the old volume is gone", func() bool { return ts.fake.volumeCount() == 1 })
	if got := ts.sessions.counts(); got.bytes > first+leafCost || got.forms[formMounted] != 1 || got.forms[formLent] != 0 {
		t.Errorf("after the copy %d bytes, before all %d; %v", got.bytes, first, got.forms)
	}
	request(1)

	// One of much is not copied for little; and what sandboxd has lost is told as ever.
	var s *session
	for _, s = range ts.sessions.byID {
	}
	s.leaves, s.size = mostLeaves, 5*mostLeaves*leafCost
	jobs = ts.fake.jobCount()
	request(1)
	if got := ts.fake.jobCount() - jobs; got != 1 {
		t.Errorf("%d jobs: it was copied", got)
	}
	s.leaves = mostLeaves
	ts.fake.forget(&wire.Forget{All: true})
	if r := ts.execute(with(python("read data"), "session_id", "s")); !r.Created || r.Run.Stdout != "\n" {
		t.Errorf("lost: %s", r.Raw)
	}
}

// Deleted while it is copied: the request has its files, and nothing is left.
func TestDeletedWhileItIsCopied(t *testing.T) {
	ts := newTestServer(t, nil)
	ts.execute(lend("s", "write data kept"))
	for _, s := range ts.sessions.byID {
		s.leaves = mostLeaves
	}
	ts.fake.setTar(fakeTar{copy: "await"})
	done := make(chan *result)
	go func() { done <- ts.execute(with(python("read data"), "session_id", "s")) }()
	eventually(t, "it is being copied", func() bool { return ts.fake.lastJob().Argv[0] == "/usr/bin/cp" })
	ts.do("DELETE", "/v1/sessions/s", "")
	ts.fake.gate <- struct{}{}
	if r := <-done; r.Run.Stdout != "kept\n" {
		t.Errorf("got %s", r.Raw)
	}
	eventually(t, "nothing is left", func() bool {
		return ts.fake.volumeCount() == 0 && len(ts.sessions.byID) == 0 && ts.sessions.counts().bytes == 0
	})
}

// A fork's copies count for the same, and so do those that another apid finds.
func TestLeavesOfForks(t *testing.T) {
	folder := t.TempDir()
	table, _ := openTable(t, folder)
	for range 5 {
		settled(t, table, "k", "s", remains{form: formMounted, bytes: 1 << 20, inodes: 2})
	}
	size := table.byID[keyOf("k", "s")].size
	s, err := table.acquire(t.Context(), "k", "s", true)
	if err != nil {
		t.Fatal(err)
	}
	if err := table.fork(s, []string{"a", "b"}, nil); err != nil {
		t.Fatal(err)
	}
	table.release(s)
	table.delete("k", "a")
	table.delete("k", "b")
	found := reopened(t, folder)
	if again := found[keyOf("k", "s")]; again.size != size || again.leaves != 5 {
		t.Errorf("found %d bytes and %d leaves, want %d and 5", again.size, again.leaves, size)
	}
	if s, err = table.acquire(t.Context(), "k", "s", true); err != nil {
		t.Fatal(err)
	}
	if _, mounted := table.borrow(s); !mounted || s.size != size || s.leaves != 5 {
		t.Errorf("%d bytes and %d leaves, want %d and 5", s.size, s.leaves, size)
	}
}

// A request of a compiled language has two jobs in the session: its copy comes like any other's.
func TestManyRequestsThatCompile(t *testing.T) {
	ts := newTestServer(t, nil)
	ts.execute(lend("s", "write data kept"))
	for n := range mostLeaves {
		if r := ts.execute(map[string]any{"language": "c", "code": "read data", "session_id": "s"}); r.Run == nil || r.Run.Stdout != "kept\n" {
			t.Fatalf("request %d: %s", n, r.Raw)
		}
	}
	for _, s := range ts.sessions.byID {
		if s.leaves >= mostLeaves+2 {
			t.Errorf("%d leaves, and no copy", s.leaves)
		}
	}
}
