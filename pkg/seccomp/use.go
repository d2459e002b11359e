package seccomp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Use is which calls the programs of one language were seen to make: one file of seccomp-profiles/use/.
type Use struct {
	Language string            `json:"language"` // the folder in rootfs/
	Jobs     int               `json:"jobs"`     // that were looked at
	Calls    map[string]Called `json:"calls"`    // by name
}

// Called is one call.
type Called struct {
	Count   uint64   `json:"count"`
	Denied  uint64   `json:"denied,omitempty"` // of these
	By      []string `json:"by"`               // the templates, without the folder: "compile", "run"
	Example string   `json:"example"`          // arguments of the first
}

// See adds a call to the record. example is asked for with the first of its name, and by a template not seen before.
func (u *Use) See(c *Call, denied bool, by string, example func() string) {
	name := c.Name()
	seen := u.Calls[name]
	if seen.Count == 0 {
		seen.Example = example()
	}
	seen.Count++
	if denied {
		seen.Denied++
	}
	if !slices.Contains(seen.By, by) {
		seen.By = append(slices.Clone(seen.By), by)
		slices.Sort(seen.By)
	}
	u.Calls[name] = seen
}

// add takes over what another record has.
func (u *Use) add(other *Use) {
	u.Jobs += other.Jobs
	for name, c := range other.Calls {
		seen, known := u.Calls[name]
		if known {
			c.Example = seen.Example
		}
		c.Count += seen.Count
		c.Denied += seen.Denied
		c.By = append(slices.Clone(c.By), seen.By...)
		slices.Sort(c.By)
		c.By = slices.Compact(c.By)
		u.Calls[name] = c
	}
}

// ReadUse reads a record.
func ReadUse(path string) (*Use, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	u := &Use{}
	if err := dec.Decode(u); err != nil {
		return nil, fmt.Errorf("%s: %w: record it anew", path, err)
	}
	if _, err := dec.Token(); err != io.EOF { // calls that two records together make would be lost in silence
		return nil, fmt.Errorf("%s: data after the record: record it anew", path)
	}
	if u.Language == "" || u.Calls == nil {
		return nil, fmt.Errorf("%s: is no record of calls: name a file of seccomp-profiles/use", path)
	}
	return u, nil
}

// WriteUse writes a record to <dir>/<language>.json, a line a call; what is there already is added to it.
func WriteUse(dir string, u *Use) error {
	path := filepath.Join(dir, u.Language+".json")
	whole := &Use{Language: u.Language, Calls: maps.Clone(u.Calls), Jobs: u.Jobs}
	if before, err := ReadUse(path); err == nil {
		before.add(u)
		whole = before
	} else if _, missing := os.Lstat(path); missing == nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "{\"language\": %q, \"jobs\": %d, \"calls\": {\n", whole.Language, whole.Jobs)
	for i, name := range slices.Sorted(maps.Keys(whole.Calls)) {
		line, err := json.Marshal(whole.Calls[name])
		if err != nil {
			return err
		}
		if i > 0 {
			b.WriteString(",\n")
		}
		fmt.Fprintf(&b, "%q: %s", name, line)
	}
	b.WriteString("\n}}\n")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(b.String()); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
