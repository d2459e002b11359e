package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Which cgroup is it that keeps ours from having controllers? Each line is a cgroup: its path, what it hands on, its processes and, but for the host's root, its type.
func TestCrowdedCgroups(t *testing.T) {
	for name, c := range map[string]struct {
		tree         []string
		parent, want string
	}{
		"the host's root":             {[]string{"|io|1 2|"}, "runtools", ""},
		"a container, as it starts":   {[]string{"||1 2|domain"}, "runtools", "."},
		"some controllers are on":     {[]string{"|cpu pids|1|domain"}, "/runtools", "."},
		"its processes have moved":    {[]string{"|||domain", "main|||domain"}, "runtools", ""},
		"one that hands them on":      {[]string{"|cpuset cpu io memory pids|1|domain"}, "runtools", ""},
		"a unit without its subgroup": {[]string{"|cpu memory pids|1|", "a.slice|cpu memory pids||domain", "a.slice/b.service||7|domain"}, "a.slice/b.service/jails", "a.slice/b.service"},
		"a unit with it": {[]string{"|cpu memory pids|1|", "a.slice|cpu memory pids||domain", "a.slice/b.service|||domain", "a.slice/b.service/daemon||7|domain"},
			"a.slice/b.service/jails", ""},
		"ours, of an earlier sandboxd": {[]string{"|||domain", "runtools|cpu memory pids|8|domain"}, "runtools", ""},
		"nothing is there yet":         {[]string{"|cpu memory pids|1|"}, "a/b/c", ""},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for _, line := range c.tree {
				fields := strings.Split(line, "|")
				folder := filepath.Join(root, fields[0])
				if err := os.MkdirAll(folder, 0o755); err != nil {
					t.Fatal(err)
				}
				for i, file := range []string{"cgroup.subtree_control", "cgroup.procs", "cgroup.type"} {
					if file == "cgroup.type" && fields[i+1] == "" {
						continue
					}
					if err := os.WriteFile(filepath.Join(folder, file), []byte(strings.ReplaceAll(fields[i+1], " ", "\n")), 0o644); err != nil {
						t.Fatal(err)
					}
				}
			}
			want := ""
			if c.want != "" {
				want = filepath.Join(root, c.want)
			}
			if got := crowded(root, c.parent); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
}
