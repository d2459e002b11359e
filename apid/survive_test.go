package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// roomy are the settings of a machine with memory.
func roomy() sessionConfig {
	cfg := defaults().Sessions
	cfg.MaxBytes, cfg.MaxBytesPerKey = 1<<30, 1<<30
	return cfg
}

// reopened is the table that an apid would find which started now, if this one were killed.
func reopened(t *testing.T, folder string) map[sessionKey]session {
	t.Helper()
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	table := newSessions(roomy(), func(...string) {})
	if err := table.open(copied, slog.New(slog.NewTextHandler(t.Output(), nil))); err != nil {
		t.Fatal(err)
	}
	defer table.journal.close()
	if counted := table.counts(); counted.bytes != sum(table.byID, func(s *session) int64 { return s.size }) || counted.sessions != table.kept.len+table.evictable.len {
		t.Errorf("counts %+v of %d sessions", counted, len(table.byID))
	}
	return contents(table)
}

func sum(all map[sessionKey]*session, of func(*session) int64) (n int64) {
	for _, s := range all {
		n += of(s)
	}
	return n
}

// contents is what must survive.
func contents(table *sessions) map[sessionKey]session {
	all := map[sessionKey]session{}
	for key, s := range table.byID {
		c := session{stored: s.stored, env: s.env, size: s.size, form: s.form, keep: s.keep, packable: s.packable, leaves: s.leaves, owner: &owner{keyID: s.owner.keyID}}
		if s.form == formMounted {
			c.volume = s.volume
		}
		all[key] = c
	}
	return all
}

func openTable(t *testing.T, folder string) (*sessions, *[]string) {
	t.Helper()
	forgotten := &[]string{}
	table := newSessions(roomy(), func(ids ...string) { *forgotten = append(*forgotten, ids...) })
	if err := table.open(folder, slog.New(slog.NewTextHandler(t.Output(), nil))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { table.journal.close() })
	return table, forgotten
}

// settled makes one request of a session.
func settled(t *testing.T, table *sessions, key, name string, left remains, env ...string) {
	t.Helper()
	s, err := table.acquire(context.Background(), key, name, true)
	if err != nil {
		t.Fatal(err)
	}
	table.settle(s, left, env)
	table.release(s)
}

// After any number of requests, the next apid finds what this one has, whenever it is killed.
func TestTableSurvives(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "state")
	table, _ := openTable(t, folder)
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		key, name := fmt.Sprint("key", random.IntN(2)), fmt.Sprint("name", random.IntN(12))
		switch random.IntN(6) {
		case 0:
			table.delete(key, name)
		case 1:
			settled(t, table, key, name, remains{form: formMounted, bytes: 5000, inodes: 2}, "A=1", "GONE")
		case 2:
			if s := table.packable.front(); s != nil {
				table.cfg.MaxMounted = 0
				s = table.acquireIdlest()
				table.packed(s, []byte("tar\x00\xff"))
				if got := reopened(t, folder)[s.key]; got.form != formPacked {
					t.Fatalf("the volume was forgotten before the record was written: %v", got.form)
				}
				table.release(s)
			}
		default:
			settled(t, table, key, name, remains{form: formGiven, stored: []byte{0, byte(random.IntN(256)), '\n'}}, fmt.Sprintf("B=%d\n\u2028\"", random.Int()))
		}
		if got, want := reopened(t, folder), contents(table); !reflect.DeepEqual(got, want) {
			t.Fatalf("found\n%v\nwant\n%v", got, want)
		}
	}
	if len(table.byID) < 5 {
		t.Errorf("only %d sessions at the end", len(table.byID))
	}
}

// What an environment holds does not make its record longer than the same number of other bytes, and records of an apid before that are read.
func TestRecordOfEnvironment(t *testing.T) {
	folder := t.TempDir()
	table, _ := openTable(t, folder)
	settled(t, table, "k", "s", remains{form: formGiven, stored: []byte("x")}, "A="+strings.Repeat("\x01", 60_000), "GONE")
	if table.journal.bytes > 60_000*4/3+500 {
		t.Errorf("%d bytes of an environment of 60000", table.journal.bytes)
	}
	if got, want := reopened(t, folder), contents(table); !reflect.DeepEqual(got, want) {
		t.Error("another environment was found")
	}
	key := keyOf("k", "old")
	if err := table.journal.append(&record{Key: key[:], Volume: make([]byte, 16), Owner: "k", Form: formGiven, OldEnv: []string{"B=2"}}); err != nil {
		t.Fatal(err)
	}
	if got := reopened(t, folder)[key]; !slices.Equal(got.env, []string{"B=2"}) {
		t.Errorf("of the old record: %q", got.env)
	}
}

// A crash in the middle of a write costs that record and no other, and what is written afterwards is found.
func TestTornRecord(t *testing.T) {
	folder := t.TempDir()
	table, _ := openTable(t, folder)
	settled(t, table, "k", "first", remains{form: formGiven, stored: []byte("1")})
	whole := contents(table)
	before := table.journal.bytes
	settled(t, table, "k", "second", remains{form: formGiven, stored: []byte("2")})
	last := table.journal.bytes
	table.journal.close()
	for size := before; size < last-1; size += 7 {
		if err := os.Truncate(filepath.Join(folder, "1"), size); err != nil {
			t.Fatal(err)
		}
		if got := reopened(t, folder); !reflect.DeepEqual(got, whole) {
			t.Fatalf("torn at %d of %d: %v", size, last, got)
		}
		if size+7 < last-1 {
			continue
		}
		again, _ := openTable(t, folder)
		settled(t, again, "k", "third", remains{form: formGiven, stored: []byte("3")})
		if got := reopened(t, folder); len(got) != 2 {
			t.Errorf("after a torn record: %v", got)
		}
	}
}

// The journal does not grow with the number of requests, and nothing is lost when it is shortened.
func TestJournalIsShortened(t *testing.T) {
	folder := t.TempDir()
	table, _ := openTable(t, folder)
	stored := make([]byte, 10_000)
	for i := range 3000 {
		settled(t, table, "k", fmt.Sprint(i%60), remains{form: formGiven, stored: stored}, fmt.Sprint("I=", i))
		if i%100 == 0 {
			if err := table.rewrite(); err != nil {
				t.Fatal(err)
			}
		}
	}
	table.delete("k", "7")
	if table.journal.bytes > 2*journalSlack {
		t.Errorf("%d bytes for %d sessions", table.journal.bytes, len(table.byID))
	}
	if table.journal.first == 1 {
		t.Error("it was never shortened")
	}
	if got := reopened(t, folder); !reflect.DeepEqual(got, contents(table)) || len(got) != 59 {
		t.Errorf("%d sessions found, %d there", len(got), len(table.byID))
	}
	size := int64(0)
	for _, name := range segmentNames(t, folder) {
		info, err := os.Stat(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	if size != table.journal.bytes {
		t.Errorf("%d bytes counted, %d there", table.journal.bytes, size)
	}
}

func segmentNames(t *testing.T, folder string) (names []string) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// Values of env are secrets, and two apids on one folder would overwrite each other's sessions.
func TestStateFolder(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "state")
	table, _ := openTable(t, folder)
	settled(t, table, "k", "s", remains{form: formGiven, stored: []byte("x")}, "SECRET=1")
	for path, want := range map[string]os.FileMode{folder: 0o700, filepath.Join(folder, "1"): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	second := newSessions(roomy(), func(...string) {})
	if err := second.open(folder, slog.Default()); err == nil || !strings.Contains(err.Error(), "another apid") {
		t.Errorf("a second one: %v", err)
	}
	if err := second.open("/proc/none", slog.Default()); err == nil || !strings.Contains(err.Error(), "sessions.state_dir") {
		t.Errorf("a folder that cannot be: %v", err)
	}
}

// A full disk costs the record, is told, and is over when there is room again.
func TestJournalFails(t *testing.T) {
	folder := t.TempDir()
	var log syncBuffer
	table := newSessions(roomy(), func(...string) {})
	if err := table.open(folder, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
		t.Fatal(err)
	}
	defer table.journal.close()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	table.journal.segment = full
	settled(t, table, "k", "s", remains{form: formGiven, stored: []byte("x")})
	if !strings.Contains(log.String(), "no space left") {
		t.Errorf("the log: %s", log.String())
	}
	settled(t, table, "k", "s", remains{form: formGiven, stored: []byte("y")})
	if got := reopened(t, folder); !reflect.DeepEqual(got, contents(table)) || len(got) != 1 {
		t.Errorf("afterwards: %v", got)
	}
}

// Sandboxd is told to forget what no session has, but nothing of this apid's requests, and sessions without files are dropped.
func TestCompare(t *testing.T) {
	table, _ := openTable(t, t.TempDir())
	named := func(name string) string { return volumeName(table.byID[keyOf("k", name)].volume) }
	for _, name := range []string{"there", "lost", "new"} {
		settled(t, table, "k", name, remains{form: formMounted, bytes: 1})
	}
	settled(t, table, "k", "given", remains{form: formGiven, stored: []byte("x")})
	for _, name := range []string{"there", "lost"} { // as of an earlier life
		table.byID[keyOf("k", name)].volume[0]++
	}
	mine := newVolume()
	unclaimed, lost := table.compare([]string{named("there"), "stale", volumeName(mine)})
	if !slices.Equal(unclaimed, []string{"stale"}) || lost != 1 {
		t.Errorf("unclaimed %q, %d lost", unclaimed, lost)
	}
	if _, there := table.byID[keyOf("k", "lost")]; there || len(table.byID) != 3 {
		t.Errorf("left: %v", slices.Collect(maps.Keys(table.byID)))
	}
}

// The whole of it: an apid ends, another starts, and callers find everything.
func TestSessionsSurviveApid(t *testing.T) {
	checkNoLeak(t)
	fake := startFake(t)
	dir := t.TempDir()
	config, state := filepath.Join(dir, "apid.toml"), filepath.Join(dir, "state")
	if err := os.WriteFile(config, []byte("[sessions]\nmax_mounted = 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	ts := &testServer{t: t, fake: fake, addr: freeAddr(t)}
	ts.key = ts.makeKey(filepath.Join(dir, "keys"), 0)
	flags := []string{"-config", config, "-listen", ts.addr, "-metrics", "off", "-socket", fake.path, "-image", fakeImage(t),
		"-keys", filepath.Join(dir, "keys"), "-state", state}
	var log syncBuffer
	serve := func() (stop func()) {
		ctx, terminate := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- run(ctx, flags, nil, io.Discard, &log) }()
		eventually(t, "apid serves", func() bool {
			conn, err := net.Dial("tcp", ts.addr)
			if err == nil {
				conn.Close()
			}
			return err == nil
		})
		return func() {
			terminate()
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
		}
	}
	stop := serve()
	in := func(id string, lines ...string) map[string]any { return with(python(lines...), "session_id", id) }
	ts.execute(with(in("packed", "write data p"), "env", map[string]string{"A": "packed"}))
	ts.execute(with(in("mounted", "write data m"), "env", map[string]string{"A": "mounted"}))
	ts.execute(with(in("given", "print x"), "env", map[string]string{"A": "given"}))
	ts.execute(in("deleted", "write data d"))
	ts.do("DELETE", "/v1/sessions/deleted", "")
	unnamed := *ts.execute(python("write data u")).Session
	eventually(t, "packed", func() bool { return fake.volumeCount() == 1 })
	stop()
	fake.mu.Lock()
	fake.volumes["stale"] = &fakeVolume{}
	fake.mu.Unlock()

	stop = serve()
	for id, want := range map[string]string{"packed": "p", "mounted": "m", "given": "", unnamed: "u"} {
		env := id
		if id == unnamed {
			env = ""
		}
		r := ts.execute(in(id, "read data", "env A"))
		if r.Created || r.Run.Stdout != fmt.Sprintf("%s\nA=%s %v\n", want, env, env != "") {
			t.Errorf("%s: %s", id, r.Raw)
		}
	}
	if r := ts.execute(in("deleted", "read data")); !r.Created || r.Run.Stdout != "\n" {
		t.Errorf("deleted: %s", r.Raw)
	}
	eventually(t, "what nobody has is forgotten", func() bool {
		fake.mu.Lock()
		defer fake.mu.Unlock()
		return fake.volumes["stale"] == nil
	})
	stop()
}

// BenchmarkRecord is what a request of a session pays.
func BenchmarkRecord(b *testing.B) {
	table := newSessions(roomy(), func(...string) {})
	if err := table.open(b.TempDir(), slog.Default()); err != nil {
		b.Fatal(err)
	}
	defer table.journal.close()
	s, refused := table.acquire(context.Background(), "k", "s", true)
	if refused != nil {
		b.Fatal(refused)
	}
	table.settle(s, remains{form: formGiven, stored: make([]byte, 400)}, []string{"A=1", "B=two"})
	for b.Loop() {
		table.recordLocked(s, 0)
	}
	b.SetBytes(table.journal.bytes / int64(b.N))
}
