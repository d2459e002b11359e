package main

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/runtools/runtools/pkg/seccomp"
)

// seccompExplain tells of each rule, or of those for one call, what it does and why, and of each call who was seen to need it. The records are
// in the folder use beside the profile.
func seccompExplain(path, call string, out io.Writer) error {
	p, err := seccomp.Read(path)
	if err != nil {
		return err
	}
	paths, err := filepath.Glob(filepath.Join(filepath.Dir(path), "use", "*.json"))
	if err != nil {
		return err
	}
	uses, err := readUses(paths)
	if err != nil {
		return err
	}
	found := false
	for _, r := range p.Syscalls {
		if call != "" && !slices.Contains(r.Names, call) {
			continue
		}
		found = true
		fmt.Fprintf(out, "%s\n", r.Text())
		for _, name := range r.Names {
			if call == "" || call == name {
				explainCall(name, uses, out)
			}
		}
	}
	if !found {
		fmt.Fprintf(out, "no rule names %s: %s\n", call, p.DefaultText())
		explainCall(call, uses, out)
	}
	return nil
}

func explainCall(name string, uses []*seccomp.Use, out io.Writer) {
	users := seccomp.Users(uses, name)
	switch {
	case len(uses) == 0:
		fmt.Fprintf(out, "  %s: no records beside the profile: sandboxd seccomp record makes them\n", name)
	case len(users) == 0:
		fmt.Fprintf(out, "  %s: nobody was seen to need it\n", name)
	default:
		fmt.Fprintf(out, "  %s: without it would break: %s\n", name, strings.Join(users, ", "))
	}
	for _, u := range uses {
		if c, ok := u.Calls[name]; ok {
			fmt.Fprintf(out, "    %-10s %8d calls", u.Language, c.Count)
			if c.Denied > 0 {
				fmt.Fprintf(out, ", %d denied", c.Denied)
			}
			fmt.Fprintf(out, " (%s), such as %s(%s)\n", strings.Join(c.By, ", "), name, c.Example)
		}
	}
	if exposes := seccomp.Exposes[name]; exposes != "" {
		fmt.Fprintf(out, "    exposes %s\n", exposes)
	}
}

func readUses(paths []string) (uses []*seccomp.Use, err error) {
	for _, path := range paths {
		u, err := seccomp.ReadUse(path)
		if err != nil {
			return nil, err
		}
		uses = append(uses, u)
	}
	return uses, nil
}
