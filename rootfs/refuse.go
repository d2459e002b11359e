package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// refuse asks apt, in a directory of its own, which languages' packages the archive does not have; these lose the source in use.
func (w *work) refuse(ctx context.Context, whole errNoPackages) error {
	dir, err := os.MkdirTemp(w.st.cache(), "apt.*.tmp")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	apt, err := w.privateApt(dir)
	if err != nil {
		return err
	}
	// A list that does not come is an error: without it, every package of it would be one that the archive does not have.
	if out, err := apt(ctx, "update", "--error-on=any"); err != nil {
		return fmt.Errorf("apt-get update: %w: %s", err, oneLine(lastLines(out, 3)))
	}
	lost := 0
	for i := range w.plan.Languages {
		c := &w.plan.Languages[i]
		s, ok := c.aptSource()
		if !ok {
			continue
		}
		if out, err := apt(ctx, append([]string{"install", "--simulate"}, s.Apt...)...); err != nil {
			lost++
			w.lose(c, fmt.Sprintf("%s; remedy: correct the package names in %s/packages.json or set another -base or -mirror", aptComplaint(out), c.Folder))
		}
	}
	if lost == 0 {
		return fmt.Errorf("each language can be installed alone, all together cannot: %w", whole)
	}
	return w.plan.settle(w.set)
}

// privateApt is the host's apt-get on an empty system below dir, with the plan's archives and preferences.
func (w *work) privateApt(dir string) (func(ctx context.Context, args ...string) (string, error), error) {
	for _, d := range []string{"etc/apt/preferences.d", "etc/apt/apt.conf.d", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/lib/dpkg"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	for name, text := range map[string]string{
		"etc/apt/sources.list":           strings.Join(w.plan.Lines, "\n") + "\n",
		"etc/apt/preferences.d/runtools": preferenceText(w.plan.Prefer),
		"var/lib/dpkg/status":            "",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context, args ...string) (string, error) {
		args = append([]string{"-q", "-o", "Dir=" + dir, "-o", "Dir::State::status=" + dir + "/var/lib/dpkg/status", "-o", "APT::Install-Recommends=false",
			"-o", "APT::Sandbox::User=root", "-o", "Acquire::Languages=none", "-o", "Acquire::Retries=" + retries,
			// Images of Debian for containers turn it off (docker-clean), and apt then reads all lists anew for each language.
			"-o", "Dir::Cache::pkgcache=pkgcache.bin"}, args...)
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Env = append(os.Environ(), "LC_ALL=C")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}, nil
}

// lose drops the source in use of c because of why; without another one the language is left out.
func (w *work) lose(c *choice, why string) {
	w.say("%s: %s", c.Folder, why)
	c.lost = append(c.lost, why)
	c.Sources = c.Sources[1:]
	if len(c.Sources) == 0 {
		c.Error = c.Folder + ": " + strings.Join(c.lost, "; then ")
	}
}
