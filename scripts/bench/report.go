package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// report is performance.json.
type report struct {
	Sections []measured `json:"sections"`
}

// measured is one section, with what one must know to repeat it.
type measured struct {
	Section string    `json:"section"`
	When    time.Time `json:"when"`
	Commit  string    `json:"commit"`
	Machine string    `json:"machine"`
	Load    float64   `json:"load"` // average of the machine before bench began: others at work
	Tables  []table   `json:"tables"`
}

// readReport reads the performance.json of a folder.
func readReport(folder string) (r report, err error) {
	data, err := os.ReadFile(filepath.Join(folder, "performance.json"))
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	return r, err
}

// publish puts a section, or nothing new, into performance.json of a folder, and writes what is made from it.
func publish(folder string, m *measured) error {
	path := filepath.Join(folder, "performance.json")
	r, err := readReport(folder)
	switch {
	case m == nil && err != nil, err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case m != nil:
		r.put(*m)
		data, err := json.MarshalIndent(r, "", " ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(path, append(data, '\n'), 0o644); err != nil {
			return err
		}
	}
	if languages := r.section("languages"); languages != nil {
		if err := os.WriteFile(filepath.Join(folder, "performance.svg"), chart(languages), 0o644); err != nil {
			return err
		}
	}
	path = filepath.Join(folder, "performance.md")
	page, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if page, err = r.fill(page); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, page, 0o644)
}

// put replaces a section, in the order of sections.
func (r *report) put(m measured) {
	order := func(name string) int { return slices.IndexFunc(sectionNames, func(s string) bool { return s == name }) }
	r.Sections = slices.DeleteFunc(r.Sections, func(old measured) bool { return old.Section == m.Section })
	r.Sections = append(r.Sections, m)
	slices.SortFunc(r.Sections, func(a, b measured) int { return cmp.Compare(order(a.Section), order(b.Section)) })
}

func (r *report) section(name string) *measured {
	for i := range r.Sections {
		if r.Sections[i].Section == name {
			return &r.Sections[i]
		}
	}
	return nil
}

// fill puts the tables of each section between its marks, <!-- bench:NAME --> and <!-- end -->; bars have such marks as well.
func (r *report) fill(page []byte) ([]byte, error) {
	var b bytes.Buffer
	for len(page) > 0 {
		before, rest, found := bytes.Cut(page, []byte("<!-- bench:"))
		b.Write(before)
		if !found {
			break
		}
		name, rest, ok := bytes.Cut(rest, []byte(" -->"))
		old, rest, closed := bytes.Cut(rest, []byte("<!-- end -->"))
		if !ok || !closed {
			return nil, fmt.Errorf("the mark bench:%.20s is not closed by an end mark", name)
		}
		fmt.Fprintf(&b, "<!-- bench:%s -->", name)
		switch m := r.section(string(name)); {
		case m != nil:
			b.WriteString("\n" + m.markdown())
		case string(name) == "bars":
			t := r.barsTable()
			b.WriteString("\n" + t.markdown())
		default:
			b.Write(old)
		}
		b.WriteString("<!-- end -->")
		page = rest
	}
	return b.Bytes(), nil
}

func (m *measured) markdown() string {
	var b strings.Builder
	for i := range m.Tables {
		b.WriteString(m.Tables[i].markdown() + "\n")
	}
	fmt.Fprintf(&b, "Measured %s at commit %s on %s; the load average before was %.1f.\n", m.When.Format(time.DateOnly), m.Commit, m.Machine, m.Load)
	return b.String()
}

// sectionNames are apart from sections, whose functions lead back here.
var sectionNames []string

func init() {
	for _, s := range sections {
		sectionNames = append(sectionNames, s.name)
	}
}

// machine says what kind of machine this is, not which.
func machine() string {
	model := "unknown CPU"
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(data)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	var u unix.Utsname
	var info unix.Sysinfo_t
	_, _ = unix.Uname(&u), unix.Sysinfo(&info)
	cgroup := "v2"
	if _, err := os.Stat("/sys/fs/cgroup/cpuacct"); err == nil {
		cgroup = "v1"
	}
	release, _, _ := strings.Cut(unix.ByteSliceToString(u.Release[:]), "-")
	return fmt.Sprintf("%d vCPU of %s, %d GiB, Linux %s, cgroup %s", runtime.NumCPU(), model,
		(info.Totalram*uint64(info.Unit)+1<<29)>>30, release, cgroup)
}

// loadAverage of the last minute.
func loadAverage() (load float64) {
	if data, err := os.ReadFile("/proc/loadavg"); err == nil {
		_, _ = fmt.Sscan(string(data), &load)
	}
	return load
}

func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
