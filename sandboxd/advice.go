package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// adviseHost is what sandboxd runs without, but holds less for it: a line each, with the remedy. They are settings of the host, which are its operator's to decide.
func adviseHost(c *config) (advice []string) {
	for _, a := range []string{adviseTimestamps(), adviseCores(setting(coreSetting)), adviseBuffers(setting(tcpSetting), setting(udpSetting), c.totalMemory())} {
		if a != "" {
			advice = append(advice, a)
		}
	}
	return advice
}

const (
	tstampSetting = "/proc/sys/net/core/tstamp_allow_data" // whether a message may ask for a copy of itself, in memory that no cgroup counts
	coreSetting   = "/proc/sys/kernel/core_pattern"
	tcpSetting    = "/proc/sys/net/ipv4/tcp_mem"
	udpSetting    = "/proc/sys/net/ipv4/udp_mem"
)

// setting is what a file of /proc/sys says, or "" where there is none.
func setting(path string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(content))
}

// adviseTimestamps: pkg/jail turns the setting off in each jail's network namespace where it is the namespace's own.
func adviseTimestamps() string {
	if s := setting(tstampSetting); s == "" || s == "0" {
		return ""
	}
	own := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread, in a namespace of its own, ends here
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			_, err = os.Stat(tstampSetting)
		}
		own <- err
	}()
	if err := <-own; !errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	return "this kernel has net.core.tstamp_allow_data for all namespaces at once, and a jail can hold some 800 MiB of network buffers beside its limit: sysctl -w net.core.tstamp_allow_data=0"
}

// adviseCores: of the ways out of a crash, RLIMIT_CORE (template.go) shuts the file and the helper behind a pipe. A service behind a socket gets every core there is.
func adviseCores(pattern string) string {
	if !strings.HasPrefix(pattern, "@") {
		return ""
	}
	return "kernel.core_pattern begins with @: every crash in a jail hands all its memory to a service of the host, outside of every limit: sysctl -w kernel.core_pattern=core"
}

// adviseBuffers: the kernel bounds the buffers of TCP, and of UDP, for all network namespaces together, in pages. Where all jails may take more than the second of three
// numbers, from which on the kernel is sparing, theirs can be all that there are, and the host's own connections, and other jails', go without.
func adviseBuffers(tcp, udp string, total int64) string {
	pages := total / int64(os.Getpagesize())
	var remedies []string
	for _, s := range []struct{ name, value string }{{"tcp_mem", tcp}, {"udp_mem", udp}} {
		var low, pressure, high int64
		if n, _ := fmt.Sscan(s.value, &low, &pressure, &high); n == 3 && pressure < pages {
			remedies = append(remedies, fmt.Sprintf("sysctl -w net.ipv4.%s='%d %d %d'", s.name, pages, pages, pages+pages/8))
		}
	}
	if len(remedies) == 0 {
		return ""
	}
	return "buffers of sockets are bounded for the whole host, below what jails may take together (total_memory), so that jails can leave others none: " + strings.Join(remedies, "; ")
}
