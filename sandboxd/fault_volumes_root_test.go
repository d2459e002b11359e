package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/wire"
)

// volumeCalls are those of a session's workspace from create to forget.
var volumeCalls = []failure{
	{`fsopen\(`, "fsopen tmpfs"}, {`fsconfig\(`, "fsconfig tmpfs"}, {`fsmount\(`, "fsmount tmpfs"},
	{`mkdirat\(`, "mkdir"}, {`move_mount\(`, "move_mount /"},
	{`open_tree\(`, "open_tree "}, {`mount_setattr\(`, "mount_setattr "}, {`fstatfs\(`, "statfs volume"},
	{`symlinkat\(`, "name a volume"},
	{`unlinkat\(\d+, "\d+.id", 0x0\)`, "drop volume: name of a volume"}, {`umount2\(`, "drop volume: umount"}, {`unlinkat\(AT_FDCWD, "/\d+", 0x200\)`, "drop volume: rmdir"},
}

func (td *testDaemon) failVolumes(t *testing.T, s *saboteur, w worker) {
	vs := td.d.server.volumes
	v, err := vs.create(workspaceVolume)
	if err == nil && v.vault == nil {
		err = vs.settle(v, true) // now there is a vault
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(v.vault.do(func() error { return s.sabotageThread(t) }), vs.release(v, false)); err != nil {
		t.Fatal(err)
	}
	clones := vs.clones
	for name, clone := range map[string]bool{"volume": clones, "volume before Linux 6.15": false} {
		vs.clones = clone
		t.Run(name, (&fault{td: td, saboteur: s, worker: w, known: volumeCalls, leaves: `umount2\(`, prepare: func() (func() error, func()) {
			return func() error { return useVolume(vs, "w") }, func() {}
		}}).run)
	}
	vs.clones = clones
}

// useVolume does with a volume what two jobs and the end of their session do.
func useVolume(vs *volumes, id string) (err error) {
	v, err := vs.create(workspaceVolume)
	if err != nil {
		return err
	}
	err = func() error {
		mount, err := vs.open(v, false, nil)
		if err != nil {
			return err
		}
		defer mount.Close()
		if _, _, err := usage(mount); err != nil {
			return err
		}
		return errors.Join(vs.name(v, id), vs.last(v))
	}()
	if err := errors.Join(err, vs.release(v, err == nil)); err != nil {
		return err
	}
	if v, err = vs.acquire(id, true); err != nil {
		return err
	}
	mount, err := vs.open(v, true, nil)
	if err == nil {
		mount.Close()
	}
	return errors.Join(err, vs.release(v, true), vs.forget(id))
}

// vaultCalls are those of a thread that becomes a vault, anchorCalls those from an empty folder to the adoption of what a daemon left, and its end.
var vaultCalls = []failure{
	{`unshare\(`, "vault: unshare"}, {`mount\("", "/", `, "vault: make mounts private"}, {`mount\("vault", "/tmp", `, "vault: mount tmpfs"}, {`chdir\("/tmp"`, "vault: chdir /tmp"},
	{`pivot_root\(`, "vault: pivot_root"}, {`umount2\(`, "vault: detach the old root"}, {`chdir\("/"\)`, "vault: chdir /"}, {`openat\(AT_FDCWD, "/"`, "vault: open /"},
}

var anchorCalls = []failure{
	{`mkdirat\(`, "mkdir /"}, {`newfstatat\(`, "/"}, {`mount\("vaults", `, "mount /"}, {`mount\("", `, "make /"},
	{`openat\(.*/vaults", `, "open /"}, {`getdents64\(`, "readdirent"},
	{`openat\(.*/1", `, "vaults/1"}, {`mount\("/proc/self/task/`, "anchor a vault on /"}, {`fstatfs\(`, "statfs /"},
	{`fsopen\(`, "fsopen tmpfs"}, {`fsconfig\(`, "fsconfig tmpfs"}, {`fsmount\(`, "fsmount tmpfs"},
	{`symlinkat\(`, "name a volume"}, {`readlinkat\(`, "name of volume 1"}, {`unlinkat\(\d+, "1.id"`, "drop volume: name of a volume"},
	{`umount2\(.*/1", `, "umount /"}, {`unlinkat\(AT_FDCWD, .*/1", 0x0\)`, "unlink /"}, {`umount2\(.*/vaults", `, "umount /"}, {`unlinkat\(AT_FDCWD, .*/vaults", 0x200\)`, "rmdir /"},
}

func (td *testDaemon) failVaults(t *testing.T, s *saboteur, w worker) {
	t.Run("vault", (&fault{td: td, saboteur: s, worker: w, known: vaultCalls, prepare: func() (func() error, func()) {
		return func() error {
			v, err := newVault(func() error { return errors.Join(s.sabotageThread(t), enterEmptyMountNamespace()) })
			if err == nil {
				v.close()
			}
			return err
		}, func() {}
	}}).run)
	folder := filepath.Join(t.TempDir(), "vaults")
	t.Run("anchors", (&fault{td: td, saboteur: s, worker: w, known: anchorCalls, prepare: func() (func() error, func()) {
		return func() error { return succeed(folder) }, func() {
			if err := dropAnchors(folder); err != nil {
				t.Fatal(err)
			}
		}
	}}).run)
}

// succeed leaves a volume in a vault with an anchor, as a daemon does that ends, and finds it as the next one does.
func succeed(folder string) error {
	const id = "left"
	for life := range 2 {
		a, namespaces, err := openAnchors(folder)
		if err != nil {
			return err
		}
		vs := newVolumes(10, quota{1 << 20, 100}, quota{1 << 20, 100}, a)
		err = vs.adopt(namespaces)
		switch {
		case err != nil:
		case life == 0:
			var v *volume
			if v, err = vs.create(workspaceVolume); err == nil {
				err = errors.Join(vs.name(v, id), vs.last(v), vs.release(v, true))
			}
		case !slices.Equal(vs.ids(), []string{id}):
			err = fmt.Errorf("it finds %v", vs.ids())
		default:
			err = vs.forget(id)
		}
		if err := errors.Join(err, vs.close()); err != nil {
			return err
		}
	}
	return nil
}

// terminalCalls are those of sandboxd for a terminal.
var terminalCalls = []failure{
	{`fsopen\(`, "make a terminal: fsopen devpts"}, {`fsconfig\(.*NULL`, "make a terminal: fsconfig devpts create"}, {`fsconfig\(`, "make a terminal: fsconfig devpts"}, {`fsmount\(`, "make a terminal: fsmount devpts"},
	{`openat\(`, "make a terminal: open ptmx"},
	{`ioctl\(\d+, 0x40045431, `, "make a terminal: unlock"}, {`ioctl\(\d+, 0x5414, `, "make a terminal: set the size"}, {`ioctl\(\d+, 0x5401, `, "make a terminal: read modes"},
	{`ioctl\(\d+, 0x5402, `, "make a terminal: set modes"}, {`ioctl\(\d+, 0x5441, `, "make a terminal: open the slave"},
}

// jobCalls are those for a job with a new session, a build volume and a terminal, whose jail is not there yet. Before the program has begun, the client is told to come
// again, and the log says why; afterwards it is not. What the jail does for any job, fault_calls_root_test.go has fail.
var jobCalls = []failure{
	{`mkdirat\(.*/memory/`, "cgroup: new leaf: mkdir in memory: exchange full"}, {`mkdirat\(.*/pids/`, "cgroup: new leaf: mkdir in pids: exchange full"},
	{`mkdirat\(.*/cpu[,/]`, "cgroup: new leaf: mkdir in cpu: exchange full"}, {`mkdirat\(.*/cpuacct/`, "cgroup: new leaf: mkdir in cpuacct: exchange full"},
	{`mkdirat\(.* /sys/fs/cgroup/`, "cgroup: new leaf: mkdir job-"}, // v2's
	{`openat\(\d+, "job-\d+/pids.max"`, "cgroup: new leaf: open pids.max: exchange full"}, {`pwrite64\(.*/pids.max$`, "cgroup: new leaf: write 32 to pids.max: exchange full"},
	{`openat\(\d+, "job-\d+/memory.(swap|oom)`, "cgroup: new leaf: open memory."}, {`pwrite64\(.*/memory.(swap.max|oom.group)$`, "cgroup: new leaf: write "},
	{`openat\(\d+, "job-\d+/memory.`, "cgroup: set memory: open memory."}, {`pwrite64\(.*/memory.*(limit_in_bytes|max)$`, "cgroup: set memory: write "},
	{`openat\(\d+, "job-\d+/cpu.(shares|weight)"`, "cgroup: set weight: open cpu."}, {`pwrite64\(.*/cpu.(shares|weight)$`, "cgroup: set weight: write "},
	{`openat\(AT_FDCWD, "/sys/fs/cgroup/.*, 0x80002, `, ""}, // then it is opened to be read
	{`openat\(AT_FDCWD, "/sys/fs/cgroup/.*/job-\d+/cg`, ""}, // cgroup.procs, however much of it is shown: who cannot see that the job is alone ends it
	{`openat\(AT_FDCWD, "/sys/fs/cgroup/`, "cgroup: new leaf: open /sys/fs/cgroup/"},
	{`eventfd2\(`, "cgroup: watch OOM: exchange full"}, {`openat\(\d+, "job-\d+/cgroup.event_control"`, "cgroup: watch OOM: open"}, {`pwrite64\(.*/cgroup.event_control$`, "cgroup: watch OOM: write"},
	{`openat\(\d+, "job-\d+/(tasks|cgroup.procs)"`, "cgroup: open "},
	{`pread64\(`, ""}, {`fsconfig\(.*, "`, ""},
	// The session will not outlive us, which is logged; the client is gone.
	{`symlinkat\(`, ""}, {`sendmsg\(\d+, &, 0x0\)$`, ""},
	// The jail's.
	{`move_mount\(.*"/build"`, "attach /build"}, {`move_mount\(.*"/dev/pts"`, "attach /dev/pts"}, {`openat\(AT_FDCWD, "/dev/pts/0"`, "open /dev/pts/0"},
	{`pidfd_send_signal\(\d+, 0, .*\)$`, "build toy/run: jail: PID 1 ended before"},
	{`fstatfs\(`, "not to be sent again: statfs volume"},
	{`.*\)$`, "no jail for a job"},
}

// lastCalls come before them where a volume needs no vault until the end of its first job: what fails then is logged, too. Those that clone for a jail look like the one that
// clones for the vault, and fail where none is detached.
var lastCalls = []failure{{`open_tree\(\d+, "", `, ""}, {`mount_setattr\(\d+, "", 0x1000, &, 32\)`, ""}, {`mkdirat\(AT_FDCWD, "/\d+"`, ""}, {`move_mount\(\d+, "", AT_FDCWD, "/\d+"`, ""}}

func (td *testDaemon) failTerminals(t *testing.T, s *saboteur, w worker) {
	t.Run("terminal", (&fault{td: td, saboteur: s, worker: w, known: terminalCalls, prepare: func() (func() error, func()) {
		return func() error {
			terminal, err := openTerminal(&wire.Terminal{Rows: 24, Cols: 80}, td.d.server.builder.slots.ids(0))
			if err == nil {
				terminal.close()
			}
			return err
		}, func() {}
	}}).run)
	vs := td.d.server.volumes
	if clones := vs.clones; clones {
		td.failJob(t, s, w, "job", slices.Concat(lastCalls, jobCalls))
		vs.clones = false
		defer func() { vs.clones = clones }()
	}
	td.failJob(t, s, w, "job before Linux 6.15", jobCalls)
}

func (td *testDaemon) failJob(t *testing.T, s *saboteur, w worker, name string, known []failure) {
	t.Run(name, (&fault{td: td, saboteur: s, worker: w, known: known, others: true, prepare: func() (func() error, func()) {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		theirs, ours := os.NewFile(uintptr(pair[0]), ""), os.NewFile(uintptr(pair[1]), "")
		conn, err := net.FileConn(ours)
		if err != nil {
			t.Fatal(err)
		}
		ours.Close()
		j := &job{server: td.d.server, conn: wire.NewConn(conn.(*net.UnixConn)), req: &wire.Job{
			Template: "toy/run", Argv: []string{"/bin/true"}, Terminal: &wire.Terminal{Rows: 24, Cols: 80}, Limits: wire.Limits{WallMS: hang.Milliseconds()},
			Workspace: wire.Volume{ID: "w", New: true}, Build: wire.Volume{ID: "b", New: true},
		}}
		return func() error {
				td.log.take()
				_, err := j.run(make(chan string))
				switch known := (*wire.Error)(nil); {
				case err == nil:
					return nil
				case errors.As(err, &known) && known.Code == wire.CodeNotBegun:
					return errors.New(td.log.take())
				}
				return fmt.Errorf("not to be sent again: %w", err)
			}, func() {
				theirs.Close()
				conn.Close()
				td.awaitNoJail()
				if err := errors.Join(td.d.server.volumes.forget("w"), td.d.server.volumes.forget("b")); err != nil {
					t.Fatal(err)
				}
			}
	}}).run)
}
