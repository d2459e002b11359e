package main

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/jail"
)

// deviceFolders are what jails have as /dev, one for each slot: no two live jails share an inode, so that none learns by inotify or a lock when
// another one writes to /dev/null. The jails of a slot follow each other, and the nodes hold no state.
type deviceFolders struct {
	vault *vault
	path  func(slot int) string
	made  map[string]bool // the vault's thread alone looks
}

func newDeviceFolders() (*deviceFolders, error) {
	v, err := newVault(enterEmptyMountNamespace)
	if err != nil {
		return nil, err
	}
	return &deviceFolders{v, func(slot int) string { return fmt.Sprintf("/dev%d", slot) }, map[string]bool{}}, nil
}

// open clones the folder of a slot for its next jail.
func (d *deviceFolders) open(slot int, userNS *os.File) (mount *os.File, err error) {
	err = d.vault.do(func() error {
		path := d.path(slot)
		if !d.made[path] {
			if err := makeDevices(path); err != nil {
				unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) // or nothing of it would be made again
				unix.Rmdir(path)
				return fmt.Errorf("devices: %w", err)
			}
			d.made[path] = true
		}
		mount, err = jail.OpenDevices(path, userNS)
		return err
	})
	return mount, err
}

// device is one character device node.
type device struct {
	name         string
	major, minor uint32
}

// devices of a jail, with the numbers of the kernel's admin-guide/devices.txt. Nothing among them holds state.
var devices = []device{{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}}

// deviceLinks are what programs expect beside them.
var deviceLinks = map[string]string{"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}

// makeDevices fills the folder that a jail's /dev is a read-only clone of. It runs on the vault's thread: the nodes exist
// in no namespace of the host.
func makeDevices(dir string) error {
	if err := unix.Mkdir(dir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("dev", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=755,size=64k"); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	for _, d := range devices {
		path := filepath.Join(dir, d.name)
		if err := unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(d.major, d.minor))); err != nil {
			return fmt.Errorf("mknod %s: %w", path, err)
		}
		if err := unix.Chmod(path, 0o666); err != nil { // whatever our umask is
			return err
		}
	}
	for name, target := range deviceLinks {
		if err := unix.Symlink(target, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	for _, folder := range []string{"shm", "pts"} { // where jails mount their own
		if err := unix.Mkdir(filepath.Join(dir, folder), 0o755); err != nil {
			return err
		}
	}
	return nil
}
