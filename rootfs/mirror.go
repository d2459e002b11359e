package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// aptEntry is one entry of the host's apt configuration.
type aptEntry struct {
	URI, Suite string
	Components []string
}

// aptEntries reads sources.list and sources.list.d below etcApt, both formats.
func aptEntries(etcApt string) []aptEntry {
	paths := []string{filepath.Join(etcApt, "sources.list")}
	for _, pattern := range []string{"*.list", "*.sources"} {
		more, _ := filepath.Glob(filepath.Join(etcApt, "sources.list.d", pattern))
		paths = append(paths, more...)
	}
	var entries []aptEntry
	for _, p := range paths {
		data, err := os.ReadFile(p)
		if err != nil {
			continue // a host without this file; findMirrors says so when nothing is left
		}
		if strings.HasSuffix(p, ".sources") {
			entries = append(entries, deb822Entries(string(data))...)
		} else {
			entries = append(entries, oneLineEntries(string(data))...)
		}
	}
	return entries
}

// oneLineEntries reads lines such as: deb [arch=amd64] URI suite component...
func oneLineEntries(text string) []aptEntry {
	var entries []aptEntry
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != "deb" {
			continue
		}
		fields = fields[1:]
		if len(fields) > 0 && strings.HasPrefix(fields[0], "[") {
			end := slices.IndexFunc(fields, func(f string) bool { return strings.HasSuffix(f, "]") })
			fields = fields[end+1:]
		}
		if len(fields) >= 2 {
			entries = append(entries, aptEntry{fields[0], fields[1], fields[2:]})
		}
	}
	return entries
}

// deb822Entries reads paragraphs of `Types: URIs: Suites: Components:`, each URI with each suite being one entry.
func deb822Entries(text string) []aptEntry {
	var entries []aptEntry
	field := map[string]string{}
	flush := func() {
		if slices.Contains(strings.Fields(field["types"]), "deb") && strings.ToLower(field["enabled"]) != "no" {
			for _, uri := range strings.Fields(field["uris"]) {
				for _, suite := range strings.Fields(field["suites"]) {
					entries = append(entries, aptEntry{uri, suite, strings.Fields(field["components"])})
				}
			}
		}
		field = map[string]string{}
	}
	last := ""
	sc := bufio.NewScanner(strings.NewReader(text))
	for sc.Scan() {
		line := sc.Text()
		switch {
		case strings.TrimSpace(line) == "":
			flush()
		case strings.HasPrefix(line, "#"):
		case line[0] == ' ' || line[0] == '\t':
			field[last] += " " + strings.TrimSpace(line)
		default:
			name, value, _ := strings.Cut(line, ":")
			last = strings.ToLower(strings.TrimSpace(name))
			field[last] = strings.TrimSpace(value)
		}
	}
	flush()
	return entries
}

// host is the distribution this runs on, as /etc/os-release names it.
type host struct{ ID, Codename string }

func readHost(osRelease string) host {
	var h host
	data, _ := os.ReadFile(osRelease) // absent: no host is recognised, and -mirror is asked for
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch value = strings.Trim(value, `"`); name {
		case "ID":
			h.ID = value
		case "VERSION_CODENAME":
			h.Codename = value
		}
	}
	return h
}

// findMirrors gives the main and the security archive: as set, else those from which the host itself is installed. They serve every
// release of their distribution, so it does not matter that the host is of another one.
func findMirrors(b baseManifest, set settings, h host, entries []aptEntry) (main, security string, err error) {
	main, security = set.Mirror, set.SecurityMirror
	if h.ID == b.Host {
		for _, e := range entries {
			if !slices.Contains(e.Components, "main") {
				continue
			}
			if e.Suite == h.Codename && main == "" {
				main = e.URI
			}
			if e.Suite == h.Codename+"-security" && security == "" {
				security = e.URI
			}
		}
	}
	if main == "" {
		return "", "", fmt.Errorf("base %s: the host's apt does not name an archive of %s; give -mirror URL and -security-mirror URL", b.Suite, b.Host)
	}
	if security == "" {
		return "", "", fmt.Errorf("base %s: the host's apt does not name a security archive of %s; give -security-mirror URL", b.Suite, b.Host)
	}
	return strings.TrimSuffix(main, "/"), strings.TrimSuffix(security, "/"), nil
}
