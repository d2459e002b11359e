package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// crowded names the first cgroup above ours that cannot turn its controllers on for what is below, because processes are in it; "": none. The kernel allows that to the
// host's root alone (admin-guide/cgroup-v2.rst, "No Internal Process Constraint"). What a container sees as the root is another: its processes are in it when it
// starts. So is sandboxd in its unit's.
func crowded(root, parent string) string {
	folder := root
	for _, name := range strings.Split(strings.Trim(filepath.Clean("/"+parent), "/"), "/") {
		on, err := os.ReadFile(filepath.Join(folder, "cgroup.subtree_control"))
		if err != nil {
			return "" // it is yet to be made
		}
		have := strings.Fields(string(on))
		lacks := slices.ContainsFunc([]string{"cpu", "memory", "pids"}, func(want string) bool { return !slices.Contains(have, want) })
		_, err = os.Stat(filepath.Join(folder, "cgroup.type"))
		isHostRoot := errors.Is(err, fs.ErrNotExist)
		if procs, err := os.ReadFile(filepath.Join(folder, "cgroup.procs")); err == nil && lacks && !isHostRoot && len(bytes.TrimSpace(procs)) > 0 {
			return folder
		}
		folder = filepath.Join(folder, name)
	}
	return ""
}
