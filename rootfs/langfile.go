package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// langFile and jailFile are lang.json and jail.json as docs/languages.md has them. The builder only needs enough of them to refuse a
// wrong folder before it is in an image, and to run samples as the service would.
type langFile struct {
	Name       string            `json:"name"`
	Aliases    []string          `json:"aliases"`
	Extensions []string          `json:"extensions"`
	Main       string            `json:"main"`
	Env        map[string]string `json:"env,omitempty"`
	Compile    *stage            `json:"compile,omitempty"`
	Run        stage             `json:"run"`
}

type stage struct {
	Template string            `json:"template"`
	Argv     []string          `json:"argv"`
	Env      map[string]string `json:"env,omitempty"`
	Memory   int64             `json:"memory,omitempty"`
	KeepEnv  bool              `json:"keep_env,omitempty"`
	Mirror   []string          `json:"mirror,omitempty"`
}

type jailFile struct {
	Templates map[string]template `json:"templates"`
}

type template struct {
	Seccomp   string `json:"seccomp,omitempty"`
	Pool      *int   `json:"pool,omitempty"`
	PoolMax   *int   `json:"pool_max,omitempty"`
	Pids      int    `json:"pids,omitempty"`
	OpenFiles int    `json:"open_files,omitempty"`
	FileBytes int64  `json:"file_bytes,omitempty"`
	TmpBytes  int64  `json:"tmp_bytes,omitempty"`
	TmpFiles  int64  `json:"tmp_files,omitempty"`
	Parked    *struct {
		Argv     []string          `json:"argv"`
		Env      map[string]string `json:"env"`
		Again    bool              `json:"again,omitempty"`
		OnMiss   bool              `json:"on_miss,omitempty"`
		WhenIdle bool              `json:"when_idle,omitempty"`
	} `json:"parked,omitempty"`
	Then string `json:"then,omitempty"`
}

func (l langFile) validate(j jailFile) error {
	for _, n := range append([]string{l.Name}, l.Aliases...) {
		if n == "" || n != strings.ToLower(n) {
			return fmt.Errorf("name or alias %q: empty or not lower case", n)
		}
	}
	if len(l.Extensions) == 0 || !slices.ContainsFunc(l.Extensions, func(e string) bool { return strings.HasSuffix(l.Main, e) }) {
		return fmt.Errorf("main %q: must end with one of the extensions", l.Main)
	}
	for name, s := range map[string]*stage{"compile": l.Compile, "run": &l.Run} {
		if s == nil {
			continue
		}
		if len(s.Argv) == 0 || !filepath.IsAbs(s.Argv[0]) {
			return fmt.Errorf("%s.argv: must begin with an absolute path", name)
		}
		if _, ok := j.Templates[s.Template]; !ok {
			return fmt.Errorf("%s.template %q: not in jail.json", name, s.Template)
		}
		if s.KeepEnv && name == "compile" {
			return fmt.Errorf("compile.keep_env: only for run")
		}
		if s.Mirror != nil && name == "run" {
			return fmt.Errorf("run.mirror: only for compile")
		}
		for _, w := range s.Argv {
			if (strings.Contains(w, "{args}") && w != "{args}") || (strings.Contains(w, "{sources}") && w != "{sources}") {
				return fmt.Errorf("%s.argv: %q: {args} and {sources} stand alone", name, w)
			}
		}
	}
	return nil
}

// sampleMemory is the limit told to a sample through {memory}: the order of what the service gives by default.
const sampleMemory = 1 << 30

// fill gives the argv and environment of a stage for a request with these files and args.
func (l langFile) fill(s stage, files, args []string) (argv, env []string) {
	memory := s.Memory
	if memory == 0 {
		memory = sampleMemory
	}
	words := strings.NewReplacer("{main}", files[0], "{memory}", strconv.FormatInt(memory, 10), "{memory_mb}", strconv.FormatInt(memory>>20, 10))
	for _, w := range s.Argv {
		switch w {
		case "{args}":
			argv = append(argv, args...)
		case "{sources}":
			for _, f := range files {
				if slices.ContainsFunc(l.Extensions, func(e string) bool { return strings.HasSuffix(f, e) }) {
					argv = append(argv, f)
				}
			}
		default:
			argv = append(argv, words.Replace(w))
		}
	}
	env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/home/user", "USER=user", "LOGNAME=user", "SHELL=/bin/bash", "LANG=C.UTF-8", "TMPDIR=/tmp"}
	for _, m := range []map[string]string{l.Env, s.Env} {
		for k, v := range m {
			env = append(env, k+"="+words.Replace(v))
		}
	}
	if s.KeepEnv {
		env = append(env, "LD_PRELOAD=/usr/lib/runtools/envkeep.so")
	}
	return argv, env
}
