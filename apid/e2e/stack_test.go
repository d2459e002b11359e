package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// apidUser is a uid and gid that nothing else on the machine has.
const apidUser = 65533

// hang bounds every wait for something that should come at once. It is long, because the machine may be busy, and shorter than the five minutes
// that programs may run: what outlives its limit or its caller does not end meanwhile.
const hang = 4 * time.Minute

// stack is a sandboxd and an apid of its own, with two keys.
type stack struct {
	dir          string   // sockets, settings, keys
	settings     []string // what is in it before the daemons are
	image        string
	cgroup       string // the parent below /sys/fs/cgroup
	firstUID     uint32
	strangers    map[string]bool // what was there before in publicFolders
	url, metrics string

	listen, metricsListen string
	socket                *os.File // that apid is started with, or nil
	key, otherKey         string
	sandboxd, apid        *daemon
	spare                 int // cgroup folders beside those of the pools, when nothing runs
}

// Environment of both daemons that no program may see.
var daemonSecret = "PLANTED_IN_DAEMONS=" + randomMarker()

// stacks counts those that were started. No two that live at a time use the same uids of the host, nor those of a server (scripts/run) or of
// other tests that may run here: one stack lives as long as the tests, and up to three others besides.
var stacks int

func firstUID() uint32 {
	n := 0
	if stacks > 1 {
		n = 1 + stacks%3
	}
	return uint32(ownUIDs().first + n*stackUIDs)
}

// stackUIDs is how many uids of the host a stack has: 65536 for each of 1024 jails.
const stackUIDs = 0x04000000

// ownUIDs are those of this run: make test has two at a time. Who listens has them, until the process ends.
var ownUIDs = sync.OnceValue(func() (own struct {
	first int
	held  net.Listener
}) {
	for _, own.first = range []int{0x10000000, 0x60000000} {
		var err error
		if own.held, err = net.Listen("unix", fmt.Sprintf("@runtools-e2e-%x", own.first)); err == nil {
			break
		}
	}
	return own
})

// startStack returns when a program has run. settings is the text of apid's configuration file, sandboxd are lines of the other's.
func startStack(name, settings string, sandboxd ...string) (*stack, error) {
	return startStackOf(nil, name, settings, sandboxd...)
}

// startStackOf is a stack that knows only those folders of rootfs/: it loads no other runtimes ahead, which for all takes seconds of two CPUs.
func startStackOf(languages []string, name, settings string, sandboxd ...string) (*stack, error) {
	dir, err := os.MkdirTemp("", "rt-e2e-"+name+"-")
	if err != nil {
		return nil, err
	}
	stacks++
	s := &stack{dir: dir, image: image, cgroup: fmt.Sprintf("runtools-e2e-%d-%s", os.Getpid(), name), firstUID: firstUID(), strangers: map[string]bool{}}
	for path := range publicFiles() {
		s.strangers[path] = true
	}
	live.Store(s, nil)
	err = errors.Join(
		os.Chmod(dir, 0o755),
		os.Chown(dir, 0, apidUser),
		os.Mkdir(s.path("state"), 0o700),
		os.Chown(s.path("state"), apidUser, apidUser),
		os.Mkdir(s.path("tmp"), 0o700),
		os.Chown(s.path("tmp"), apidUser, apidUser),
		os.Symlink(filepath.Join(repository, "seccomp-profiles"), s.path("profiles")),
		os.WriteFile(s.path("apid.toml"), []byte(settings), 0o644),
		os.WriteFile(s.path("sandboxd.toml"), fmt.Appendf(nil, "first_uid = %d\n%s\n", s.firstUID, strings.Join(sandboxd, "\n")), 0o644),
	)
	if err == nil && languages != nil {
		s.image = s.path("image")
		err = makeImage(s.image, languages)
	}
	for _, key := range []*string{&s.key, &s.otherKey} {
		if err == nil {
			*key, err = s.createKey()
		}
	}
	if err == nil {
		s.settings, err = names(dir)
	}
	if err == nil {
		err = s.start()
	}
	if err != nil {
		s.kill()
		s.forget()
		live.Delete(s)
		os.RemoveAll(dir)
		return nil, err
	}
	return s, nil
}

// names are what a folder holds.
func names(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

// makeImage makes the image over again with fewer languages: what is in it is the same.
func makeImage(dir string, languages []string) error {
	content, err := os.ReadFile(filepath.Join(image, "image.json"))
	if err != nil {
		return err
	}
	var manifest map[string]any
	if err := json.Unmarshal(content, &manifest); err != nil {
		return err
	}
	all, _ := manifest["languages"].(map[string]any)
	maps.DeleteFunc(all, func(folder string, _ any) bool { return !slices.Contains(languages, folder) })
	if content, err = json.Marshal(manifest); err != nil {
		return err
	}
	err = errors.Join(
		os.MkdirAll(filepath.Join(dir, "languages"), 0o755),
		os.WriteFile(filepath.Join(dir, "image.json"), content, 0o644),
		os.Symlink(filepath.Join(image, "rootfs"), filepath.Join(dir, "rootfs")),
	)
	for _, folder := range languages {
		err = errors.Join(err, os.Symlink(filepath.Join(image, "languages", folder), filepath.Join(dir, "languages", folder)))
	}
	return err
}

// cgroupLock is a file that sandboxd leaves, as it leaves that beside its socket: another may have opened it to wait for the lock.
func (s *stack) cgroupLock() string { return "/run/runtools-cgroup-" + s.cgroup + ".lock" }

func (s *stack) path(name string) string { return filepath.Join(s.dir, name) }

func (s *stack) createKey() (string, error) { return s.keys("create", "-name", "e2e") }

// revokeKey revokes the key that was made as the nth, from 0.
func (s *stack) revokeKey(n int) error {
	list, err := s.keys("list")
	if err != nil {
		return err
	}
	_, err = s.keys("revoke", strings.Fields(strings.Split(list, "\n")[n+1])[0])
	return err
}

// keys is the command `apid keys`, on the stack's own file.
func (s *stack) keys(command string, args ...string) (string, error) {
	keys := exec.Command(filepath.Join(binaries, "apid"), append([]string{"keys", command, "-file", s.path("keys")}, args...)...)
	var out, errOut bytes.Buffer
	keys.Stdout, keys.Stderr = &out, &errOut
	if err := keys.Run(); err != nil {
		return "", fmt.Errorf("apid keys %s: %w: %s", command, err, errOut.String())
	}
	return strings.TrimSpace(out.String()), nil
}

// start starts both daemons, also after they died.
func (s *stack) start() (err error) {
	if err := s.startSandboxd(); err != nil {
		return err
	}
	if err := s.startApid(); err != nil {
		return err
	}
	s.spare, err = s.settledDirs()
	return err
}

func (s *stack) startApid() (err error) {
	if s.listen == "" { // else callers still know the one of before
		s.listen, s.metricsListen = freeAddress(), freeAddress()
		s.url, s.metrics = "http://"+s.listen, "http://"+s.metricsListen+"/metrics"
	}
	s.apid, err = s.startDaemon(apidUser, "apid", s.socket, "-config", s.path("apid.toml"), "-listen", s.listen, "-metrics", s.metricsListen,
		"-socket", s.path("s.sock"), "-image", s.image, "-keys", s.path("keys"), "-state", s.path("state"))
	if err != nil {
		return err
	}
	return s.waitReady()
}

func (s *stack) startSandboxd() (err error) {
	var record []string
	if dir := os.Getenv("RUNTOOLS_RECORD"); dir != "" { // make record
		record = []string{"seccomp", "record", "-o", dir}
	}
	s.sandboxd, err = s.startDaemon(0, "sandboxd", nil, append(record, "-config", s.path("sandboxd.toml"), "-socket", s.path("s.sock"), "-image", s.image,
		"-profiles", s.path("profiles"), "-cgroup-parent", s.cgroup, "-user", strconv.Itoa(apidUser))...)
	if err != nil {
		return err
	}
	return eventually("sandboxd listens", func() error {
		if s.sandboxd.ended() {
			return s.sandboxd.failure("ended")
		}
		conn, err := net.Dial("unixpacket", s.path("s.sock"))
		if err == nil {
			conn.Close()
		}
		return err
	})
}

func (s *stack) waitReady() error {
	return eventually("apid is ready", func() error {
		if s.apid.ended() {
			return s.apid.failure("ended")
		}
		answer, err := http.Get(s.url + "/readyz")
		if err != nil {
			return err
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("/readyz: %s", answer.Status)
		}
		return nil
	})
}

// stop ends both daemons as an operator does and looks for leftovers.
func (s *stack) stop() error {
	err := errors.Join(s.apid.terminate(), s.sandboxd.terminate(), s.forget())
	err = errors.Join(err, s.leftovers())
	s.kill()
	live.Delete(s)
	return errors.Join(err, os.RemoveAll(s.dir), os.Remove(s.cgroupLock())) // the lock is nobody else's: the name of the cgroup has our pid
}

// forget drops the sessions that were kept for the next daemons.
func (s *stack) forget() error {
	out, err := exec.Command(filepath.Join(binaries, "sandboxd"), "forget", "-socket", s.path("s.sock")).CombinedOutput()
	if err != nil {
		return fmt.Errorf("sandboxd forget: %w: %s", err, out)
	}
	return nil
}

func (s *stack) kill() {
	for _, d := range []*daemon{s.apid, s.sandboxd} {
		if d != nil {
			d.command.Process.Kill()
			<-d.done
		}
	}
}

// daemon is one of the two processes.
type daemon struct {
	command *exec.Cmd
	log     *lockedBuffer
	done    chan struct{} // closed when it has ended
}

// startDaemon starts one of them. A socket is passed as systemd does.
func (s *stack) startDaemon(uid uint32, name string, socket *os.File, args ...string) (*daemon, error) {
	d := &daemon{command: exec.Command(filepath.Join(binaries, name), args...), log: &lockedBuffer{}, done: make(chan struct{})}
	if socket != nil {
		d.command = exec.Command("/bin/sh", append([]string{"-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@"`, d.command.Path}, args...)...)
		d.command.ExtraFiles = []*os.File{socket}
	}
	d.command.Stdout, d.command.Stderr = d.log, d.log
	d.command.Env = append(os.Environ(), daemonSecret, "E2E_STACK="+s.cgroup, "TMPDIR="+s.path("tmp")) // where leftFiles looks
	d.command.Dir = "/"
	// If the tests are killed, or panic, the daemons end as well. What is sent to the group of the tests is theirs to pass on (endStacks).
	d.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
	if uid != 0 {
		d.command.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: uid}
	}
	if err := d.command.Start(); err != nil {
		return nil, err
	}
	go func() {
		d.command.Wait()
		close(d.done)
	}()
	return d, nil
}

func (d *daemon) ended() bool {
	select {
	case <-d.done:
		return true
	default:
		return false
	}
}

func (d *daemon) failure(what string) error {
	return fmt.Errorf("%s %s: %v\n%s", filepath.Base(d.command.Path), what, d.command.ProcessState, d.log)
}

// errors are the lines of the log that tell of errors of ours.
func (d *daemon) errors() (lines string) {
	for line := range strings.Lines(d.log.String()) {
		if strings.Contains(line, "level=ERROR") {
			lines += line
		}
	}
	return lines
}

// terminate asks for the end, which must come and be a success.
func (d *daemon) terminate() error {
	if d.ended() {
		return d.failure("had ended before it was told to")
	}
	d.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.done:
	case <-time.After(hang):
		return d.failure("did not end on SIGTERM")
	}
	if !d.command.ProcessState.Success() {
		return d.failure("did not end well on SIGTERM")
	}
	return nil
}

// lockedBuffer is a log that is written while it is read.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// freeAddress is of a port that the kernel gives to no outgoing connection meanwhile (ip_local_port_range).
func freeAddress() string {
	for {
		l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", 10_000+rand.IntN(20_000)))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			panic(err)
		}
	}
}

// eventually waits until check is satisfied.
func eventually(what string, check func() error) error {
	deadline := time.Now().Add(hang)
	for {
		err := check()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: not within %v: %w", what, hang, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
