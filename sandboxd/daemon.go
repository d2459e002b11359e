package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/cgroup"
	"github.com/runtools/runtools/pkg/jail"
	"github.com/runtools/runtools/pkg/threads"
)

// What a sandboxd is made of, in the order in which it is made.

// forget is `sandboxd forget`.
func forget(c *config) (err error) {
	d := &daemon{}
	defer func() { err = errors.Join(err, d.close()) }()
	if err := d.lock(c.Socket); err != nil {
		return err
	}
	return dropAnchors(anchorFolder(c))
}

func anchorFolder(c *config) string { return c.Socket + ".vaults" }

// serve runs until SIGTERM or SIGINT. On SIGHUP it has read give the configuration again.
func serve(c *config, read func() (config, error), log *slog.Logger) error {
	signals, hangups := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT)
	signal.Notify(hangups, unix.SIGHUP)
	threads.Make()
	if problems := checkHost(c); len(problems) > 0 {
		return errHost(problems)
	}
	for _, advice := range adviseHost(c) {
		log.Warn("the host could be set up better", "advice", advice)
	}
	d, err := start(c, log)
	if err != nil {
		return err
	}
	go d.server.serve()
	ctx, cancel := context.WithCancel(context.Background())
	var reloader sync.WaitGroup
	reloader.Go(func() { d.reloadOn(ctx, hangups, read, log) })
	log.Info("serving", "socket", c.Socket, "templates", len(d.server.pools.all), "cgroup", d.cgroups.Version(), "profiles", d.server.builder.policy.Load().digest)
	select {
	case s := <-signals:
		log.Info("draining", "signal", s.String())
	case <-d.server.builder.spawner.Dead():
		err = errors.New("the spawner ended: no jail can be made any more")
	}
	cancel()
	d.server.drain(time.Duration(c.Drain))
	reloader.Wait()
	return errors.Join(err, d.close())
}

// daemon is what start has made. close undoes it in reverse.
type daemon struct {
	config  *config // as it was at start
	server  *server
	cgroups cgroup.Parent
	undo    []func() error
}

func (d *daemon) close() error {
	var errs []error
	for i := len(d.undo) - 1; i >= 0; i-- {
		errs = append(errs, d.undo[i]())
	}
	d.undo = nil
	return errors.Join(errs...)
}

func (d *daemon) onClose(f func() error) { d.undo = append(d.undo, f) }

// start makes everything and begins to fill the pools; serve then accepts. Whatever fails undoes what was done before.
func start(c *config, log *slog.Logger) (_ *daemon, err error) {
	d := &daemon{config: c}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	// Locks, not PID files: they cannot be stale. Two daemons on one socket would take each other's jobs; on one cgroup, sweep each
	// other's jails.
	for _, name := range []string{c.Socket, filepath.Join(lockDir, "runtools-cgroup-"+strings.ReplaceAll(strings.Trim(c.CgroupParent, "/"), "/", "-"))} {
		if err := d.lock(name); err != nil {
			return nil, err
		}
	}
	templates, err := loadTemplates(c)
	if err != nil {
		return nil, err
	}
	if err := checkPools(c.Pools, templates); err != nil {
		return nil, err
	}
	for _, t := range templates {
		if !c.Parked {
			t.spec.Parked = nil
		}
		if c.unpooled {
			t.spec.Pool, t.spec.PoolMax = 0, 0
		}
	}
	if c.unpooled {
		c.Pools = nil
	}
	profiles, err := loadPolicy(c, templates)
	if err != nil {
		return nil, err
	}
	profiles.warnUnfollowed(c, templates, log)
	if d.cgroups, err = cgroup.Open(c.CgroupParent, c.TotalWeight, c.totalMemory()); err != nil {
		return nil, err
	}
	d.onClose(d.cgroups.Delete)
	b, err := d.newBuilder(c, profiles, log)
	if err != nil {
		return nil, err
	}
	// A trial: what checkHost cannot see, like an image on a filesystem that takes no id maps, is told now and in one line. Its workspace goes into a
	// vault, as a session's does at the end of its first request.
	for _, t := range templates {
		r, err := b.build(t)
		if err != nil {
			return nil, err
		}
		if r.workspace.vault == nil {
			err = b.volumes.settle(r.workspace, true)
		}
		b.release(r)
		if err != nil {
			return nil, err
		}
		break
	}
	if err := d.newServer(c, b, log); err != nil {
		return nil, err
	}
	d.server.pools = startPools(b, templates, c.Pools, c.PoolMemory, runtime.NumCPU(), log)
	d.onClose(func() error { d.server.pools.close(); return nil })
	stop := make(chan struct{})
	var sweeper sync.WaitGroup
	sweeper.Go(func() { sweepIdle(b.volumes, time.Duration(c.VolumeIdle), stop, log) })
	d.onClose(func() error { close(stop); sweeper.Wait(); return nil })
	d.server.selftest, err = newSelftest(d.server, c.Image, time.Duration(c.SelftestEvery))
	if err != nil {
		return nil, err
	}
	d.onClose(d.server.selftest.close)
	return d, nil
}

// lockDir is where only root can put anything.
const lockDir = "/run"

func (d *daemon) lock(name string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	fd, err := unix.Open(name+".lock", unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("%s.lock: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name+".lock")
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return fmt.Errorf("%s.lock: %w: another sandboxd has this socket or cgroup_parent", name, err)
	}
	// The file stays: whoever opened it before it was unlinked would lock a file that nobody else can see.
	d.onClose(f.Close)
	return nil
}

func (d *daemon) newBuilder(c *config, profiles *policy, log *slog.Logger) (*builder, error) {
	anchors, namespaces, err := openAnchors(anchorFolder(c))
	if err != nil {
		return nil, err
	}
	b := &builder{
		cgroups: d.cgroups, recorder: c.recorder, log: log,
		slots: newSlots(c.FirstUID, c.MaxJails), making: make(chan struct{}, atOnce), ending: make(chan struct{}, atOnce),
		limits: cgroup.Limits{MemoryBytes: c.MemoryBytes, CPUWeight: c.CPUWeight, CPUs: c.CPUsPerJob}, mostJobs: c.CompilerJobs,
		volumes: c.newVolumes(anchors),
	}
	b.policy.Store(profiles)
	d.onClose(b.volumes.close)
	if err := b.volumes.adopt(namespaces); err != nil {
		log.Error("some volumes of an earlier sandboxd are lost", "error", err)
	}
	if b.devices, err = newDeviceFolders(); err != nil {
		return nil, err
	}
	d.onClose(func() error { b.devices.vault.close(); return nil })
	if b.image, err = d.newOverlays(filepath.Join(c.Image, "rootfs"), true); err != nil {
		return nil, err
	}
	if c.Packages != "" {
		if b.packages, err = d.newOverlays(c.Packages, false); err != nil {
			return nil, err
		}
	}
	if b.spawner, err = jail.Start(c.Networks); err != nil {
		return nil, err
	}
	d.onClose(b.spawner.Close)
	return b, d.cgroups.AddInit(b.spawner.PID())
}

func (d *daemon) newOverlays(folder string, keep bool) (*overlays, error) {
	path, err := filepath.EvalSymlinks(folder)
	if err != nil {
		return nil, err
	}
	o, err := newOverlays(path, keep)
	if err == nil {
		d.onClose(func() error { o.vault.close(); return nil })
	}
	return o, err
}

func (d *daemon) newServer(c *config, b *builder, log *slog.Logger) error {
	uid, gid, err := lookupUser(c.User)
	if err != nil {
		return err
	}
	pinned, loaders, err := newPinners(c.PinCPUs)
	if err != nil {
		return err
	}
	b.loaders = loaders
	// We hold the lock, so whatever is there is a dead daemon's.
	if err := os.Remove(c.Socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	listener, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: c.Socket, Net: "unixpacket"})
	if err != nil {
		return err
	}
	d.onClose(func() error { listener.Close(); return nil }) // closed by drain already, as a rule
	if err := errors.Join(os.Chown(c.Socket, 0, gid), os.Chmod(c.Socket, 0o660)); err != nil {
		return err
	}
	d.server = &server{
		started: time.Now(), maxJails: c.MaxJails, builder: b, volumes: b.volumes, log: log, cpus: runtime.NumCPU(), pinner: pinned, shares: newShares(c.CPUWeight, log), uid: uint32(uid),
		listener: listener, slots: make(chan struct{}, 2*c.MaxJails), accepted: make(chan struct{}), running: map[*job]*progress{},
	}
	return nil
}

// sweepIdle drops volumes that nobody came back to.
func sweepIdle(vs *volumes, idle time.Duration, stop <-chan struct{}, log *slog.Logger) {
	ticker := time.NewTicker(max(idle/10, time.Second))
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			n, err := vs.forgetIdle(time.Now().Add(-idle))
			if err != nil {
				log.Error("sweep volumes", "error", err)
			}
			if n > 0 {
				log.Info("swept volumes", "count", n)
			}
		case <-stop:
			return
		}
	}
}
