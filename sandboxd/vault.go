package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/jail"
	"github.com/runtools/runtools/pkg/wire"
)

// mountsPerVault keeps a vault well below fs.mount-max, by default 100,000 mounts a mount namespace.
const mountsPerVault = 20_000

// A vault is a mount namespace with nothing in it but our tmpfs volumes, one a folder. A mount there costs neither a file
// descriptor nor a place in any namespace that jails are cloned from, and nobody can reach it by a path.
//
// Only a thread inside a mount namespace may clone its mounts, so each vault has a thread that works off a queue. The namespace outlives the
// thread only if it is anchored (anchor.go).
//
//	/7      a volume
//	/7.id   its name, as the target of a link that leads nowhere: only of those that are to outlive us
type vault struct {
	work   chan func()
	done   chan struct{}
	thread int      // its id
	root   *os.File // "/" of the namespace
	anchor string   // path, or ""; set before anybody else has the vault
	used   int      // mounts; guarded by vaults.mu
	next   int      // name of the next folder; only the vault's thread uses it
}

// newVault starts a thread in the mount namespace that enter takes it to.
func newVault(enter func() error) (*vault, error) {
	v := &vault{work: make(chan func()), done: make(chan struct{})}
	entered := make(chan error)
	go v.run(enter, entered)
	if err := <-entered; err != nil {
		return nil, fmt.Errorf("vault: %w", err)
	}
	return v, nil
}

func (v *vault) run(enter func() error, entered chan<- error) {
	defer close(v.done)
	// Never unlocked: the thread ends with the goroutine, and a namespace without an anchor ends with the thread, and all its mounts with it.
	runtime.LockOSThread()
	err := enter()
	if err == nil {
		v.thread = unix.Gettid()
		v.root, err = os.Open("/")
	}
	entered <- err
	if err != nil {
		return
	}
	defer v.root.Close()
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
		return fmt.Errorf("chdir /tmp: %w", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("detach the old root: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("chdir /: %w", err)
	}
	return nil
}

// enterMountNamespace joins one that an earlier sandboxd made. The kernel takes the thread to its root.
func enterMountNamespace(ns *os.File) error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("setns %s: %w", ns.Name(), err)
	}
	return nil
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

// add attaches a mount in a new folder and returns the folder's path.
func (v *vault) add(mount *os.File) (path string, err error) {
	err = v.do(func() error {
		v.next++
		path = fmt.Sprintf("/%d", v.next)
		if err := unix.Mkdir(path, 0o700); err != nil {
			return fmt.Errorf("mkdir: %w", err)
		}
		if err := jail.Attach(mount, path); err != nil {
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

// nameSuffix turns the folder of a volume into the link that holds its name.
const nameSuffix = ".id"

// name writes a volume's name beside it, where the next sandboxd finds it. It needs no thread: 2 µs.
func (v *vault) name(path, id string) error {
	if err := unix.Symlinkat(id, int(v.root.Fd()), path[1:]+nameSuffix); err != nil {
		return fmt.Errorf("name a volume: %w", err)
	}
	return nil
}

// survey finds the volumes of an earlier sandboxd: paths and names, "" where there is none.
func (v *vault) survey() (map[string]string, error) {
	entries, err := v.root.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, e := range entries {
		n, err := strconv.Atoi(strings.TrimSuffix(e.Name(), nameSuffix))
		if err != nil {
			return nil, fmt.Errorf("%q is no volume of ours", e.Name())
		}
		if v.next = max(v.next, n); !e.IsDir() {
			continue
		}
		var id [wire.MaxID + 1]byte
		length, err := unix.Readlinkat(int(v.root.Fd()), e.Name()+nameSuffix, id[:])
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return nil, fmt.Errorf("name of volume %d: %w", n, err)
		}
		found["/"+e.Name()] = string(id[:max(length, 0)])
	}
	return found, nil
}

// remove forgets a volume: no path in it is walked, whatever it holds. Its memory is freed when the last jail is gone. The name goes first:
// what is left after a crash in between is a volume that nobody wants. Whatever fails, the memory is given up if it can be: a name without a volume is nothing.
func (v *vault) remove(path string) (err error) {
	if e := unix.Unlinkat(int(v.root.Fd()), path[1:]+nameSuffix, 0); e != nil && !errors.Is(e, unix.ENOENT) {
		err = fmt.Errorf("name of a volume: %w", e)
	}
	return errors.Join(err, v.do(func() error {
		// EINVAL: nothing is mounted there, after a crash.
		if err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("umount: %w", err)
		}
		if err := unix.Rmdir(path); err != nil {
			return fmt.Errorf("rmdir: %w", err)
		}
		return nil
	}))
}

// vaults spreads volumes over as many vaults as they need.
type vaults struct {
	anchors *anchors

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
	v, err := vs.anchored()
	if err != nil {
		return nil, err
	}
	v.used = 1
	vs.all = append(vs.all, v)
	return v, nil
}

// anchorTries is how many namespaces are made for one that can be anchored.
const anchorTries = 64

// anchored makes a vault with an anchor. A namespace can be bound only in one with a lower id (mnt_ns_loop in the kernel's fs/namespace.c), and
// Linux 6.18 hands ids out in batches for each CPU: outside the host's first namespace a younger one may have the lower id. Then another is tried.
func (vs *vaults) anchored() (v *vault, err error) {
	for range anchorTries {
		if v, err = newVault(enterEmptyMountNamespace); err != nil {
			return nil, err
		}
		if v.anchor, err = vs.anchors.add(v.thread); err == nil {
			return v, nil
		}
		v.close()
		if !errors.Is(err, unix.EINVAL) {
			break
		}
	}
	return nil, err
}

func (vs *vaults) release(v *vault) {
	vs.mu.Lock()
	v.used--
	vs.mu.Unlock()
}

// close ends the threads. An empty vault ends with its thread.
func (vs *vaults) close() error {
	var errs []error
	for _, v := range vs.all {
		if v.used == 0 {
			errs = append(errs, vs.anchors.remove(v.anchor))
		}
		v.close()
	}
	return errors.Join(append(errs, vs.anchors.close())...)
}
