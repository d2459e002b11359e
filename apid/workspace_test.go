package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/runtools/runtools/pkg/wire"
)

// held is what the table says of its sessions, by form.
func (ts *testServer) held() string {
	c := ts.sessions.counts()
	return fmt.Sprintf("%d mounted, %d given, %d packed", c.forms[formMounted], c.forms[formGiven], c.forms[formPacked])
}

func (ts *testServer) wantHeld(want string) {
	ts.t.Helper()
	if got := ts.held(); got != want {
		ts.t.Errorf("held: %s, want %s", got, want)
	}
}

func file(name, content string) map[string]string {
	return map[string]string{"name": name, "content": content}
}

// A workspace that was left as it was given is not kept, and given again.
func TestGivenWorkspace(t *testing.T) {
	ts := newTestServer(t, nil)
	s := func(fields map[string]any) map[string]any { return with(fields, "session_id", "s") }
	r := ts.execute(with(s(python("env A", "setenv B=2")), "files", []any{file("a", "one"), file("d/b", "two")}, "env", map[string]string{"A": "1"}))
	if !r.Created || ts.fake.volumeCount() != 0 {
		t.Errorf("%d volumes after %s", ts.fake.volumeCount(), r.Raw)
	}
	ts.wantHeld("0 mounted, 1 given, 0 packed")
	r = ts.execute(with(s(python("read a", "read d/b", "read c", "env B")), "files", []any{file("a", "new"), file("c", "three")}))
	if r.Created || r.Run.Stdout != "new\ntwo\nthree\nB=2 true\n" {
		t.Errorf("coming back: %s", r.Raw)
	}
	if got := names(ts.fake.lastJob()); got != "d/b main.py a c" {
		t.Errorf("the job was given %s", got)
	}
	for _, name := range []string{"d/b/x", "d", "refused"} {
		refused := ts.refused(with(s(python("print x")), "files", []any{file("q", ""), file(name, "")}), errInvalidField)
		if refused.Error.Field != "files[1].name" {
			t.Errorf("%s is in the way: %s", name, refused.Raw)
		}
	}
	r = ts.execute(s(map[string]any{"language": "c", "code": "read d/b\nread c\nread q"}))
	if r.Run.Stdout != "two\nthree\n\n" {
		t.Errorf("after refusals, in C: %s", r.Raw)
	}
	if got := names(ts.fake.lastJob()); got != "d/b main.py a c main.c" {
		t.Errorf("the run job was given %s", got)
	}
	ts.wantHeld("0 mounted, 1 given, 0 packed")
	ts.execute(s(python("write c changed")))
	ts.wantHeld("1 mounted, 0 given, 0 packed")
	if r = ts.execute(s(python("read a", "read c"))); r.Run.Stdout != "new\nchanged\n" {
		t.Errorf("mounted: %s", r.Raw)
	}
	if got := names(ts.fake.lastJob()); got != "main.py" {
		t.Errorf("with a volume the job was given %s", got)
	}
}

func TestGivenWorkspaceInC(t *testing.T) {
	ts := newTestServer(t, nil)
	c := func(lines ...string) map[string]any {
		return map[string]any{"language": "c", "code": strings.Join(lines, "\n"), "session_id": "s"}
	}
	// The compiler writes: the run job gets the volume.
	if r := ts.execute(c("#compile write log x", "read log")); r.Run.Stdout != "x\n" {
		t.Errorf("%s", r.Raw)
	}
	ts.wantHeld("1 mounted, 0 given, 0 packed")
	if got := names(ts.fake.lastJob()); got != "" {
		t.Errorf("the run job was given %s", got)
	}
	ts.do("DELETE", "/v1/sessions/s", "")
	// Only the program writes.
	ts.execute(c("write log y"))
	if r := ts.execute(c("read log", "read main.c")); !strings.HasPrefix(r.Run.Stdout, "y\nread log") {
		t.Errorf("%s", r.Raw)
	}
	ts.do("DELETE", "/v1/sessions/s", "")
	// The run job fails: the session that it would have made is none.
	ts.refused(c("fail internal"), errInternal)
	ts.wantHeld("0 mounted, 0 given, 0 packed")
	// It fails in one that is there: what the compile job was given is.
	ts.execute(with(c("print x"), "files", []any{file("a", "A")}))
	ts.refused(with(c("fail internal"), "files", []any{file("b", "B")}), errInternal)
	if r := ts.execute(c("read a", "read b")); r.Run.Stdout != "A\nB\n" || r.Created {
		t.Errorf("after a failure: %s", r.Raw)
	}
	ts.wantHeld("0 mounted, 1 given, 0 packed")
	// Nothing is kept of an ephemeral one, whether the compiler writes or not.
	for _, first := range []string{"#compile write log x", "#"} {
		fields := c(first, "read main.c", "write x y")
		delete(fields, "session_id")
		if r := ts.execute(with(fields, "ephemeral", true)); !strings.HasPrefix(r.Run.Stdout, first) {
			t.Errorf("ephemeral: %s", r.Raw)
		}
	}
	ts.cache.expire(time.Now().Add(time.Hour))
	eventually(t, "no volume is left", func() bool { return ts.fake.volumeCount() == 0 })
}

// Many or large files are cheaper in a volume; and what is held makes room for what a request brings.
func TestLargeGivenWorkspace(t *testing.T) {
	ts := newTestServer(t, nil)
	s := func(fields map[string]any) map[string]any { return with(fields, "session_id", "s") }
	many := func(n int, prefix string) (files []any) {
		for i := range n {
			files = append(files, file(fmt.Sprintf("%s%d", prefix, i), "x"))
		}
		return files
	}
	for _, fields := range []map[string]any{
		with(python("print x"), "files", []any{file("a", strings.Repeat("x", givenBytes))}),
		with(python("print x"), "files", many(givenFiles, "f")),
	} {
		ts.execute(s(fields))
		ts.wantHeld("1 mounted, 0 given, 0 packed")
		ts.do("DELETE", "/v1/sessions/s", "")
	}
	ts.execute(with(s(python("print x")), "files", many(givenFiles-1, "f")))
	ts.wantHeld("0 mounted, 1 given, 0 packed")
	// One job cannot place them all.
	most := with(s(python("read f3", "read g998")), "files", many(maxFiles-1, "g"))
	jobs := ts.fake.jobCount()
	if r := ts.execute(most); r.Run.Stdout != "x\nx\n" || r.Created {
		t.Errorf("a thousand more: %s", r.Raw)
	}
	ts.wantHeld("1 mounted, 0 given, 0 packed")
	if n := ts.fake.jobCount() - jobs; n != 2 {
		t.Errorf("%d jobs", n)
	}
	// One packet cannot name them all.
	ts.do("DELETE", "/v1/sessions/s", "")
	control := func(prefix string, n int) (files []any) { // each byte is six in JSON
		for i := range n {
			files = append(files, file(prefix+strings.Repeat("\x01", 250)+fmt.Sprint(i), ""))
		}
		return files
	}
	ts.execute(with(s(python("print x")), "files", control("a", 15)))
	ts.wantHeld("0 mounted, 1 given, 0 packed")
	if r := ts.execute(with(s(python("print x")), "files", control("b", 95))); r.Created {
		t.Errorf("long names: %s", r.Raw)
	}
	ts.wantHeld("1 mounted, 0 given, 0 packed")
}

// A session's bytes are those that it counts for, and none are left when it ends, in whatever form.
func TestSessionBytes(t *testing.T) {
	ts := newTestServer(t, func(c *config) { c.Sessions.Idle = duration(time.Hour) })
	code := "print " + strings.Repeat("x", 100) + "\n"
	ts.execute(map[string]any{"language": "python", "code": code, "session_id": "s"})
	if got := ts.sessions.counts().bytes; got != int64(sessionCost+recordedCost*(len(code)+len("main.py")+2)) {
		t.Errorf("given: %d bytes", got)
	}
	setMaxMounted := func(n int) {
		ts.sessions.mu.Lock()
		defer ts.sessions.mu.Unlock()
		ts.sessions.cfg.MaxMounted = n
	}
	for _, end := range []func(name string){
		func(name string) { ts.do("DELETE", "/v1/sessions/"+name, "") },
		func(string) { ts.sessions.expire(time.Now().Add(2 * time.Hour)) },
		func(string) {
			ts.sessions.mu.Lock()
			defer ts.sessions.mu.Unlock()
			for _, s := range ts.sessions.byID { // as if none had a name
				ts.sessions.unlistLocked(s)
				ts.sessions.dropLocked(s)
			}
		},
	} {
		ts.sessions.expire(time.Now().Add(2 * time.Hour))
		setMaxMounted(0)
		ts.execute(with(python("write a b"), "session_id", "p"))
		ts.eventuallyHeld("0 mounted, 0 given, 1 packed")
		setMaxMounted(100)
		ts.execute(with(python("print x"), "session_id", "g"))
		ts.execute(with(python("write a b"), "session_id", "m"))
		ts.wantHeld("1 mounted, 1 given, 1 packed")
		for _, name := range []string{"p", "g", "m"} {
			end(name)
		}
		ts.wantHeld("0 mounted, 0 given, 0 packed")
		c := ts.sessions.counts()
		if c.sessions != 0 || c.bytes != 0 || c.evictable != 0 || ts.sessions.packable.len != 0 || len(ts.sessions.owners) != 0 {
			t.Errorf("left: %+v", c)
		}
		eventually(t, "no volume is left", func() bool { return ts.fake.volumeCount() == 0 })
	}
}

func TestEncodeFiles(t *testing.T) {
	body := []byte("contents of the request")
	files := []requestFile{{"a", body[:8]}, {"d/\xff\n", nil}, {"empty", []byte{}}, {"b", bytes.Repeat([]byte{0, 0xff}, 5000)}}
	stored := encodeFiles(files)
	body[0] = 'X'
	got := decodeFiles(stored)
	if len(got) != len(files) || string(got[0].content) != "contents" || got[1].name != "d/\xff\n" || len(got[2].content) != 0 ||
		!bytes.Equal(got[3].content, files[3].content) {
		t.Errorf("got %q", got)
	}
	if len(decodeFiles(encodeFiles(nil))) != 0 {
		t.Error("no files")
	}
}

// Another request of a held session must not reuse the name of a volume that a failed one may yet make.
func TestRenewAfterHangup(t *testing.T) {
	ts := newTestServer(t, nil)
	ts.execute(with(python("print x"), "session_id", "s", "files", []any{file("a", "A")}))
	ts.refused(with(python("fail overloaded"), "session_id", "s"), errOverloaded)
	failed := ts.fake.lastJob().Workspace
	if r := ts.execute(with(python("read a"), "session_id", "s")); r.Run.Stdout != "A\n" || r.Created {
		t.Errorf("afterwards: %s", r.Raw)
	}
	again := ts.fake.lastJob().Workspace
	if want := (wire.Volume{ID: again.ID, New: true, DropUnchanged: true}); failed.ID == again.ID || again != want {
		t.Errorf("%+v after %+v", again, failed)
	}
	eventually(t, "the failed one is forgotten", func() bool {
		ts.fake.mu.Lock()
		defer ts.fake.mu.Unlock()
		return ts.fake.forgot[failed.ID] > 0
	})
}
