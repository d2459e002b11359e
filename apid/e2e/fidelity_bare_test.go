package e2e

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The plain machine that jails are compared with: the image with everything mounted that a small server has, and a process of uid 1000
// as a daemon would start it. No filter, no limits that a jail alone has, no id map, full /proc and /sys. Its pid, mount, net, ipc and
// uts namespaces are private only so that many can run beside each other and leave nothing behind.

// bareRequest is one or two commands in one machine. It is written to the process that sets the machine up, which is
// this test binary.
type bareRequest struct {
	Root     string      `json:"root"`
	At       string      `json:"at"` // an empty folder, where the machine's tree is put together
	Files    []bareFile  `json:"files"`
	Commands []bareStage `json:"commands"`
	Runs     int         `json:"runs"` // of all commands, one after the other
}

type bareFile struct {
	Name    string `json:"name"`
	Content []byte `json:"content"`
}

type bareStage struct {
	Argv  []string `json:"argv"`
	Env   []string `json:"env"`
	Stdin []byte   `json:"stdin"`
}

// bareUID is that of a jail's program.
const bareUID = 1000

// bareName is argv[0] of the process that sets the machine up.
const bareName = "e2e-bare-machine"

func init() {
	if os.Args[0] != bareName {
		return
	}
	if err := bareMain(); err != nil {
		fmt.Fprintf(os.Stderr, "bare: %v\n", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// runBare carries the request out and returns what each command did, in order. A command that fails ends its run.
func runBare(q *bareRequest) ([]outcome, error) {
	var err error
	if q.At, err = os.MkdirTemp("", "rt-e2e-bare-"); err != nil {
		return nil, err
	}
	defer os.Remove(q.At)
	first, err := firstProcess()
	if err != nil {
		return nil, err
	}
	spec, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	report, reportEnd, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer report.Close()
	var log bytes.Buffer
	machine := &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{bareName}, Dir: "/",
		Stdin: bytes.NewReader(spec), Stderr: &log, ExtraFiles: []*os.File{reportEnd, first},
		SysProcAttr: &syscall.SysProcAttr{
			Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
			Pdeathsig:  syscall.SIGKILL,
		},
	}
	err = machine.Start()
	reportEnd.Close()
	if err != nil {
		return nil, err
	}
	guard := time.AfterFunc(5*hang, func() { machine.Process.Kill() })
	content, readErr := io.ReadAll(report)
	err = errors.Join(readErr, machine.Wait())
	guard.Stop()
	if err != nil {
		return nil, fmt.Errorf("bare machine: %w: %s", err, log.String())
	}
	var outcomes []outcome
	return outcomes, json.Unmarshal(content, &outcomes)
}

// firstProcess compiles testdata/bare.c.
var firstProcess = sync.OnceValues(func() (*os.File, error) {
	path := filepath.Join(binaries, "bare")
	gcc := exec.Command("gcc", "-Wall", "-Wextra", "-Werror", "-O2", "-static", "-o", path, "testdata/bare.c")
	if out, err := gcc.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("gcc: %w: %s", err, out)
	}
	return os.Open(path)
})

// bareMain is the process that sets the machine up.
func bareMain() error {
	report, first := os.NewFile(3, "report"), os.NewFile(4, "PID 1")
	// Also what the tests themselves were started with.
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return err
	}
	var q bareRequest
	if err := json.NewDecoder(os.Stdin).Decode(&q); err != nil {
		return err
	}
	if err := q.setUp(); err != nil {
		return err
	}
	outcomes := []outcome{}
	for range q.Runs {
		if err := q.placeFiles(); err != nil {
			return err
		}
		for i, c := range q.Commands {
			o, err := c.run(first)
			if err != nil {
				return fmt.Errorf("run %s: %w", c.Argv[0], err)
			}
			o.Compile = i < len(q.Commands)-1
			outcomes = append(outcomes, o)
			if o.Code != 0 || o.Signal != "" {
				break
			}
		}
	}
	return json.NewEncoder(report).Encode(outcomes)
}

// setUp mounts what a machine has, but for what each PID 1 mounts, and changes root into it.
func (q *bareRequest) setUp() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make / private: %w", err)
	}
	unix.Umask(0)
	const safe = unix.MS_NOSUID | unix.MS_NODEV
	owned := fmt.Sprintf("mode=755,uid=%d,gid=%d", bareUID, bareUID)
	for _, m := range []struct {
		source, target, kind string
		flags                uintptr
		data                 string
	}{
		{q.Root, "/", "", unix.MS_BIND, ""},
		{"", "/", "", unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY | safe, ""},
		{"/proc", "/proc", "", unix.MS_BIND | unix.MS_REC, ""}, // until PID 1 has its own: it is executed by a name in /proc
		{"sysfs", "/sys", "sysfs", safe | unix.MS_NOEXEC | unix.MS_RDONLY, ""},
		{"tmpfs", "/dev", "tmpfs", unix.MS_NOSUID, "mode=755"},
		{"tmpfs", "/home/user", "tmpfs", safe, owned},
		{"tmpfs", "/build", "tmpfs", safe, owned},
	} {
		if m.target == "/build" && len(q.Commands) == 1 {
			continue // nothing is compiled
		}
		if err := unix.Mount(m.source, filepath.Join(q.At, m.target), m.kind, m.flags, m.data); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	if err := fillDev(filepath.Join(q.At, "dev")); err != nil {
		return err
	}
	if err := errors.Join(unix.Chroot(q.At), unix.Chdir("/")); err != nil {
		return fmt.Errorf("chroot: %w", err)
	}
	unix.Umask(0o022)
	return errors.Join(unix.Sethostname([]byte("sandbox")), loopbackUp(), plainLimits())
}

func fillDev(dev string) error {
	for name, number := range map[string][2]uint32{
		"null": {1, 3}, "zero": {1, 5}, "full": {1, 7}, "random": {1, 8}, "urandom": {1, 9}, "tty": {5, 0},
	} {
		if err := unix.Mknod(filepath.Join(dev, name), unix.S_IFCHR|0o666, int(unix.Mkdev(number[0], number[1]))); err != nil {
			return fmt.Errorf("mknod %s: %w", name, err)
		}
	}
	for name, to := range map[string]string{
		"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx",
	} {
		if err := os.Symlink(to, filepath.Join(dev, name)); err != nil {
			return err
		}
	}
	pts := filepath.Join(dev, "pts")
	if err := errors.Join(os.Mkdir(filepath.Join(dev, "shm"), 0o755), os.Mkdir(pts, 0o755)); err != nil {
		return err
	}
	if err := unix.Mount("devpts", pts, "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620"); err != nil {
		return fmt.Errorf("mount /dev/pts: %w", err)
	}
	return nil
}

func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, lo)
}

// plainLimits are those of a service that systemd started without being told any. Our own are whatever the tests were started with.
func plainLimits() error {
	const none = unix.RLIM_INFINITY
	for resource, limit := range map[int]syscall.Rlimit{
		unix.RLIMIT_CORE: {Cur: 0, Max: none}, unix.RLIMIT_CPU: {Cur: none, Max: none}, unix.RLIMIT_DATA: {Cur: none, Max: none},
		unix.RLIMIT_FSIZE: {Cur: none, Max: none}, unix.RLIMIT_NOFILE: {Cur: 1024, Max: 524288}, unix.RLIMIT_AS: {Cur: none, Max: none},
		unix.RLIMIT_RSS: {Cur: none, Max: none}, unix.RLIMIT_STACK: {Cur: 8 << 20, Max: none}, unix.RLIMIT_MEMLOCK: {Cur: 8 << 20, Max: 8 << 20},
		unix.RLIMIT_MSGQUEUE: {Cur: 819200, Max: 819200}, unix.RLIMIT_NICE: {}, unix.RLIMIT_RTPRIO: {}, unix.RLIMIT_RTTIME: {Cur: none, Max: none},
	} {
		var ours syscall.Rlimit // some hosts let root no higher
		if err := syscall.Getrlimit(resource, &ours); err != nil {
			return err
		}
		limit.Max = min(limit.Max, ours.Max)
		limit.Cur = min(limit.Cur, limit.Max)
		if err := syscall.Setrlimit(resource, &limit); err != nil {
			return fmt.Errorf("set limit %d: %w", resource, err)
		}
	}
	return nil
}

// placeFiles writes the request's files anew, as each request does.
func (q *bareRequest) placeFiles() error {
	const home = "/home/user"
	for _, f := range q.Files {
		path := filepath.Join(home, f.Name)
		for folder := filepath.Dir(path); folder != home; folder = filepath.Dir(folder) {
			defer os.Chown(folder, bareUID, bareUID)
		}
		if err := errors.Join(
			os.MkdirAll(filepath.Dir(path), 0o755),
			os.WriteFile(path, f.Content, 0o644),
			os.Chown(path, bareUID, bareUID),
		); err != nil {
			return err
		}
	}
	return nil
}

// run runs one command under a PID 1 of its own.
func (c *bareStage) run(first *os.File) (o outcome, err error) {
	stdin, err := c.openStdin()
	if err != nil {
		return o, err
	}
	var readers, writers [3]*os.File // stdout, stderr, wait status
	for i := range readers {
		if readers[i], writers[i], err = os.Pipe(); err != nil {
			return o, err
		}
		if err := writers[i].Chown(bareUID, bareUID); err != nil { // as if a process of the user had made it
			return o, err
		}
	}
	path := fmt.Sprintf("/proc/self/fd/%d", first.Fd())
	process, err := os.StartProcess(path, append([]string{"bare"}, c.Argv...), &os.ProcAttr{
		Dir: "/", Env: c.Env, Files: []*os.File{stdin, writers[0], writers[1], writers[2]},
		Sys: &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL},
	})
	for _, f := range append(writers[:], stdin) {
		f.Close() // nil is none
	}
	if err != nil {
		return o, err
	}
	var status []byte
	var reading sync.WaitGroup
	for i, to := range []*[]byte{&o.Stdout, &o.Stderr, &status} {
		reading.Go(func() {
			*to, _ = io.ReadAll(readers[i])
			readers[i].Close()
		})
	}
	if _, err := process.Wait(); err != nil {
		return o, err
	}
	reading.Wait()
	if len(status) != 4 {
		return o, fmt.Errorf("no wait status: %s", o.Stderr)
	}
	ended := unix.WaitStatus(binary.NativeEndian.Uint32(status))
	if o.Code = ended.ExitStatus(); ended.Signaled() {
		o.Code, o.Signal = 0, unix.SignalName(ended.Signal())
	}
	return o, nil
}

// openStdin is a file, as behind `<`, or nil.
func (c *bareStage) openStdin() (*os.File, error) {
	if len(c.Stdin) == 0 {
		return nil, nil
	}
	fd, err := unix.MemfdCreate("stdin", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "stdin")
	defer f.Close()
	if _, err := f.Write(c.Stdin); err != nil {
		return nil, err
	}
	if err := f.Chmod(0o444); err != nil {
		return nil, err
	}
	return os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
}
