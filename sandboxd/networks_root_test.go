package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/runtools/runtools/pkg/seccomp"
)

// A network namespace is another jail's later if nobody has made a socket in it, and only then.
func TestNetworksServeAgain(t *testing.T) {
	td := startDaemon(t, nil)
	for _, c := range []struct {
		does, script string
		again        bool
	}{
		{"nothing", "true", true},
		{"a socket that is refused", "ip link 2>&1", true}, // of netlink
		{"a Unix socket", "logger x", false},
		{"one of TCP", "nc 127.0.0.1 1", false},
		{"a child's", "sh -c 'nc 127.0.0.1 1'", false},
		{"one that is left behind", "nc -l -p 1024 >/dev/null 2>&1 & until grep -q :0400 /proc/self/net/tcp*; do :; done", false},
	} {
		if seen := td.networkSeenAgain(c.script); seen != c.again {
			t.Errorf("%s: seen again %v, want %v", c.does, seen, c.again)
		}
	}
}

// A profile that lets a program have sockets without a word is the operator's to choose.
func TestNetworksOfAnotherProfile(t *testing.T) {
	profiles := profilesWith(t, func(p *seccomp.Profile) {
		for i := range p.Syscalls {
			if p.Syscalls[i].Names[0] == "socket" && p.Syscalls[i].AtMost > 0 {
				p.Syscalls[i].AtMost, p.Syscalls[i].ErrnoRet = 0, nil
			}
		}
	})
	td := startDaemon(t, func(c *config) { c.Profiles = profiles })
	if td.networkSeenAgain("true") {
		t.Error("a network namespace serves again, and nobody counts its sockets")
	}
}

// networkSeenAgain runs a script, and then others, and tells whether one of these had its network namespace.
func (td *testDaemon) networkSeenAgain(script string) bool {
	td.t.Helper()
	var held []*os.File // the kernel gives the number of a namespace that is gone to another
	defer func() {
		for _, f := range held {
			f.Close()
		}
	}()
	run := func(script string) (network string) {
		td.t.Helper()
		td.awaitReady(2)
		runners, _ := td.processes()
		for _, pid := range runners {
			if f, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid)); err == nil {
				held = append(held, f)
			}
		}
		r := td.run("readlink /proc/self/ns/net; "+script, nil)
		network, _, _ = strings.Cut(r.stdout, "\n")
		if r.err != nil || !strings.HasPrefix(network, "net:[") {
			td.t.Fatalf("%s: %+v, %v", script, r, r.err)
		}
		return network
	}
	first := run(script)
	for range 20 {
		if run("true") == first {
			return true
		}
	}
	return false
}
