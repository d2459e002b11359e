package main

import (
	"fmt"
	"io"

	"github.com/runtools/runtools/pkg/seccomp"
)

// seccompDiff prints a line for each call that one of two profiles allows and the other does not: + what is new in the second, - what is gone.
func seccompDiff(before, after string, out io.Writer) error {
	a, err := seccomp.Read(before)
	if err != nil {
		return err
	}
	b, err := seccomp.Read(after)
	if err != nil {
		return err
	}
	for _, side := range []struct {
		sign string
		list []seccomp.Difference
	}{{"+", b.Beyond(a)}, {"-", a.Beyond(b)}} {
		for _, d := range side.list {
			line := side.sign + " " + d.Syscall
			if d.When != "" {
				line += " when " + d.When
			}
			if exposes := seccomp.Exposes[d.Syscall]; exposes != "" {
				line += "  [exposes " + exposes + "]"
			}
			fmt.Fprintln(out, line)
		}
	}
	return nil
}
