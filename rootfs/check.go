package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
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
	names := make([]string, 0, len(cases))
	for n := range cases {
		names = append(names, n)
	}
	sort.Strings(names)
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
	if l.Lang.Run.KeepEnv {
		errs = append(errs, ch.keepsEnv(root, l))
	}
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
	// hello ends normally: what it leaves in its environment must be handed out, and not show how.
	if name == "hello" && l.Lang.Run.KeepEnv {
		if !bytes.Contains(o.Environ, []byte("HOME=/home/user\x00")) {
			return o, fmt.Errorf("%s/%s: envkeep.so wrote %.200q", l.Folder, name, o.Environ)
		}
	}
	return o, nil
}

// keepsEnv checks that envkeep.so does not show in what it hands out. Each language's sample `env` sets variables and forks.
func (ch checker) keepsEnv(root string, l language) error {
	dir := filepath.Join(l.Dir, "samples", "keep-env")
	var c sampleCase
	if err := readStrict(filepath.Join(dir, "case.json"), &c); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	}
	o, err := runSample(context.Background(), root, l, dir, c)
	if err != nil {
		return fmt.Errorf("%s/keep-env: %w", l.Folder, err)
	}
	left := strings.Split(strings.TrimSuffix(string(o.Environ), "\x00"), "\x00")
	if !slices.Contains(left, "KEPT=left by the program") {
		return fmt.Errorf("%s/keep-env: KEPT is not in what the program left: %q", l.Folder, left)
	}
	for _, v := range left {
		if strings.HasPrefix(v, "LD_PRELOAD=") || strings.HasPrefix(v, "FROM_CHILD=") {
			return fmt.Errorf("%s/keep-env: %q is in what the program left", l.Folder, v)
		}
	}
	return nil
}
