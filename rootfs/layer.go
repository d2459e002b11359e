package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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

// layer makes cache/layers/<hash> from the first source that can be had. A source that fails is the language's own misfortune; only
// a cancelled build is an error.
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
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			w.say("%s: layer made (%s)", c.Folder, since(start))
			return nil
		}
		os.RemoveAll(dir + ".tmp")
		if c.Sources[0].Apt != nil {
			// Its packages are in the base for good; another source would come on top of them.
			c.Sources = c.Sources[:1]
		}
		w.lose(c, remedy(c.Folder, err))
	}
	return nil
}

// remedy makes one line of what went wrong with a source, and what the operator can do.
func remedy(folder string, err error) string {
	s := oneLine(err.Error())
	switch {
	case strings.Contains(s, "-source"):
		return strings.ReplaceAll(s, "FOLDER", folder)
	case errors.Is(err, os.ErrNotExist):
		return s + "; remedy: put the file there or give -source " + folder + "=PATH-OR-URL,sha256=HEX"
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
	if err := copyFiles(filepath.Join(c.Dir, "files"), filepath.Join(upper, runtoolsDir, c.Folder)); err != nil {
		return err
	}
	steps, err := os.ReadFile(filepath.Join(c.Dir, "steps.sh"))
	if err == nil {
		lower := []string{w.st.cache("base", w.plan.BaseHash)}
		for _, n := range c.Packages.Needs {
			lower = append([]string{w.st.cache("layers", w.plan.layerHash(w.plan.language(n)))}, lower...)
		}
		b := box{Root: merged, Lower: lower, Upper: upper, Work: filepath.Join(tmp, "work"), Dir: filepath.Join(runtoolsDir, c.Folder)}
		if err := os.MkdirAll(filepath.Join(upper, b.Dir), 0o755); err != nil {
			return err
		}
		err = b.script(ctx, c.Folder+"/steps.sh", steps)
	}
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	if err := seal(upper); err != nil {
		return err
	}
	if err := os.Rename(upper, dir); err != nil {
		return err
	}
	return os.RemoveAll(tmp)
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
