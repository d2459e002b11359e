package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// shared is a table with room for the whole shares of two keys.
func shared(t *testing.T, share int64) *sessions {
	table, _ := openTable(t, t.TempDir())
	table.cfg.MaxBytesPerKey, table.cfg.MaxBytes = share, 2*share
	return table
}

func wantRefused(t *testing.T, what string, err *apiError, code errCode) {
	t.Helper()
	if err == nil || err.code != code {
		t.Errorf("%s: got %v, want %s", what, err, code)
	}
}

// A key that makes many small sessions and fills them later gets no more than one that makes large ones; and nobody else gets less for it.
func TestShares(t *testing.T) {
	const mb = 1 << 20
	table := shared(t, 8*mb)
	for i := range 5 {
		if err := use(t, table, "a", fmt.Sprint(i), true, 1); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 4 {
		if err := use(t, table, "a", fmt.Sprint(i), true, 2*mb-leafCost); err != nil { // the second job in each
			t.Fatal(i, err)
		}
	}
	wantRefused(t, "another that grows", use(t, table, "a", "4", true, 2*mb), errRateLimited)
	wantRefused(t, "a new one", use(t, table, "a", "new", false, 1), errRateLimited)

	// Another key has all of its own share, though the first one has more than that; and when both have, nobody else has any.
	for i := range 4 {
		if err := use(t, table, "b", fmt.Sprint(i), true, 2*mb-mountCost); err != nil {
			t.Errorf("b is locked out: %v", err)
		}
	}
	wantRefused(t, "b, who has his share", use(t, table, "b", "0", true, mb), errRateLimited)
	wantRefused(t, "a third", use(t, table, "c", "0", true, mb), errOverloaded)

	// What is deleted makes room, and unnamed sessions do so by themselves, their own key's first.
	table.delete("b", "0")
	if err := use(t, table, "c", "unnamed", false, 1); err != nil {
		t.Error(err)
	}
	table.delete("a", "0")
	table.delete("a", "1")
	for range 10 {
		if err := use(t, table, "a", fmt.Sprint("unnamed", rand.Int()), false, mb); err != nil {
			t.Error(err)
		}
		if a := table.owners["a"]; a.bytes > table.cfg.MaxBytesPerKey {
			t.Errorf("a has %d bytes and unnamed sessions", a.bytes)
		}
	}
	if !table.has("c", "unnamed") || table.counts().evicted == 0 {
		t.Error("what one key has too much was taken from another")
	}
	table.expire(time.Now().Add(time.Hour))
	if table.bytes != 0 || table.claimed != 0 {
		t.Errorf("left: %d bytes, %d claimed", table.bytes, table.claimed)
	}
}

// Requests that were begun while there was room may all fill their workspaces: what is kept of that is half as much again as there may be.
func TestSharesOfManyAtOneTime(t *testing.T) {
	const share = 8 << 20
	table := shared(t, share)
	for _, key := range []string{"a", "b", "c", "d"} {
		var running []*session
		for i := range 12 {
			s, err := table.acquire(context.Background(), key, fmt.Sprint(i), true)
			if err == nil {
				running = append(running, s)
			}
		}
		for _, s := range running {
			table.settle(s, remains{form: formMounted, bytes: share / 4}, nil)
			table.outgrew(s, 0)
			table.release(s)
		}
		if o := table.owners[key]; o != nil && (o.bytes > share*3/2 || o.bytes < share/2) {
			t.Errorf("%s has %d bytes", key, o.bytes)
		}
	}
	if table.bytes > 3*share || table.bytes < 2*share {
		t.Errorf("%d bytes in all", table.bytes)
	}
}

// What costs memory counts, whatever it is.
func TestCosts(t *testing.T) {
	const files = 65536
	for name, c := range map[string]struct {
		left  remains
		env   []string
		least int64
	}{
		"empty files":       {remains{form: formMounted, inodes: files}, nil, files << 10},
		"contents":          {remains{form: formMounted, bytes: 100e6}, nil, 100e6 + cachedMount},
		"an environment":    {remains{form: formGiven}, []string{"A=" + strings.Repeat("x", 60_000)}, 5 * 60_000},
		"what is stored":    {remains{form: formPacked, stored: make([]byte, 50_000)}, nil, 5 * 50_000},
		"nothing, recorded": {remains{form: formGiven}, nil, 1000},
	} {
		table := shared(t, 1<<40)
		settled(t, table, "k", "s", c.left, c.env...)
		if got := table.counts().bytes; got < c.least {
			t.Errorf("%s counts for %d bytes, costs %d", name, got, c.least)
		}
	}
	// Or packing would take what nobody was asked for.
	small, most := remains{form: formMounted, inodes: 1}, remains{form: formPacked, stored: make([]byte, packBytes)}
	if !small.packable() || small.cost() < most.cost() {
		t.Errorf("%d bytes mounted may become %d packed", small.cost(), most.cost())
	}
}

// The bounds on sessions bound the folder of the journal, whatever callers do: docs/operate.md has the figure.
func TestJournalIsBounded(t *testing.T) {
	const room = 48 << 20
	table := shared(t, room/2)
	value := strings.Repeat("x", 60_000)
	peak, refused := int64(0), 0
	for i := range 3000 {
		key, name := fmt.Sprint("key", i%2), fmt.Sprint(i%1000/2)
		s, err := table.acquire(context.Background(), key, name, true)
		if err != nil {
			refused++
			continue
		}
		table.settle(s, remains{form: formGiven, stored: []byte("x")}, []string{fmt.Sprintf("A=%d%s", i, value)})
		table.release(s)
		before := table.journal.bytes
		if err := table.rewrite(); err != nil {
			t.Fatal(err)
		}
		if after := table.journal.bytes; after != before {
			peak = max(peak, before+after)
		}
	}
	if refused == 0 || peak == 0 || peak > room*2/3+journalSlack {
		t.Errorf("%d were refused; %d bytes of records, want %d at most", refused, peak, room*2/3+journalSlack)
	}
}

func growing(share int64) func(*config) {
	return func(c *config) { c.Sessions.MaxBytesPerKey, c.Sessions.MaxBytes = share, 2*share }
}

// At its share a key can read and delete, and use what is not kept. Nothing else.
func TestAtTheShare(t *testing.T) {
	ts := newTestServer(t, growing(2<<20))
	ts.execute(with(python("write data x"), "session_id", "t"))
	ts.execute(with(python("fill 1900000"), "session_id", "s"))
	r := ts.refused(with(python("print x"), "session_id", "t"), errRateLimited)
	if !strings.Contains(r.Error.Message, "delete sessions") {
		t.Error(r.Raw)
	}
	ts.refused(python("print x"), errRateLimited)
	for _, want := range []struct {
		status             int
		method, path, body string
	}{
		{429, "PUT", "/v1/sessions/t/files/a", "b"},
		{429, "POST", "/v1/sessions/t/fork", ""},
		{200, "GET", "/v1/sessions/s", ""},
		{200, "GET", "/v1/sessions/s/files", ""},
		{204, "DELETE", "/v1/sessions/s", ""},
		{204, "PUT", "/v1/sessions/t/files/a", "b"},
	} {
		if want.path == "/v1/sessions/s" && want.method == "DELETE" {
			ts.execute(with(python("print x"), "ephemeral", true))
			mine := ts.key
			ts.key = ts.makeKey(ts.cfg.Keys, 0)
			ts.keys.checked.Store(-int64(keyCheckInterval))
			ts.execute(python("write a b")) // another key
			ts.key = mine
		}
		if r := ts.do(want.method, want.path, want.body); r.Status != want.status {
			t.Errorf("%s %s: %d %s", want.method, want.path, r.Status, r.Raw)
		}
	}
	ts.execute(with(python("read data"), "session_id", "t"))
}

// Who hangs up, or has a later file refused, leaves as much as any other.
func TestUnansweredGrowthCounts(t *testing.T) {
	ts := newTestServer(t, growing(2<<20))
	for _, name := range []string{"hung up", "refused"} {
		ts.execute(with(python("write data x"), "session_id", "s"))
		if name == "refused" {
			ts.refused(with(python("print x"), "session_id", "s", "files", []any{file("big", strings.Repeat("x", 1_900_000)), file("refused", "")}), errInvalidField)
		} else {
			ctx, hangUp := context.WithCancel(t.Context())
			_, read := ts.openStream(ctx, with(python("fill 1900000", "print x", "await"), "session_id", "s"))
			read()
			hangUp()
		}
		eventually(t, name+": it counts", func() bool { return ts.sessions.counts().bytes > 2<<20 })
		ts.refused(with(python("print x"), "session_id", "s"), errRateLimited)
		ts.do("DELETE", "/v1/sessions/s", "")
	}
}

// Two that run at one time may take a key far above its share: then the later one is not kept, and its caller is told.
func TestOutgrown(t *testing.T) {
	ts := newTestServer(t, growing(2<<20))
	answers := make(chan *result, 2)
	for _, name := range []string{"a", "b"} {
		go func() { answers <- ts.execute(with(python("fill 1900000", "await", "print x"), "session_id", name)) }()
	}
	eventually(t, "both run", func() bool { return ts.fake.atOnce() == 2 })
	var kept []string
	for range 2 {
		ts.fake.gate <- struct{}{}
		r := <-answers
		if r.Run.Stdout != "x\n" {
			t.Errorf("%s", r.Raw)
		}
		if r.Run.Message == nil {
			kept = append(kept, *r.Session)
		} else if !strings.Contains(*r.Run.Message, "not kept") || ts.do("GET", "/v1/sessions/"+*r.Session, "").Status != 404 {
			t.Errorf("%s", r.Raw)
		}
	}
	if c := ts.sessions.counts(); len(kept) != 1 || c.sessions != 1 || c.bytes > 3<<20 {
		t.Errorf("kept %v: %+v", kept, c)
	}
	eventually(t, "one volume is left", func() bool { return ts.fake.volumeCount() == 1 })
	ts.do("DELETE", "/v1/sessions/"+kept[0], "")
	if r := ts.do("PUT", "/v1/sessions/p/files/large", strings.Repeat("x", 3_500_000)); r.Status != 429 || !strings.Contains(r.Raw, "not kept") {
		t.Errorf("%d %s", r.Status, r.Raw)
	}
}

// Far above the share, as after a restart with a lower one: what is only read stays.
func TestFarAboveTheShare(t *testing.T) {
	ts := newTestServer(t, nil)
	ts.execute(with(python("fill 1900000", "write data x"), "session_id", "s"))
	ts.sessions.mu.Lock()
	ts.sessions.cfg.MaxBytesPerKey, ts.sessions.cfg.MaxBytes = 1<<20, 2<<20
	ts.sessions.claimed = 1 << 20
	ts.sessions.mu.Unlock()
	for range 3 {
		if r := ts.do("GET", "/v1/sessions/s/files", ""); r.Status != 200 {
			t.Errorf("%d %s", r.Status, r.Raw)
		}
	}
	if c := ts.sessions.counts(); c.sessions != 1 || c.evicted != 0 {
		t.Errorf("%+v", c)
	}
}

// A key that has too much costs another one nothing that grows within its own share.
func TestGrowthWithinTheShare(t *testing.T) {
	const share = 8 << 20
	table := shared(t, share)
	for _, key := range []string{"a", "b"} {
		if err := use(t, table, key, "0", true, 1); err != nil {
			t.Fatal(err)
		}
	}
	s, err := table.acquire(t.Context(), "c", "0", true)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a", "b"} {
		table.mu.Lock()
		table.chargeLocked(table.owners[key], share*3/2)
		table.mu.Unlock()
	}
	table.settle(s, remains{form: formMounted, bytes: 1 << 20}, nil)
	if problem := table.outgrew(s, 0); problem != "" {
		t.Errorf("c has a megabyte: %s", problem)
	}
	for _, key := range []string{"a", "b"} {
		table.mu.Lock()
		table.chargeLocked(table.owners[key], -share*3/2)
		table.mu.Unlock()
	}
	table.release(s)
}
