package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// sampleCases are the cases that every language must have.
var sampleCases = []string{"hello", "stdin", "args", "multi-file", "exit-code", "uncaught-error", "unicode", "non-utf8-output",
	"big-output", "signal-death", "syntax-error"}

// sampleCase is samples/<case>/case.json.
type sampleCase struct {
	Files []string   `json:"files"`
	Stdin string     `json:"stdin,omitempty"`
	Args  []string   `json:"args,omitempty"`
	Want  sampleWant `json:"want"`
}

type sampleWant struct {
	Status         string   `json:"status"`
	Code           *int     `json:"code"`
	Signal         *string  `json:"signal"`
	Stdout         *string  `json:"stdout,omitempty"`
	StdoutBase64   string   `json:"stdout_base64,omitempty"`
	StdoutSHA256   string   `json:"stdout_sha256,omitempty"`
	StderrContains []string `json:"stderr_contains,omitempty"`
}

func loadSamples(l language) (map[string]sampleCase, error) {
	dirs, err := filepath.Glob(filepath.Join(l.Dir, "samples", "*", "case.json"))
	if err != nil {
		return nil, err
	}
	cases := map[string]sampleCase{}
	for _, p := range dirs {
		var c sampleCase
		if err := readStrict(p, &c); err != nil {
			return nil, err
		}
		if len(c.Files) == 0 {
			return nil, fmt.Errorf("%s: files: empty", p)
		}
		if !slices.Contains([]string{"OK", "RE", "SG", "CE"}, c.Want.Status) {
			return nil, fmt.Errorf("%s: want.status %q", p, c.Want.Status)
		}
		cases[filepath.Base(filepath.Dir(p))] = c
	}
	return cases, nil
}

// outcome is what a sample did, in the terms of docs/api.md.
type outcome struct {
	Status         string
	Code           int
	Signal         string
	Stdout, Stderr []byte
	Environ        []byte
	Compile, Run   time.Duration
}

// runSample compiles and runs one sample in a box, as the service would run it: the workspace and the artifact are the same folders in
// both stages, the artifact being read-only in the second.
func runSample(ctx context.Context, root string, l language, dir string, c sampleCase) (outcome, error) {
	var o outcome
	scratch, err := os.MkdirTemp("", "mkrootfs.")
	if err != nil {
		return o, err
	}
	defer os.RemoveAll(scratch)
	home, artifact := filepath.Join(scratch, "home"), filepath.Join(scratch, "build")
	if err := makeWorkspace(home, artifact, dir, c.Files); err != nil {
		return o, err
	}
	b := box{Root: root, User: true, Dir: "/home/user", Binds: []bind{{Source: home, Target: "/home/user"}, {Source: artifact, Target: "/build"}}}
	if l.Lang.Compile != nil {
		var out, errOut bytes.Buffer
		b.Argv, b.Env = l.Lang.fill(*l.Lang.Compile, c.Files, c.Args)
		end, err := b.run(ctx, nil, &out, &errOut)
		if err != nil {
			return o, fmt.Errorf("compile: %w", err)
		}
		o.Compile = end.Wall
		if end.Code != 0 || end.Signal != "" {
			o.Status, o.Code, o.Signal, o.Stderr = "CE", end.Code, end.Signal, errOut.Bytes()
			return o, nil
		}
	}
	b.Binds[1].ReadOnly = true
	var out, errOut bytes.Buffer
	b.Argv, b.Env = l.Lang.fill(l.Lang.Run, c.Files, c.Args)
	end, err := b.run(ctx, strings.NewReader(c.Stdin), &out, &errOut)
	if err != nil {
		return o, fmt.Errorf("run: %w", err)
	}
	o.Run, o.Code, o.Signal, o.Stdout, o.Stderr, o.Environ = end.Wall, end.Code, end.Signal, out.Bytes(), errOut.Bytes(), end.Environ
	switch {
	case end.Signal != "":
		o.Status = "SG"
	case end.Code != 0:
		o.Status = "RE"
	default:
		o.Status = "OK"
	}
	return o, nil
}

func makeWorkspace(home, artifact, dir string, files []string) error {
	for _, d := range []string{home, artifact} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
		if err := os.Chown(d, boxUser, boxUser); err != nil {
			return err
		}
	}
	for _, f := range files {
		target := filepath.Join(home, f)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		for d := filepath.Dir(target); d != home; d = filepath.Dir(d) {
			if err := os.Chown(d, boxUser, boxUser); err != nil {
				return err
			}
		}
		if err := copyFile(filepath.Join(dir, f), target); err != nil {
			return err
		}
		if err := os.Chown(target, boxUser, boxUser); err != nil {
			return err
		}
	}
	return nil
}

// differs tells in one line what is not as wanted; empty: nothing.
func (w sampleWant) differs(o outcome) string {
	var bad []string
	add := func(format string, args ...any) { bad = append(bad, fmt.Sprintf(format, args...)) }
	if o.Status != w.Status {
		add("status %s, want %s", o.Status, w.Status)
	}
	if w.Code != nil && o.Code != *w.Code {
		add("code %d, want %d", o.Code, *w.Code)
	}
	if w.Signal != nil && o.Signal != *w.Signal {
		add("signal %q, want %q", o.Signal, *w.Signal)
	}
	if w.Stdout != nil && string(o.Stdout) != *w.Stdout {
		add("stdout %.300q, want %.300q", o.Stdout, *w.Stdout)
	}
	if got := base64.StdEncoding.EncodeToString(o.Stdout); w.StdoutBase64 != "" && got != w.StdoutBase64 {
		add("stdout_base64 %.300s, want %.300s", got, w.StdoutBase64)
	}
	if sum := sha256.Sum256(o.Stdout); w.StdoutSHA256 != "" && hex.EncodeToString(sum[:]) != w.StdoutSHA256 {
		add("stdout_sha256 %x (%d bytes), want %s", sum, len(o.Stdout), w.StdoutSHA256)
	}
	for _, s := range w.StderrContains {
		if !bytes.Contains(o.Stderr, []byte(s)) {
			add("stderr lacks %q", s)
		}
	}
	// What no sample expects on stderr is a defect of the image: a warning, a preload that cannot be loaded.
	if len(w.StderrContains) == 0 && w.Status == "OK" && len(o.Stderr) > 0 {
		add("stderr is not empty")
	}
	if len(bad) > 0 && len(o.Stderr) > 0 {
		add("stderr: %.1500q", o.Stderr)
	}
	return strings.Join(bad, "; ")
}
