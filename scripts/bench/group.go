package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Where the cgroups are that have CPU shares, and those that count CPU: one tree on v2.
func cpuTrees() (shares, usage string) {
	const root = "/sys/fs/cgroup"
	if _, err := os.Stat(root + "/cpuacct"); err == nil {
		return root + "/cpu", root + "/cpuacct"
	}
	return root, root
}

// enterGroup puts this process, and with it bare, peers and the HTTP client, into a cgroup of the CPU share that all jails together have
// by default. Else what other processes of the machine do would slow bare down more than the jails, and flatter us.
func enterGroup(name string) (leave func() error, err error) {
	shares, _ := cpuTrees()
	group := filepath.Join(shares, name)
	if err := os.Mkdir(group, 0o755); err != nil {
		return nil, err
	}
	leave = func() error { return errors.Join(moveTo(shares, os.Getpid()), removeGroup(group)) }
	for file, weight := range map[string]string{"cpu.shares": "10240", "cpu.weight": "1000"} {
		if _, err := os.Stat(filepath.Join(group, file)); err == nil {
			if err := os.WriteFile(filepath.Join(group, file), []byte(weight), 0); err != nil {
				return leave, err
			}
		}
	}
	return leave, moveTo(group, os.Getpid())
}

func moveTo(group string, pid int) error {
	return os.WriteFile(filepath.Join(group, "cgroup.procs"), fmt.Append(nil, pid), 0)
}

// removeGroup tries for a while: the kernel may not be done with the last process.
func removeGroup(group string) (err error) {
	for range 50 {
		if err = syscall.Rmdir(group); err == nil || errors.Is(err, syscall.ENOENT) {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("remove %s: %w", group, err)
}

// cpuUsed is all CPU that some cgroups have used, those below them included.
func cpuUsed(names ...string) (total time.Duration, err error) {
	_, usage := cpuTrees()
	for _, name := range names {
		group := filepath.Join(usage, name)
		if data, err := os.ReadFile(filepath.Join(group, "cpuacct.usage")); err == nil {
			ns, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
			if err != nil {
				return 0, err
			}
			total += time.Duration(ns)
			continue
		}
		data, err := os.ReadFile(filepath.Join(group, "cpu.stat"))
		if err != nil {
			return 0, err
		}
		var us int64
		if _, err := fmt.Sscanf(string(data), "usage_usec %d", &us); err != nil {
			return 0, fmt.Errorf("%s/cpu.stat: %w", group, err)
		}
		total += time.Duration(us) * time.Microsecond
	}
	return total, nil
}
