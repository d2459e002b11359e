package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// layers makes the layer of every language, w.set.Jobs at a time, those that others need first.
func (w *work) layers(ctx context.Context) error {
	var first, second []*choice
	for i := range w.plan.Languages {
		c := &w.plan.Languages[i]
		if len(c.Packages.Needs) == 0 {
			first = append(first, c)
		} else {
			second = append(second, c)
		}
	}
	for _, group := range [][]*choice{first, second} {
		slots := make(chan struct{}, w.set.Jobs)
		errs := make([]error, len(group))
		var wg sync.WaitGroup
		for i, c := range group {
			wg.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				errs[i] = w.layer(ctx, c)
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
	}
	return nil
}

// errStep is a failed steps.sh. The sources were there, so it is the image that is broken, not the world: that ends the build.
type errStep struct{ error }

// layer makes cache/layers/<hash> from the first source that can be had. A source that fails is the language's own misfortune.
func (w *work) layer(ctx context.Context, c *choice) error {
	for _, n := range c.Packages.Needs {
		if other := w.plan.language(n); other.Error != "" && c.Error == "" {
			c.Error = fmt.Sprintf("%s: needs %s, which is missing (%s)", c.Folder, n, other.Error)
		}
	}
	for c.Error == "" {
		dir := w.st.cache("layers", w.plan.layerHash(c))
		if _, err := os.Stat(dir); err == nil {
			return nil
		}
		start := time.Now()
		err := w.makeLayer(ctx, c, dir)
		if err == nil {
			w.say("%s: layer made (%s)", c.Folder, since(start))
			return nil
		}
		os.RemoveAll(dir + ".tmp")
		if ctx.Err() != nil || errors.As(err, new(errStep)) {
			return err
		}
		w.lose(c, remedy(c.Folder, err))
		for c.Error == "" && !w.baseHas(c.Sources[0].Apt) {
			w.lose(c, "the next source needs Debian packages that are not in the base made for the first; remedy: put it first in packages.json")
		}
	}
	return nil
}

// baseHas reports whether the base was made with these packages: it is finished by the time a download fails.
func (w *work) baseHas(packages []string) bool {
	return !slices.ContainsFunc(packages, func(p string) bool { return !slices.Contains(w.plan.Packages, p) })
}

// remedy makes one line of what went wrong with a source, and what the operator can do.
func remedy(folder string, err error) string {
	s := oneLine(err.Error())
	switch {
	case strings.Contains(s, "-source"):
		return strings.ReplaceAll(s, "FOLDER", folder)
	case errors.Is(err, os.ErrNotExist):
		return s + "; remedy: put the file there or give -source " + folder + "=PATH-OR-URL,sha256=HEX"
	case errors.Is(err, exec.ErrNotFound):
		return s + "; remedy: install the packages named in rootfs/host-packages, then build again"
	case strings.HasPrefix(s, "npm"):
		return s + "; remedy: make `npm view` work for this package, then build again"
	}
	return s + "; remedy: mend the cause, then build again"
}

func (w *work) makeLayer(ctx context.Context, c *choice, dir string) error {
	tmp := dir + ".tmp"
	upper, merged := filepath.Join(tmp, "upper"), filepath.Join(tmp, "root")
	for _, d := range []string{upper, filepath.Join(tmp, "work"), merged} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	if err := unpack(ctx, w.st, w.checkout(), upper, c.Sources[0]); err != nil {
		return err
	}
	if err := w.steps(ctx, c, upper, merged, filepath.Join(tmp, "work")); err != nil {
		return errStep{err}
	}
	if err := sumTree(upper, dir+treeSums); err != nil {
		return errStep{err}
	}
	if err := os.Rename(upper, dir); err != nil {
		return errStep{err}
	}
	return os.RemoveAll(tmp)
}

// steps copies the folder's files, runs its steps.sh on an overlay of the base and the layers needed, and seals the result.
func (w *work) steps(ctx context.Context, c *choice, upper, merged, scratch string) error {
	if err := copyFiles(filepath.Join(c.Dir, "files"), filepath.Join(upper, runtoolsDir, c.Folder)); err != nil {
		return err
	}
	steps, err := os.ReadFile(filepath.Join(c.Dir, "steps.sh"))
	if err == nil {
		lower := []string{w.st.cache("base", w.plan.BaseHash)}
		for _, n := range c.Packages.Needs {
			lower = append([]string{w.st.cache("layers", w.plan.layerHash(w.plan.language(n)))}, lower...)
		}
		b := box{Root: merged, Lower: lower, Upper: upper, Work: scratch, Dir: filepath.Join(runtoolsDir, c.Folder)}
		if err := os.MkdirAll(filepath.Join(upper, b.Dir), 0o755); err != nil {
			return err
		}
		err = b.script(ctx, c.Folder+"/steps.sh", steps)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return seal(upper)
}

func copyFiles(from, to string) error {
	files, err := filesBelow(from)
	if err != nil {
		return err
	}
	for _, f := range files {
		target := filepath.Join(to, f)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if err := copyFile(filepath.Join(from, f), target); err != nil {
			return err
		}
	}
	return nil
}
