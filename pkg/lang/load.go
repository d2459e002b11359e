package lang

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// definition is lang.json.
type definition struct {
	Name       string            `json:"name"`
	Aliases    []string          `json:"aliases"`
	Extensions []string          `json:"extensions"`
	Main       string            `json:"main"`
	Env        map[string]string `json:"env"`
	Compile    *stageDefinition  `json:"compile"`
	Run        *stageDefinition  `json:"run"`
}

type stageDefinition struct {
	Template string            `json:"template"`
	Argv     []string          `json:"argv"`
	Env      map[string]string `json:"env"`
	Memory   int64             `json:"memory"`
	KeepEnv  bool              `json:"keep_env"`
	Mirror   []string          `json:"mirror"`
}

// manifest is image.json. Base and Built are the builder's notes for people.
type manifest struct {
	Digest    string             `json:"digest"`
	Base      json.RawMessage    `json:"base"`
	Built     json.RawMessage    `json:"built"`
	Languages map[string]outcome `json:"languages"`
}

// outcome is how building one language ended: exactly one field is set.
type outcome struct {
	Version string `json:"version"`
	Error   string `json:"error"`
}

var (
	validName     = regexp.MustCompile(`^[a-z0-9][a-z0-9.+#_-]*$`)
	validTemplate = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*$`)
	validExt      = regexp.MustCompile(`^\.[A-Za-z0-9_+-]+$`)
)

// Load reads the languages of an image folder. An error names the file and the field.
func Load(image string) (*Set, error) {
	path := filepath.Join(image, "image.json")
	var m manifest
	if err := readJSON(path, &m); err != nil {
		return nil, err
	}
	set := &Set{Digest: m.Digest, byName: map[string]*family{}, byExt: map[string]*family{}}
	entries, err := os.ReadDir(filepath.Join(image, "languages"))
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if _, listed := m.Languages[e.Name()]; !listed {
			return nil, fmt.Errorf("%s: languages: has no entry for languages/%s", path, e.Name())
		}
	}
	for folder, built := range m.Languages {
		r, err := loadRuntime(image, folder, built)
		if err != nil {
			return nil, err
		}
		set.runtimes = append(set.runtimes, r)
	}
	return set, set.index()
}

func loadRuntime(image, folder string, built outcome) (*Runtime, error) {
	manifestField := filepath.Join(image, "image.json") + ": languages." + folder
	if (built.Version == "") == (built.Error == "") {
		return nil, fmt.Errorf("%s: want either version or error", manifestField)
	}
	path := filepath.Join(image, "languages", folder, "lang.json")
	body, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && built.Error != "" {
		// It failed before its files were copied. Requests for it still deserve the reason.
		return &Runtime{Folder: folder, Name: folder, Aliases: []string{}, Err: built.Error}, nil
	}
	if err != nil {
		return nil, err
	}
	r, err := parse(folder, body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	r.Version, r.Err = built.Version, built.Error
	if r.Err == "" {
		if r.number, err = numberOf(r.Version); err != nil {
			return nil, fmt.Errorf("%s.version: %w", manifestField, err)
		}
	}
	return r, nil
}

// parse decodes and checks one lang.json.
func parse(folder string, body []byte) (*Runtime, error) {
	var d definition
	if err := decode(body, &d); err != nil {
		return nil, err
	}
	if err := d.check(); err != nil {
		return nil, err
	}
	r := &Runtime{Folder: folder, Name: d.Name, Aliases: d.Aliases, Extensions: d.Extensions, Main: d.Main, Env: d.Env}
	if r.Aliases == nil {
		r.Aliases = []string{}
	}
	r.Run = d.Run.stage(folder)
	if d.Compile != nil {
		r.Compile = d.Compile.stage(folder)
	}
	return r, nil
}

func (d *stageDefinition) stage(folder string) *Stage {
	return &Stage{Template: folder + "/" + d.Template, Argv: d.Argv, Env: d.Env, Memory: d.Memory, KeepEnv: d.KeepEnv, Mirror: d.Mirror}
}

// check says what is wrong with a definition, naming the field.
func (d *definition) check() error {
	if !validName.MatchString(d.Name) {
		return fmt.Errorf("name: %q does not match %s", d.Name, validName)
	}
	for i, alias := range d.Aliases {
		if !validName.MatchString(alias) {
			return fmt.Errorf("aliases[%d]: %q does not match %s", i, alias, validName)
		}
	}
	for i, ext := range d.Extensions {
		if !validExt.MatchString(ext) {
			return fmt.Errorf("extensions[%d]: %q does not match %s", i, ext, validExt)
		}
	}
	if d.Main == "" || strings.ContainsAny(d.Main, "/\x00") || d.Main == "." || d.Main == ".." {
		return fmt.Errorf("main: %q is not a plain file name", d.Main)
	}
	if err := checkEnv("env", d.Env); err != nil {
		return err
	}
	if d.Compile != nil {
		if d.Compile.KeepEnv {
			return errors.New("compile.keep_env: belongs to run")
		}
		if err := d.Compile.check("compile"); err != nil {
			return err
		}
	}
	if d.Run == nil {
		return errors.New("run: is missing")
	}
	if d.Run.Mirror != nil {
		return errors.New("run.mirror: belongs to compile")
	}
	return d.Run.check("run")
}

func (d *stageDefinition) check(field string) error {
	if !validTemplate.MatchString(d.Template) {
		return fmt.Errorf("%s.template: %q does not match %s", field, d.Template, validTemplate)
	}
	if len(d.Argv) == 0 || !strings.HasPrefix(d.Argv[0], "/") {
		return fmt.Errorf("%s.argv: must begin with an absolute path", field)
	}
	for i, w := range d.Argv {
		if strings.IndexByte(w, 0) >= 0 {
			return fmt.Errorf("%s.argv[%d]: holds a NUL byte", field, i)
		}
		if err := checkWord(w); err != nil {
			return fmt.Errorf("%s.argv[%d]: %w", field, i, err)
		}
	}
	if slices.Contains(d.Mirror, "") {
		return fmt.Errorf("%s.mirror: holds an empty word, which every source holds", field)
	}
	if d.Memory < 0 {
		return fmt.Errorf("%s.memory: %d is negative", field, d.Memory)
	}
	return checkEnv(field+".env", d.Env)
}

func checkEnv(field string, env map[string]string) error {
	for name, value := range env {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.IndexByte(value, 0) >= 0 {
			return fmt.Errorf("%s: %q is not a variable", field, name)
		}
		if err := checkValue(value); err != nil {
			return fmt.Errorf("%s.%s: %w", field, name, err)
		}
	}
	return nil
}

// index groups the runtimes by name and refuses names that would mean two languages.
func (s *Set) index() error {
	slices.SortFunc(s.runtimes, func(a, b *Runtime) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return newestFirst(a, b)
	})
	for _, r := range s.runtimes {
		f := s.byName[r.Name]
		if f == nil || f.name != r.Name {
			f = &family{name: r.Name}
			s.families = append(s.families, f)
		}
		f.runtimes = append(f.runtimes, r)
		for _, name := range append([]string{r.Name}, r.Aliases...) {
			if other := s.byName[name]; other != nil && other != f {
				return fmt.Errorf("languages/%s/lang.json: %q is already a name of %s", r.Folder, name, other.name)
			}
			s.byName[name] = f
		}
		for _, ext := range r.Extensions {
			// Several languages may read one extension (.h); the first by name has it.
			if s.byExt[strings.ToLower(ext)] == nil {
				s.byExt[strings.ToLower(ext)] = f
			}
		}
	}
	return nil
}

func readJSON(path string, v any) error {
	body, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := decode(body, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// decode reads exactly one JSON object and refuses fields that nobody would read.
func decode(body []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		var wrongType *json.UnmarshalTypeError
		if errors.As(err, &wrongType) {
			return fmt.Errorf("%s: want %s, got %s", wrongType.Field, wrongType.Type, wrongType.Value)
		}
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("data after the object")
	}
	return nil
}
