package main

import (
	"bytes"
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"

	"github.com/runtools/runtools/pkg/wire"
)

// compileCache keeps what compile jobs made for the next request that would compile the same: one program is often run many times, with
// other input. A cached build is a build volume of sandboxd. What is here is its name, and what the compiler said.
//
// A caller must not be able to tell a build that was kept from one made anew, but for the time. So
//
//   - its key is a digest of everything that the compiler could see: see digest;
//   - it is kept, and used, only where the workspace held the request's files and nothing else, and the compiler left them as they were.
//     Without the compile job the program then finds what it would have found with it. What a program put into a session never gets near;
//   - it is not made with packages of the operator's mirror, which changes while we serve: see mayUseMirror;
//   - only success is kept, and only where the sandbox denied the compiler nothing: what it says of that depends on the profile in force;
//   - it is of one API key only: no key learns from the time of an answer what another one runs;
//   - jobs that run it have it read-only, any number of them at one time;
//   - it is not kept for long: sources may ask for the time of day (__TIME__).
//
// It is lost with apid, which has sandboxd forget every volume when it starts, and with sandboxd, which then says that it knows no such
// volume: such a request compiles again. So does one whose build goes between the look and the job; a job that has it keeps it.
type compileCache struct {
	cfg    cacheConfig
	forget func(volumes ...string) // must not block

	mu           sync.Mutex
	byKey        map[compileKey]*list.Element
	recent       *list.List // of *cachedBuild, last used first
	owners       map[string]cacheShare
	bytes        int64
	making       map[compileKey]chan struct{} // closed when the request that compiles it is done with that
	hits, misses uint64
}

type compileKey [sha256.Size]byte

// cachedBuild does not change once it is kept.
type cachedBuild struct {
	key            compileKey
	owner          string // id of the API key
	volume         string
	bytes          int64
	made           time.Time
	stdout, stderr []byte // of the compiler
}

// cacheShare is what one API key has.
type cacheShare struct {
	entries int
	bytes   int64
}

// Which requests are worth the memory. What the sources are bounded by is not the digest but that they are given twice, to the compile job
// and to the run job: the workspace between the two is dropped.
const (
	cachedFiles   = 64
	cachedSources = 256 << 10         // bytes of names and contents
	cachedPart    = 4                 // one build may take this part of a key's bytes
	cachedMount   = 16<<10 + leafCost // bytes that the kernel needs for a tmpfs, and for the memory cgroup that its pages keep
)

func newCompileCache(cfg cacheConfig, forget func(...string)) *compileCache {
	return &compileCache{
		cfg: cfg, forget: forget, byKey: map[compileKey]*list.Element{}, recent: list.New(),
		owners: map[string]cacheShare{}, making: map[compileKey]chan struct{}{},
	}
}

// takes says whether what is compiled from these files may be kept.
func (c *compileCache) takes(files []requestFile) bool {
	return c.cfg.MaxBytes > 0 && sizeWithin(files, cachedFiles, cachedSources)
}

// digest is the key of what a compile job makes in a workspace of just these files: whose it is, the image with all its tools, the command,
// the environment, the limits, and every file, as the compiler may read any. Each part is preceded by its length, so that no two lists of
// them are the same bytes.
func digest(owner, image string, j *jobInput, files []requestFile) compileKey {
	h := sha256.New()
	number := func(n int64) {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], uint64(n))
		h.Write(b[:])
	}
	part := func(b []byte) {
		number(int64(len(b)))
		h.Write(b)
	}
	part([]byte(owner))
	part([]byte(image))
	part([]byte(j.job.Template)) // "<folder>/<template>": the language's definition is the image's
	for _, words := range [][]string{j.job.Argv, j.job.Env} {
		number(int64(len(words)))
		for _, w := range words {
			part([]byte(w))
		}
	}
	for _, n := range []int64{j.job.Limits.WallMS, j.job.Limits.CPUMS, j.job.Limits.MemoryBytes, j.outputLimit, int64(len(files))} {
		number(n)
	}
	for _, f := range files { // in order: a compiler may list the folder
		part([]byte(f.name))
		part(f.content)
	}
	return compileKey(h.Sum(nil))
}

// find returns the build of that key. If it returns none, the caller is to compile, and to call done when that was put or will not be.
// Those who want the same meanwhile wait for it, but only once: if nothing comes of it they compile for themselves, all at a time.
func (c *compileCache) find(ctx context.Context, key compileKey) (a *cachedBuild, done func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if making := c.making[key]; making != nil {
		c.mu.Unlock()
		select {
		case <-making:
		case <-ctx.Done():
		}
		c.mu.Lock()
	}
	if e := c.byKey[key]; e != nil {
		if a = e.Value.(*cachedBuild); time.Since(a.made) < time.Duration(c.cfg.MaxAge) {
			c.recent.MoveToFront(e)
			c.hits++
			return a, func() {}
		}
		c.removeLocked(e)
	}
	c.misses++
	if c.making[key] != nil {
		return nil, func() {}
	}
	making := make(chan struct{})
	c.making[key] = making
	return nil, func() {
		c.mu.Lock()
		delete(c.making, key)
		c.mu.Unlock()
		close(making)
	}
}

// put keeps a build, whose volume is then no longer the caller's. It says whether it did.
func (c *compileCache) put(a *cachedBuild) bool {
	a.bytes += cachedMount + int64(len(a.stdout)+len(a.stderr))
	a.made = time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byKey[a.key] != nil || a.bytes > min(c.cfg.MaxBytes, c.cfg.MaxBytesPerKey)/cachedPart {
		return false
	}
	full := func(s cacheShare) bool {
		return s.bytes+a.bytes > c.cfg.MaxBytesPerKey || s.entries >= max(1, c.cfg.MaxEntries/2)
	}
	for e := c.recent.Back(); e != nil && full(c.owners[a.owner]); {
		before := e.Prev()
		if e.Value.(*cachedBuild).owner == a.owner {
			c.removeLocked(e)
		}
		e = before
	}
	for c.bytes+a.bytes > c.cfg.MaxBytes || len(c.byKey) >= c.cfg.MaxEntries {
		c.removeLocked(c.recent.Back())
	}
	c.byKey[a.key] = c.recent.PushFront(a)
	c.countLocked(a, 1)
	return true
}

// lost says that sandboxd does not have a build. If we did not drop it ourselves meanwhile, sandboxd was restarted, and has none.
func (c *compileCache) lost(a *cachedBuild) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.byKey[a.key]; e == nil || e.Value != a {
		return
	}
	for _, e := range c.byKey {
		c.removeLocked(e)
	}
}

// expire drops what is too old.
func (c *compileCache) expire(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.byKey {
		if now.Sub(e.Value.(*cachedBuild).made) >= time.Duration(c.cfg.MaxAge) {
			c.removeLocked(e)
		}
	}
}

func (c *compileCache) removeLocked(e *list.Element) {
	a := c.recent.Remove(e).(*cachedBuild)
	delete(c.byKey, a.key)
	c.countLocked(a, -1)
	c.forget(a.volume)
}

func (c *compileCache) countLocked(a *cachedBuild, sign int) {
	share := c.owners[a.owner]
	share.entries += sign
	share.bytes += int64(sign) * a.bytes
	c.bytes += int64(sign) * a.bytes
	if c.owners[a.owner] = share; share.entries == 0 {
		delete(c.owners, a.owner)
	}
}

// cacheCounts are for the metrics.
type cacheCounts struct {
	entries      int
	bytes        int64
	hits, misses uint64
}

func (c *compileCache) counts() cacheCounts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return cacheCounts{entries: len(c.byKey), bytes: c.bytes, hits: c.hits, misses: c.misses}
}

// mayReuse says that there may be, or come to be, a cached build of the request's files.
func (x *execution) mayReuse(j *preparedJob) bool {
	return !x.lostBuild && x.cache.takes(j.own) && x.alone(j)
}

// alone says that a compile job would read the image and the request's files, and nothing else.
func (x *execution) alone(j *preparedJob) bool {
	if x.mayUseMirror(j) {
		return false
	}
	if x.session != nil && x.session.form == formMounted {
		return false
	}
	_, kept := layOver(x.held, j.own)
	return kept == 0
}

// reuse takes a cached build in place of a compile job, and leaves everything as that job would have.
func (x *execution) reuse(j *preparedJob, a *cachedBuild) {
	x.cached = a
	j.files = j.own
	x.settle(j, remains{form: formGiven}, x.changes)
	x.compiled = &stageAnswer{stdout: a.stdout, stderr: a.stderr, status: statusOK, cached: true, diagnostics: x.plan.diagnose(a.stderr, true)}
	x.compiled.asCompile()
	x.tellCompiled()
}

// keep gives the volume of a compile job that went well to the cache.
func (x *execution) keep(key compileKey, out *jobOutput) {
	if !out.result.WorkspaceDropped || len(out.result.Violations) > 0 {
		return
	}
	a := &cachedBuild{
		key: key, owner: x.call.key.ID, volume: x.build, bytes: out.result.BuildBytes,
		stdout: bytes.Clone(out.stdout.data), stderr: bytes.Clone(out.stderr.data),
	}
	if x.cache.put(a) {
		x.cached, x.build = a, ""
	}
}

// built is the volume that the program is run from.
func (x *execution) built() wire.Volume {
	if x.cached != nil {
		return wire.Volume{ID: x.cached.volume}
	}
	return wire.Volume{ID: x.build}
}
