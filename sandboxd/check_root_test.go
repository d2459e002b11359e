package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// The operator is told of a setting that is the host's alone, and not of one that jails have for themselves.
func TestAdvice(t *testing.T) {
	host, err := os.ReadFile(tstampSetting)
	if err != nil {
		t.Fatal(err)
	}
	jails := exec.Command("unshare", "--net", "test", "-e", tstampSetting).Run() == nil
	advice := adviseTimestamps()
	if want := !jails && strings.TrimSpace(string(host)) != "0"; (advice != "") != want {
		t.Errorf("%q; a namespace has its own: %v; the host's is %s", advice, jails, host)
	}
	c := defaultConfig()
	c.TotalMemory = 1 << 50
	all := strings.Join(adviseHost(&c), "\n")
	buffers := setting(tcpSetting) != "" // of the host's own network namespace alone
	if !strings.Contains(all, advice) || strings.Contains(all, "net.ipv4.tcp_mem=") != buffers || strings.Contains(all, "net.ipv4.udp_mem=") != buffers {
		t.Errorf("of a host with more than it can have: %q", all)
	}
}
