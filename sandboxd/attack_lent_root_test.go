package main

import (
	"hash/fnv"
	"slices"
	"strings"
	"time"
)

// Compiled programs run in jails that hold no runtime. They could be anybody's who writes Python and uploads them, so that each attack is made from a jail of such
// a language as well: the runtime that waits there is told to start the attack, and executes it in its own place (rootfs/parked/parked.h).

// lenders are the templates whose jails take an attack, each by the hash of its name: the same each time. What loads slowly has few.
var lenders = []string{
	"python/run", "bash/run", "javascript/run", "ruby/run", "python/run", "typescript/run", "bash/run", "ruby/run", "python/run", "javascript/run", "bash/run", "java/run",
	"python/run", "ruby/run", "javascript/run", "bash/run", "python/run", "csharp/run",
}

// meetsRuntime tells whether the programs must meet runtimes. Those that attack a compiler meet what is in its jail, which of C's, C++'s, Go's and Rust's is none;
// and what cannot be executed meets nothing.
func (r *attackRun) meetsRuntime() bool {
	return r.td.config.Parked && r.template == "" && r.a.compile == "" && !strings.HasPrefix(r.a.wants["main"], "error ") && !slices.Equal(r.a.lent, []string{"none"})
}

// findLenders returns the templates that lend the attack their jails, none if the attack needs none: all of its programs met a runtime already, or none must.
func (r *attackRun) findLenders() (found []string) {
	r.t.Helper()
	borrows := false
	for _, job := range r.jobs {
		borrows = borrows || job != nil && r.runtime(job.Template) == nil
	}
	if !borrows || !r.meetsRuntime() {
		return nil
	}
	all := slices.Equal(r.a.lent, []string{"all"})
	sum := fnv.New32a()
	sum.Write([]byte(r.a.name))
	for i := range lenders {
		name := lenders[(int(sum.Sum32())+i)%len(lenders)]
		if language, _, _ := strings.Cut(name, "/"); slices.Contains(found, name) || !all && len(r.a.lent) > 0 && !slices.Contains(r.a.lent, language) {
			continue
		}
		r.awaitRuntimeOf(name)
		switch {
		case r.fitsIn(name, r.a.limits.MemoryBytes):
			if found = append(found, name); !all {
				return found
			}
		case all:
			r.t.Errorf("the runtime of %s does not leave the attack the memory that it may have: change its limits", name)
		}
	}
	if len(found) == 0 {
		r.t.Error("no runtime leaves the attack the memory that it may have: change its limits, or say why in a section lent")
	}
	return found
}

func (r *attackRun) runtime(template string) *parkedSpec {
	return r.td.d.server.pools.all[template].template.spec.Parked
}

// fits tells whether the job is given a jail whose runtime was loaded, if there is one. A limit of memory that is too low for it keeps a job from it.
func (r *attackRun) fits(job *attackJob) bool {
	return r.fitsIn(job.Template, job.Limits.MemoryBytes)
}

func (r *attackRun) fitsIn(template string, memory int64) bool {
	return r.runtime(template) != nil && 2*r.td.d.server.pools.all[template].bytes.Load() <= memory
}

// awaitRuntime waits until a jail is there that the job may be given.
func (r *attackRun) awaitRuntime(job *attackJob) {
	if r.fits(job) {
		r.awaitRuntimeOf(job.Template)
	}
}

func (r *attackRun) awaitRuntimeOf(template string) {
	pool := r.td.d.server.pools.all[template]
	for start := time.Now(); r.runtime(template) != nil && len(pool.ready) == 0 && time.Since(start) < hang; {
		time.Sleep(5 * time.Millisecond)
	}
}
