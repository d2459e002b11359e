package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/wire"
)

// An anchor keeps a vault when we are gone: a bind mount of its namespace's file, as `ip netns` has them for network namespaces. The kernel
// holds the namespace, and with it every volume, as long as the anchor stands; no process has to. What each volume is called stands in the
// vault itself (vault.name), so the next sandboxd needs nothing else.
//
//	<socket>.vaults    a tmpfs of ours, with private propagation: the kernel refuses to copy such a mount into another namespace
//	<socket>.vaults/3  the anchor of the third vault
type anchors struct {
	folder string
	next   int // name of the last one; guarded by vaults.mu, as soon as there are vaults
}

// openAnchors makes the folder, or finds it and the anchors in it.
func openAnchors(folder string) (*anchors, []*os.File, error) {
	if err := os.Mkdir(folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, nil, err
	}
	mounted, err := isMountPoint(folder)
	if err != nil {
		return nil, nil, err
	}
	if !mounted {
		if err := unix.Mount("vaults", folder, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=700,size=64k"); err != nil {
			return nil, nil, fmt.Errorf("mount %s: %w", folder, err)
		}
	}
	if err := unix.Mount("", folder, "", unix.MS_PRIVATE, ""); err != nil {
		return nil, nil, fmt.Errorf("make %s private: %w", folder, err)
	}
	a := &anchors{folder: folder}
	namespaces, err := a.find()
	return a, namespaces, err
}

// isMountPoint says whether a folder, which must not be a link, is where another filesystem is mounted.
func isMountPoint(folder string) (bool, error) {
	var here, above unix.Stat_t
	if err := unix.Lstat(folder, &here); err != nil {
		return false, fmt.Errorf("%s: %w", folder, err)
	}
	if here.Mode&unix.S_IFMT != unix.S_IFDIR {
		return false, fmt.Errorf("%s: %w", folder, unix.ENOTDIR)
	}
	if err := unix.Stat(filepath.Dir(folder), &above); err != nil {
		return false, fmt.Errorf("%s: %w", filepath.Dir(folder), err)
	}
	return here.Dev != above.Dev, nil
}

// find opens the namespaces that are anchored; each file's name is the anchor's path. A crash between two steps of add leaves a file that is
// none.
func (a *anchors) find() (namespaces []*os.File, err error) {
	defer func() {
		if err != nil {
			wire.CloseAll(namespaces)
		}
	}()
	entries, err := os.ReadDir(a.folder)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		path := filepath.Join(a.folder, e.Name())
		if n, err := strconv.Atoi(e.Name()); err == nil {
			a.next = max(a.next, n)
		}
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
		if err != nil {
			return namespaces, fmt.Errorf("%s: %w", path, err)
		}
		namespaces = append(namespaces, os.NewFile(uintptr(fd), path))
		var st unix.Statfs_t
		if err := unix.Fstatfs(fd, &st); err != nil {
			return namespaces, fmt.Errorf("statfs %s: %w", path, err)
		}
		if st.Type == unix.NSFS_MAGIC {
			continue
		}
		last := len(namespaces) - 1
		namespaces[last].Close()
		namespaces = namespaces[:last]
		if err := unix.Unlink(path); err != nil {
			return namespaces, fmt.Errorf("unlink %s: %w", path, err)
		}
	}
	return namespaces, nil
}

// add anchors the mount namespace of one of our threads and returns the anchor's path.
func (a *anchors) add(thread int) (path string, err error) {
	a.next++
	path = filepath.Join(a.folder, strconv.Itoa(a.next))
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	unix.Close(fd)
	if err := unix.Mount(fmt.Sprintf("/proc/self/task/%d/ns/mnt", thread), path, "", unix.MS_BIND, ""); err != nil {
		return "", errors.Join(fmt.Errorf("anchor a vault on %s: %w", path, err), unix.Unlink(path))
	}
	return path, nil
}

// remove lets the namespace end with its last user.
func (a *anchors) remove(path string) error {
	if err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
		return fmt.Errorf("umount %s: %w", path, err)
	}
	if err := unix.Unlink(path); err != nil {
		return fmt.Errorf("unlink %s: %w", path, err)
	}
	return nil
}

// close leaves no trace if no anchor is left.
func (a *anchors) close() error {
	if entries, err := os.ReadDir(a.folder); err != nil || len(entries) > 0 {
		return err
	}
	return dropAnchors(a.folder)
}

// dropAnchors gives up every vault that no process has: `sandboxd forget`.
func dropAnchors(folder string) error {
	mounted, err := isMountPoint(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if mounted {
		if err := unix.Unmount(folder, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("umount %s: %w", folder, err)
		}
	}
	if err := unix.Rmdir(folder); err != nil {
		return fmt.Errorf("rmdir %s: %w", folder, err)
	}
	return nil
}

// adopt takes over what an earlier sandboxd left: the volumes that have a name. All others were in use by jobs that died with it, or held
// what nobody needs any more.
func (vs *volumes) adopt(namespaces []*os.File) error {
	var errs []error
	for _, ns := range namespaces {
		errs = append(errs, vs.adoptVault(ns))
		ns.Close()
	}
	return errors.Join(errs...)
}

func (vs *volumes) adoptVault(ns *os.File) error {
	v, err := newVault(func() error { return enterMountNamespace(ns) })
	if err != nil {
		return err
	}
	names, err := v.survey()
	if err != nil {
		// Not one of ours: it would be given new volumes, under names that may be taken. Who held what is in it will ask in vain.
		v.close()
		return errors.Join(fmt.Errorf("%s: %w", ns.Name(), err), vs.vaults.anchors.remove(ns.Name()))
	}
	v.anchor = ns.Name()
	vs.vaults.all = append(vs.vaults.all, v)
	var errs []error
	for path, id := range names {
		if id == "" {
			errs = append(errs, v.remove(path))
			continue
		}
		v.used++
		vs.count++
		vol := &volume{id: id, kind: workspaceVolume, vault: v, path: path, held: 1, lasting: true} // builds never last
		vs.byID[id] = vol
		bytes, files, err := v.usage(path)
		errs = append(errs, err)
		vs.fillLocked(vol, bytes+files*inodeBytes) // nobody else is there yet
		errs = append(errs, vs.release(vol, true))
	}
	return errors.Join(errs...)
}

// close drops what need not outlive us. The rest stays behind its anchors.
func (vs *volumes) close() error {
	vs.mu.Lock()
	var ending []*volume
	for _, v := range vs.byID {
		switch {
		case v.held > 0: // its job's release drops it, or it ends with us
		case !v.lasting:
			vs.forgetLocked(v)
			ending = append(ending, v)
		case v.mount != nil:
			v.mount.Close()
		}
	}
	vs.mu.Unlock()
	var errs []error
	for _, v := range ending {
		errs = append(errs, vs.unmount(v))
	}
	return errors.Join(append(errs, vs.vaults.close())...)
}
