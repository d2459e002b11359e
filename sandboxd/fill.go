package main

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/wire"
)

// How much all volumes hold together. Each is a tmpfs with a quota, but there may be very many, and what they hold is nobody's memory limit once the
// jobs that wrote it are over. apid keeps its sessions well below; this bound holds whatever apid asks for.
//
// A volume counts as what it held when its last job ended. From max_volume_bytes on no job is begun that could leave more: one that makes a volume with a
// name, or writes to one. Others go on, and so do jobs that run: these may fill their quotas, as far as their own memory limits let them.

// inodeBytes is what a file or folder costs in the kernel's slab, however little is in it.
const inodeBytes = 1 << 10

// newVolumes are those of a daemon with these settings.
func (c *config) newVolumes(anchors *anchors) *volumes {
	vs := newVolumes(c.MaxVolumes, quota{c.WorkspaceBytes, c.WorkspaceFiles}, quota{c.BuildBytes, c.BuildFiles}, anchors)
	vs.clones, vs.mostNear = canCloneDetached(), min(mostNear, spareDescriptors(c))
	if vs.most = c.MaxVolumeBytes; vs.most == 0 {
		vs.most = machineMemory() / 2
	}
	return vs
}

// mayGrowLocked refuses a job that could leave more in volumes than it finds.
func (vs *volumes) mayGrowLocked() error {
	if vs.filled >= vs.most {
		return wire.Errorf(wire.CodeOverloaded, "the volumes hold %d bytes, max_volume_bytes is %d", vs.filled, vs.most)
	}
	return nil
}

// measure is the usage of a volume that the caller has, and records it, unless it has no name: then it goes with its job.
func (vs *volumes) measure(v *volume, mount *os.File) (bytes, files int64, err error) {
	bytes, files, err = usage(mount)
	if err == nil && v.id != "" {
		vs.mu.Lock()
		vs.fillLocked(v, bytes+files*inodeBytes)
		vs.mu.Unlock()
	}
	return bytes, files, err
}

func (vs *volumes) fillLocked(v *volume, bytes int64) {
	vs.filled += bytes - v.bytes
	v.bytes = bytes
}

// usage of a volume by its path, which is the mount's root: nothing inside is looked up.
func (v *vault) usage(path string) (bytes, files int64, err error) {
	err = v.do(func() error {
		root, err := os.OpenFile(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_DIRECTORY, 0)
		if err != nil {
			return err
		}
		defer root.Close()
		bytes, files, err = usage(root)
		return err
	})
	return bytes, files, err
}
