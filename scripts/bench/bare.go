package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// bare runs the same commands in the same image without a jail: a chroot, an unprivileged uid, nothing else. It is the denominator of
// every ratio.
type bare struct {
	root string
}

const bareUID = 65532 // nobody else's

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
		{"tmpfs", at + "/build", "tmpfs", 0, "mode=1777"},
		{"tmpfs", at + "/home/user", "tmpfs", 0, "mode=1777"},
	} {
		if err := syscall.Mount(m.source, m.target, m.kind, m.flags, m.data); err != nil {
			return nil, fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	return &bare{root: at}, nil
}

func (b *bare) write(name, content string) error {
	return os.WriteFile(filepath.Join(b.root, "home/user", name), []byte(content), 0o644)
}

// run starts one command as a web server would have to without us, and waits for its end.
func (b *bare) run(env []string, argv ...string) (string, time.Duration, error) {
	cmd := &exec.Cmd{
		Path: argv[0], Args: argv, Dir: "/home/user", Env: env,
		SysProcAttr: &syscall.SysProcAttr{Chroot: b.root, Credential: &syscall.Credential{Uid: bareUID, Gid: bareUID}},
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	start := time.Now()
	err := cmd.Run()
	took := time.Since(start)
	if err != nil {
		err = fmt.Errorf("bare %v: %w: %s", argv, err, out.String())
	}
	return out.String(), took, err
}
