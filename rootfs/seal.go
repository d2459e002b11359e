package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// seal makes a tree fit to be the root of jails: everything root's, readable by all, writable by root alone, without set-id bits,
// capabilities, device nodes, sockets or pipes. Times stay: Python's compiled files know their sources by them.
func seal(root string) error {
	return walkTree(root, func(path string, info fs.FileInfo) error {
		mode := info.Mode()
		switch {
		case mode&(fs.ModeDevice|fs.ModeCharDevice|fs.ModeNamedPipe|fs.ModeSocket) != 0:
			return os.Remove(path)
		case mode&fs.ModeSymlink != 0:
			return os.Lchown(path, 0, 0)
		}
		if err := dropAttributes(path); err != nil {
			return err
		}
		if err := os.Chown(path, 0, 0); err != nil {
			return err
		}
		return os.Chmod(path, sealedMode(mode))
	})
}

func sealedMode(mode fs.FileMode) fs.FileMode {
	if mode.IsDir() || mode&0o111 != 0 {
		return 0o755
	}
	return 0o644
}

// dropAttributes removes extended attributes: file capabilities, and what the overlay wrote.
func dropAttributes(path string) error {
	buf := make([]byte, 4096)
	n, err := unix.Llistxattr(path, buf)
	if err != nil {
		return ignoreNotSupported(err)
	}
	for _, name := range strings.FieldsFunc(string(buf[:n]), func(r rune) bool { return r == 0 }) {
		if err := unix.Lremovexattr(path, name); err != nil {
			return fmt.Errorf("%s: remove attribute %s: %w", path, name, err)
		}
	}
	return nil
}

func ignoreNotSupported(err error) error {
	if errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	return err
}

// checkSealed tells what in the tree is not as seal leaves it.
func checkSealed(root string) error {
	for _, d := range []string{"home/user", "build", "packages", "tmp", "proc", "dev", "sys"} {
		entries, err := os.ReadDir(filepath.Join(root, d))
		if err != nil {
			return err
		}
		if len(entries) > 0 {
			return fmt.Errorf("/%s: must be empty, holds %s", d, entries[0].Name())
		}
	}
	return walkTree(root, func(path string, info fs.FileInfo) error {
		mode := info.Mode()
		owner := info.Sys().(*syscall.Stat_t)
		switch {
		case owner.Uid != 0 || owner.Gid != 0:
			return fmt.Errorf("%s: belongs to %d:%d", path, owner.Uid, owner.Gid)
		case mode&fs.ModeSymlink != 0:
			return nil
		case !mode.IsDir() && !mode.IsRegular():
			return fmt.Errorf("%s: is neither file, folder nor link: %s", path, mode)
		case mode.Perm() != sealedMode(mode) || mode&(fs.ModeSetuid|fs.ModeSetgid) != 0:
			return fmt.Errorf("%s: mode %s", path, mode)
		}
		if n, err := unix.Lgetxattr(path, "security.capability", nil); err == nil {
			return fmt.Errorf("%s: has file capabilities (%d bytes)", path, n)
		}
		return nil
	})
}

func walkTree(root string, visit func(path string, info fs.FileInfo) error) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return visit(path, info)
	})
}

// linkTree puts the tree from over the tree to: folders are made, files hard-linked. A file that is there already is a conflict of two
// layers, except when the lower one is the base: a layer may replace a base's file.
func linkTree(from, to string, owner map[string]string, name string) error {
	return walkTree(from, func(path string, info fs.FileInfo) error {
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if info.IsDir() {
			if err := os.Mkdir(target, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
			return nil
		}
		if !info.Mode().IsRegular() && info.Mode()&fs.ModeSymlink == 0 {
			return fmt.Errorf("%s: a layer removed or added something that is neither file nor link (%s)", rel, info.Mode())
		}
		if other := owner[rel]; other != "" {
			return fmt.Errorf("%s: both %s and %s bring it", rel, other, name)
		}
		if owner != nil {
			owner[rel] = name
			if err := os.Remove(target); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		return os.Link(path, target)
	})
}
