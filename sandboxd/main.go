// Sandboxd runs jobs in jails. It is the one part of runtools that is root.
//
// # Theory of operation
//
//	apid --unixpacket--> server ---> job ---> pools ---> builder ---> jail, cgroup leaf, volume
//	                     (one goroutine a connection)     ^
//	                                          fillers ----+  (one goroutine a template)
//
// A builder makes a jail in the order of builder.build: ids, cgroup leaf, namespaces, workspace, mounts and filter. A filler keeps
// some of each template ready. A job takes one, or builds one if there is none; attaches volumes; starts the program; waits; reports;
// and destroys the jail in the background. A jail runs one job, ever; that of a compiler, which runs no foreign code, more where compiler_jobs says so (kept.go).
//
// Volumes are tmpfs mounts in mount namespaces of their own (vault.go). A session's workspace is one, a compile job's result is
// another. No path inside a volume is ever opened from here.
//
// # Privileges
//
// All Go code here runs as root with the host's namespaces, except the threads of the vaults and the one that makes network namespaces. The spawner, PID 1 of each jail and the runner
// are zygote.c (see pkg/jail). Bytes of users that pass through this process: file names, argv and env inside one packet, which
// pkg/wire validates and pkg/jail copies. File contents, input and output pass as descriptors only.
//
// # Start and end
//
// start does what its phases say, in order, and on an error undoes those that were done. SIGTERM or SIGINT: no new jobs, running ones
// may end within `drain`, then everything is undone in reverse. SIGHUP: the seccomp profiles are read again (reload.go). After a crash the kernel ends every jail (their control sockets
// close), and the next start sweeps the cgroups. In both cases the sessions' workspaces stay, and the next start finds them (anchor.go).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
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
	"github.com/runtools/runtools/pkg/seccomp"
	"github.com/runtools/runtools/pkg/threads"
)

// initProfile is the seccomp profile of every PID 1.
const initProfile = "init"

// The vaults and the maker of network namespaces change the namespaces of their threads for good. The main goroutine keeps the main
// thread from them, whose namespaces are what /proc shows of this process.
func init() { runtime.LockOSThread() }

func main() {
	if err := run(os.Args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			os.Exit(2)
		}
		fmt.Fprintln(os.Stderr, "sandboxd:", err)
		os.Exit(1)
	}
}

const usageText = `usage: sandboxd [flags]                        serve jobs
       sandboxd check [flags]                  say what this host lacks, if anything
       sandboxd selftest [flags]               attack the sandbox from inside: that of the sandboxd which serves, or one for the moment
       sandboxd top [-n COUNT] [flags]         show what the sandboxd that serves is doing, every second
       sandboxd forget [flags]                 drop the sessions' files that a sandboxd which has ended left for the next
       sandboxd seccomp check|diff|explain|minimise ...
                                               read profiles: sandboxd seccomp -h
       sandboxd seccomp record -o DIR [flags]  serve jobs of trusted programs, and write down which calls they make
       sandboxd seccomp shadow [flags]         ask the sandboxd that runs what the profiles on trial would deny
`

func run(args []string) error {
	command := "serve"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		command, args = args[0], args[1:]
	}
	if command == "seccomp" {
		if len(args) == 0 || args[0] != "record" && args[0] != "shadow" {
			return seccompCommand(args, os.Stdout)
		}
		command, args = args[0], args[1:]
	}
	flags := flag.NewFlagSet("sandboxd", flag.ContinueOnError)
	flags.Usage = func() { fmt.Fprint(flags.Output(), usageText); flags.PrintDefaults() }
	path := flags.String("config", "", "configuration `file`; without it the defaults of sandboxd.example.toml hold")
	socket := flags.String("socket", "", "overrides socket")
	user := flags.String("user", "", "overrides user")
	image := flags.String("image", "", "overrides image")
	profiles := flags.String("profiles", "", "overrides profiles")
	packages := flags.String("packages", "", "overrides packages")
	parent := flags.String("cgroup-parent", "", "overrides cgroup_parent")
	use := flags.String("o", "", "seccomp record: the `folder` to write to; what is there is added to")
	enough := flags.Uint64("jobs", 300, "seccomp shadow: how many jobs of each language and stage a verdict needs")
	pictures := flags.Int("n", 0, "top: end after `COUNT` pictures; 0: on Ctrl-C, or after one where the output is no terminal")
	firstUID := flags.Uint("first-uid", 0, "overrides first_uid")
	if err := flags.Parse(args); err != nil {
		return err
	}
	read := func() (config, error) {
		c, err := loadConfig(*path)
		if err != nil {
			return c, err
		}
		for flag, key := range map[*string]*string{socket: &c.Socket, user: &c.User, image: &c.Image, profiles: &c.Profiles, packages: &c.Packages, parent: &c.CgroupParent} {
			if *flag != "" {
				*key = *flag
			}
		}
		if *firstUID != 0 {
			c.FirstUID = uint32(min(*firstUID, math.MaxUint32))
		}
		return c, c.validate()
	}
	c, err := read()
	if err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: run sandboxd -h", flags.Arg(0))
	}
	switch command {
	case "check":
		if problems := checkHost(&c); len(problems) > 0 {
			return errHost(problems)
		}
		fmt.Println("sandboxd: this host has everything")
		for _, advice := range adviseHost(&c) {
			fmt.Println("but " + advice)
		}
		return nil
	case "forget":
		return forget(&c)
	case "top":
		return top(&c, os.Stdout, *pictures)
	case "selftest":
		return selftestCommand(&c, os.Stdout)
	case "shadow":
		return seccompShadow(c.Socket, max(*enough, fewestJobs), os.Stdout)
	case "record":
		if info, err := os.Stat(*use); err != nil || !info.IsDir() {
			return errors.New("seccomp record: -o must name a folder that is there: make it first")
		}
		c.recorder = &recorder{dir: *use, uses: map[string]*seccomp.Use{}}
		return errors.Join(serve(&c, read, slog.New(slog.NewTextHandler(os.Stderr, nil))), c.recorder.write())
	case "serve":
		return serve(&c, read, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	}
	return fmt.Errorf("unknown command %q: run sandboxd -h", command)
}

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
	if d.cgroups, err = cgroup.Open(c.CgroupParent, c.TotalWeight, c.totalMemory()); err != nil {
		return nil, err
	}
	d.onClose(d.cgroups.Delete)
	b, err := d.newBuilder(c, profiles, log)
	if err != nil {
		return nil, err
	}
	// A trial: what checkHost cannot see, like an image on a filesystem that takes no id maps, is told now and in one line.
	for _, t := range templates {
		r, err := b.build(t)
		if err != nil {
			return nil, err
		}
		b.release(r)
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
