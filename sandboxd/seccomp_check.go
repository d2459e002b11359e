package main

import (
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"

	"github.com/runtools/runtools/pkg/seccomp"
)

// maxAllowed is how many calls a profile may allow before check remarks on it: a language needs fewer.
const maxAllowed = 159

// seccompCheck loads a profile as sandboxd would, and says what an operator should look at.
func seccompCheck(path string, out io.Writer) error {
	p, err := seccomp.Read(path)
	if err != nil {
		return err
	}
	f, err := p.Compile()
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	grants := p.Grants()
	fmt.Fprintf(out, "%s: %d rules, %d calls allowed, %d instructions\n", path, len(p.Syscalls), len(grants), len(f.BPF)/8)
	if !f.Begins() && filepath.Base(path) != initProfile+".json" {
		fmt.Fprintln(out, "note: sendmsg is denied: no jail can begin without it, sandboxd refuses the profile")
	}
	if p.Why == "" {
		fmt.Fprintln(out, `note: it gives no reasons: add "why" to the profile and to each rule, and calls that are misspelt are refused instead of left out`)
	}
	if len(grants) > maxAllowed {
		fmt.Fprintf(out, "note: more than %d calls: sandboxd seccomp minimise shows what recorded programs do not need\n", maxAllowed)
	}
	for _, name := range slices.Sorted(maps.Keys(grants)) {
		always := slices.ContainsFunc(grants[name], func(g seccomp.Grant) bool { return g.When == "" })
		if exposes := seccomp.Exposes[name]; exposes != "" && always {
			fmt.Fprintf(out, "note: %s is allowed with any arguments: %s\n", name, exposes)
		}
	}
	return nil
}
