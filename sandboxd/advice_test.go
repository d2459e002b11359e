package main

import (
	"os"
	"strings"
	"testing"
)

// A crash may make a file, which the limit on its size forbids, or start a helper, which the same limit forbids; a socket is the operator's to close.
func TestAdviceAboutCores(t *testing.T) {
	for pattern, want := range map[string]bool{"core": false, "|/usr/share/apport/apport -p%p": false, "": false, "@/run/cores.socket": true, "@@/run/cores.socket": true} {
		if got := adviseCores(pattern); strings.Contains(got, "sysctl -w kernel.core_pattern=") != want {
			t.Errorf("%q: %q", pattern, got)
		}
	}
}

func TestAdviceAboutBuffers(t *testing.T) {
	total := int64(1000 * os.Getpagesize())
	for _, c := range []struct{ tcp, udp, want string }{
		{"750\t1000\t1500", "1500 2000 3000", ""},
		{"750\t999\t1500", "1500 2000 3000", "sysctl -w net.ipv4.tcp_mem='1000 1000 1125'"},
		{"750\t1000\t1500", "375 500 750", "sysctl -w net.ipv4.udp_mem='1000 1000 1125'"},
		{"1 2 3", "1 2 3", "sysctl -w net.ipv4.tcp_mem='1000 1000 1125'; sysctl -w net.ipv4.udp_mem='1000 1000 1125'"},
		{"", "", ""}, // a network namespace that is not the host's first has no such files
	} {
		if got := adviseBuffers(c.tcp, c.udp, total); !strings.HasSuffix(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%+v: %q", c, got)
		}
	}
}
