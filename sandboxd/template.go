package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/jail"
)

// templateSpec, one entry of a jail.json (docs/languages.md), bounds the jails of one kind. The defaults are in defaultTemplate.
type templateSpec struct {
	Seccomp   string `json:"seccomp"`    // name of a profile
	Pool      int    `json:"pool"`       // jails kept ready, however idle
	PoolMax   int    `json:"pool_max"`   // and at most, when demand asks for more
	Pids      int64  `json:"pids"`       // processes and threads
	OpenFiles uint64 `json:"open_files"` // RLIMIT_NOFILE
	FileBytes uint64 `json:"file_bytes"` // RLIMIT_FSIZE
	TmpBytes  int64  `json:"tmp_bytes"`  // size of /tmp, and of /dev/shm
	TmpFiles  int64  `json:"tmp_files"`  // inodes of each

	Parked *parkedSpec `json:"parked"` // the runtime that waits in a ready jail, or nil
	Then   string      `json:"then"`   // the template of this file whose job may follow in the jail of this one's, a compiler's; see validateThen
}

// parkedSpec is a command that speaks the protocol of rootfs/parked.
type parkedSpec struct {
	Argv []string          `json:"argv"`
	Env  map[string]string `json:"env"`

	// Again: it is a compiler, runs nothing that its sources hold, and calls parked_again.
	Again bool `json:"again"`

	// OnMiss: a job that finds no ready jail loads the runtime too, for a parked run costs less CPU, all told, than a start of the command.
	OnMiss bool `json:"on_miss"`

	// WhenIdle: a compiler that is loaded while a processor has nothing else to do (idle.go), for that takes more CPU than a job saves by it.
	WhenIdle bool `json:"when_idle"`
}

// environment as "NAME=value", sorted.
func (p *parkedSpec) environment() []string {
	words := make([]string, 0, len(p.Env))
	for name, value := range p.Env {
		words = append(words, name+"="+value)
	}
	slices.Sort(words)
	return words
}

// expand fills "{memory}" in: the limit that the job will have, unless it asks for another. Bytes.
func expand(argv []string, memory int64) []string {
	filled := make([]string, len(argv))
	for i, word := range argv {
		filled[i] = strings.ReplaceAll(word, "{memory}", strconv.FormatInt(memory, 10))
	}
	return filled
}

var defaultTemplate = templateSpec{
	Seccomp:   "base",
	Pool:      4,
	PoolMax:   -1, // poolMax, or none if Pool is 0
	Pids:      64,
	OpenFiles: 1024, // what a login shell gets
	FileBytes: 256 << 20,
	TmpBytes:  256 << 20,
	TmpFiles:  65536,
}

// poolMax is the ceiling of a pool unless its template says another.
const poolMax = 32

// template is a templateSpec made ready: what is the same in all of its jails.
type template struct {
	name   string // "<folder>/<template>"
	spec   templateSpec
	picked atomic.Uint64 // jails for which policy.pick had a choice
	built  atomic.Uint64 // jails, since start
}

// parseTemplates reads a jail.json strictly.
func parseTemplates(data []byte) (map[string]templateSpec, error) {
	var raw struct {
		Templates map[string]json.RawMessage `json:"templates"`
	}
	if err := decodeStrict(data, &raw); err != nil {
		return nil, err
	}
	if len(raw.Templates) == 0 {
		return nil, errors.New(`"templates" is empty`)
	}
	specs := map[string]templateSpec{}
	for name, body := range raw.Templates {
		spec := defaultTemplate
		if err := decodeStrict(body, &spec); err != nil {
			return nil, fmt.Errorf("template %q: %w", name, err)
		}
		if spec.PoolMax < 0 {
			spec.PoolMax = max(spec.Pool, min(poolMax, poolMax*spec.Pool))
		}
		if err := spec.validate(); err != nil {
			return nil, fmt.Errorf("template %q: %w", name, err)
		}
		specs[name] = spec
	}
	for name, spec := range specs {
		if err := spec.validateThen(specs); err != nil {
			return nil, fmt.Errorf("template %q: %w", name, err)
		}
	}
	return specs, nil
}

// validateThen wants jails of both templates to be alike.
func (s templateSpec) validateThen(all map[string]templateSpec) error {
	if s.Then == "" {
		return nil
	}
	then, ok := all[s.Then]
	if !ok {
		return fmt.Errorf("then: there is no template %q beside it", s.Then)
	}
	if then.Then != "" || then.Parked != nil {
		return fmt.Errorf("then: template %q must have neither then nor parked: remove them there, or then here", s.Then)
	}
	if s.Pids < 2 {
		return errors.New("then: pids must be 2 at least, for the program's runner waits beside the compiler")
	}
	name := s.Then
	s.Then, s.Pool, s.PoolMax = "", then.Pool, then.PoolMax
	if differ := s.differs(then); len(differ) > 0 {
		return fmt.Errorf("then: template %q has another %s: give both the same values, or remove then", name, strings.Join(differ, ", "))
	}
	return nil
}

// differs names the keys in which two templates are not the same.
func (s templateSpec) differs(other templateSpec) (keys []string) {
	a, b := reflect.ValueOf(s), reflect.ValueOf(other)
	for i := range a.NumField() {
		if a.Field(i).Interface() != b.Field(i).Interface() {
			keys = append(keys, a.Type().Field(i).Tag.Get("json"))
		}
	}
	return keys
}

func decodeStrict(data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("data after the object")
	}
	return nil
}

func (s *templateSpec) validate() error {
	for _, f := range []struct {
		name     string
		value    int64
		min, max int64
	}{
		{"pool", int64(s.Pool), 0, 1000},
		{"pool_max", int64(s.PoolMax), int64(s.Pool), 1000},
		{"pids", s.Pids, 1, 32768},
		{"open_files", int64(s.OpenFiles), 16, 1 << 20},
		{"file_bytes", int64(s.FileBytes), 0, 1 << 40},
		{"tmp_bytes", s.TmpBytes, 4096, 1 << 40},
		{"tmp_files", s.TmpFiles, 2, 1 << 30},
	} {
		if f.value < f.min || f.value > f.max {
			return fmt.Errorf("%s is %d, must be %d to %d", f.name, f.value, f.min, f.max)
		}
	}
	if s.Parked != nil && s.Parked.WhenIdle && (!s.Parked.Again || s.Parked.OnMiss) {
		return errors.New("parked: when_idle is for a compiler (again), and not beside on_miss")
	}
	if s.Parked != nil && (len(s.Parked.Argv) == 0 || !filepath.IsAbs(s.Parked.Argv[0])) {
		return errors.New("parked: argv must begin with an absolute path")
	}
	return nil
}

// loadTemplates reads every jail.json of an image.
func loadTemplates(c *config) (map[string]*template, error) {
	paths, err := filepath.Glob(filepath.Join(c.Image, "languages", "*", "jail.json"))
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("%s holds no languages: build an image with `make rootfs`, or set image", c.Image)
	}
	templates := map[string]*template{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		specs, err := parseTemplates(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		folder := filepath.Base(filepath.Dir(path))
		for name, spec := range specs {
			full := folder + "/" + name
			templates[full] = &template{name: full, spec: spec}
		}
	}
	return templates, nil
}

// thenName is the full name of the template whose job may follow, or "".
func (t *template) thenName() string {
	if t.spec.Then == "" {
		return ""
	}
	return t.folder() + "/" + t.spec.Then
}

// compiles says that what is parked is a compiler.
func (t *template) compiles() bool { return t.spec.Parked != nil && t.spec.Parked.Again }

// rlimits of the program. Memory is never bounded here (RLIMIT_AS): the JVM, V8 and the CLR reserve far more than they use.
func (t *template) rlimits() []jail.Rlimit {
	same := func(resource int, value uint64) jail.Rlimit {
		return jail.Rlimit{Resource: resource, Soft: value, Hard: value}
	}
	return []jail.Rlimit{
		same(unix.RLIMIT_NOFILE, t.spec.OpenFiles),
		same(unix.RLIMIT_FSIZE, t.spec.FileBytes),
		same(unix.RLIMIT_CORE, 1),                                              // below a page no core file is made, and, other than with 0, no helper of the host's core_pattern is started: core(5), do_coredump. A socket (@) is adviseCores' to name
		{Resource: unix.RLIMIT_STACK, Soft: 8 << 20, Hard: unix.RLIM_INFINITY}, // what a login shell gets, whatever we were started with
		same(unix.RLIMIT_MEMLOCK, 8<<20),                                       // the kernel's default
		same(unix.RLIMIT_RTPRIO, 0),                                            // real-time priority would take a CPU from everyone, and sandboxd's own limit may allow it
		same(unix.RLIMIT_NICE, 0),
		same(unix.RLIMIT_SIGPENDING, 1024), // queued signals are kernel memory that no cgroup counts
		same(unix.RLIMIT_MSGQUEUE, 0),
	}
}
