package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const loadClients = 64

// loadMix is how often each language is used: 1,000 requests in all, most of them in languages that start fast.
var loadMix = map[string]int{
	"bash": 560, "python": 200, "javascript": 60, "ruby": 60, "c": 60, "typescript": 30, "cpp": 6, "go": 8, "rust": 6, "java": 5, "csharp": 5,
}

// TestLoad has many callers at a time, of two keys, with and without sessions. Each must get its own answer, and afterwards the
// daemons must hold what they held before.
func TestLoad(t *testing.T) {
	clients.CloseIdleConnections()
	api.wantQuiet(t)
	before := api.held(t)
	var all sync.WaitGroup
	work := make(chan string)
	for i := range loadClients {
		key := []string{api.key, api.otherKey}[i%2]
		name := randomMarker()
		all.Go(func() {
			n := 0
			for language := range work {
				n++
				q := request{"language": language}
				switch n % 3 {
				case 0:
					q["session_id"] = name
				case 1:
					q["ephemeral"] = true
				}
				if err := oneOfMany(key, q); err != nil {
					t.Errorf("client %d, %s: %v", i, language, err)
				}
			}
		})
	}
	for left := loadMix; len(left) > 0; { // in turn, so that languages are mixed all the way
		next := map[string]int{}
		for language, n := range left {
			work <- language
			if n > 1 {
				next[language] = n - 1
			}
		}
		left = next
	}
	close(work)
	all.Wait()
	clients.CloseIdleConnections()
	api.wantQuiet(t)
	wantNoGrowth(t, before, api.held(t))
}

// oneOfMany runs a program that writes a marker, and its stdin where that is cheap to do, which nobody else's answer may hold.
func oneOfMany(key string, q request) error {
	marker := randomMarker()
	language := q["language"].(string)
	q["code"] = strings.ReplaceAll(hellos[language], "MARKER", marker)
	a, err := api.try(key, q)
	if err != nil {
		return err
	}
	if a.Run.Status != "OK" || a.Run.Stdout != marker+"\n" || a.Run.Stderr != "" || a.Language != language {
		return fmt.Errorf("want %s: %s", marker, a)
	}
	switch id := q["session_id"]; {
	case id != nil && (a.SessionID == nil || *a.SessionID != id),
		q["ephemeral"] != nil && a.SessionID != nil:
		return fmt.Errorf("session_id %s: %s", show(a.SessionID), a)
	}
	return nil
}

// holding is what a daemon has of the host; jails are those of sandboxd, in either.
type holding struct{ memoryKB, descriptors, threads, jails int }

func (s *stack) held(t *testing.T) map[string]holding {
	t.Helper()
	all := map[string]holding{}
	jails, err := s.metric("runtools_jails_live")
	if err != nil {
		t.Fatal(err)
	}
	for name, d := range map[string]*daemon{"sandboxd": s.sandboxd, "apid": s.apid} {
		proc := filepath.Join("/proc", strconv.Itoa(d.command.Process.Pid))
		status, err := os.ReadFile(filepath.Join(proc, "status"))
		if err != nil {
			t.Fatal(err)
		}
		descriptors, err := os.ReadDir(filepath.Join(proc, "fd"))
		if err != nil {
			t.Fatal(err)
		}
		h := holding{descriptors: len(descriptors), jails: int(jails)}
		for line := range strings.Lines(string(status)) {
			for prefix, to := range map[string]*int{"VmRSS:": &h.memoryKB, "Threads:": &h.threads} {
				if rest, ok := strings.CutPrefix(line, prefix); ok {
					*to, _ = strconv.Atoi(strings.Fields(rest)[0])
				}
			}
		}
		all[name] = h
	}
	return all
}

// Bounds on what a thousand requests may leave in a daemon. Sessions that nothing was left in are dropped; each of the others may hold a descriptor of sandboxd. A Go program's heap
// and threads are given back late, if at all.
const (
	mostMemoryGrowthKB   = 100 << 10
	mostDescriptorGrowth = 30
	descriptorsPerJail   = 16 // of a ready jail, at most: pools are larger after a load than before
	mostThreadGrowth     = 4 * loadClients
)

// memoryKB is the memory that the daemon holds now, KiB.
func (d *daemon) memoryKB() int { return d.status("VmRSS:") }

func (d *daemon) threads() int { return d.status("Threads:") }

// status is a number of the daemon's status in /proc, 0 when it has ended.
func (d *daemon) status(field string) (n int) {
	status, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(d.command.Process.Pid), "status"))
	_, text, _ := strings.Cut(string(status), field)
	fmt.Sscan(text, &n)
	return n
}

func wantNoGrowth(t *testing.T, before, after map[string]holding) {
	t.Helper()
	for name, b := range before {
		a := after[name]
		t.Logf("%s: %+v, before %+v", name, a, b)
		if a.memoryKB-b.memoryKB > mostMemoryGrowthKB ||
			a.descriptors-b.descriptors > mostDescriptorGrowth+descriptorsPerJail*max(0, a.jails-b.jails) || a.threads-b.threads > mostThreadGrowth {
			t.Errorf("%s grew: %+v, before %+v", name, a, b)
		}
	}
}
