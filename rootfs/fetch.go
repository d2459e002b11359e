package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// fetch brings what s needs beside Debian packages into cache/downloads, each file verified.
func fetch(ctx context.Context, st store, checkout string, s source) error {
	for _, n := range s.Npm {
		if err := fetchNpm(ctx, st, n); err != nil {
			return err
		}
	}
	if s.Archive != nil {
		_, err := fetchArchive(ctx, st, checkout, s.Archive.archiveFrom)
		return err
	}
	return nil
}

// unpack puts what fetch brings into the tree root; what an earlier fetch brought is verified again.
func unpack(ctx context.Context, st store, checkout, root string, s source) error {
	if err := fetch(ctx, st, checkout, s); err != nil {
		return err
	}
	for _, n := range s.Npm {
		if err := unpackNpm(ctx, npmFile(st, n), root, n.Files); err != nil {
			return err
		}
	}
	if s.Archive == nil {
		return nil
	}
	file, err := fetchArchive(ctx, st, checkout, s.Archive.archiveFrom)
	if err != nil {
		return err
	}
	to := filepath.Join(root, s.Archive.To)
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	return tar(ctx, "-x", "-f", file, "-C", to, "--no-same-owner", "--strip-components="+strconv.Itoa(s.Archive.Strip))
}

func npmFile(st store, n npmSource) string {
	return st.cache("downloads", strings.NewReplacer("@", "", "/", "-").Replace(n.Name)+"-"+n.Version+".tgz")
}

func (n npmSource) verify(file string) error {
	want, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(n.Integrity, "sha512-"))
	if err != nil {
		return fmt.Errorf("%s: integrity: %w", n.Name, err)
	}
	return verifyFile(file, sha512.New(), want)
}

// fetchNpm takes the package through the npm client, whose registry is its own configuration.
func fetchNpm(ctx context.Context, st store, n npmSource) error {
	file := npmFile(st, n)
	if n.verify(file) == nil {
		return nil
	}
	dir := file + ".tmp"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cmd := exec.CommandContext(ctx, "npm", "pack", "--loglevel=error", "--fetch-retries="+retries, "--pack-destination", dir, n.Name+"@"+n.Version)
	cmd.Dir = dir // not a project: no .npmrc and no package.json of a checkout steers it
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm pack %s@%s: %w: %s", n.Name, n.Version, err, oneLine(string(out)))
	}
	got, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil || len(got) != 1 {
		return fmt.Errorf("npm pack %s@%s: %d files came", n.Name, n.Version, len(got))
	}
	if err := n.verify(got[0]); err != nil {
		return fmt.Errorf("npm pack %s@%s: %w", n.Name, n.Version, err)
	}
	return os.Rename(got[0], file)
}

func unpackNpm(ctx context.Context, file, root string, files map[string]string) error {
	dir, err := os.MkdirTemp(filepath.Dir(root), "npm.*.tmp")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	args := []string{"-x", "-z", "-f", file, "-C", dir, "--no-same-owner"}
	for from := range files {
		args = append(args, from)
	}
	if err := tar(ctx, args...); err != nil {
		return err
	}
	for from, to := range files {
		target := filepath.Join(root, to)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(dir, from), target); err != nil {
			return err
		}
	}
	return nil
}

// fetchArchive gives a verified local file of a: a path is taken as it is, a URL through the download cache.
func fetchArchive(ctx context.Context, st store, checkout string, a archiveFrom) (string, error) {
	h, want, err := a.hash()
	if err != nil {
		return "", err
	}
	if !strings.Contains(a.From, "://") {
		file := a.From
		if !filepath.IsAbs(file) {
			file = filepath.Join(checkout, file)
		}
		if _, err := os.Stat(file); err != nil {
			return "", err
		}
		return file, verifyFile(file, h, want)
	}
	file := st.cache("downloads", hex.EncodeToString(want)[:16]+"-"+filepath.Base(a.From))
	if verifyFile(file, h, want) == nil {
		return file, nil
	}
	if err := download(ctx, a.From, file+".tmp"); err != nil {
		return "", err
	}
	h.Reset()
	if err := verifyFile(file+".tmp", h, want); err != nil {
		os.Remove(file + ".tmp")
		return "", err
	}
	return file, os.Rename(file+".tmp", file)
}

func (a archiveFrom) hash() (hash.Hash, []byte, error) {
	if a.SHA512 != "" {
		want, err := hex.DecodeString(a.SHA512)
		return sha512.New(), want, err
	}
	if a.SHA256 != "" {
		want, err := hex.DecodeString(a.SHA256)
		return sha256.New(), want, err
	}
	return nil, nil, fmt.Errorf("%s: no hash is pinned for it; give -source FOLDER=%s,sha512=HEX", a.From, a.From)
}

const (
	// downloadTimeout bounds one archive; 250 MB at 5 Mbit/s.
	downloadTimeout = 7 * time.Minute
	// lastPause is how long is waited before the last try; the first pause is a second, and they double.
	lastPause = 8 * time.Second
)

// download tries again after what may pass: a connection that breaks, a server that is busy.
func download(ctx context.Context, url, file string) error {
	ctx, cancel := context.WithTimeout(ctx, downloadTimeout)
	defer cancel()
	for pause := time.Second; ; pause *= 2 {
		again, err := downloadOnce(ctx, url, file)
		if !again || pause > lastPause {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// downloadOnce reports whether another try may do better.
func downloadOnce(ctx context.Context, url, file string) (again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return true, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests, fmt.Errorf("get %s: %s", url, resp.Status)
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return false, err
	}
	_, err = io.Copy(f, resp.Body)
	return err != nil, errors.Join(err, f.Close())
}

func verifyFile(file string, h hash.Hash, want []byte) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if got := h.Sum(nil); !bytes.Equal(got, want) {
		return fmt.Errorf("%s: hash is %x, want %x", file, got, want)
	}
	return nil
}

func tar(ctx context.Context, args ...string) error {
	if out, err := exec.CommandContext(ctx, "tar", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("tar %s: %w: %s", strings.Join(args, " "), err, oneLine(string(out)))
	}
	return nil
}

// oneLine makes output of a tool fit the one line an error has in image.json.
func oneLine(s string) string {
	const most = 300
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > most {
		s = s[:most] + "..."
	}
	return s
}
