package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// builderVersion changes when the builder makes another image from the same manifests: it is part of every hash.
const builderVersion = 1

// plan is what a build does, computed from the manifests and settings alone: without network, the same every time.
type plan struct {
	Base      baseManifest
	BaseName  string
	Lines     []string // of sources.list
	Packages  []string // of all languages and the base
	Prefer    []prefer
	Purge     []string
	Remove    []string
	Languages []choice
	BaseHash  string
	Inputs    string // hash over everything
}

// choice is one language with the sources that come into question, the first being the one in use.
type choice struct {
	language
	Sources []source
	Error   string   // why it is left out
	inputs  string   // hash of the folder content that its layer is made of
	lost    []string // why each source before the one in use failed
}

func (c choice) aptSource() (source, bool) {
	if c.Error != "" || len(c.Sources[0].Apt) == 0 {
		return source{}, false
	}
	return c.Sources[0], true
}

// makePlan takes for each language the sources that are for this base, with the operator's before all others.
func makePlan(set settings, h host, entries []aptEntry) (plan, error) {
	p := plan{BaseName: set.Base}
	var err error
	if p.Base, err = loadBase(set.Languages, set.Base); err != nil {
		return p, err
	}
	langs, err := loadLanguages(set.Languages)
	if err != nil {
		return p, err
	}
	main, security, err := findMirrors(p.Base, set, h, entries)
	if err != nil {
		return p, err
	}
	fill := strings.NewReplacer("{mirror}", main, "{security}", security, "{keyring}", p.Base.Keyring)
	for _, l := range p.Base.Lines {
		p.Lines = append(p.Lines, fill.Replace(l))
	}
	for folder := range set.Sources {
		if !slices.ContainsFunc(langs, func(l language) bool { return l.Folder == folder && l.hasArchive() }) {
			return p, fmt.Errorf("-source %s: no language folder of this name that comes from an archive", folder)
		}
	}
	for _, l := range langs {
		c := choice{language: l}
		for _, s := range l.Packages.Sources {
			if s.Base == "" || s.Base == set.Base {
				c.Sources = append(c.Sources, s)
			}
		}
		if given, ok := set.Sources[l.Folder]; ok {
			c.preferGiven(given)
		}
		if len(c.Sources) == 0 {
			c.Error = fmt.Sprintf("%s: no source for base %s in packages.json", l.Folder, set.Base)
		}
		if c.inputs, err = hashFolder(l.Dir, "packages.json", "steps.sh", "files"); err != nil {
			return p, err
		}
		p.Languages = append(p.Languages, c)
	}
	return p, p.settle(set)
}

// settle computes what follows from the choices: package lists and hashes. Called again when a choice changes.
func (p *plan) settle(set settings) error {
	p.Packages = slices.Clone(p.Base.Packages)
	p.Purge = slices.Clone(p.Base.Purge)
	p.Remove = slices.Clone(p.Base.Remove)
	p.Prefer = nil
	for _, c := range p.Languages {
		if s, ok := c.aptSource(); ok {
			p.Packages = append(p.Packages, s.Apt...)
			p.Prefer = append(p.Prefer, s.Prefer...)
			p.Purge = append(p.Purge, s.Purge...)
			p.Remove = append(p.Remove, c.Packages.Remove...)
		}
	}
	slices.Sort(p.Packages)
	p.Packages = slices.Compact(p.Packages)
	common, err := hashFolder(set.Languages, "base/steps.sh", "envkeep")
	if err != nil {
		return err
	}
	p.BaseHash = hashOf(builderVersion, p.Lines, p.Packages, p.Prefer, p.Purge, p.Remove, common)
	all := []any{p.BaseHash}
	for _, c := range p.Languages {
		whole, err := hashFolder(c.Dir, ".")
		if err != nil {
			return err
		}
		all = append(all, c.Folder, whole, c.Sources, c.Error)
	}
	p.Inputs = hashOf(all...)
	return nil
}

// preferGiven puts the operator's archive before all sources; it is laid out as the first archive of the manifest is.
func (c *choice) preferGiven(given archiveFrom) {
	i := slices.IndexFunc(c.Sources, func(s source) bool { return s.Archive != nil })
	if i < 0 {
		return
	}
	first := c.Sources[i]
	first.Archive = &archive{archiveFrom: given, Strip: first.Archive.Strip, To: first.Archive.To}
	c.Sources = slices.Insert(c.Sources, 0, first)
}

func (l language) hasArchive() bool {
	return slices.ContainsFunc(l.Packages.Sources, func(s source) bool { return s.Archive != nil })
}

func (p *plan) language(folder string) *choice {
	i := slices.IndexFunc(p.Languages, func(c choice) bool { return c.Folder == folder })
	return &p.Languages[i]
}

// layerHash names the layer of c: it lies on the base and on the layers c needs.
func (p *plan) layerHash(c *choice) string {
	below := []any{p.BaseHash, c.Folder, c.inputs, c.Sources[0]}
	for _, n := range c.Packages.Needs {
		below = append(below, p.layerHash(p.language(n)))
	}
	return hashOf(below...)
}

func hashOf(parts ...any) string {
	data, err := json.Marshal(parts)
	if err != nil {
		panic("mkrootfs: internal error: " + err.Error()) // only our own plain structs come here
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])[:24]
}

// hashFolder hashes names, modes and contents of the given files and folders below dir; those that are absent count as such.
func hashFolder(dir string, names ...string) (string, error) {
	h := sha256.New()
	for _, n := range names {
		root := filepath.Join(dir, n)
		files, err := filesBelow(root)
		if err != nil {
			return "", err
		}
		for _, f := range files {
			if n == "." && strings.HasPrefix(f, "fidelity/") {
				continue // programs for a test of the whole service: nothing that is built or checked here reads them
			}
			p := filepath.Join(root, f)
			info, err := os.Stat(p)
			if err != nil {
				return "", err
			}
			data, err := os.ReadFile(p)
			if err != nil {
				return "", err
			}
			// Only the x bit: umask and checkout decide the rest.
			fmt.Fprintf(h, "%s/%s %v %d\n", n, f, info.Mode()&0o100 != 0, len(data))
			h.Write(data)
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:24], nil
}

// resolve prints the plan.
func resolve(set settings, w io.Writer) error {
	p, err := makePlan(set, readHost("/etc/os-release"), aptEntries("/etc/apt"))
	if err != nil {
		return err
	}
	p.print(w)
	return nil
}

func (p plan) print(w io.Writer) {
	fmt.Fprintf(w, "base %s\n", p.BaseName)
	for _, l := range p.Lines {
		fmt.Fprintf(w, "  %s\n", l)
	}
	for _, pr := range p.Prefer {
		fmt.Fprintf(w, "prefer %s from %s\n", pr.Packages, pr.Release)
	}
	fmt.Fprintf(w, "packages %s\n", strings.Join(p.Packages, " "))
	fmt.Fprintf(w, "purge %s\n", strings.Join(p.Purge, " "))
	for _, c := range p.Languages {
		fmt.Fprintf(w, "%s %s, wanted %s\n", c.Folder, c.Lang.Name, c.Packages.Wanted)
		if c.Error != "" {
			fmt.Fprintf(w, "  error: %s\n", c.Error)
		}
		for _, s := range c.Sources {
			fmt.Fprintf(w, "  %s\n", s)
		}
		if _, err := os.Stat(filepath.Join(c.Dir, "steps.sh")); err == nil {
			fmt.Fprintf(w, "  steps.sh\n")
		}
	}
}

func (s source) String() string {
	var parts []string
	if s.Archive != nil {
		parts = append(parts, fmt.Sprintf("archive %s -> %s", s.Archive.From, s.Archive.To))
	}
	for _, n := range s.Npm {
		parts = append(parts, "npm "+n.Name+"@"+n.Version)
	}
	if len(s.Apt) > 0 {
		parts = append(parts, "apt "+strings.Join(s.Apt, " "))
	}
	return strings.Join(parts, ", ")
}
