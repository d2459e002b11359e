package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/runtools/runtools/pkg/wire"
)

func packing(most int) func(*config) {
	return func(c *config) { c.Sessions.MaxMounted = most }
}

func (ts *testServer) eventuallyHeld(want string) {
	ts.t.Helper()
	eventually(ts.t, want, func() bool { return ts.held() == want })
}

func TestPack(t *testing.T) {
	ts := newTestServer(t, packing(2))
	for i := range 5 {
		ts.execute(with(python(fmt.Sprintf("write data %d", i), fmt.Sprintf("setenv N=%d", i)), "session_id", fmt.Sprint(i)))
	}
	ts.eventuallyHeld("2 mounted, 0 given, 3 packed")
	eventually(t, "the volumes are forgotten", func() bool { return ts.fake.volumeCount() == 2 })
	for i := range 5 {
		r := ts.execute(with(python("read data", "env N"), "session_id", fmt.Sprint(i)))
		if want := fmt.Sprintf("%d\nN=%d true\n", i, i); r.Run.Stdout != want || r.Created {
			t.Errorf("%d: %s", i, r.Raw)
		}
	}
	ts.eventuallyHeld("2 mounted, 0 given, 3 packed")
	if packs, unpacks := ts.packer.packs.Load(), ts.packer.unpacks.Load(); packs < 6 || unpacks < 3 || unpacks > packs {
		t.Errorf("%d packs, %d unpacks", packs, unpacks)
	}
	// In another language, with the files of its own.
	if r := ts.execute(map[string]any{"language": "c", "code": "read data", "session_id": "0"}); r.Run.Stdout != "0\n" {
		t.Errorf("in C: %s", r.Raw)
	}
	if ts.sessions.counts().bytes > 4*mountCost+2*leafCost {
		t.Errorf("%d bytes", ts.sessions.counts().bytes)
	}
}

// Only small workspaces are packed, and only if all that is in them can be.
func TestNotPacked(t *testing.T) {
	ts := newTestServer(t, packing(0))
	ts.execute(with(python("fill 70000"), "session_id", "large"))
	var files []string
	for i := range packInodes {
		files = append(files, fmt.Sprintf("write %d x", i))
	}
	ts.execute(with(python(files...), "session_id", "many"))
	ts.wantHeld("2 mounted, 0 given, 0 packed")
	if n := ts.fake.tarsMade(); n != 0 {
		t.Errorf("%d were tried", n)
	}
	for i, how := range []string{"exit", "warn", "spew"} {
		ts.fake.setTar(fakeTar{create: how})
		ts.execute(with(python("write a "+how), "session_id", how))
		eventually(t, how, func() bool { return ts.packer.failures.Load() == uint64(i+1) })
	}
	ts.wantHeld("5 mounted, 0 given, 0 packed")
	if n := ts.fake.tarsMade(); n != 3 {
		t.Errorf("%d were tried", n)
	}
	ts.fake.setTar(fakeTar{})
	if r := ts.execute(with(python("read a"), "session_id", "warn")); r.Run.Stdout != "warn\n" {
		t.Errorf("after a failure: %s", r.Raw)
	}
	ts.eventuallyHeld("4 mounted, 0 given, 1 packed")
	ts.execute(with(python("read filler", "write filler x"), "session_id", "large"))
	ts.eventuallyHeld("3 mounted, 0 given, 2 packed")
}

// What kept a session from being packed, and was not its own doing, is over: it is packed without a request.
func TestPackIsTriedAgain(t *testing.T) {
	ts := newTestServer(t, packing(0))
	for i, why := range []wire.Code{wire.CodeOverloaded, wire.CodeInvalid} { // max_volume_bytes, another version
		ts.fake.setTar(fakeTar{create: string(why)})
		made := ts.fake.tarsMade()
		ts.execute(with(python("write a b"), "session_id", string(why)))
		eventually(t, "it is tried", func() bool { return ts.fake.tarsMade() > made })
		ts.fake.setTar(fakeTar{})
		ts.eventuallyHeld(fmt.Sprintf("0 mounted, 0 given, %d packed", i+1))
	}
	// A request comes in between, and the session ends in between.
	ts.fake.setTar(fakeTar{create: string(wire.CodeOverloaded)})
	if r := ts.execute(with(python("read a", "write a c"), "session_id", string(wire.CodeInvalid))); r.Run.Stdout != "b\n" {
		t.Errorf("%s", r.Raw)
	}
	failures := ts.packer.failures.Load()
	eventually(t, "it is tried", func() bool { return ts.packer.failures.Load() > failures })
	if r := ts.execute(with(python("read a"), "session_id", string(wire.CodeInvalid))); r.Run.Stdout != "c\n" {
		t.Errorf("%s", r.Raw)
	}
	for _, session := range []wire.Code{wire.CodeOverloaded, wire.CodeInvalid} {
		if r := ts.do("DELETE", "/v1/sessions/"+string(session), ""); r.Status != 204 {
			t.Errorf("delete: %s", r.Raw)
		}
	}
	eventually(t, "no volume is left", func() bool { return ts.fake.volumeCount() == 0 })
	ts.wantHeld("0 mounted, 0 given, 0 packed")
}

func TestUnpackFails(t *testing.T) {
	ts := newTestServer(t, packing(0))
	s := func(lines ...string) map[string]any { return with(python(lines...), "session_id", "s") }
	ts.execute(s("write a b", "setenv E=1"))
	ts.eventuallyHeld("0 mounted, 0 given, 1 packed")
	// Not for good: it stays as it is.
	ts.fake.setTar(fakeTar{extract: "overloaded"})
	ts.refused(s("read a"), errOverloaded)
	ts.fake.setTar(fakeTar{extract: "internal"})
	ts.refused(s("read a"), errInternal)
	ts.fake.setTar(fakeTar{extract: "killed"}) // from outside
	ts.refused(s("read a"), errInterrupted)
	ts.wantHeld("0 mounted, 0 given, 1 packed")
	ts.fake.setTar(fakeTar{})
	if r := ts.execute(s("read a", "env E")); r.Run.Stdout != "b\nE=1 true\n" || r.Created {
		t.Errorf("afterwards: %s", r.Raw)
	}
	ts.eventuallyHeld("0 mounted, 0 given, 1 packed")
	// The job of the request fails after it was unpacked.
	ts.refused(s("fail internal"), errInternal)
	if r := ts.execute(s("read a")); r.Run.Stdout != "b\n" {
		t.Errorf("after a request failed: %s", r.Raw)
	}
	ts.eventuallyHeld("0 mounted, 0 given, 1 packed")
	// For good: lost, and nothing of it is seen.
	ts.fake.setTar(fakeTar{extract: "exit"})
	if r := ts.execute(s("read a", "env E")); r.Run.Stdout != "\nE= false\n" || !r.Created {
		t.Errorf("lost: %s", r.Raw)
	}
	if !strings.Contains(ts.log.String(), "could not be unpacked") {
		t.Errorf("the log says %s", ts.log.String())
	}
	eventually(t, "the half that was unpacked is forgotten", func() bool { return ts.fake.volumeCount() == 0 })
}

// A request waits for the packer, like for any earlier request, and whatever ends the session meanwhile ends it.
func TestPackInTheWay(t *testing.T) {
	ts := newTestServer(t, packing(0))
	s := func(lines ...string) map[string]any { return with(python(lines...), "session_id", "s") }
	begin := func() {
		made := ts.fake.tarsMade()
		ts.fake.setTar(fakeTar{takes: 300 * time.Millisecond})
		ts.execute(s("write a b"))
		eventually(t, "it is being packed", func() bool { return ts.fake.tarsMade() > made })
	}
	begin()
	if r := ts.execute(s("read a")); r.Run.Stdout != "b\n" || r.Created {
		t.Errorf("meanwhile: %s", r.Raw)
	}
	begin()
	if r := ts.do("DELETE", "/v1/sessions/s", ""); r.Status != 204 {
		t.Errorf("delete: %s", r.Raw)
	}
	if r := ts.execute(s("read a")); r.Run.Stdout != "\n" || !r.Created {
		t.Errorf("deleted meanwhile: %s", r.Raw)
	}
	begin()
	ts.sessions.expire(time.Now().Add(time.Hour))
	if r := ts.execute(s("read a")); r.Run.Stdout != "\n" || !r.Created {
		t.Errorf("expired meanwhile: %s", r.Raw)
	}
	ts.do("DELETE", "/v1/sessions/s", "")
	eventually(t, "no volume is left", func() bool { return ts.fake.volumeCount() == 0 })
	ts.wantHeld("0 mounted, 0 given, 0 packed")
	if c := ts.sessions.counts(); c.sessions != 0 || c.bytes != 0 {
		t.Errorf("left: %+v", c)
	}
}

// One that waited for the packer and gave up has been there: the session counts as used.
func TestPackAndGiveUp(t *testing.T) {
	table, _ := table(sessionConfig{Idle: duration(time.Hour), Max: 5, MaxPerKey: 5, MaxBytes: 1 << 30, MaxBytesPerKey: 1 << 30})
	use(t, table, "k", "a", false, 1)
	use(t, table, "k", "b", false, 1)
	s := table.acquireIdlest()
	if s == nil || s.keep || table.evictable.front() != s || table.packable.len != 1 {
		t.Fatalf("got %+v", s)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := table.acquire(ctx, "k", "a", true); err == nil {
		t.Fatal("it was acquired twice")
	}
	table.packed(s, []byte("tar"))
	table.release(s)
	if table.kept.front() != s || table.evictable.len != 1 || s.busy || table.bytes != 2*sessionCost+3*recordedCost+mountCost+2*inodeCost+1 || table.forms[formPacked] != 1 {
		t.Errorf("%+v", s)
	}
	// One that nobody asked for keeps its place.
	use(t, table, "k", "c", false, 1)
	b := table.acquireIdlest()
	table.packed(b, []byte("tar"))
	table.release(b)
	if table.evictable.front() != b || b.busy {
		t.Errorf("%+v", b)
	}
}

// Packing takes a slot only when one is free, and gives it back.
func TestPackWaitsForASlot(t *testing.T) {
	ts := newTestServer(t, func(c *config) { c.Sessions.MaxMounted, c.Queue.MaxJobs = 0, 1 })
	done := make(chan struct{})
	go func() { defer close(done); ts.execute(with(python("await"), "ephemeral", true)) }()
	eventually(t, "it runs", func() bool { running, _ := ts.queue.counts(); return running == 1 })
	s, err := ts.sessions.acquire(context.Background(), "k", "a", true)
	if err != nil {
		t.Fatal(err)
	}
	ts.sessions.settle(s, remains{form: formMounted, bytes: 1, inodes: 2}, nil)
	ts.sessions.release(s)
	time.Sleep(100 * time.Millisecond)
	if n := ts.fake.tarsMade() + int(ts.packer.failures.Load()); n != 0 {
		t.Error("packed while the only slot was taken")
	}
	ts.fake.gate <- struct{}{}
	<-done
	eventually(t, "it is tried", func() bool { return ts.packer.failures.Load() == 1 }) // the fake knows no such volume
	eventually(t, "the slot is free", func() bool { running, _ := ts.queue.counts(); return running == 0 })
}

func TestCompress(t *testing.T) {
	var p packer
	for _, text := range []string{"", "a", strings.Repeat("header\x00\x00", 30000)} {
		z := p.begin()
		for part := range slices.Chunk([]byte(text), 1000) {
			z.write(part)
		}
		packed := z.end()
		if got, err := decompress(packed); err != nil || string(got) != text {
			t.Errorf("%d bytes came back as %d: %v", len(text), len(got), err)
		}
	}
	if _, err := decompress([]byte("nonsense")); err == nil {
		t.Error("nonsense was accepted")
	}
}

// A path too long to be made again is found by the length of its record, which tar writes ahead of it.
func TestLongPathsInArchives(t *testing.T) {
	record := func(key string, bytes int) string {
		return fmt.Sprintf("%d %s=%s\n", len("0000 ")+len(key)+len("=\n")+bytes, key, strings.Repeat("x", bytes))
	}
	for archive, want := range map[string]bool{
		"":                           false,
		" path=":                     false,
		"11 path=./f\n":              false,
		"99999999999999 path=":       true, // no record of tar's, and taken for one
		record("path", longPath-1):   false,
		record("path", longPath):     true,
		record("linkpath", longPath): false, // of a symbolic link, as long as the kernel lets it be
		"11 path=./f\n" + record("mtime", 10) + record("path", longPath+90): true,
	} {
		if got := hasLongPath([]byte(archive)); got != want {
			t.Errorf("%.40q, %d bytes: %v, want %v", archive, len(archive), got, want)
		}
	}
}
