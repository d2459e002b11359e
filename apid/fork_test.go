package main

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/runtools/runtools/pkg/wire"
)

// lend is a program that leaves more than is packed.
func lend(session string, lines ...string) map[string]any {
	return with(python(append([]string{fmt.Sprint("fill ", packBytes+1)}, lines...)...), "session_id", session)
}

func (ts *testServer) fork(session string, count int) []string {
	ts.t.Helper()
	r := ts.do("POST", "/v1/sessions/"+session+"/fork", fmt.Sprintf(`{"count": %d}`, count))
	var forked struct {
		IDs []string `json:"session_ids"`
	}
	if err := json.Unmarshal([]byte(r.Raw), &forked); err != nil || r.Status != 200 || len(forked.IDs) != count {
		ts.t.Fatalf("%d %s", r.Status, r.Raw)
	}
	return forked.IDs
}

func (ts *testServer) lent() int { return ts.sessions.counts().forms[formLent] }

func (ts *testServer) wantRead(session, want string) {
	ts.t.Helper()
	if r := ts.execute(with(python("read data", "env A"), "session_id", session)); r.Created || r.Run.Stdout != want+"\nA=1 true\n" {
		ts.t.Errorf("%s: got %s, want %s", session, r.Raw, want)
	}
}

// A fork copies nothing. Whoever is used first gets a copy, the last one the volume itself, and each goes its own way.
func TestForkIsLent(t *testing.T) {
	ts := newTestServer(t, nil)
	ts.execute(with(lend("s", "write data old"), "env", map[string]string{"A": "1"}))
	jobs := ts.fake.jobCount()
	copies := ts.fork("s", 3)
	if got := ts.fake.jobCount() - jobs; got != 1 || ts.lent() != 4 || ts.fake.volumeCount() != 1 {
		t.Errorf("a fork took %d jobs and left %d lent, %d volumes", got, ts.lent(), ts.fake.volumeCount())
	}
	if c := ts.sessions.counts(); c.bytes < 4*packBytes {
		t.Errorf("charged for %d bytes", c.bytes)
	}
	copies = append(copies, ts.fork("s", 1)...) // nobody has used it: the volume is only touched, or sandboxd would drop it some day
	if got := ts.fake.jobCount() - jobs; got != 2 || ts.fake.lastJob().Build.ID == "" || ts.lent() != 5 {
		t.Errorf("another fork took %d jobs in all, %d lent", got, ts.lent())
	}
	all := slices.Insert(copies, 2, "s")
	for i, id := range all {
		ts.wantRead(id, "old")
		ts.execute(with(python(fmt.Sprint("write data ", i)), "session_id", id))
		if ts.lent() != len(all)-i-1 {
			t.Errorf("after %d were used %d are lent", i+1, ts.lent())
		}
	}
	if got := ts.fake.volumeCount(); got != 5 {
		t.Errorf("%d volumes, want 5: the last is to take the one there was", got)
	}
	for i, id := range all {
		ts.wantRead(id, fmt.Sprint(i))
		ts.do("DELETE", "/v1/sessions/"+id, "")
	}
	eventually(t, "nothing is left", func() bool { return ts.fake.volumeCount() == 0 && ts.sessions.counts().bytes == 0 })
}

// The volume goes with the last who has it, whoever that is.
func TestLentAndDeleted(t *testing.T) {
	ts := newTestServer(t, nil)
	ts.execute(with(lend("s", "write data old"), "env", map[string]string{"A": "1"}))
	copies := ts.fork("s", 2)
	ts.do("DELETE", "/v1/sessions/s", "")
	ts.wantRead(copies[0], "old")
	ts.do("DELETE", "/v1/sessions/"+copies[0], "")
	ts.do("DELETE", "/v1/sessions/"+copies[1], "")
	eventually(t, "nothing is left", func() bool { return ts.fake.volumeCount() == 0 && len(ts.sessions.byID) == 0 })

	// Deleted while it is being copied: the others still have it.
	ts.execute(with(lend("s", "write data old"), "env", map[string]string{"A": "1"}))
	copies = ts.fork("s", 1)
	ts.fake.setTar(fakeTar{copy: "await"})
	done := make(chan *result)
	go func() { done <- ts.execute(with(python("read data"), "session_id", copies[0])) }()
	eventually(t, "it is being copied", func() bool { return ts.fake.lastJob().Argv[0] == "/usr/bin/cp" })
	ts.do("DELETE", "/v1/sessions/"+copies[0], "")
	ts.fake.gate <- struct{}{}
	if r := <-done; r.Run.Stdout != "old\n" {
		t.Errorf("got %s", r.Raw)
	}
	ts.fake.setTar(fakeTar{})
	ts.wantRead("s", "old")
	eventually(t, "one is left", func() bool { return ts.fake.volumeCount() == 1 })
}

// What goes wrong with a copy takes nothing from anybody, and is said.
func TestForkFails(t *testing.T) {
	ts := newTestServer(t, nil)
	ts.execute(with(lend("s", "write unreadable x"), "env", map[string]string{"A": "1"}))
	if r := ts.do("POST", "/v1/sessions/s/fork", ""); r.Status != 400 || ts.lent() != 0 {
		t.Errorf("%d %s", r.Status, r.Raw)
	}
	ts.execute(with(lend("t", "write data old"), "env", map[string]string{"A": "1"}))
	copied := ts.fork("t", 1)[0]
	for how, code := range map[string]errCode{"exit": errInvalidField, "lost": errInterrupted, "overloaded": errOverloaded} {
		ts.fake.setTar(fakeTar{copy: how})
		ts.refused(with(python("read data"), "session_id", copied), code)
	}
	ts.fake.setTar(fakeTar{})
	if ts.lent() != 2 {
		t.Errorf("%d are lent", ts.lent())
	}
	ts.wantRead(copied, "old")
	ts.wantRead("t", "old")

	// sandboxd has lost it: both begin anew.
	ts.execute(with(lend("u", "write data old"), "env", map[string]string{"A": "1"}))
	copied = ts.fork("u", 1)[0]
	ts.fake.forget(&wire.Forget{All: true})
	for _, id := range []string{copied, "u"} {
		if r := ts.execute(with(python("read data"), "session_id", id)); !r.Created || r.Run.Stdout != "\n" {
			t.Errorf("%s: %s", id, r.Raw)
		}
	}
	if ts.lent() != 0 {
		t.Errorf("%d are lent", ts.lent())
	}

	// A fork of what is lent and lost promises nothing.
	ts.execute(with(lend("v", "write data old"), "env", map[string]string{"A": "1"}))
	ts.fork("v", 1)
	ts.fake.forget(&wire.Forget{All: true})
	if r := ts.do("POST", "/v1/sessions/v/fork", ""); r.Status != 404 {
		t.Errorf("%d %s", r.Status, r.Raw)
	}
}

// While the copies of a fork are recorded others have the table: one that is deleted in between stays deleted, for the next apid as well.
func TestForkAmongOthers(t *testing.T) {
	folder := t.TempDir()
	table, forgotten := openTable(t, folder)
	settled(t, table, "k", "s", remains{form: formMounted, bytes: 1 << 20}, "A="+strings.Repeat("x", 10_000))
	names := make([]string, maxForks)
	for i := range names {
		names[i] = fmt.Sprint("copy", i)
	}
	s, err := table.acquire(context.Background(), "k", "s", true)
	if err != nil {
		t.Fatal(err)
	}
	var deleted int
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for _, name := range slices.Backward(names) { // from the end: some of these are not recorded yet
			for !table.has("k", name) && t.Context().Err() == nil {
				runtime.Gosched()
			}
			if table.delete("k", name) {
				deleted++
			}
			if err := table.rewrite(); err != nil {
				t.Error(err)
			}
		}
	}()
	if err := table.fork(s, names, nil); err != nil {
		t.Fatal(err)
	}
	<-ended
	table.release(s)
	if deleted != maxForks || len(table.byID) != 1 || s.loan.users != 1 || table.kept.len != 1 {
		t.Errorf("%d deleted, %d left, %d have the volume, %d are listed", deleted, len(table.byID), s.loan.users, table.kept.len)
	}
	if slices.Contains(*forgotten, volumeName(s.loan.volume)) {
		t.Error("the volume was forgotten")
	}
	if got, want := reopened(t, folder), contents(table); !reflect.DeepEqual(got, want) {
		t.Errorf("found %d sessions", len(got))
	}
}

// The next apid finds who shares what, whatever could be recorded before the end.
func TestLoansSurvive(t *testing.T) {
	folder := t.TempDir()
	table, _ := openTable(t, folder)
	fork := func(table *sessions, name string, copies ...string) {
		s, err := table.acquire(context.Background(), "k", name, true)
		if err != nil {
			t.Fatal(err)
		}
		if err := table.fork(s, copies, nil); err != nil {
			t.Fatal(err)
		}
		table.release(s)
	}
	of := func(table *sessions, name string) *session { return table.byID[keyOf("k", name)] }
	settled(t, table, "k", "s", remains{form: formMounted, bytes: 1 << 20}, "A=1")
	volume := of(table, "s").volume
	fork(table, "s", "a", "b")
	table.delete("k", "b")
	if err := table.journal.close(); err != nil {
		t.Fatal(err)
	}

	again, forgotten := openTable(t, folder)
	s, a := of(again, "s"), of(again, "a")
	if s == nil || a == nil || s.loan != a.loan || a.loan.users != 2 || a.loan.volume != volume || a.size != s.size || a.env[0] != "A=1" || len(again.byID) != 2 {
		t.Fatalf("got %+v and %+v", s, a)
	}
	if unclaimed, lost := again.compare([]string{volumeName(volume)}); len(unclaimed) != 0 || lost != 0 {
		t.Errorf("%q, %d lost", unclaimed, lost)
	}
	again.delete("k", "s")
	if len(*forgotten) != 0 {
		t.Errorf("forgot %q", *forgotten)
	}
	again.mu.Lock()
	a.loan.volume[0]++ // as of an earlier life
	again.mu.Unlock()
	if _, lost := again.compare(nil); lost != 1 || len(again.byID) != 0 {
		t.Errorf("%d lost, %d left", lost, len(again.byID))
	}
}

// Two records may name one volume as mounted: there was no room for the one in between. Nobody may take it for its own alone.
func TestLoansSurviveWithoutRoom(t *testing.T) {
	folder := t.TempDir()
	table, _ := openTable(t, folder)
	settled(t, table, "k", "s", remains{form: formMounted, bytes: 1 << 20}, "A=1")
	settled(t, table, "k", "a", remains{form: formMounted, bytes: 1 << 20}, "A=1")
	table.mu.Lock()
	a, s := table.byID[keyOf("k", "a")], table.byID[keyOf("k", "s")]
	a.volume = s.volume
	table.recordLocked(a, a.idle)
	table.mu.Unlock()
	if err := table.journal.close(); err != nil {
		t.Fatal(err)
	}
	again, _ := openTable(t, folder)
	if n := again.counts().forms[formLent]; n != 2 {
		t.Errorf("%d are lent, want both", n)
	}
}
