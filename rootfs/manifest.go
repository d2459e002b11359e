package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// baseManifest is base/<name>.json: the distribution and what every image holds whatever its languages.
type baseManifest struct {
	Suite    string   `json:"suite"`
	Host     string   `json:"host"`     // ID in os-release of the hosts whose own mirror serves this base
	Keyring  string   `json:"keyring"`  // file that signs the archive
	Lines    []string `json:"lines"`    // of sources.list; {mirror}, {security} and {keyring} are filled in
	Packages []string `json:"packages"` // of every image
	Purge    []string `json:"purge"`    // taken out again whatever depends on them
	Remove   []string `json:"remove"`   // paths, with * and ?, taken out of the tree
}

// packages is <folder>/packages.json.
type packages struct {
	Wanted  string      `json:"wanted"`            // version the API promises; a record, the image shows what the tool prints
	Needs   []string    `json:"needs,omitempty"`   // folders whose layer lies below this one's
	Sources []source    `json:"sources"`           // tried in order
	Remove  []string    `json:"remove,omitempty"`  // as in base; in the sealed base, so before steps.sh
	Version versionFrom `json:"version"`           // how the installed version is found
	Comment string      `json:"comment,omitempty"` // for the reader
}

// source is one way to get a language: Debian packages, npm packages or an archive, the latter two with the Debian packages they need.
type source struct {
	Base    string      `json:"base,omitempty"` // only for this base; empty: any
	Apt     []string    `json:"apt,omitempty"`
	Prefer  []prefer    `json:"prefer,omitempty"` // with apt: packages wanted from a release that apt would not choose by itself
	Purge   []string    `json:"purge,omitempty"`  // with apt: see baseManifest
	Npm     []npmSource `json:"npm,omitempty"`
	Archive *archive    `json:"archive,omitempty"`
}

type prefer struct {
	Packages string `json:"packages"`
	Release  string `json:"release"`
}

type npmSource struct {
	Name      string            `json:"name"`
	Version   string            `json:"version"`
	Integrity string            `json:"integrity"` // sha512-<base64>, of the tarball
	Files     map[string]string `json:"files"`     // path in the tarball -> path in the image
}

type archive struct {
	archiveFrom
	Strip int    `json:"strip"` // leading path elements dropped
	To    string `json:"to"`
}

// archiveFrom is where an archive lies. A relative path is relative to the checkout. Without a hash it is only used when the operator
// gives one (-source): nothing unverified is unpacked.
type archiveFrom struct {
	From   string `json:"from"`
	SHA256 string `json:"sha256,omitempty"`
	SHA512 string `json:"sha512,omitempty"`
}

type versionFrom struct {
	Argv    []string `json:"argv"`
	Pattern string   `json:"pattern"` // its first group is the version
}

// language is one folder, read completely.
type language struct {
	Folder   string
	Dir      string
	Packages packages
	Lang     langFile
	Jail     jailFile
}

var (
	folderName  = regexp.MustCompile(`^[a-z][a-z0-9_-]*$`)
	packageName = regexp.MustCompile(`^[a-z0-9][a-z0-9.+*-]+$`)
)

// notLanguages are folders of rootfs/ with another purpose.
var notLanguages = []string{"base", "envkeep", "parked", "testdata"}

func readStrict(path string, into any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return fmt.Errorf("%s: more than one value", path)
	}
	return nil
}

func loadBase(dir, name string) (baseManifest, error) {
	var b baseManifest
	if !folderName.MatchString(name) {
		return b, fmt.Errorf("base %q: not a name", name)
	}
	path := filepath.Join(dir, "base", name+".json")
	if err := readStrict(path, &b); err != nil {
		return b, err
	}
	if b.Suite == "" || b.Keyring == "" || len(b.Lines) == 0 {
		return b, fmt.Errorf("%s: suite, keyring and lines are needed", path)
	}
	return b, checkPackageNames(path, slices.Concat(b.Packages, b.Purge))
}

// loadLanguages reads every language folder of dir, in the order of their names.
func loadLanguages(dir string) ([]language, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var langs []language
	for _, e := range entries {
		if !e.IsDir() || slices.Contains(notLanguages, e.Name()) {
			continue
		}
		l, err := loadLanguage(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		langs = append(langs, l)
	}
	if len(langs) == 0 {
		return nil, fmt.Errorf("%s: no language folders", dir)
	}
	return langs, validateTogether(langs)
}

func loadLanguage(dir string) (language, error) {
	l := language{Folder: filepath.Base(dir), Dir: dir}
	if !folderName.MatchString(l.Folder) {
		return l, fmt.Errorf("%s: a folder's name is a-z 0-9 _ - and begins with a letter", dir)
	}
	if err := readStrict(filepath.Join(dir, "packages.json"), &l.Packages); err != nil {
		return l, err
	}
	if err := l.Packages.validate(); err != nil {
		return l, fmt.Errorf("%s: %w", filepath.Join(dir, "packages.json"), err)
	}
	if err := readStrict(filepath.Join(dir, "lang.json"), &l.Lang); err != nil {
		return l, err
	}
	if err := readStrict(filepath.Join(dir, "jail.json"), &l.Jail); err != nil {
		return l, err
	}
	if err := l.Lang.validate(l.Jail); err != nil {
		return l, fmt.Errorf("%s: %w", filepath.Join(dir, "lang.json"), err)
	}
	return l, nil
}

func (p packages) validate() error {
	if p.Wanted == "" {
		return fmt.Errorf("wanted: empty")
	}
	if len(p.Version.Argv) == 0 || !filepath.IsAbs(p.Version.Argv[0]) {
		return fmt.Errorf("version.argv: must begin with an absolute path")
	}
	re, err := regexp.Compile(p.Version.Pattern)
	if err != nil {
		return fmt.Errorf("version.pattern: %w", err)
	}
	if re.NumSubexp() < 1 {
		return fmt.Errorf("version.pattern: has no group")
	}
	if len(p.Sources) == 0 {
		return fmt.Errorf("sources: empty")
	}
	for i, s := range p.Sources {
		if err := s.validate(); err != nil {
			return fmt.Errorf("sources[%d]: %w", i, err)
		}
	}
	return nil
}

func (s source) validate() error {
	if len(s.Apt) == 0 && len(s.Npm) == 0 && s.Archive == nil {
		return fmt.Errorf("none of apt, npm and archive")
	}
	if len(s.Npm) > 0 && s.Archive != nil {
		return fmt.Errorf("npm and archive are two sources")
	}
	if len(s.Apt) == 0 && len(s.Prefer)+len(s.Purge) > 0 {
		return fmt.Errorf("prefer and purge go with apt")
	}
	for _, n := range s.Npm {
		if n.Name == "" || n.Version == "" || len(n.Files) == 0 {
			return fmt.Errorf("npm: name, version and files are needed")
		}
		if !strings.HasPrefix(n.Integrity, "sha512-") {
			return fmt.Errorf("npm %s: integrity must be sha512-<base64>", n.Name)
		}
		for _, to := range n.Files {
			if !cleanAbs(to) {
				return fmt.Errorf("npm %s: %q is not a clean absolute path", n.Name, to)
			}
		}
	}
	if s.Archive != nil {
		if !cleanAbs(s.Archive.To) {
			return fmt.Errorf("archive: %q is not a clean absolute path", s.Archive.To)
		}
		if err := s.Archive.validate(); err != nil {
			return err
		}
	}
	return checkPackageNames("apt", slices.Concat(s.Apt, s.Purge))
}

var hexDigits = regexp.MustCompile(`^[0-9a-f]*$`)

func (a archiveFrom) validate() error {
	if a.From == "" {
		return fmt.Errorf("archive: from is empty")
	}
	if a.SHA256 != "" && len(a.SHA256) != 64 || a.SHA512 != "" && len(a.SHA512) != 128 || !hexDigits.MatchString(a.SHA256+a.SHA512) {
		return fmt.Errorf("archive %s: not a hash in hexadecimal", a.From)
	}
	return nil
}

func cleanAbs(p string) bool { return filepath.IsAbs(p) && filepath.Clean(p) == p && p != "/" }

func checkPackageNames(where string, names []string) error {
	for _, n := range names {
		if !packageName.MatchString(n) {
			return fmt.Errorf("%s: %q is not a package name", where, n)
		}
	}
	return nil
}

// validateTogether checks what one folder alone cannot: needs, and that a name or alias means one language.
func validateTogether(langs []language) error {
	owner := map[string]string{} // name or alias -> language name
	folders := map[string]bool{}
	for _, l := range langs {
		folders[l.Folder] = true
		for _, n := range append([]string{l.Lang.Name}, l.Lang.Aliases...) {
			if other, taken := owner[n]; taken && other != l.Lang.Name {
				return fmt.Errorf("%s: %q already means %s", l.Folder, n, other)
			}
			owner[n] = l.Lang.Name
		}
	}
	for _, l := range langs {
		for _, n := range l.Packages.Needs {
			if !folders[n] || n == l.Folder {
				return fmt.Errorf("%s: needs %q, which is not another language folder", l.Folder, n)
			}
			if i := slices.IndexFunc(langs, func(o language) bool { return o.Folder == n }); len(langs[i].Packages.Needs) > 0 {
				return fmt.Errorf("%s: needs %s, which has needs itself; one level is all there is", l.Folder, n)
			}
		}
	}
	return nil
}

// filesBelow lists the regular files below dir, relative and sorted.
func filesBelow(dir string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		files = append(files, rel)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	slices.Sort(files)
	return files, err
}
