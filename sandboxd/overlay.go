package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/jail"
)

// overlays show a folder of the host to jails, read-only, in overlay filesystems: with inodes of their own, no two live jails have one in common. Locks
// (flock, fcntl) and inotify meet in inodes, so nobody sees them and nobody is kept from a file by them. The pages below stay one for all.
//
// With keep each slot has one overlay, and the jails of a slot follow each other in it. An overlay for each jail, in which every name is looked up anew, took
// 12 to 20 % more CPU for a job of Bash or Python; kept, it takes 0 to 2. What is left of a jail is the kernel's memory of which names there are; its locks end
// with its processes, those of descriptors in flight included (40 of 40 times, when the next jail of the slot tried at once). That is for folders that never
// change. Without keep each jail has one of its own, which sees what was added to the folder before it was made.
type overlays struct {
	vault *vault
	keep  bool
	made  map[string]bool // the vault's thread alone looks
}

// Places in the mount namespace of overlays. /proc/self/mountinfo of a jail tells two of them, and with that nothing of the host.
const (
	overlayTree  = "/tree"  // the folder
	overlayLower = "/lower" // the same with the ids of one jail, for the time of a mount
	overlayEmpty = "/empty"
)

// newOverlays shows the folder at path, which nobody but the operator may write to.
func newOverlays(path string, keep bool) (*overlays, error) {
	v, err := newVault(func() error {
		tree, err := jail.OpenTree(path, true, nil)
		if err != nil {
			return err
		}
		defer tree.Close()
		if err := enterEmptyMountNamespace(); err != nil {
			return err
		}
		for _, dir := range []string{overlayTree, overlayLower, overlayEmpty} {
			if err := unix.Mkdir(dir, 0o755); err != nil {
				return err
			}
		}
		return jail.Attach(tree, overlayTree)
	})
	if err != nil {
		return nil, err
	}
	return &overlays{v, keep, map[string]bool{}}, nil
}

// open is the folder for the next jail of a slot, whose user namespace is userNS.
func (o *overlays) open(slot int, userNS *os.File) (mount *os.File, err error) {
	err = o.vault.do(func() error {
		path := fmt.Sprintf("/%d", slot)
		if !o.made[path] {
			if err := makeOverlay(path, userNS); err != nil {
				return err
			}
			o.made[path] = true
		}
		if !o.keep {
			defer o.drop(path) // the clone is enough
		}
		mount, err = jail.OpenTree(path, true, nil)
		return err
	})
	return mount, err
}

func (o *overlays) drop(path string) {
	unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	unix.Rmdir(path)
	delete(o.made, path)
}

// makeOverlay mounts one at path. An overlay cannot be id-mapped, but its layers can: one that holds all, mapped for the slot, whose ids are always the same, and an
// empty one, as an overlay without a layer to write to must have two.
//
// Why it is safe: both layers are read-only, and none is to be written to, so overlayfs never copies a file up, which is where its holes were (CVE-2023-0386,
// CVE-2021-3493). It checks the caller against modes and owners of its own inodes, which are those of the layer, before it opens a file below as us; so a
// jail may read what it might before. The names are ours, in a namespace with nothing else in it. Attributes of files by which a layer could lead
// elsewhere in itself (redirect, metacopy) are not followed, whoever wrote them.
//
// With xino files and folders have one device number, as on any filesystem; else `find -xdev` and git would stumble.
func makeOverlay(path string, userNS *os.File) (err error) {
	lower, err := jail.OpenTree(overlayTree, true, userNS)
	if err != nil {
		return err
	}
	defer lower.Close()
	if err := jail.Attach(lower, overlayLower); err != nil {
		return err
	}
	defer unix.Unmount(overlayLower, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) // the overlay has clones of its own
	if err := unix.Mkdir(path, 0o700); err != nil {
		return fmt.Errorf("overlay: %w", err)
	}
	options := "lowerdir=" + overlayLower + ":" + overlayEmpty + ",redirect_dir=nofollow,metacopy=off,xino=on"
	if err := unix.Mount("overlay", path, "overlay", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		unix.Rmdir(path)
		return fmt.Errorf("mount overlay: %w", err)
	}
	return nil
}
