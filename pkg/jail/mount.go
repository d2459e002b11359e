package jail

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// OpenTree clones the mount at path as a detached mount: readOnly or not, never honouring setuid files or
// device nodes. The clone is id-mapped, unless userNS is nil: an owner u on disk appears inside that namespace as u.
//
// The caller's thread must be in the mount namespace of the path (open_tree(2)).
func OpenTree(path string, readOnly bool, userNS *os.File) (*os.File, error) {
	return openTree(unix.AT_FDCWD, path, volumeAttr(readOnly), userNS)
}

// CloneDetached is OpenTree for a mount that NewTmpfs made and nobody has attached: any thread may. Before Linux 6.15 it fails with EINVAL.
func CloneDetached(mount *os.File, readOnly bool, userNS *os.File) (*os.File, error) {
	return openTree(int(mount.Fd()), "", volumeAttr(readOnly), userNS)
}

func volumeAttr(readOnly bool) unix.MountAttr {
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	if readOnly {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	return attr
}

// OpenDevices is OpenTree for a tmpfs that holds device nodes: read-only, and they work.
func OpenDevices(path string, userNS *os.File) (*os.File, error) {
	return openTree(unix.AT_FDCWD, path, unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC | unix.MOUNT_ATTR_RDONLY}, userNS)
}

// openTree clones what is mounted at path, or the mount that dir is. An empty path alone must not do: it would be the working directory, which in a vault is all volumes.
func openTree(dir int, path string, attr unix.MountAttr, userNS *os.File) (*os.File, error) {
	var flags uint = unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC | unix.AT_SYMLINK_NOFOLLOW
	name := path
	if dir != unix.AT_FDCWD {
		flags, name = flags|unix.AT_EMPTY_PATH, "detached mount"
	}
	fd, err := unix.OpenTree(dir, path, flags)
	if err != nil {
		return nil, fmt.Errorf("open_tree %s: %w", name, err)
	}
	if userNS != nil {
		attr.Attr_set |= unix.MOUNT_ATTR_IDMAP
		attr.Userns_fd = uint64(userNS.Fd())
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("mount_setattr %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// NewTmpfs makes a detached tmpfs of at most size bytes and inodes inodes, its root owned by uid and gid of the jail's own numbering.
func NewTmpfs(size, inodes int64, uid int) (*os.File, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("fsopen tmpfs: %w", err)
	}
	defer unix.Close(fs)
	id := strconv.Itoa(uid)
	for _, option := range [][2]string{
		{"size", strconv.FormatInt(size, 10)}, {"nr_inodes", strconv.FormatInt(inodes, 10)},
		{"mode", "0755"}, {"uid", id}, {"gid", id},
	} {
		if err := unix.FsconfigSetString(fs, option[0], option[1]); err != nil {
			return nil, fmt.Errorf("fsconfig tmpfs %s=%s: %w", option[0], option[1], err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, fmt.Errorf("fsconfig tmpfs create: %w", err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return nil, fmt.Errorf("fsmount tmpfs: %w", err)
	}
	return os.NewFile(uintptr(fd), "tmpfs"), nil
}

// Attach puts a detached mount on path, in the mount namespace of the caller's thread.
func Attach(mount *os.File, path string) error {
	if err := unix.MoveMount(int(mount.Fd()), "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("move_mount %s: %w", path, err)
	}
	return nil
}
