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
	"sync"
	"time"
)

// work is one run of the builder.
type work struct {
	set       settings
	st        store
	plan      plan
	start     time.Time
	freshBase bool
	mu        sync.Mutex // one line of progress at a time
}

func (w *work) say(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fmt.Printf("%6.1f s  %s\n", time.Since(w.start).Seconds(), fmt.Sprintf(format, args...))
}

func since(t time.Time) string { return fmt.Sprintf("%.1f s", time.Since(t).Seconds()) }

// checkout is the folder that relative paths in manifests begin at.
func (w *work) checkout() string { return filepath.Dir(w.set.Languages) }

func build(ctx context.Context, set settings) error {
	w := &work{set: set, st: store(set.State), start: time.Now(), freshBase: set.Force}
	var err error
	if w.plan, err = makePlan(set, readHost("/etc/os-release"), aptEntries("/etc/apt")); err != nil {
		return err
	}
	if w.upToDate() {
		return nil
	}
	if err := hostReady(set); err != nil {
		return err
	}
	lock, err := w.st.lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := w.addSums(); err != nil {
		return fmt.Errorf("digests of the current image: %w", err)
	}
	if w.upToDate() { // by the builder that held the lock, or it lacked nothing else
		return nil
	}
	if set.Force { // layers are named by their base, which is about to change under its name
		if err := os.RemoveAll(w.st.cache("layers")); err != nil {
			return err
		}
	}
	if err := w.st.clean(); err != nil {
		return err
	}
	inputs := w.plan.Inputs // as asked for; what is left out on the way is not part of it
	if err := w.fetchAndBase(ctx); err != nil {
		return err
	}
	if err := w.layers(ctx); err != nil {
		return err
	}
	return w.finish(ctx, inputs)
}

// upToDate reports whether the current image is what would be built, complete.
func (w *work) upToDate() bool {
	image, info, err := readImage(w.st.current())
	if err != nil || info.Inputs != w.plan.Inputs || !image.complete() || w.set.Force || !hasSums(w.st.current()) {
		return false
	}
	w.say("image %s is current (%d languages, built %s)", image.Digest, len(image.Languages), image.Built.Format(time.RFC3339))
	return true
}

// hostReady checks for what no build can do without. Tools that one source needs are missed when that source is tried.
func hostReady(set settings) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("build needs root: it makes namespaces and files of root's")
	}
	for _, tool := range []string{"mmdebstrap", "tar"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is not on this host; install the packages named in %s", tool, filepath.Join(set.Languages, "host-packages"))
		}
	}
	return nil
}

// fetchAndBase downloads while mmdebstrap works: the one waits for the network, the other mostly for the processor. What fails here
// is tried again, and reported, when its layer is made.
func (w *work) fetchAndBase(ctx context.Context) error {
	var wg sync.WaitGroup
	for i := range w.plan.Languages {
		if sources := w.plan.Languages[i].Sources; len(sources) > 0 {
			folder, s := w.plan.Languages[i].Folder, sources[0]
			wg.Go(func() {
				start := time.Now()
				if err := fetch(ctx, w.st, w.checkout(), s); err == nil && (len(s.Npm) > 0 || s.Archive != nil) {
					w.say("%s: fetched (%s)", folder, since(start))
				}
			})
		}
	}
	err := w.base(ctx)
	wg.Wait()
	return err
}

// finish assembles the image, checks it and makes it current.
func (w *work) finish(ctx context.Context, inputs string) error {
	image := imageInfo{Digest: w.digest(), Base: w.plan.BaseName, Built: time.Now().UTC().Truncate(time.Second), Languages: map[string]langResult{}}
	dir := filepath.Join(w.st.images(), image.Digest)
	if old, info, err := readImage(dir); err == nil && info.Inputs == inputs && !w.set.Force && hasSums(dir) {
		w.say("image %s is there already (%d languages, built %s)", old.Digest, len(old.Languages), old.Built.Format(time.RFC3339))
		return w.publish(old)
	}
	tmp := dir + ".tmp"
	if err := w.assemble(tmp); err != nil {
		return fmt.Errorf("assemble: %w", err)
	}
	if err := sumImage(tmp, w.trees()); err != nil {
		return fmt.Errorf("digests of the image: %w", err)
	}
	if err := w.versions(ctx, tmp, &image); err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(tmp, "image.json"), image); err != nil {
		return err
	}
	info := buildInfo{Inputs: inputs, Base: w.plan.BaseHash}
	for i := range w.plan.Languages {
		if c := &w.plan.Languages[i]; c.Error == "" {
			info.Layers = append(info.Layers, w.plan.layerHash(c))
		}
	}
	if err := writeJSON(filepath.Join(tmp, "build.json"), info); err != nil {
		return err
	}
	w.say("image assembled")
	ch := checker{set: w.set, dir: tmp, say: w.say}
	if err := ch.all(ctx); err != nil {
		return fmt.Errorf("the new image fails its check and is not made current: %w", err)
	}
	if err := replaceDir(tmp, dir); err != nil {
		return err
	}
	return w.publish(image)
}

// digest names the image: its inputs and which languages it had to do without.
func (w *work) digest() string {
	parts := []any{w.plan.Inputs, w.plan.BaseHash}
	for i := range w.plan.Languages {
		if c := &w.plan.Languages[i]; c.Error == "" {
			parts = append(parts, w.plan.layerHash(c))
		} else {
			parts = append(parts, c.Folder, c.Error)
		}
	}
	if w.set.Force {
		parts = append(parts, w.start.UnixNano()) // another base of the same name
	}
	return hashOf(parts...)
}

func (w *work) publish(image imageInfo) error {
	if err := w.st.swap(image.Digest); err != nil {
		return err
	}
	var missing []string
	for folder, l := range image.Languages {
		if l.Error != "" {
			missing = append(missing, folder)
			w.say("without %s", l.Error)
		}
	}
	w.say("image %s is current: %d languages, %d left out", image.Digest, len(image.Languages)-len(missing), len(missing))
	return w.st.prune()
}

// replaceDir moves a finished image to its name; the same digest may have been built before, with -force or by another version.
func replaceDir(from, to string) error {
	old := to + ".old.tmp"
	if err := os.Rename(to, old); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return os.RemoveAll(old)
}

// assemble links base and layers into tmp/rootfs and puts the contract's files beside it.
func (w *work) assemble(tmp string) error {
	root := filepath.Join(tmp, "rootfs")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	if err := linkTree(w.st.cache("base", w.plan.BaseHash), root, nil, ""); err != nil {
		return err
	}
	owner := map[string]string{}
	for i := range w.plan.Languages {
		c := &w.plan.Languages[i]
		to := filepath.Join(tmp, "languages", c.Folder)
		if err := os.MkdirAll(to, 0o755); err != nil {
			return err
		}
		for _, f := range []string{"lang.json", "jail.json"} {
			if err := copyFile(filepath.Join(c.Dir, f), filepath.Join(to, f)); err != nil {
				return err
			}
		}
		if c.Error == "" {
			if err := linkTree(w.st.cache("layers", w.plan.layerHash(c)), root, owner, c.Folder); err != nil {
				return err
			}
		}
	}
	return nil
}

// trees are base and layers, as assemble links them.
func (w *work) trees() []string {
	trees := []string{w.st.cache("base", w.plan.BaseHash)}
	for i := range w.plan.Languages {
		if c := &w.plan.Languages[i]; c.Error == "" {
			trees = append(trees, w.st.cache("layers", w.plan.layerHash(c)))
		}
	}
	return trees
}

// versions asks the tools in the image what they are. One that does not answer is broken, whatever was installed.
func (w *work) versions(ctx context.Context, tmp string, image *imageInfo) error {
	for i := range w.plan.Languages {
		c := &w.plan.Languages[i]
		if c.Error != "" {
			image.Languages[c.Folder] = langResult{Error: c.Error}
			continue
		}
		var out bytes.Buffer
		b := box{Root: filepath.Join(tmp, "rootfs"), User: true, Dir: "/", Argv: c.Packages.Version.Argv}
		_, b.Env = c.Lang.fill(stage{}, []string{c.Lang.Main}, nil)
		if _, err := b.run(ctx, nil, &out, &out); err != nil {
			return fmt.Errorf("%s: version: %w", c.Folder, err)
		}
		m := regexp.MustCompile(c.Packages.Version.Pattern).FindStringSubmatch(out.String())
		if m == nil {
			return fmt.Errorf("%s: version: %q does not match %q", c.Folder, oneLine(out.String()), c.Packages.Version.Pattern)
		}
		image.Languages[c.Folder] = langResult{Version: m[1]}
	}
	return nil
}
