package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/runtools/runtools/pkg/client"
)

// sessionCopy is `runtools session cp`: files and folders into a session, or out of one.
func (a *app) sessionCopy(cmd *cobra.Command, c *client.Client, args []string) error {
	sources, target := args[:len(args)-1], args[len(args)-1]
	id, into, isRemote := inSession(target)
	for _, source := range sources {
		if _, _, remote := inSession(source); remote == isRemote {
			return usagef("one side is a session, ID:PATH, and the other is here: %s, %s (a file here whose name has a colon: ./%s)", source, target, source)
		}
	}
	if len(sources) > 1 && !isRemote {
		if info, err := os.Stat(target); err != nil || !info.IsDir() {
			return usagef("%s is no folder: several files want one", target)
		}
	}
	for _, source := range sources {
		var err error
		if isRemote {
			keepName := into == "" || strings.HasSuffix(into, "/") || len(sources) > 1
			err = a.copyIn(cmd, c, source, id, into, keepName)
		} else {
			from, name, _ := inSession(source)
			err = a.copyOut(cmd, c, from, strings.TrimSuffix(name, "/"), target)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", source, err)
		}
	}
	return nil
}

// inSession takes ID:PATH apart. A path with a / before the colon is one here.
func inSession(arg string) (id, name string, is bool) {
	id, name, is = strings.Cut(arg, ":")
	if !is || id == "" || strings.Contains(id, "/") {
		return "", "", false
	}
	return id, name, true
}

// copyIn writes a file, or what is in a folder, at any depth; links in it are left out, as they may lead anywhere here.
func (a *app) copyIn(cmd *cobra.Command, c *client.Client, source, id, into string, keepName bool) error {
	if keepName {
		full, err := filepath.Abs(source)
		if err != nil {
			return err
		}
		into = path.Join(into, filepath.Base(full))
	}
	progress, done := a.progress(outputForm{}), 0
	defer progress.show("")
	return filepath.WalkDir(source, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || file != source && !entry.Type().IsRegular() || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		below, err := filepath.Rel(source, file)
		if err != nil {
			return err
		}
		progress.show("runtools: %d files copied", done)
		done++
		return c.WriteFile(cmd.Context(), id, path.Join(into, filepath.ToSlash(below)), content)
	})
}

// copyOut reads a file, or all that is in a folder, into target. What a program made has any name and any link: os.Root keeps it below.
func (a *app) copyOut(cmd *cobra.Command, c *client.Client, id, name, target string) error {
	files, err := c.Files(cmd.Context(), id)
	if err != nil {
		return err
	}
	isFolder := name == ""
	var wanted []string // what is copied, relative to name
	for _, f := range files {
		below, isBelow := strings.CutPrefix(f.Path, name+"/")
		switch {
		case f.Path == name && f.Type == "folder":
			isFolder = true
		case name == "" && f.Type == "file":
			wanted = append(wanted, f.Path)
		case isBelow && f.Type == "file":
			wanted = append(wanted, below)
		}
	}
	info, statErr := os.Stat(target)
	intoFolder := statErr == nil && info.IsDir()
	if !isFolder {
		if intoFolder || strings.HasSuffix(target, "/") {
			return a.writeBelow(cmd, c, id, name, target, path.Base(name))
		}
		file := &lateFile{create: func() (*os.File, error) { return os.Create(target) }}
		return errors.Join(copyFile(cmd.Context(), c, id, name, 0, 0, file), file.Close())
	}
	if intoFolder && name != "" {
		target = filepath.Join(target, path.Base(name))
	}
	progress := a.progress(outputForm{})
	defer progress.show("")
	for i, below := range wanted {
		progress.show("runtools: %d of %d files", i, len(wanted))
		if err := a.writeBelow(cmd, c, id, path.Join(name, below), target, below); err != nil {
			return fmt.Errorf("%s: %w", below, err)
		}
	}
	return nil
}

// writeBelow writes the session's file name below a folder, as below.
func (a *app) writeBelow(cmd *cobra.Command, c *client.Client, id, name, folder, below string) error {
	file := &lateFile{create: func() (*os.File, error) {
		if err := os.MkdirAll(folder, 0o777); err != nil {
			return nil, err
		}
		root, err := os.OpenRoot(folder)
		if err != nil {
			return nil, err
		}
		defer root.Close()
		if err := root.MkdirAll(path.Dir(below), 0o777); err != nil {
			return nil, err
		}
		return root.Create(below)
	}}
	return errors.Join(copyFile(cmd.Context(), c, id, name, 0, 0, file), file.Close())
}

// lateFile is made when there is something to write, and not for what the session does not have.
type lateFile struct {
	create func() (*os.File, error)
	file   *os.File
}

func (l *lateFile) Write(b []byte) (_ int, err error) {
	if l.file == nil {
		if l.file, err = l.create(); err != nil {
			return 0, err
		}
	}
	return l.file.Write(b)
}

func (l *lateFile) Close() error {
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}
