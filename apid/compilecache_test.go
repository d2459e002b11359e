package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runtools/runtools/pkg/wire"
)

// Whatever the compiler could see makes another key, and so does the same text cut in another place.
func TestDigest(t *testing.T) {
	type inputs struct {
		owner, image string
		jobInput
		files []requestFile
	}
	base := func() *inputs {
		return &inputs{"k1", "i1", jobInput{outputLimit: 7, job: &wire.Job{
			Template: "cc/compile", Argv: []string{"/usr/bin/gcc", "ab", "c"}, Env: []string{"A=1", "B=2"},
			Limits: wire.Limits{WallMS: 1, CPUMS: 2, MemoryBytes: 3},
		}}, []requestFile{{"main.c", []byte("text")}, {"x.h", []byte("more")}}}
	}
	seen := map[compileKey]string{}
	for name, change := range map[string]func(*inputs){
		"nothing":           func(in *inputs) {},
		"another key":       func(in *inputs) { in.owner = "k2" },
		"owner and image":   func(in *inputs) { in.owner, in.image = "k1i", "1" },
		"another image":     func(in *inputs) { in.image = "i2" },
		"another language":  func(in *inputs) { in.job.Template = "cpp/compile" },
		"another word":      func(in *inputs) { in.job.Argv[2] = "d" },
		"words cut":         func(in *inputs) { in.job.Argv = []string{"/usr/bin/gcc", "a", "bc"} },
		"words joined":      func(in *inputs) { in.job.Argv = []string{"/usr/bin/gcc", "abc"} },
		"one word more":     func(in *inputs) { in.job.Argv = append(in.job.Argv, "") },
		"a word of env":     func(in *inputs) { in.job.Argv, in.job.Env = append(in.job.Argv, "A=1"), in.job.Env[1:] },
		"another value":     func(in *inputs) { in.job.Env[0] = "A=2" },
		"no variable":       func(in *inputs) { in.job.Env = nil },
		"variables joined":  func(in *inputs) { in.job.Env = []string{"A=1B=2"} },
		"wall time":         func(in *inputs) { in.job.Limits.WallMS = 9 },
		"CPU time":          func(in *inputs) { in.job.Limits.CPUMS = 9 },
		"memory":            func(in *inputs) { in.job.Limits.MemoryBytes = 9 },
		"limits exchanged":  func(in *inputs) { in.job.Limits.WallMS, in.job.Limits.CPUMS = 2, 1 },
		"output":            func(in *inputs) { in.outputLimit = 9 },
		"another file name": func(in *inputs) { in.files[0].name = "main.cc" },
		"another content":   func(in *inputs) { in.files[1].content = []byte("More") },
		"name and content":  func(in *inputs) { in.files[0] = requestFile{"main.ct", []byte("ext")} },
		"contents cut":      func(in *inputs) { in.files[0].content, in.files[1].content = []byte("textm"), []byte("ore") },
		"one file":          func(in *inputs) { in.files = in.files[:1] },
		"a file in a file":  func(in *inputs) { in.files = []requestFile{{"main.c", []byte("textx.hmore")}} },
		"a name as content": func(in *inputs) {
			in.files[0].content, in.files[1].content = nil, []byte("\x03\x00\x00\x00\x00\x00\x00\x00x.h;")
		},
		"content as a name": func(in *inputs) {
			in.files[0].content, in.files[1].content = []byte("\x03\x00\x00\x00\x00\x00\x00\x00x.h"), []byte(";")
		},
		"an empty file": func(in *inputs) { in.files = append(in.files, requestFile{name: "e"}) },
		"another order": func(in *inputs) { slices.Reverse(in.files) },
	} {
		in := base()
		change(in)
		key := digest(in.owner, in.image, &in.jobInput, in.files)
		if other, twice := seen[key]; twice {
			t.Errorf("%s: the same key as %s", name, other)
		}
		seen[key] = name
		again := base()
		change(again)
		// What the compile job is not about, or is chosen at random, does not count.
		again.job.Build, again.job.Workspace, again.stdin = wire.Volume{ID: "x", New: true}, wire.Volume{ID: "y"}, []byte("input")
		if digest(again.owner, again.image, &again.jobInput, again.files) != key {
			t.Errorf("%s: two keys", name)
		}
	}
}

// cacheTable is a table without a server.
type cacheTable struct {
	*compileCache
	t         *testing.T
	forgotten []string
}

func newCacheTable(t *testing.T, cfg cacheConfig) *cacheTable {
	c := &cacheTable{t: t}
	c.compileCache = newCompileCache(cfg, func(ids ...string) { c.forgotten = append(c.forgotten, ids...) })
	return c
}

func keyNamed(name string) (key compileKey) {
	copy(key[:], name)
	return key
}

// add puts a build that takes so many bytes in all.
func (c *cacheTable) add(owner, name string, bytes int64) bool {
	return c.put(&cachedBuild{key: keyNamed(name), owner: owner, volume: name, bytes: bytes - cachedMount})
}

// use finds a build as a request does, or says that it is not there.
func (c *cacheTable) use(name string) bool {
	a, done := c.find(context.Background(), keyNamed(name))
	done()
	return a != nil
}

// want checks which there are, last used first, and that all others were forgotten.
func (c *cacheTable) want(names string) {
	c.t.Helper()
	var got []string
	var bytes int64
	shares := map[string]cacheShare{}
	for e := c.recent.Front(); e != nil; e = e.Next() {
		a := e.Value.(*cachedBuild)
		got = append(got, a.volume)
		bytes += a.bytes
		shares[a.owner] = cacheShare{shares[a.owner].entries + 1, shares[a.owner].bytes + a.bytes}
		if slices.Contains(c.forgotten, a.volume) {
			c.t.Errorf("%s was forgotten", a.volume)
		}
	}
	if strings.Join(got, " ") != names {
		c.t.Errorf("there are %v, want %s", got, names)
	}
	if n := c.counts(); n.bytes != bytes || n.entries != len(got) || !maps.Equal(shares, c.owners) {
		c.t.Errorf("counted %+v %v, there are %d of %d bytes, %v", n, c.owners, len(got), bytes, shares)
	}
}

func TestCompileCacheBounds(t *testing.T) {
	const kb, mb = 1 << 10, 1 << 20
	c := newCacheTable(t, cacheConfig{MaxBytes: 1000 * mb, MaxBytesPerKey: 800 * mb, MaxEntries: 10, MaxAge: duration(time.Hour)})
	if c.add("k", "large", 200*mb+1) {
		t.Error("one took more than a quarter of what the key may have")
	}
	for _, name := range []string{"a", "b", "c", "d"} {
		if !c.add("k", name, 200*mb) {
			t.Errorf("%s was refused", name)
		}
	}
	c.want("d c b a")
	if !c.use("a") || !c.use("c") {
		t.Error("not found")
	}
	c.add("k", "e", 100*mb) // the key's bytes are used up
	c.want("e c a d")
	c.add("l", "f", 200*mb)
	c.want("f e c a d")
	c.add("l", "g", 200*mb) // all bytes are used up: the one that nobody used for longest goes, whoever has it
	c.want("g f e c a")
	if c.add("l", "a", kb) {
		t.Error("a second of one key")
	}
	for i := range 6 { // half of the entries, and no more of anybody else's
		c.add("m", fmt.Sprint(i), 33*kb)
	}
	c.want("5 4 3 2 1 g f e c a")
	c.add("l", "h", 33*kb) // all entries
	c.want("h 5 4 3 2 1 g f e c")
	c.expire(time.Now().Add(59 * time.Minute))
	c.want("h 5 4 3 2 1 g f e c")
	c.expire(time.Now().Add(61 * time.Minute))
	c.want("")
	if len(c.forgotten) != 14 {
		t.Errorf("forgotten: %v", c.forgotten)
	}
}

// sandboxd that lacks one has none; unless it is we who dropped it.
func TestCachedBuildsAreLost(t *testing.T) {
	c := newCacheTable(t, cacheConfig{MaxBytes: 1 << 20, MaxBytesPerKey: 1 << 20, MaxEntries: 10, MaxAge: duration(time.Hour)})
	for _, name := range []string{"a", "b", "c"} {
		c.add("k", name, 100<<10)
	}
	gone := c.byKey[keyNamed("b")].Value.(*cachedBuild)
	c.lost(gone)
	c.want("")
	c.forgotten = nil
	c.add("k", "b", 100<<10)
	c.add("k", "a", 100<<10)
	c.lost(gone) // a request that was slower to find out
	c.want("a b")
	c.removeLocked(c.byKey[keyNamed("b")])
	c.lost(gone)
	c.want("a")
}

func TestCachedBuildTooOld(t *testing.T) {
	c := newCacheTable(t, cacheConfig{MaxBytes: 1 << 20, MaxBytesPerKey: 1 << 20, MaxEntries: 10, MaxAge: duration(time.Hour)})
	c.add("k", "a", 100<<10)
	if !c.use("a") {
		t.Error("it is not there")
	}
	c.byKey[keyNamed("a")].Value.(*cachedBuild).made = time.Now().Add(-2 * time.Hour)
	if c.use("a") {
		t.Error("it is too old")
	}
	c.want("")
}

// Of those who want the same at a time one compiles. The others wait for it, but not twice, and not for ever.
func TestCachedBuildInTheMaking(t *testing.T) {
	c := newCacheTable(t, cacheConfig{MaxBytes: 1 << 20, MaxBytesPerKey: 1 << 20, MaxEntries: 10, MaxAge: duration(time.Hour)})
	for _, works := range []bool{false, true} {
		a, first := c.find(context.Background(), keyNamed("a"))
		if a != nil {
			t.Fatal("it is there")
		}
		gone, cancel := context.WithCancel(context.Background())
		cancel()
		if a, done := c.find(gone, keyNamed("a")); a != nil {
			t.Error("nobody made it")
		} else {
			done()
		}
		var all sync.WaitGroup
		found := make(chan bool, 8)
		for range cap(found) {
			all.Go(func() {
				a, done := c.find(context.Background(), keyNamed("a"))
				found <- a != nil
				all.Add(1)
				time.AfterFunc(20*time.Millisecond, func() { done(); all.Done() }) // as if it compiled
			})
		}
		time.Sleep(20 * time.Millisecond)
		if len(found) != 0 {
			t.Errorf("%d did not wait", len(found))
		}
		if works {
			c.add("k", "a", 100<<10)
		}
		first()
		all.Wait()
		for range cap(found) {
			if <-found != works {
				t.Errorf("found: %v, made: %v", !works, works)
			}
		}
		if len(c.making) != 0 {
			t.Errorf("%d are still being made", len(c.making))
		}
	}
}
