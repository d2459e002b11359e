package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/runtools/runtools/pkg/wire"
)

// Runners as root sees them. The attacks called parked-* look from inside.

// runnersOf are the processes of a jail, or of all jails if slot is -1, by number.
func (td *testDaemon) runnersOf(slot int) (pids []int) {
	first, last := attackedUIDs, attackedUIDs+td.config.MaxJails*idsPerJail
	if slot >= 0 {
		first, last = attackedUIDs+slot*idsPerJail, attackedUIDs+(slot+1)*idsPerJail
	}
	statuses, _ := filepath.Glob("/proc/[0-9]*/status")
	for _, path := range statuses {
		data, _ := os.ReadFile(path)
		_, after, _ := strings.Cut(string(data), "\nUid:\t")
		uid, _ := strconv.Atoi(strings.Fields(after + " 0")[0])
		if uid < first || uid >= last {
			continue
		}
		if pid, err := strconv.Atoi(strings.Split(path, "/")[2]); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// holds tells whether a process has a word in its memory, of which it counts the bytes that were looked at: none if it has ended. What is mapped
// read-only is the image's.
func holds(pid int, word string) (found bool, looked int64) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return false, 0
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return false, 0
	}
	defer mem.Close()
	buffer := make([]byte, 1<<20)
	for line := range strings.Lines(string(maps)) {
		var start, end int64
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &start, &end, &mode); err != nil || mode[:2] != "rw" {
			continue
		}
		for at := start; at < end; at += int64(len(buffer) - len(word)) {
			n, err := mem.ReadAt(buffer[:min(int64(len(buffer)), end-at)], at)
			if err != nil && n == 0 {
				break
			}
			looked += int64(n)
			found = found || bytes.Contains(buffer[:n], []byte(word))
		}
	}
	return found, looked
}

// wantRunnersClean looks into the runners that wait for a job, and their PIDs 1: none has what sandboxd has, but for one socket. Pools that
// nobody uses any more shrink meanwhile: what ends while it is looked at does not count.
func (td *testDaemon) wantRunnersClean(t *testing.T, secret string) {
	t.Helper()
	seen := 0
	for _, pid := range td.runnersOf(-1) {
		problem := runnerHolds(pid, secret)
		if _, left := holds(pid, secret); left == 0 {
			continue
		}
		if problem != "" {
			command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			t.Errorf("process %d %.60q: %s", pid, command, problem)
		}
		seen++
	}
	st, err := td.client.Status(context.Background(), &wire.StatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	parked := 0
	for _, p := range st.Templates {
		parked += p.Ready
	}
	if parked == 0 || seen < 2*parked {
		t.Errorf("%d processes were looked at, and %d jails wait, of two each", seen, parked)
	}
}

// runnerHolds says what a runner has that it should not have.
func runnerHolds(pid int, secret string) (problem string) {
	if found, _ := holds(pid, secret); found {
		return "the secret of sandboxd's environment is in its memory"
	}
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil || bytes.Contains(environ, []byte("RUNTOOLS_SECRET")) {
		return fmt.Sprintf("environment %q, %v", environ, err)
	}
	sockets := 0
	descriptors, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, fd := range descriptors {
		if to, _ := os.Readlink(fd); strings.HasPrefix(to, "socket:") {
			sockets++
		}
	}
	want := 1 // to sandboxd; PID 1 has another to the runner
	if status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)); bytes.Contains(status, []byte("\t1\nNSpgid")) {
		want = 2
	}
	if sockets != want {
		return fmt.Sprintf("%d sockets, want %d", sockets, want)
	}
	return ""
}

// keptSources are what alice compiles, a class that WORD stands for, and what bob does, who names it.
var keptSources = map[string][2]string{
	"java":   {`public class Main { public static void main(String[] a) { } } class Secret { String s = "WORD"; }`, `public class Main { Secret word; }`},
	"csharp": {`System.Console.WriteLine("WORD"); class Secret { }`, `Secret word = null;`},
}

// attackKept has two keys compile, one after the other: the first one's compiler is kept, and holds its source; the second never meets it.
func (r *attackRun) attackKept(language string, sources [2]string) {
	word := "gnarled" + strconv.Itoa(os.Getpid()) + "otter"
	secret := strings.ReplaceAll(sources[0], "WORD", word)
	knows := func(slot int) (found bool) {
		for _, pid := range r.td.runnersOf(slot) {
			holds, _ := holds(pid, word)
			found = found || holds
		}
		return found
	}
	if !knows(r.compileKept("alice", program{language, secret}, "code 0\n", word)) {
		r.t.Error("alice's compiler does not hold her source: the search finds nothing")
	}
	if knows(r.compileKept("bob", program{language, sources[1]}, "code 1\n", word)) {
		r.t.Error("bob's compiler holds alice's source")
	}
	// Hers holds it, perhaps, and does not go by it.
	r.compileKept("alice", program{language, sources[1]}, "code 1\n", word)
	pools := r.td.d.server.pools
	pools.destroyKept(pools.kept.giveUp(func(k *readyJail) bool { return strings.HasPrefix(k.template.name, language+"/") }))
}

// compileKept has a parked compiler compile for an owner, and returns the slot of its jail when it is kept.
func (r *attackRun) compileKept(owner string, p program, want, word string) (slot int) {
	r.t.Helper()
	r.a = &attack{name: "kept-" + p.language, limits: defaultLimits, programs: map[string]program{"main": p}}
	pools := r.td.d.server.pools
	for start := time.Now(); time.Since(start) < 3*hang; time.Sleep(5 * time.Millisecond) {
		job, _ := r.stages("main")
		by := keptBy{pools.all[job.Template].template, owner}
		if slots, _ := pools.kept.of(by); len(pools.all[job.Template].ready) == 0 && len(slots) == 0 {
			continue
		}
		job.Owner, job.Build = owner, wire.Volume{ID: r.a.name, New: true}
		contents := memfile(r.t, job.contents)
		res := r.td.runJob(context.Background(), &job.Job, nil, contents)
		contents.Close()
		if err := r.td.client.Forget(context.Background(), r.a.name); err != nil {
			r.t.Fatal(err)
		}
		if got := outcome(res.Result, res.err); got != want || strings.Contains(res.stdout+res.stderr, word) {
			r.t.Errorf("%s got %s%s", owner, got, res.stderr)
		}
		// On a busy machine it may not be ready again in time, and is dropped.
		for lent := 1; lent > 0; time.Sleep(5 * time.Millisecond) {
			var slots []int
			if slots, lent = pools.kept.of(by); len(slots) > 0 {
				return slots[0]
			}
		}
	}
	r.t.Fatal("no compiler is kept for " + owner)
	return 0
}

// of returns the slots of the jails that wait for an owner, and how many are out.
func (k *kept) of(by keptBy) (slots []int, lent int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range k.jails {
		if r.keptBy() == by {
			slots = append(slots, r.slot)
		}
	}
	return slots, k.lent[by]
}
