package jail

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Spawner is the process that clones jails. Safe for concurrent use; clones are made one at a time.
type Spawner struct {
	mu      sync.Mutex // one exchange on the control socket at a time
	control *control
	process *os.Process
	nets    *netPool
	hostNet *os.File
	dead    chan struct{}
}

// Start starts the spawner: a copy of our own binary, which zygote.c takes over before Go's runtime begins. nets is the number of network
// namespaces to keep ready.
func Start(nets int) (*Spawner, error) {
	binary, err := ownBinary()
	if err != nil {
		return nil, fmt.Errorf("jail: %w", err)
	}
	hostNet, err := os.Open("/proc/thread-self/ns/net") // our own, not that of a thread which makes namespaces
	if err != nil {
		return nil, err
	}
	ours, theirs, err := newControl(true)
	if err != nil {
		hostNet.Close()
		return nil, err
	}
	defer theirs.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, errors.Join(err, hostNet.Close())
	}
	defer null.Close()
	// A jail inherits these descriptors until a job brings its own: they must lead nowhere. A session of its own: Ctrl-C and whoever else ends our process group mean
	// us, who let the jobs end first. It ends with its control socket.
	process, err := os.StartProcess("/proc/self/fd/"+strconv.Itoa(int(binary.Fd())), []string{"runtools-spawner"}, &os.ProcAttr{
		Dir:   "/",
		Env:   []string{zygoteEnv + "=3"},
		Files: []*os.File{null, null, null, theirs},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		ours.close()
		return nil, errors.Join(fmt.Errorf("jail: start spawner: %w", err), hostNet.Close())
	}
	s := &Spawner{control: ours, process: process, hostNet: hostNet, dead: make(chan struct{})}
	go func() { process.Wait(); close(s.dead) }()
	if err := s.leaveHostMounts(); err != nil {
		s.control.close()
		<-s.dead
		hostNet.Close()
		return nil, err
	}
	s.nets = startNetPool(nets)
	return s, nil
}

// leaveHostMounts gives the spawner a mount namespace with next to nothing in it: each jail starts from a copy, so this is faster (a
// host may have hundreds of mounts), and no path of the host exists in a jail at any moment. The host's /proc stays visible because
// the kernel lets a user namespace mount a procfs only where it could see a whole one before (mount_too_revealing).
func (s *Spawner) leaveHostMounts() error {
	var p plan
	p.add(step{op: opUnshare, a: unix.CLONE_NEWNS, what: "unshare mount namespace"})
	p.add(step{op: opPrivate, what: "make mounts private"})
	p.mount("tmpfs", "/tmp", 0, "size=64k,mode=755")
	p.add(step{op: opMkdir, s1: cstring("/tmp/proc"), a: 0o755, what: "mkdir proc"})
	p.add(step{op: opMkdir, s1: cstring("/tmp" + buildRoot), a: 0o755, what: "mkdir " + buildRoot})
	p.add(step{op: opBind, s1: cstring("/proc"), s2: cstring("/tmp/proc"), what: "bind proc"})
	p.simple(opPivot, "/tmp", "pivot_root")
	_, _, err := s.control.do(&p)
	return err
}

// PID of the spawner, for the cgroup that bounds what is not part of any job.
func (s *Spawner) PID() int { return s.process.Pid }

// Dead is closed when the spawner has ended: by Close, or because something killed it, and then no jail can be made any more.
func (s *Spawner) Dead() <-chan struct{} { return s.dead }

// Close ends the spawner. Jails are not ended by it; close them first.
func (s *Spawner) Close() error {
	s.nets.close()
	s.control.close()
	<-s.dead
	return s.hostNet.Close()
}

// namespaces of PID 1. The network namespace is joined before, so that the host's user namespace owns it; the runner makes the
// cgroup namespace once it is in its cgroup, so that it sees itself at the root.
//
// The clocks of the time namespace are the host's. It is a jail's own because it is a file as well, /proc/self/ns/time, on which jails that shared it could
// meet each other's locks.
const namespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWTIME

// IDs is the range of host ids that a jail's ids 0..Count-1 are mapped to. No two live jails may share any.
type IDs struct {
	First uint32
	Count uint32
}

// Spawn clones PID 1 of a new jail. The caller must Close the jail.
func (s *Spawner) Spawn(ids IDs) (*Jail, error) {
	net, err := s.nets.take()
	if err != nil {
		return nil, err
	}
	defer net.Close()
	ours, theirs, err := newControl(true)
	if err != nil {
		return nil, err
	}
	defer theirs.Close()

	var p plan
	p.effectiveUID(0) // the plan before may have failed half way
	p.setns(net, unix.CLONE_NEWNET)
	// The kernel counts inotify instances, queued signals and locked memory of a user namespace against its owner as well: that must be
	// nobody whose limits another jail, or root, needs.
	p.effectiveUID(ids.First)
	p.spawn(theirs, namespaces)
	p.effectiveUID(0)
	p.setns(s.hostNet, unix.CLONE_NEWNET)
	s.mu.Lock()
	r, pidfd, err := s.control.do(&p)
	s.mu.Unlock()
	if err == nil && pidfd == nil {
		err = errors.New("jail: internal error: spawner sent no pidfd")
	}
	if err != nil {
		ours.close()
		return nil, err
	}
	j := &Jail{pidfd: pidfd, init: ours}
	if err := j.mapIDs(int(r.pid), ids); err != nil {
		j.Close()
		return nil, err
	}
	return j, nil
}

// mapIDs writes the id maps through a descriptor of the process's /proc folder. The spawner does not wait for its children, so the
// PID could be another process by now: the pidfd, checked after the folder was opened, proves that it is not.
func (j *Jail) mapIDs(pid int, ids IDs) error {
	proc, err := os.OpenRoot("/proc/" + strconv.Itoa(pid))
	if err != nil {
		return fmt.Errorf("jail: %w", err)
	}
	defer proc.Close()
	if !j.alive() {
		return errors.New("jail: PID 1 ended before its ids were mapped")
	}
	line := fmt.Appendf(nil, "0 %d %d\n", ids.First, ids.Count)
	for _, name := range []string{"uid_map", "gid_map"} {
		f, err := proc.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return fmt.Errorf("jail: %w", err)
		}
		_, err = f.Write(line)
		if err = errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("jail: write %s: %w", name, err)
		}
	}
	// os.Root refuses the magic link ns/user; its folder does not move, so the path is opened below the checked /proc folder.
	dir, err := proc.Open(".")
	if err != nil {
		return fmt.Errorf("jail: %w", err)
	}
	defer dir.Close()
	fd, err := unix.Openat(int(dir.Fd()), "ns/user", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("jail: open user namespace: %w", err)
	}
	j.userNS = os.NewFile(uintptr(fd), "userns")
	return nil
}
