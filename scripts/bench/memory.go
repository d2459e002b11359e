package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// benchMemory adds up the proportional set size of every process of each jail that waits, by what it has loaded.
func benchMemory(ctx context.Context, b *bench) ([]table, error) {
	if err := b.quiet(ctx); err != nil {
		return nil, err
	}
	jails, err := waitingJails(b.parked.sandboxd.Process.Pid)
	if err != nil {
		return nil, err
	}
	t := table{
		Title:   "Memory of a jail that waits: KiB",
		Columns: []column{{"jails", "jails"}, {"pss", "PSS"}, {"rss", "RSS"}, {"private", "private"}},
		Notes: []string{
			"PID 1, runner and all they started, added up; the mean of the jails of a kind. PSS shares what several processes map, also with " +
				"those of other jails: it is what one more jail costs, about. Page tables and the kernel's own structures are not in it.",
		},
	}
	for _, kind := range slices.Sorted(maps.Keys(jails)) {
		sum := map[string]float64{}
		for _, pids := range jails[kind] {
			for _, pid := range pids {
				sum["pss"] += float64(statusField(pid, "smaps_rollup", "Pss:"))
				sum["rss"] += float64(statusField(pid, "smaps_rollup", "Rss:"))
				sum["private"] += float64(statusField(pid, "smaps_rollup", "Private_Dirty:") + statusField(pid, "smaps_rollup", "Private_Clean:"))
			}
		}
		n := float64(len(jails[kind]))
		t.Rows = append(t.Rows, row{Name: kind, Values: map[string]float64{"jails": n, "pss": sum["pss"] / n, "rss": sum["rss"] / n, "private": sum["private"] / n}})
	}
	return []table{t}, nil
}

// waitingJails are the processes of each jail below the spawner, by the command that is loaded in it.
func waitingJails(sandboxd int) (map[string][][]int, error) {
	spawners, err := children(sandboxd)
	if err != nil {
		return nil, err
	}
	jails := map[string][][]int{}
	for _, spawner := range spawners {
		inits, err := children(spawner)
		if err != nil {
			return nil, err
		}
		for _, init := range inits {
			below, err := descendants(init)
			if err != nil {
				return nil, err
			}
			kind := "nothing loaded"
			for _, pid := range below {
				if loaded := commandOf(pid); loaded != commandOf(init) {
					kind = loaded
				}
			}
			jails[kind] = append(jails[kind], append(below, init))
		}
	}
	if len(jails) == 0 {
		return nil, fmt.Errorf("sandboxd has no jails")
	}
	return jails, nil
}

// commandOf names what a process runs, by the ends of the paths in its command line.
func commandOf(pid int) string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return ""
	}
	var words []string
	for word := range strings.SplitSeq(strings.TrimRight(string(data), "\x00"), "\x00") {
		if len(words) == 0 || strings.Contains(word, "/usr/lib/runtools/") {
			words = append(words, filepath.Base(word))
		}
	}
	return strings.Join(words, " ")
}
