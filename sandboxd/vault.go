package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/jail"
)

// mountsPerVault keeps a vault well below fs.mount-max, by default 100,000 mounts a mount namespace.
const mountsPerVault = 20_000

// A vault is a mount namespace with nothing in it but our tmpfs volumes, one a folder. A mount there costs neither a file
// descriptor nor a place in any namespace that jails are cloned from, and nobody can reach it by a path.
//
// Only a thread inside a mount namespace may clone its mounts, so each vault has a thread that works off a queue.
type vault struct {
	work chan func()
	done chan struct{}
	used int // mounts; guarded by vaults.mu
	next int // name of the next folder; only the vault's thread uses it
}

// newVault enters a new mount namespace.
func newVault() (*vault, error) {
	v := &vault{work: make(chan func()), done: make(chan struct{})}
	entered := make(chan error)
	go v.run(entered)
	if err := <-entered; err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	return v, nil
}

func (v *vault) run(entered chan<- error) {
	defer close(v.done)
	// Never unlocked: the thread ends with the goroutine, and the namespace with all its mounts ends with the thread.
	runtime.LockOSThread()
	err := enterEmptyMountNamespace()
	entered <- err
	if err != nil {
		return
	}
	for f := range v.work {
		f()
	}
}

// enterEmptyMountNamespace leaves every mount of the host behind, so that we hold none of them busy.
func enterEmptyMountNamespace() error {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("vault", "/tmp", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=700"); err != nil {
		return fmt.Errorf("mount tmpfs: %w", err)
	}
	if err := unix.Chdir("/tmp"); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("detach the old root: %w", err)
	}
	return unix.Chdir("/")
}

// do runs f on the vault's thread.
func (v *vault) do(f func() error) (err error) {
	done := make(chan struct{})
	v.work <- func() { err = f(); close(done) }
	<-done
	return err
}

func (v *vault) close() {
	close(v.work)
	<-v.done
}

// add makes a tmpfs in a new folder and returns the folder's path.
func (v *vault) add(size, inodes int64) (path string, err error) {
	tmpfs, err := jail.NewTmpfs(size, inodes, jail.UserID)
	if err != nil {
		return "", err
	}
	defer tmpfs.Close()
	err = v.do(func() error {
		v.next++
		path = fmt.Sprintf("/%d", v.next)
		if err := unix.Mkdir(path, 0o700); err != nil {
			return fmt.Errorf("mkdir: %w", err)
		}
		if err := jail.Attach(tmpfs, path); err != nil {
			return errors.Join(err, unix.Rmdir(path))
		}
		return nil
	})
	return path, err
}

// open clones a volume for one jail.
func (v *vault) open(path string, readOnly bool, userNS *os.File) (mount *os.File, err error) {
	err = v.do(func() error {
		mount, err = jail.OpenTree(path, readOnly, userNS)
		return err
	})
	return mount, err
}

// remove forgets a volume: no path in it is walked, whatever it holds. Its memory is freed when the last jail is gone.
func (v *vault) remove(path string) error {
	return v.do(func() error {
		if err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("umount: %w", err)
		}
		return unix.Rmdir(path)
	})
}

// vaults spreads volumes over as many vaults as they need.
type vaults struct {
	mu  sync.Mutex
	all []*vault
}

// pick returns a vault with room and counts the mount.
func (vs *vaults) pick() (*vault, error) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	for _, v := range vs.all {
		if v.used < mountsPerVault {
			v.used++
			return v, nil
		}
	}
	v, err := newVault()
	if err != nil {
		return nil, err
	}
	v.used = 1
	vs.all = append(vs.all, v)
	return v, nil
}

func (vs *vaults) release(v *vault) {
	vs.mu.Lock()
	v.used--
	vs.mu.Unlock()
}

func (vs *vaults) close() {
	for _, v := range vs.all {
		v.close()
	}
}
