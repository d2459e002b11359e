package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/jail"
	"github.com/runtools/runtools/pkg/wire"
)

// reloads is how the reloads went.
type reloads struct {
	mu           sync.Mutex
	good, failed uint64
	failure      string // of the last; "" it went well
}

func (r *reloads) note(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failure = ""
	if err == nil {
		r.good++
		return
	}
	r.failed++
	if r.failure = err.Error(); len(r.failure) > maxFailure {
		r.failure = r.failure[:maxFailure] + " ..."
	}
}

// maxFailure bounds what a status tells of an error, bytes.
const maxFailure = 1000

func (r *reloads) report(s *wire.Seccomp) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.Reloads, s.Failures, s.Failure = r.good, r.failed, r.failure
}

// reloadOn reads the profiles again for each SIGHUP, until ctx ends. Reloads come one after the other.
func (d *daemon) reloadOn(ctx context.Context, hangups <-chan os.Signal, read func() (config, error), log *slog.Logger) {
	for {
		select {
		case <-hangups:
		case <-ctx.Done():
			return
		}
		c, err := read()
		if err == nil {
			err = d.reload(ctx, &c, log)
		} else {
			d.server.reloads.note(err)
		}
		if err != nil && ctx.Err() == nil {
			log.Error("reload refused: the profiles that were in force still are", "error", err)
		}
	}
}

// reload puts the profiles of a new configuration in force, all or none:
//
//	read, check and compile every file
//	build a jail, with its runtime, of each variant that is new
//	swap: a job that begins from now on has the new profiles, running ones keep theirs
//	retire the ready jails and the kept compilers whose profile has changed
func (d *daemon) reload(ctx context.Context, c *config, log *slog.Logger) (err error) {
	defer func() { d.server.reloads.note(err) }()
	ps := d.server.pools
	templates := map[string]*template{}
	for name, p := range ps.all {
		templates[name] = p.template
	}
	c.recorder = d.server.builder.recorder
	next, err := loadPolicy(c, templates)
	if err != nil {
		return err
	}
	before := ps.builder.policy.Load()
	next.keep(before)
	if err := ps.prove(ctx, next, before); err != nil {
		return err
	}
	for _, key := range changed(d.config, c) {
		log.Warn("this setting is read at start alone: it holds after a restart", "key", key)
	}
	next.warnUnfollowed(c, templates, log)
	ps.builder.policy.Store(next)
	retired := 0
	for _, p := range ps.all {
		retired += ps.retire(p)
	}
	kept := ps.kept.giveUp(func(r *readyJail) bool { return !ps.builder.current(r) })
	ps.destroyKept(kept)
	log.Info("reloaded", "profiles", next.digest, "before", before.digest, "candidate", next.tried, "mode", next.trial.Mode,
		"changes", len(next.onTrial), "retired", retired+len(kept))
	return nil
}

// prove builds a jail of each variant that is new. A profile can be well formed and still forbid what every jail needs, or the runtime that
// waits in it: then all jobs would fail from now on, or wait for a cold start.
func (ps *pools) prove(ctx context.Context, next, before *policy) error {
	for _, p := range ps.all {
		t := p.template
		for _, v := range []*variant{next.inForce[t.name], next.onTrial[t.name]} {
			if v == nil || before.holds(t, v) {
				continue
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := ps.proveOne(ctx, t, next, v); err != nil {
				return fmt.Errorf("a jail with the new profiles does not work: %w", err)
			}
		}
	}
	return nil
}

func (ps *pools) proveOne(ctx context.Context, t *template, next *policy, v *variant) (err error) {
	r, err := ps.builder.buildUnder(t, next, v)
	if err != nil {
		return err
	}
	defer ps.builder.release(r)
	r.denials.prove()
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w%s", err, deniedText(r.denials.list()))
		}
	}()
	// Whatever waits in it for ever, or while we are to end, is killed.
	ctx, cancel := context.WithTimeout(ctx, loadPatience)
	defer cancel()
	stop := context.AfterFunc(ctx, r.jail.Kill)
	defer stop()
	if t.spec.Parked == nil {
		return proveExec(r)
	}
	ps.load <- struct{}{}
	defer func() { <-ps.load }()
	return ps.builder.load(r, loadWeight)
}

// deniedText names the calls that were denied.
func deniedText(list []wire.Violation) string {
	var words []string
	for _, v := range list {
		words = append(words, v.Syscall+"("+v.Args+")")
	}
	if words == nil {
		return ""
	}
	return "; denied until then: " + strings.Join(words, ", ")
}

// proveExec brings a job as far as exec, of what is no program: which calls would be next depends on the program.
func proveExec(r *readyJail) error {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	const nothing = "/dev/null"
	if err = r.jail.Start(&jail.Job{Workspace: r.mount, Argv: []string{nothing}, Stdout: null, Stderr: null}); err == nil {
		_, err = r.jail.Wait()
	}
	var step *jail.StepError
	if errors.As(err, &step) && step.Stage == jail.StageExec && step.Errno == unix.EACCES { // the kernel's own answer
		return nil
	}
	if err == nil {
		err = errors.New("it ended before it began")
	}
	return fmt.Errorf("start a program in %s: %w", r.template.name, err)
}

// reloaded are the keys that a reload takes in.
var reloaded = []string{"profiles", "seccomp"}

// changed names the other keys that differ.
func changed(before, now *config) (keys []string) {
	a, b := reflect.ValueOf(*before), reflect.ValueOf(*now)
	for _, f := range reflect.VisibleFields(a.Type()) {
		key := f.Tag.Get("toml")
		if f.IsExported() && !slices.Contains(reloaded, key) && !reflect.DeepEqual(a.FieldByIndex(f.Index).Interface(), b.FieldByIndex(f.Index).Interface()) {
			keys = append(keys, key)
		}
	}
	return keys
}
