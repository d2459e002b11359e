package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// store is the state directory.
type store string

func (s store) images() string { return filepath.Join(string(s), "images") }
func (s store) cache(parts ...string) string {
	return filepath.Join(append([]string{string(s), "cache"}, parts...)...)
}
func (s store) current() string { return filepath.Join(string(s), "current") }

// imageInfo is image.json.
type imageInfo struct {
	Digest    string                `json:"digest"`
	Base      string                `json:"base"`
	Built     time.Time             `json:"built"`
	Languages map[string]langResult `json:"languages"`
}

type langResult struct {
	Version string `json:"version,omitempty"`
	Error   string `json:"error,omitempty"`
}

func (i imageInfo) complete() bool {
	for _, l := range i.Languages {
		if l.Error != "" {
			return false
		}
	}
	return true
}

// buildInfo is build.json: what the builder itself wants to know of an image again.
type buildInfo struct {
	Inputs string   `json:"inputs"`
	Base   string   `json:"base"`
	Layers []string `json:"layers"` // hashes, for keeping their cache
}

func readImage(dir string) (imageInfo, buildInfo, error) {
	var i imageInfo
	var b buildInfo
	err := errors.Join(readStrict(filepath.Join(dir, "image.json"), &i), readStrict(filepath.Join(dir, "build.json"), &b))
	return i, b, err
}

// lock keeps other builders away until the file it returns is closed. The file stays: removing it would let two builders lock two files.
func (s store) lock() (*os.File, error) {
	if err := os.MkdirAll(string(s), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(string(s), "rootfs.lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
		return f, nil
	}
	fmt.Println("another mkrootfs is building here; waiting for it")
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return f, nil
}

// clean removes what an interrupted build has left half done. Only under the lock.
func (s store) clean() error {
	for _, dir := range []string{s.images(), s.cache("base"), s.cache("layers"), s.cache("downloads")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		half, err := filepath.Glob(filepath.Join(dir, "*.tmp"))
		if err != nil {
			return err
		}
		for _, p := range half {
			if err := os.RemoveAll(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// swap makes images/<digest> current, by one rename: a reader sees the old or the new image.
func (s store) swap(digest string) error {
	tmp := s.current() + ".tmp"
	os.Remove(tmp) // of an interrupted swap
	if err := os.Symlink(filepath.Join("images", digest), tmp); err != nil {
		return err
	}
	return os.Rename(tmp, s.current())
}

// prune removes all images but the current one and the one before it, and the caches of those that are gone.
func (s store) prune() error {
	keep, err := filepath.EvalSymlinks(s.current())
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(s.images())
	if err != nil {
		return err
	}
	previous := ""
	var newest time.Time
	for _, e := range entries {
		dir := filepath.Join(s.images(), e.Name())
		if i, _, err := readImage(dir); err == nil && dir != keep && i.Built.After(newest) {
			previous, newest = dir, i.Built
		}
	}
	wanted := map[string]bool{}
	for _, e := range entries {
		dir := filepath.Join(s.images(), e.Name())
		if dir != keep && dir != previous {
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
			continue
		}
		if _, b, err := readImage(dir); err == nil {
			wanted[b.Base] = true
			for _, l := range b.Layers {
				wanted[l] = true
			}
		}
	}
	for _, kind := range []string{"base", "layers"} {
		entries, err := os.ReadDir(s.cache(kind))
		if err != nil {
			return err
		}
		for _, e := range entries {
			if !wanted[strings.TrimSuffix(e.Name(), treeSums)] {
				if err := os.RemoveAll(s.cache(kind, e.Name())); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}
