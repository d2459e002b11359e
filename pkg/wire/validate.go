package wire

import (
	"fmt"
	"strings"
)

// Validate says what is wrong with a request, naming the field.
func (r *Request) Validate() error {
	set := 0
	for _, present := range []bool{r.Job != nil, r.Kill != nil, r.Signal != nil, r.Forget != nil, r.List != nil, r.Status != nil, r.Selftest != nil} {
		if present {
			set++
		}
	}
	switch {
	case set != 1:
		return fmt.Errorf("request: %d of job, kill, signal, forget, list, status, selftest are set, want one", set)
	case r.Job != nil:
		return r.Job.validate()
	case r.Kill != nil:
		if l := r.Kill.Limit; l != LimitStdout && l != LimitStderr {
			return fmt.Errorf("kill.limit: %q is neither %q nor %q", l, LimitStdout, LimitStderr)
		}
	case r.Signal != nil:
		if n := r.Signal.Number; n < 1 || n > MaxSignal {
			return fmt.Errorf("signal.number: %d, want 1 to %d", n, MaxSignal)
		}
	case r.List != nil:
		if r.List.After != "" && !validID(r.List.After) {
			return fmt.Errorf("list.after: not a volume id")
		}
	case r.Forget != nil:
		for i, id := range r.Forget.IDs {
			if !validID(id) {
				return fmt.Errorf("forget.ids[%d]: not a volume id", i)
			}
		}
	}
	return nil
}

func (j *Job) validate() error {
	if len(j.Argv) == 0 || !strings.HasPrefix(j.Argv[0], "/") {
		return fmt.Errorf("job.argv: argv[0] must be an absolute path")
	}
	if err := validateWords(j.Argv, j.Env); err != nil {
		return err
	}
	for _, v := range []struct {
		field string
		Volume
	}{{"workspace", j.Workspace}, {"build", j.Build}} {
		if v.ID == "" && v.New {
			return fmt.Errorf("job.%s: new needs an id", v.field)
		}
		if v.DropUnchanged && (!v.New || v.field == "build") {
			return fmt.Errorf("job.%s: drop_unchanged is for a new workspace", v.field)
		}
		if v.ID != "" && !validID(v.ID) {
			return fmt.Errorf("job.%s.id: not a volume id", v.field)
		}
	}
	if j.Owner != "" && !validID(j.Owner) {
		return fmt.Errorf("job.owner: not an id")
	}
	if len(j.Label) > MaxLabel {
		return fmt.Errorf("job.label: %d bytes, at most %d", len(j.Label), MaxLabel)
	}
	if len(j.Account) > MaxLabel {
		return fmt.Errorf("job.account: %d bytes, at most %d", len(j.Account), MaxLabel)
	}
	if j.Terminal != nil && j.HasStdin {
		return fmt.Errorf("job.has_stdin: a job with a terminal reads from it")
	}
	if len(j.Files) > MaxFiles {
		return fmt.Errorf("job.files: %d files, at most %d", len(j.Files), MaxFiles)
	}
	if len(j.Files) > 0 && !j.HasFiles {
		return fmt.Errorf("job.has_files: files need a descriptor of their contents")
	}
	for i, f := range j.Files {
		if err := ValidateFileName(f.Name); err != nil {
			return fmt.Errorf("job.files[%d].name: %w", i, err)
		}
		if f.Size < 0 {
			return fmt.Errorf("job.files[%d].size: %d is negative", i, f.Size)
		}
	}
	l := j.Limits
	if l.WallMS < 0 || l.CPUMS < 0 || l.MemoryBytes < 0 {
		return fmt.Errorf("job.limits: negative limit")
	}
	if l.WallMS > MaxMS || l.CPUMS > MaxMS {
		return fmt.Errorf("job.limits: more than %d ms", int64(MaxMS))
	}
	if l.MemoryBytes > 0 && l.MemoryBytes < MinMemory {
		return fmt.Errorf("job.limits.memory_bytes: %d, at least %d", l.MemoryBytes, MinMemory)
	}
	return nil
}

func validateWords(argv, env []string) error {
	if n := len(argv) + len(env); n > MaxWords {
		return fmt.Errorf("job.argv, job.env: %d words together, at most %d", n, MaxWords)
	}
	size := 0
	for i, s := range argv {
		if strings.IndexByte(s, 0) >= 0 {
			return fmt.Errorf("job.argv[%d]: holds a NUL byte", i)
		}
		size += len(s) + 1
	}
	for i, s := range env {
		if name, _, ok := strings.Cut(s, "="); !ok || name == "" || strings.IndexByte(s, 0) >= 0 {
			return fmt.Errorf("job.env[%d]: not of the form NAME=value", i)
		}
		size += len(s) + 1
	}
	if size > MaxWordBytes {
		return fmt.Errorf("job.argv, job.env: %d bytes together, at most %d", size, MaxWordBytes)
	}
	return nil
}

// ValidateFileName accepts a path that a file may be placed at: one of ValidatePath, of at most MaxParts parts.
func ValidateFileName(name string) error {
	if parts := strings.Count(name, "/") + 1; parts > MaxParts && len(name) <= MaxPath {
		return fmt.Errorf("has %d parts, at most %d", parts, MaxParts)
	}
	return ValidatePath(name)
}

// ValidatePath accepts a relative path of plain parts: no "", ".", "..", no NUL, at most MaxName bytes a part. An error repeats the beginning of it.
func ValidatePath(name string) error {
	if name == "" {
		return fmt.Errorf("is empty")
	}
	if len(name) > MaxPath {
		return fmt.Errorf("has %d bytes, at most %d", len(name), MaxPath)
	}
	if strings.IndexByte(name, 0) >= 0 {
		return fmt.Errorf("holds a NUL byte")
	}
	if name[0] == '/' {
		return fmt.Errorf("%.64q is absolute, must be relative to the working directory", name)
	}
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "":
			return fmt.Errorf("%.64q has an empty part", name)
		case part == "." || part == "..":
			return fmt.Errorf("%.64q has a part %q", name, part)
		case len(part) > MaxName:
			return fmt.Errorf("has a part of %d bytes, at most %d", len(part), MaxName)
		}
	}
	return nil
}

func validID(id string) bool {
	if id == "" || len(id) > MaxID || id == "." || id == ".." {
		return false
	}
	for _, c := range []byte(id) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}
