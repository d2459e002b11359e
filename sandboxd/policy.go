package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/runtools/runtools/pkg/seccomp"
)

// policy is what one reading of the profiles came to, and never changes. SIGHUP makes the next one (reload.go).
//
//	built jail --keeps--> variant: the filter that it was built with
//	policy --in force---> a variant for each template
//	       --on trial---> another for those whose profile the candidate would change; a share of their jails is built with it
type policy struct {
	digest  string // of the profiles in force
	loaded  time.Time
	init    []byte // the filter of every PID 1
	inForce map[string]*variant
	onTrial map[string]*variant
	trial   seccompConfig // no candidate: nothing is on trial
	tried   string        // digest of the profiles on trial
}

// variant is a filter of the jails of one template.
type variant struct {
	filter *seccomp.Filter
	id     string // same id, same profiles and same use of them

	// Of one on trial: what is in force. In shadow that is what the filter enforces, and what the candidate denies beyond it is only counted.
	inForce *seccomp.Filter
	shadow  bool

	tally tally
}

// profile is one file, read and compiled.
type profile struct {
	*seccomp.Profile
	filter *seccomp.Filter
	text   string // what it comes to, with what it extends
}

// profiles are those of one folder, by path.
type profiles map[string]*profile

// loadProfiles reads every profile of a folder, those that no template names included: a mistake is found when it is made, and not on the day
// on which the profile is needed.
func loadProfiles(folder string, compile func(*seccomp.Profile) (*seccomp.Filter, error)) (profiles, error) {
	paths, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("%s holds no profiles: name a folder like seccomp-profiles", folder)
	}
	all := profiles{}
	for _, path := range paths {
		p, err := seccomp.Read(path)
		if err != nil {
			return nil, err
		}
		f, err := compile(p)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if filepath.Base(path) != initProfile+".json" && !f.Begins() {
			return nil, fmt.Errorf("%s: sendmsg is denied: no jail can begin without it, allow it", path)
		}
		all[path] = &profile{p, f, p.JSON()}
	}
	return all, nil
}

// loadPolicy reads the profiles of all templates.
func loadPolicy(c *config, templates map[string]*template) (*policy, error) {
	p := &policy{loaded: time.Now(), inForce: map[string]*variant{}, onTrial: map[string]*variant{}}
	compile := (*seccomp.Profile).Compile
	if c.recorder != nil {
		compile = (*seccomp.Profile).CompileRecorder
	}
	all, err := loadProfiles(c.Profiles, compile)
	if err != nil {
		return nil, err
	}
	filter, err := loadInitProfile(c.Profiles)
	if err != nil {
		return nil, err
	}
	p.init = filter.BPF
	used := map[string]*profile{}
	for name, t := range templates {
		path, err := findProfile(c.Profiles, t.spec.Seccomp, t.folder())
		if err == nil && all[path] == nil {
			err = fmt.Errorf("seccomp: there is no %s: add it, or correct the name", path)
		}
		if err != nil {
			return nil, fmt.Errorf("template %q: %w", name, err)
		}
		used[name] = all[path]
		p.inForce[name] = &variant{filter: all[path].filter, id: digest("in force", all[path].text)}
	}
	p.digest = digestOf(used)
	if c.Seccomp.Candidate == "" || c.recorder != nil { // what is recorded is what the programs do, whatever is allowed
		return p, nil
	}
	p.trial = c.Seccomp
	return p, p.loadCandidate(templates, used)
}

// loadCandidate makes the variants on trial: for each template whose profile the candidate's folder holds and changes.
func (p *policy) loadCandidate(templates map[string]*template, inForce map[string]*profile) error {
	all, err := loadProfiles(p.trial.Candidate, (*seccomp.Profile).Compile)
	if err != nil {
		return fmt.Errorf("seccomp.candidate: %w", err)
	}
	found, used := false, map[string]*profile{}
	for name, t := range templates {
		path, err := findProfile(p.trial.Candidate, t.spec.Seccomp, t.folder())
		if err != nil {
			return fmt.Errorf("seccomp.candidate: template %q: %w", name, err)
		}
		tried := all[path]
		found = found || tried != nil
		if tried == nil || tried.text == inForce[name].text {
			continue
		}
		v := &variant{filter: tried.filter, inForce: inForce[name].filter, id: digest(p.trial.Mode, inForce[name].text, tried.text)}
		if p.trial.Mode == modeShadow {
			v.shadow = true
			if v.filter, err = inForce[name].CompileShadow(tried.Profile); err != nil {
				return fmt.Errorf("seccomp.candidate: %s: %w", path, err)
			}
		}
		used[name], p.onTrial[name] = tried, v
	}
	if !found && len(templates) > 0 {
		return fmt.Errorf("seccomp.candidate: no language would get a profile of %s: name it like the one in force, or after the language", p.trial.Candidate)
	}
	p.tried = digestOf(used)
	return nil
}

// digest is short enough to be read aloud.
func digest(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(h, "%d %s", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil)[:6])
}

func digestOf(used map[string]*profile) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(used)) {
		parts = append(parts, name, used[name].text)
	}
	return digest(parts...)
}

// keep takes over from an older policy the variants that are the same: their jails stay ready, and their counts go on.
func (p *policy) keep(old *policy) {
	if !bytes.Equal(p.init, old.init) {
		return
	}
	for _, side := range [][2]map[string]*variant{{p.inForce, old.inForce}, {p.onTrial, old.onTrial}} {
		for name, v := range side[0] {
			if before := side[1][name]; before != nil && before.id == v.id {
				side[0][name] = before
			}
		}
	}
}

// pick chooses the variant of the next jail of a template. The choice falls when a jail is built, so it costs a job nothing.
func (p *policy) pick(t *template) *variant {
	v := p.onTrial[t.name]
	if v == nil {
		return p.inForce[t.name]
	}
	n := float64(t.picked.Add(1))
	if int64(n*p.trial.Share) > int64((n-1)*p.trial.Share) {
		return v
	}
	return p.inForce[t.name]
}

// holds tells whether jails of this variant may still begin a job.
func (p *policy) holds(t *template, v *variant) bool {
	return p.inForce[t.name] == v || p.onTrial[t.name] == v
}

// findProfile returns the file of a template's profile: the one that it names, or the one that is called after its language, if that extends
// it, or stands for itself where the template names none in particular.
func findProfile(folder, name, language string) (string, error) {
	if name == "" || name != filepath.Base(name) {
		return "", fmt.Errorf("seccomp: %q is not the name of a profile", name)
	}
	own := filepath.Join(folder, language+".json")
	extends, err := seccomp.Extends(own)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err == nil && (extends == name || extends == "" && name == defaultTemplate.Seccomp) {
		return own, nil
	}
	return filepath.Join(folder, name+".json"), nil
}

// initProfile is the seccomp profile of every PID 1.
const initProfile = "init"

// loadInitProfile loads the profile of every PID 1.
func loadInitProfile(folder string) (*seccomp.Filter, error) {
	f, err := seccomp.Load(filepath.Join(folder, initProfile+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: it is the profile of every PID 1, copy it from the folder seccomp-profiles", err)
	}
	if err == nil && f.Notifies {
		return nil, fmt.Errorf("seccomp: %s.json answers with errors: PID 1 has no listener, it must be killed", initProfile)
	}
	return f, err
}

// folder is the language's.
func (t *template) folder() string {
	folder, _, _ := strings.Cut(t.name, "/")
	return folder
}
