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
	if sockets != 1 { // to sandboxd
		return fmt.Sprintf("%d sockets, want 1", sockets)
	}
	return ""
}
