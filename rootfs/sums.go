package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	// sumsFile has the digest of each file of an image. It lies beside rootfs, where no jail can name it, for sandboxd to compare with (sandboxd/sentinel.go).
	sumsFile = "SHA256SUMS"
	// treeSums ends the name of the same of a base or a layer, which lies beside it in the cache.
	treeSums = ".sums"
)

// sumTree writes the digests of a tree's files to path, in the form of sha256sum and with names below the tree's root. Of a base or a layer that is done
// as soon as it is sealed: its files are those of images, by hard links, and what a program could ever write into them must not be taken for what was built.
func sumTree(root, path string) error {
	var lines bytes.Buffer
	err := walkFiles(root, func(path, name string) error {
		if strings.Contains(name, "\n") {
			return fmt.Errorf("%q: a line of digests cannot name it", name)
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		fmt.Fprintf(&lines, "%x  %s\n", h.Sum(nil), name)
		return nil
	})
	if err != nil {
		return err
	}
	return writeWhole(path, lines.Bytes())
}

// sumImage writes the digests of an image that was linked together from trees, of which later ones replace files of the first.
func sumImage(image string, trees []string) error {
	sums := map[string]string{}
	for _, tree := range trees {
		data, err := os.ReadFile(tree + treeSums)
		if errors.Is(err, fs.ErrNotExist) { // an older builder made it
			if err = sumTree(tree, tree+treeSums); err == nil {
				data, err = os.ReadFile(tree + treeSums)
			}
		}
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(data)) {
			if sum, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  "); ok {
				sums[name] = sum
			}
		}
	}
	var lines bytes.Buffer
	err := walkFiles(filepath.Join(image, "rootfs"), func(path, name string) error {
		if sums[name] == "" {
			return fmt.Errorf("%s: no layer has its digest", path)
		}
		fmt.Fprintf(&lines, "%s  %s\n", sums[name], name)
		return nil
	})
	if err != nil {
		return err
	}
	return writeWhole(filepath.Join(image, sumsFile), lines.Bytes())
}

// addSums gives the current image its digests, if an older builder made it: those of what it is now, for nobody knows any more what it was. It stays where
// it is, because jails of a sandboxd may be in it.
func (w *work) addSums() error {
	image := w.st.current()
	if _, _, err := readImage(image); err != nil || hasSums(image) {
		return nil
	}
	w.say("the current image has no %s yet: reading all of it", sumsFile)
	return sumTree(filepath.Join(image, "rootfs"), filepath.Join(image, sumsFile))
}

func hasSums(image string) bool {
	_, err := os.Stat(filepath.Join(image, sumsFile))
	return err == nil
}

// walkFiles visits the regular files of a tree; name begins below its root.
func walkFiles(root string, visit func(path, name string) error) error {
	return walkTree(root, func(path string, info fs.FileInfo) error {
		if !info.Mode().IsRegular() {
			return nil
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		return visit(path, name)
	})
}

// writeWhole never leaves a part of a file under its name.
func writeWhole(path string, data []byte) error {
	if err := os.WriteFile(path+".tmp", data, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}
