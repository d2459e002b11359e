package main

import (
	"fmt"
	"io"

	"github.com/runtools/runtools/pkg/seccomp"
)

// seccompMinimise prints the profile that is left when everything is taken away that the records do not have.
func seccompMinimise(path string, records []string, out io.Writer) error {
	p, err := seccomp.Read(path)
	if err != nil {
		return err
	}
	uses, err := readUses(records)
	if err != nil {
		return err
	}
	small := p.Minimise(uses)
	if _, err := small.Compile(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	_, err = io.WriteString(out, small.JSON())
	return err
}
