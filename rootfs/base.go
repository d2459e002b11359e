package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// runtoolsDir is where the image keeps what is ours.
const runtoolsDir = "/usr/lib/runtools"

const (
	// bootstraps is how often mmdebstrap is tried.
	bootstraps = 3
	// retries is how often apt and npm ask again for one file, with pauses that double.
	retries = "5"
)

// errNoPackages says that the archive does not have what a language wants; base() finds out which language.
type errNoPackages struct{ out string }

func (e errNoPackages) Error() string { return "apt: " + aptComplaint(e.out) }

var noPackages = regexp.MustCompile(`(?m)^E: (Unable to locate package|Couldn't find any package|Package '.*' has no installation candidate|Version .* was not found|Unable to correct problems|Unmet dependencies)`)

func aptComplaint(out string) string {
	for line := range strings.Lines(out) {
		if noPackages.MatchString(line) {
			return oneLine(strings.TrimPrefix(line, "E: "))
		}
	}
	return oneLine(lastLines(out, 3))
}

// base makes cache/base/<hash>. When the archive refuses the whole, each language is asked for alone, and those refused are taken to
// their next source or left out: that changes the plan, and with it the hash.
func (w *work) base(ctx context.Context) error {
	for {
		dir := w.st.cache("base", w.plan.BaseHash)
		if _, err := os.Stat(dir); err == nil && !w.freshBase {
			w.say("base %s: as before", w.plan.BaseHash)
			return nil
		}
		err := w.makeBase(ctx, dir)
		refused, isRefused := err.(errNoPackages)
		if err == nil {
			w.freshBase = false
		}
		if !isRefused {
			return err
		}
		w.say("base: %s; asking for each language alone", refused)
		if err := w.refuse(ctx, refused); err != nil {
			return err
		}
	}
}

func (w *work) makeBase(ctx context.Context, dir string) error {
	start := time.Now()
	tmp := dir + ".tmp"
	for attempt := 1; ; attempt++ {
		err := w.bootstrap(ctx, tmp)
		if err == nil {
			break
		}
		os.RemoveAll(tmp)
		// A mirror in the middle of its own update fails apt in ways that it does not try again; the packages that came are kept.
		if refused := new(errNoPackages); attempt == bootstraps || ctx.Err() != nil || errors.As(err, refused) {
			return err
		}
		w.say("base: again, as %s", oneLine(err.Error()))
	}
	w.say("base: %d packages wanted, installed (%s)", len(w.plan.Packages), since(start))
	if err := w.finishBase(ctx, tmp); err != nil {
		return fmt.Errorf("base: %w", err)
	}
	if err := os.RemoveAll(dir); err != nil { // -force: the images keep their hard links
		return err
	}
	if err := sumTree(tmp, dir+treeSums); err != nil { // not before: an old base of this name is not to be taken for this one
		return fmt.Errorf("base: digests: %w", err)
	}
	w.say("base: slimmed and sealed (%s)", since(start))
	return os.Rename(tmp, dir)
}

// bootstrap runs mmdebstrap. Its downloads go to cache/debs, bind-mounted in a mount namespace of its own: an interrupted run leaves
// the packages for the next one, and no mount.
func (w *work) bootstrap(ctx context.Context, root string) error {
	debs := w.st.cache("debs")
	conf := root + ".conf.tmp"
	if err := os.MkdirAll(debs, 0o755); err != nil {
		return err
	}
	if err := os.MkdirAll(conf, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(conf)
	lists, preferences := filepath.Join(conf, "sources.list"), filepath.Join(conf, "preferences")
	if err := os.WriteFile(lists, []byte(strings.Join(w.plan.Lines, "\n")+"\n"), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(preferences, []byte(preferenceText(w.plan.Prefer)), 0o644); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "mmdebstrap", "--variant=essential", "--mode=root", "--format=directory",
		"--aptopt=APT::Install-Recommends \"false\"", "--aptopt=Acquire::Languages \"none\"", "--aptopt=Acquire::Retries \""+retries+"\"",
		"--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=path-exclude=/usr/share/doc/*",
		"--dpkgopt=path-include=/usr/share/doc/*/copyright", "--dpkgopt=force-unsafe-io",
		"--skip=essential/unlink",
		"--setup-hook=mkdir -p \"$1/etc/apt/preferences.d\" \"$1/var/cache/apt/archives\"",
		"--setup-hook=cp \""+preferences+"\" \"$1/etc/apt/preferences.d/runtools\"",
		"--setup-hook=mount --bind \""+debs+"\" \"$1/var/cache/apt/archives\"",
		// openjdk's postinst makes alternatives for man pages and fails without this folder.
		"--essential-hook=mkdir -p \"$1/usr/share/man/man1\"",
		"--customize-hook=umount \"$1/var/cache/apt/archives\"",
		"--include="+strings.Join(w.plan.Packages, ","), w.plan.Base.Suite, root, lists)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it tears its own mounts down
	cmd.WaitDelay = time.Minute
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		if noPackages.Match(out.Bytes()) {
			return errNoPackages{out.String()}
		}
		return fmt.Errorf("mmdebstrap: %w:\n%s", err, lastLines(out.String(), 20))
	}
	return nil
}

func preferenceText(prefer []prefer) string {
	var s strings.Builder
	for _, p := range prefer {
		// Backports have priority 100, the suite 500: 700 lets these come from there and updates follow.
		fmt.Fprintf(&s, "Package: %s\nPin: release n=%s\nPin-Priority: 700\n\n", p.Packages, p.Release)
	}
	return s.String()
}

// finishBase purges, runs base/steps.sh, removes what no program needs, and seals.
func (w *work) finishBase(ctx context.Context, root string) error {
	if err := os.MkdirAll(filepath.Join(root, runtoolsDir), 0o755); err != nil {
		return err
	}
	if err := copyFile(filepath.Join(w.set.Languages, "envkeep", "envkeep.c"), filepath.Join(root, runtoolsDir, "envkeep.c")); err != nil {
		return err
	}
	steps, err := os.ReadFile(filepath.Join(w.set.Languages, "base", "steps.sh"))
	if err != nil {
		return err
	}
	b := box{Root: root, Dir: runtoolsDir}
	if len(w.plan.Purge) > 0 {
		// By pattern, as versions are part of these names; --force-depends because what depends on them is linked otherwise by steps.sh.
		purge := "dpkg-query -W -f '${Package}\\n' " + quoted(w.plan.Purge) + " 2>/dev/null | xargs -r dpkg --purge --force-depends --force-remove-essential\n"
		if err := b.script(ctx, "purge", []byte(purge)); err != nil {
			return err
		}
	}
	if err := b.script(ctx, "base/steps.sh", steps); err != nil {
		return err
	}
	// The contract's empty folders; /dev holds what mmdebstrap made there.
	if err := removePaths(root, append(w.plan.Remove, "/dev/*", "/proc/*", "/sys/*", "/run/*")); err != nil {
		return err
	}
	return seal(root)
}

func quoted(words []string) string {
	return "'" + strings.Join(words, "' '") + "'"
}

// removePaths takes paths with wildcards out of the tree.
func removePaths(root string, patterns []string) error {
	for _, p := range patterns {
		found, err := filepath.Glob(filepath.Join(root, p))
		if err != nil {
			return fmt.Errorf("remove %q: %w", p, err)
		}
		for _, f := range found {
			if err := os.RemoveAll(f); err != nil {
				return err
			}
		}
	}
	return nil
}

func copyFile(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	mode := os.FileMode(0o644)
	if info.Mode()&0o100 != 0 {
		mode = 0o755
	}
	return os.WriteFile(to, data, mode)
}
