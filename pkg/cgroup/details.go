package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
)

// readDetails opens each file for one reading. file tells where a file of a controller is.
func readDetails(file func(controller, name string) string, memory string) (d Details, err error) {
	for _, f := range []struct {
		controller, file, field string
		into                    *int64
	}{
		{"memory", memory, "", &d.Memory},
		{"pids", "pids.current", "", &d.Pids},
		{"pids", "pids.events", "max", &d.Refused},
		{"cpu", "cpu.stat", "nr_throttled", &d.Throttled},
	} {
		if *f.into, err = readField(file(f.controller, f.file), f.field); err != nil {
			return d, fmt.Errorf("cgroup: details: %w", err)
		}
	}
	switch peak, err := readField(file("pids", "pids.peak"), ""); {
	case err == nil:
		d.PidsPeak = &peak
	case !errors.Is(err, fs.ErrNotExist): // newer than our oldest kernel
		return d, fmt.Errorf("cgroup: details: %w", err)
	}
	return d, nil
}

func readField(path, name string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return field(f, name)
}

func (l *leafV1) Details() (Details, error) { return readDetails(l.path, "memory.usage_in_bytes") }

func (l *leafV2) Details() (Details, error) {
	return readDetails(func(_, name string) string { return l.path(name) }, "memory.current")
}

func (p *parentV1) Memory() (int64, error) {
	return readField(path.Join(root, "memory", p.path, "memory.usage_in_bytes"), "")
}

func (p *parentV2) Memory() (int64, error) { return readField(path.Join(p.path, "memory.current"), "") }
