package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// checker checks the image in dir.
type checker struct {
	set settings
	dir string
	say func(format string, args ...any)
}

// checkCurrent is the command `check`.
func checkCurrent(ctx context.Context, set settings) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("check needs root: it makes namespaces")
	}
	dir, err := filepath.EvalSymlinks(store(set.State).current())
	if err != nil {
		return fmt.Errorf("no image yet, run build: %w", err)
	}
	w := &work{start: time.Now()}
	ch := checker{set: set, dir: dir, say: w.say}
	return ch.all(ctx)
}

// all checks that the image is sealed and that every sample of every language in it does what it must.
func (ch checker) all(ctx context.Context) error {
	image, _, err := readImage(ch.dir)
	if err != nil {
		return err
	}
	root := filepath.Join(ch.dir, "rootfs")
	if err := checkSealed(root); err != nil {
		return err
	}
	langs, err := loadLanguages(ch.set.Languages)
	if err != nil {
		return err
	}
	ch.say("sealed: no set-id files, capabilities or device nodes")
	var errs []error
	for _, l := range langs {
		result, ok := image.Languages[l.Folder]
		if len(ch.set.Only) > 0 && !slices.Contains(ch.set.Only, l.Folder) {
			continue
		}
		switch {
		case !ok:
			errs = append(errs, fmt.Errorf("%s: not in this image", l.Folder))
		case result.Error != "":
			ch.say("%-11s left out", l.Folder)
		default:
			errs = append(errs, ch.language(ctx, root, l, result.Version))
		}
	}
	return errors.Join(errs...)
}

// language runs the samples of one language, several at a time, and prints its line.
func (ch checker) language(ctx context.Context, root string, l language, version string) error {
	cases, err := loadSamples(l)
	if err != nil {
		return err
	}
	names := slices.Sorted(maps.Keys(cases))
	outcomes := make([]outcome, len(names))
	errs := make([]error, len(names))
	slots := make(chan struct{}, ch.set.Jobs)
	var wg sync.WaitGroup
	for i, n := range names {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			outcomes[i], errs[i] = ch.sample(ctx, root, l, n, cases[n])
		})
	}
	wg.Wait()
	good := 0
	hello := ""
	for i, n := range names {
		if errs[i] == nil {
			good++
		}
		if n == "hello" {
			hello = fmt.Sprintf("compile %4.0f ms, run %4.0f ms", ms(outcomes[i].Compile), ms(outcomes[i].Run))
		}
		if ch.set.Verbose {
			ch.say("  %-11s %-16s compile %4.0f ms, run %4.0f ms", l.Folder, n, ms(outcomes[i].Compile), ms(outcomes[i].Run))
		}
	}
	ch.say("%-11s %-9s %2d of %2d samples  hello: %s", l.Folder, version, good, len(names), hello)
	return errors.Join(errs...)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func (ch checker) sample(ctx context.Context, root string, l language, name string, c sampleCase) (outcome, error) {
	o, err := runSample(ctx, root, l, filepath.Join(l.Dir, "samples", name), c)
	if err != nil {
		return o, fmt.Errorf("%s/%s: %w", l.Folder, name, err)
	}
	if bad := c.Want.differs(o); bad != "" {
		return o, fmt.Errorf("%s/%s: %s", l.Folder, name, bad)
	}
	if l.Lang.Run.KeepEnv && name == "keep-env" {
		if err := keptEnv(o.Environ); err != nil {
			return o, fmt.Errorf("%s/%s: %w", l.Folder, name, err)
		}
	}
	return o, nil
}

// keptEnv checks what envkeep.so handed out after the sample keep-env, which sets KEPT, and FROM_CHILD in a child.
func keptEnv(environ []byte) error {
	left := strings.Split(strings.TrimSuffix(string(environ), "\x00"), "\x00")
	if !slices.Contains(left, "KEPT=left by the program") {
		return fmt.Errorf("KEPT is not in what the program left: %q", left)
	}
	for _, v := range left {
		if strings.HasPrefix(v, "LD_PRELOAD=") || strings.HasPrefix(v, "FROM_CHILD=") {
			return fmt.Errorf("%q is in what the program left", v)
		}
	}
	return nil
}
