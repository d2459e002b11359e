// Package lang knows the languages of an image: their names, versions and command lines. They are data, one folder each, written by
// the image builder; docs/languages.md describes the files. Nothing here knows how a command is carried out.
package lang

import (
	"fmt"
	"slices"
	"strings"
)

// Set is what one image offers. It does not change after Load.
type Set struct {
	Digest string // of the image

	runtimes []*Runtime         // by name, then newest first
	byName   map[string]*family // names and aliases, lower case
	byExt    map[string]*family // ".py"
	families []*family          // by name
}

// family is all versions of one language.
type family struct {
	name     string
	runtimes []*Runtime // newest first; those that are broken last
}

// Runtime is one language in one version.
type Runtime struct {
	Folder  string   // below rootfs/ of the repository, and before the slash of the templates
	Name    string   // canonical, lower case
	Aliases []string // never nil
	Version string   // as the tool prints it

	Extensions []string          // with the dot
	Main       string            // the file that code without a name is written to
	Env        map[string]string // added to the base environment in both stages
	Compile    *Stage            // nil: the language has no compile stage
	Run        *Stage

	// Err says why the image lacks the language, in one line with the remedy; "" when it works.
	Err string

	number []uint64 // Version as numbers
}

// Stage is one of the one or two jobs that a request becomes.
type Stage struct {
	Template string // "<folder>/<template>"
	Argv     []string
	Env      map[string]string
	Memory   int64 // default limit, bytes; 0: the server's
	KeepEnv  bool  // what the program leaves in its environment persists with the session

	Mirror []string // of the compile stage: words of sources that may take something from the operator's packages
}

// UnknownLanguageError is a name that nothing answers to.
type UnknownLanguageError struct {
	Name    string
	Nearest string // what was most likely meant, or ""
	Known   []string
}

func (e *UnknownLanguageError) Error() string {
	if len(e.Known) == 0 {
		return fmt.Sprintf("unknown language %q; no language is installed", e.Name)
	}
	meant := ""
	if e.Nearest != "" {
		meant = "did you mean " + e.Nearest + "? "
	}
	return fmt.Sprintf("unknown language %q; %sknown are %s", e.Name, meant, strings.Join(e.Known, ", "))
}

// BrokenError is a language that the image should have and has not.
type BrokenError struct {
	Language string
	Reason   string // one line with the remedy
}

func (e *BrokenError) Error() string {
	return fmt.Sprintf("language %q is not installed: %s", e.Language, e.Reason)
}

// UnknownVersionError is a selector that no installed version meets.
type UnknownVersionError struct {
	Language  string
	Selector  string
	Installed []string
}

func (e *UnknownVersionError) Error() string {
	return fmt.Sprintf("no version of %s matches %q; installed: %s", e.Language, e.Selector, strings.Join(e.Installed, ", "))
}

// SelectorError is a version selector that cannot be read.
type SelectorError struct {
	Selector string
	Reason   string
}

func (e *SelectorError) Error() string {
	return fmt.Sprintf("%q is not a version selector: %s", e.Selector, e.Reason)
}

// maxName bounds the names that are looked for, in bytes: an error repeats them.
const maxName = 64

// Resolve finds the runtime for a name or alias in any case and a version selector: "" or "*" (the newest), a prefix ("3", "3.12")
// or a semver range (">=3.11 <3.14").
func (s *Set) Resolve(name, selector string) (*Runtime, error) {
	if len(name) > maxName {
		return nil, &UnknownLanguageError{Name: name[:maxName/2] + "...", Known: s.Names()}
	}
	f := s.byName[strings.ToLower(name)]
	if f == nil {
		return nil, &UnknownLanguageError{Name: name, Nearest: s.nearest(name), Known: s.Names()}
	}
	for _, r := range f.runtimes {
		if r.Err == "" && r.Version == selector { // as the list of runtimes has it, whatever its form
			return r, nil
		}
	}
	match, err := parseSelector(selector)
	if err != nil {
		return nil, err
	}
	var installed []string
	for _, r := range f.runtimes {
		switch {
		case r.Err != "":
		case match(r):
			return r, nil
		default:
			installed = append(installed, r.Version)
		}
	}
	if len(installed) == 0 {
		return nil, &BrokenError{Language: f.name, Reason: f.runtimes[0].Err}
	}
	return nil, &UnknownVersionError{Language: f.name, Selector: selector, Installed: installed}
}

// Names lists the languages that work.
func (s *Set) Names() []string {
	var names []string
	for _, f := range s.families {
		if f.runtimes[0].Err == "" {
			names = append(names, f.name)
		}
	}
	return names
}

// Installed lists the runtimes that work, by name, the newest first.
func (s *Set) Installed() []*Runtime {
	return slices.DeleteFunc(slices.Clone(s.runtimes), func(r *Runtime) bool { return r.Err != "" })
}

// Broken lists the runtimes that the image lacks.
func (s *Set) Broken() []*Runtime {
	return slices.DeleteFunc(slices.Clone(s.runtimes), func(r *Runtime) bool { return r.Err == "" })
}

// ByExtension names the language of a file, or returns "".
func (s *Set) ByExtension(fileName string) string {
	dot := strings.LastIndexByte(fileName, '.')
	if dot < 0 {
		return ""
	}
	if f := s.byExt[strings.ToLower(fileName[dot:])]; f != nil {
		return f.name
	}
	return ""
}
