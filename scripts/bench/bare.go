package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// bare runs the same commands in the same image without a jail: a chroot, an unprivileged uid, nothing else. It is the denominator of
// every ratio.
type bare struct {
	root   string
	rootfs string // the image, whose root stands at root
}

const bareUID = 65532 // nobody else's

// bareEnv is what a login shell of a machine with these packages would have.
var bareEnv = []string{
	"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/home/user", "LANG=C.UTF-8", "TMPDIR=/tmp", "DOTNET_ROOT=/usr/lib/dotnet",
}

// mountBare mounts the image, with writable places where a plain machine has them. This process has a mount namespace of its own.
func mountBare(rootfs string) (*bare, error) {
	rootfs, err := filepath.EvalSymlinks(rootfs)
	if err != nil {
		return nil, err
	}
	const at = "/mnt"
	for _, m := range []struct {
		source, target, kind string
		flags                uintptr
		data                 string
	}{
		{rootfs, at, "", syscall.MS_BIND, ""},
		{"proc", at + "/proc", "proc", 0, ""},
		{"/dev", at + "/dev", "", syscall.MS_BIND, ""},
		{"tmpfs", at + "/tmp", "tmpfs", 0, "mode=1777"},
		{"tmpfs", at + "/home/user", "tmpfs", 0, "mode=1777"},
	} {
		if err := syscall.Mount(m.source, m.target, m.kind, m.flags, m.data); err != nil {
			return nil, fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	b := &bare{root: at, rootfs: rootfs}
	return b, b.warmGoCache()
}

// warmGoCache puts std into the cache of `go run`, as it is on a machine that has compiled a Go program before.
func (b *bare) warmGoCache() error {
	cache := os.DirFS(filepath.Join(b.rootfs, "usr/lib/runtools/go/cache"))
	if _, err := fs.Stat(cache, "."); errors.Is(err, fs.ErrNotExist) {
		return nil // an image without Go
	}
	home := filepath.Join(b.root, "home/user/.cache")
	if err := os.CopyFS(filepath.Join(home, "go-build"), cache); err != nil {
		return err
	}
	return filepath.WalkDir(home, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Chown(path, bareUID, bareUID))
	})
}

// write puts a source file into a folder of the home folder; each runner at one time has its own.
func (b *bare) write(folder, name, content string) error {
	dir := filepath.Join(b.root, "home/user", folder)
	if err := os.Mkdir(dir, 0o755); err == nil {
		if err := os.Chown(dir, bareUID, bareUID); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644)
}

// run starts one command as a web server would have to without us, and waits for its end. cpu is user + system, of its children too.
func (b *bare) run(folder string, argv ...string) (out string, took, cpu time.Duration, err error) {
	cmd := &exec.Cmd{
		Path: argv[0], Args: argv, Dir: "/home/user/" + folder, Env: bareEnv,
		SysProcAttr: &syscall.SysProcAttr{Chroot: b.root, Credential: &syscall.Credential{Uid: bareUID, Gid: bareUID}},
	}
	if !strings.Contains(argv[0], "/") {
		cmd.Path = "/usr/bin/" + argv[0]
	}
	var both bytes.Buffer
	cmd.Stdout, cmd.Stderr = &both, &both
	start := time.Now()
	err = cmd.Run()
	took = time.Since(start)
	if err != nil {
		return "", 0, 0, fmt.Errorf("bare %v: %w: %s", argv, err, both.String())
	}
	return both.String(), took, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}
