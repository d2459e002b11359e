package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/txtar"
	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/wire"
)

// A probe is an attack that needs nothing but the /bin/sh of an image, so that the self test can make it in every jail. Its file is one of
// testdata/attack, selftest-*. The first line is the CVE, the issue or the class that it stands for, then follow a sentence or two, then these sections:
//
//	main.dash    the program
//	limits       "wall 500", "cpu 500" in ms, "memory 64" in MiB: other than defaultLimits
//	want         first line: "code N", "signal NAME", "limit NAME" or "error CODE"; then stdout, exactly. With a limit stdout is what was
//	             written until then
//	violations   what the result names: "syscall(args): count" a line
//
// It judges for itself what it could do and says it in words that are the same on every run and every kernel. Attacks that only tests make have
// more sections: attack_test.go.
type probe struct {
	name       string
	title      string
	about      string // what holds, on one line
	source     string
	want       string
	limits     wire.Limits
	violations *string // nil: whatever there is
}

// defaultLimits bound an attack that says nothing else; memory is small, so that those that go for it leave the machine alone.
var defaultLimits = wire.Limits{WallMS: 20_000, CPUMS: 10_000, MemoryBytes: 128 << 20}

// outputCap is where the runner asks for a kill, as apid does, bytes.
const outputCap = 64 << 10

func parseProbe(path string, data []byte) (*probe, error) {
	p, rest, err := readSections(path, data)
	switch {
	case err != nil:
		return nil, err
	case len(rest) > 0:
		return nil, fmt.Errorf("%s: section %q is none of a probe", path, rest[0].Name)
	case p.source == "" || p.want == "":
		return nil, fmt.Errorf("%s: a probe needs the sections main.dash and want", path)
	}
	return &p, nil
}

// readSections reads the sections of a probe; rest are all others.
func readSections(path string, data []byte) (p probe, rest []txtar.File, err error) {
	archive := txtar.Parse(data)
	title, about, _ := strings.Cut(string(archive.Comment), "\n")
	p = probe{
		name: strings.TrimSuffix(filepath.Base(path), ".txtar"), title: title, limits: defaultLimits,
		about: strings.Join(strings.Fields(about), " "),
	}
	if p.title == "" || p.about == "" {
		return p, nil, fmt.Errorf("%s: a line that names the attack and a sentence about it come first", path)
	}
	for _, f := range archive.Files {
		data := string(f.Data)
		switch f.Name {
		case "main.dash":
			p.source = data
		case "want":
			p.want = data
		case "violations":
			p.violations = &data
		case "limits":
			if err := p.setLimits(data); err != nil {
				return p, nil, fmt.Errorf("%s: %w", path, err)
			}
		default:
			rest = append(rest, f)
		}
	}
	return p, rest, nil
}

func (p *probe) setLimits(text string) error {
	for line := range strings.Lines(text) {
		name, number, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return fmt.Errorf("limits: %w", err)
		}
		switch name {
		case "wall":
			p.limits.WallMS = n
		case "cpu":
			p.limits.CPUMS = n
		case "memory":
			p.limits.MemoryBytes = n << 20
		default:
			return fmt.Errorf("limits: unknown %q", name)
		}
	}
	return nil
}

// outcome is the first line of an expectation.
func outcome(res *wire.Result, err error) string {
	var known *wire.Error
	switch {
	case err != nil && errors.As(err, &known):
		return "error " + string(known.Code) + "\n"
	case err != nil:
		return "error " + err.Error() + "\n"
	case res.Limit != "":
		return "limit " + res.Limit + "\n"
	case res.Signal != 0:
		return "signal " + unix.SignalName(unix.Signal(res.Signal)) + "\n"
	}
	return fmt.Sprintf("code %d\n", res.Code)
}
