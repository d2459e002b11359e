package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/spf13/cobra"
)

// settle is how long the files must have been left alone: an editor writes one in several steps, and several at once.
const settle = 50 * time.Millisecond

var errChanged = errors.New("a file changed")

// watch runs the program again whenever one of its files changes; a run that is not over by then is ended. It never returns but by an error.
func (a *app) watch(cmd *cobra.Command, f *executeFlags, args []string) error {
	if len(f.files) == 0 || f.files[0] == "-" || f.stdin == "-" || f.interactive || f.async {
		return usagef("--watch wants a program in files (--file FILE) that is waited for, and no input that comes once: --stdin -, --interactive, --async")
	}
	changes, err := changesOf(f.files)
	if err != nil {
		return err
	}
	all := cmd.Context()
	for {
		ctx, cancel := context.WithCancelCause(all)
		cmd.SetContext(ctx)
		ended := make(chan error, 1)
		go func() { ended <- a.execute(cmd, f, args) }()
		var changed string
		select {
		case err := <-ended:
			a.tellEnd(f.form, err)
			changed = <-changes
		case changed = <-changes:
			cancel(errChanged)
			<-ended
		}
		cancel(nil)
		if changed == "" {
			return errors.New("the files cannot be watched any more")
		}
		if !f.form.quiet {
			fmt.Fprintf(a.stderr, "%s %s changed\n", a.paint(a.stderr, yellow, "runtools:"), changed)
		}
	}
}

// tellEnd says how a run ended, which otherwise the exit status would.
func (a *app) tellEnd(form outputForm, err error) {
	var status exitStatus
	switch {
	case err != nil && !errors.As(err, &status):
		a.finish(err)
	case !form.quiet:
		fmt.Fprintf(a.stderr, "%s exit status %d; waiting for a change\n", a.paint(a.stderr, yellow, "runtools:"), int(status))
	}
}

// changesOf yields the name of a file each time that some of them changed. It ends when the kernel tells no more.
func changesOf(files []string) (<-chan string, error) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch files: %w", err)
	}
	ours := map[string]bool{}
	for _, file := range files {
		ours[filepath.Clean(file)] = true
		// The folder, because editors put a new file in the place of the old one, whose watch would end with it.
		if err := watcher.Add(filepath.Dir(file)); err != nil {
			return nil, fmt.Errorf("watch %s: %w", filepath.Dir(file), err)
		}
	}
	changes := make(chan string)
	go func() {
		defer close(changes)
		changed := ""
		quiet := time.NewTimer(settle)
		for {
			select {
			case event, ok := <-watcher.Events:
				if !ok {
					return
				}
				if name := filepath.Clean(event.Name); ours[name] && !event.Has(fsnotify.Chmod) {
					changed = name
					quiet.Reset(settle)
				}
			case err := <-watcher.Errors:
				if !errors.Is(err, fsnotify.ErrEventOverflow) {
					return
				}
				changed = files[0] // for all that we know
				quiet.Reset(settle)
			case <-quiet.C:
				if changed != "" {
					changes <- changed
					changed = ""
				}
			}
		}
	}()
	return changes, nil
}
