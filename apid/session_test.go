package main

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestSession(t *testing.T) {
	ts := newTestServer(t, nil)
	first := ts.execute(python("write data hello"))
	id := *first.Session
	r := ts.execute(with(python("read data"), "session_id", id))
	if r.Run.Stdout != "hello\n" || *r.Session != id || r.Created {
		t.Errorf("coming back: %s", r.Raw)
	}
	r = ts.execute(with(python("read data"), "session_id", "mine"))
	if r.Run.Stdout != "\n" || *r.Session != "mine" || !r.Created {
		t.Errorf("a name nobody had: %s", r.Raw)
	}
	if r = ts.execute(with(python("read data"), "session_id", "mine")); r.Created {
		t.Errorf("a name that is there: %s", r.Raw)
	}

	// Another language in the same session sees the same files.
	r = ts.execute(map[string]any{"language": "c", "code": "read data", "session_id": id})
	if r.Run.Stdout != "hello\n" {
		t.Errorf("in C: %s", r.Raw)
	}

	// Another key has another session of that name.
	mine := ts.key
	ts.key = ts.makeKey(ts.cfg.Keys, 0)
	ts.keys.checked.Store(-int64(keyCheckInterval))
	if r = ts.execute(with(python("read data"), "session_id", id)); r.Run.Stdout != "\n" || !r.Created {
		t.Errorf("another key: %s", r.Raw)
	}
	if r := ts.do("DELETE", "/v1/sessions/mine", ""); r.Status != 404 {
		t.Errorf("another key deletes: %d", r.Status)
	}
	ts.key = mine

	volumes := ts.fake.volumeCount()
	if r := ts.do("DELETE", "/v1/sessions/"+id, ""); r.Status != 204 || r.Raw != "" {
		t.Errorf("delete: %d %s", r.Status, r.Raw)
	}
	eventually(t, "the volume is gone", func() bool {
		return ts.fake.volumeCount() < volumes
	})
	if r = ts.execute(with(python("read data"), "session_id", id)); r.Run.Stdout != "\n" || !r.Created {
		t.Errorf("after delete: %s", r.Raw)
	}
	if r = ts.execute(with(python("print x"), "ephemeral", true)); r.Session != nil || !strings.Contains(r.Raw, `"session_id":null`) {
		t.Errorf("ephemeral: %s", r.Raw)
	}
}

func TestLostVolume(t *testing.T) {
	ts := newTestServer(t, nil)
	for _, language := range []string{"python", "c"} {
		id := *ts.execute(map[string]any{"language": language, "code": "write data hello", "env": map[string]string{"A": "1"}}).Session
		ts.fake.mu.Lock()
		clear(ts.fake.volumes) // sandboxd was restarted
		ts.fake.mu.Unlock()
		r := ts.execute(map[string]any{"language": language, "code": "read data\nenv A", "session_id": id})
		if r.Run.Stdout != "\nA= false\n" || !r.Created || *r.Session != id {
			t.Errorf("%s: %s", language, r.Raw)
		}
		if r = ts.execute(map[string]any{"language": language, "code": "print x", "session_id": id}); r.Created {
			t.Errorf("%s: afterwards: %s", language, r.Raw)
		}
	}
}

func TestSessionInOrder(t *testing.T) {
	ts := newTestServer(t, nil)
	ts.execute(with(python("write log -"), "session_id", "s"))
	var all sync.WaitGroup
	outputs := make([]string, 8)
	for i := range outputs {
		wait := "#"
		if i == 0 {
			wait = "await" // until the others stand in line
		}
		all.Go(func() {
			r := ts.execute(with(python("read log", wait, fmt.Sprintf("write log %d", i)), "session_id", "s"))
			outputs[i] = strings.TrimSpace(r.Run.Stdout)
		})
		eventually(t, "the request stands in line", func() bool {
			running, _ := ts.queue.counts()
			ts.sessions.mu.Lock()
			defer ts.sessions.mu.Unlock()
			for _, s := range ts.sessions.byID {
				return running == 1 && len(s.waiting) == i
			}
			return false
		})
	}
	ts.fake.gate <- struct{}{}
	all.Wait()
	if got := fmt.Sprint(outputs); got != "[- 0 1 2 3 4 5 6]" {
		t.Errorf("each saw %s", got)
	}
	if most := ts.fake.atOnce(); most != 1 {
		t.Errorf("%d jobs of one session at one time", most)
	}
}

func TestSessionEnvironment(t *testing.T) {
	ts := newTestServer(t, nil)
	run := func(want string, fields map[string]any) {
		t.Helper()
		if r := ts.execute(with(fields, "session_id", "s")); r.Run.Stdout != want {
			t.Errorf("got %q, want %q", r.Run.Stdout, want)
		}
	}
	c := func(lines ...string) map[string]any { return with(python(lines...), "language", "c") }
	run("A=1 true\nLD_PRELOAD= false\n", with(python("env A", "env LD_PRELOAD", "setenv B=2", "setenv SHLVL=9", "setenv _=x"), "env", map[string]string{"A": "1"}))
	run("A=1 true\nB=2 true\nSHLVL= false\nPYTHONX=1 true\n", python("env A", "env B", "env SHLVL", "env PYTHONX"))
	run("A=1 true\nB=2 true\nPYTHONX= false\n", c("env A", "env B", "env PYTHONX"))
	run("", python("unsetenv A", "setenv B=3", "unsetenv LANG"))
	run("A= false\nB=3 true\nLANG= false\nHOME=/home/user true\n", python("env A", "env B", "env LANG", "env HOME"))
	run("LANG=de true\n", with(python("env LANG"), "env", map[string]string{"LANG": "de"}))
	run("LANG=de true\n", python("env LANG", "setenv B=4", "signal 11"))
	run("B=3 true\n", python("env B", "exit 3"))
	run("B=3 true\nBIG= false\n", c("env B", "env BIG", "setenv B=5"))
	run("B=3 true\nX=/x.so true\n", with(python("env B", "env X"), "env", map[string]string{"X": "/x.so", "LD_PRELOAD": "/x.so"}))
	if job := ts.fake.lastJob(); !strings.Contains(strings.Join(job.Env, "\n"), "LD_PRELOAD="+envkeep+":/x.so") {
		t.Errorf("env is %q", job.Env)
	}
	run("LD_PRELOAD=/x.so true\n", python("env LD_PRELOAD"))

	r := ts.execute(with(python("bigenv 70000", "setenv B=6"), "session_id", "s"))
	if r.Run.Status != "OK" || r.Run.Message == nil || !strings.Contains(*r.Run.Message, "not kept") {
		t.Errorf("a large environment: %s", r.Raw)
	}
	r = ts.execute(with(python("bigenv 200000"), "session_id", "s"))
	if r.Run.Message == nil || !strings.Contains(*r.Run.Message, "200") {
		t.Errorf("a larger one: %s", r.Raw)
	}
	r = ts.execute(with(python("manyenv 9000"), "session_id", "s"))
	if r.Run.Message == nil || !strings.Contains(*r.Run.Message, "more than the 4000 that") {
		t.Errorf("many variables: %s", r.Raw)
	}
	run("B=3 true\n", python("env B"))
	if job := ts.fake.lastJob(); !job.HasEnviron {
		t.Error("no environ was asked for")
	}
	ts.execute(with(python("setenv A=1"), "ephemeral", true))
	if job := ts.fake.lastJob(); job.HasEnviron {
		t.Error("an ephemeral request asked for environ")
	}
}

func TestLeftBehind(t *testing.T) {
	base := environment{"PATH": "/bin", "LANG": "C", "HOME": "/h"}
	before := []string{"A=1", "BIN=ok", "LD_PRELOAD=/x", "PWD=/kept"}
	environ := []byte("PATH=/bin:/x\x00LANG=C\x00A=2\x00A=3\x00BIN=\xff\x00novalue\x00=nameless\x00\xff=x\x00EMPTY=\x00PWD=/p\x00MULTI=a=b\nc\x00\x00")
	got := fmt.Sprintf("%q", leftBehind(environ, base, before))
	want := `["A=2" "BIN=ok" "EMPTY=" "HOME" "LD_PRELOAD=/x" "MULTI=a=b\nc" "PATH=/bin:/x" "PWD=/kept"]`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// table is a session table without a server.
func table(cfg sessionConfig) (*sessions, *[]string) {
	forgotten := &[]string{}
	return newSessions(cfg, func(ids ...string) { *forgotten = append(*forgotten, ids...) }), forgotten
}

// use makes or takes a session as a request does.
func use(t testing.TB, table *sessions, key, name string, named bool, bytes int64) *apiError {
	s, err := table.acquire(context.Background(), key, name, named)
	if err == nil {
		before := s.size
		if err = table.mayGrow(s.owner); err == nil {
			table.settle(s, remains{form: formMounted, bytes: bytes, inodes: 2}, s.env)
			table.outgrew(s, before)
		}
		table.release(s)
	}
	return err
}

func TestEviction(t *testing.T) {
	table, forgotten := table(sessionConfig{Idle: duration(time.Hour), Max: 5, MaxPerKey: 3, MaxBytes: 1 << 30, MaxBytesPerKey: 1 << 29})
	has := func(key, name string) bool { return table.byID[keyOf(key, name)] != nil }
	use(t, table, "k", "a", false, 1)
	use(t, table, "k", "b", false, 1)
	use(t, table, "k", "c", false, 1)
	use(t, table, "k", "a", true, 1) // came back
	if err := use(t, table, "k", "d", false, 1); err != nil || !has("k", "a") || has("k", "b") || !has("k", "c") {
		t.Errorf("the one idle longest should have gone: %v", err)
	}
	if len(*forgotten) != 1 || table.counts().evicted != 1 {
		t.Errorf("forgotten %v", *forgotten)
	}
	use(t, table, "k", "c", true, 1)
	use(t, table, "k", "d", true, 1)
	if err := use(t, table, "k", "e", true, 1); err == nil || err.code != errRateLimited {
		t.Errorf("the share of the key: %v", err)
	}
	use(t, table, "l", "a", false, 1)
	use(t, table, "m", "a", false, 1)
	if err := use(t, table, "m", "b", false, 1); err != nil || has("l", "a") || !has("m", "a") {
		t.Errorf("the bound of all: %v", err)
	}
	table.delete("k", "a")
	if err := use(t, table, "k", "f", true, 1<<29); err != nil {
		t.Errorf("after delete: %v", err)
	}
	if err := use(t, table, "k", "g", true, 1); err == nil || err.code != errRateLimited {
		t.Errorf("the key's bytes are used up: %v", err)
	}
	table.expire(time.Now().Add(2 * time.Hour))
	if c := table.counts(); c.sessions != 0 || c.bytes != 0 || c.evictable != 0 || len(table.owners) != 0 {
		t.Errorf("after expiry: %+v", c)
	}
}

func TestExpiry(t *testing.T) {
	ts := newTestServer(t, func(c *config) { c.Sessions.Idle = duration(time.Hour) })
	ts.execute(with(python("write data x"), "session_id", "s"))
	ts.execute(python("print x"))
	ts.sessions.expire(time.Now())
	if n := ts.sessions.counts().sessions; n != 2 {
		t.Errorf("%d sessions", n)
	}
	ts.sessions.expire(time.Now().Add(2 * time.Hour))
	eventually(t, "the volumes are forgotten", func() bool { return ts.fake.volumeCount() == 0 })
	if r := ts.execute(with(python("read data"), "session_id", "s")); !r.Created || r.Run.Stdout != "\n" {
		t.Errorf("an expired session: %s", r.Raw)
	}
}

// A job whose caller hung up may hold the volume for a moment.
func TestVolumeInUse(t *testing.T) {
	ts := newTestServer(t, nil)
	ts.execute(with(python("write data x"), "session_id", "s"))
	set := func(inUse bool) {
		ts.fake.mu.Lock()
		defer ts.fake.mu.Unlock()
		for _, v := range ts.fake.volumes {
			v.inUse = inUse
		}
	}
	set(true)
	time.AfterFunc(60*time.Millisecond, func() { set(false) })
	if r := ts.execute(with(python("read data"), "session_id", "s")); r.Run.Stdout != "x\n" {
		t.Errorf("got %s", r.Raw)
	}
}

func TestSessionHeap(t *testing.T) {
	const n = 100_000
	table, _ := table(sessionConfig{Idle: duration(time.Hour), Max: n, MaxPerKey: n, MaxBytes: 1 << 40, MaxBytesPerKey: 1 << 40})
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for i := range n {
		if err := use(t, table, "k_1234567890", fmt.Sprintf("%036d", i), false, 4096); err != nil {
			t.Fatal(err)
		}
	}
	each := (heap() - before) / n
	t.Logf("%d bytes a session", each)
	if each > 400 {
		t.Errorf("%d bytes a session", each)
	}
	runtime.KeepAlive(table)
}

func BenchmarkSession(b *testing.B) {
	table, _ := table(sessionConfig{Idle: duration(time.Hour), Max: 100_000, MaxPerKey: 100_000, MaxBytes: 1 << 40, MaxBytesPerKey: 1 << 40})
	for i := range b.N {
		use(b, table, "k", fmt.Sprint(i), false, 4096)
	}
}
