package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/wire"
)

// These are the attacks of an apid that was taken over: it may send whatever it can build or open. It must not come out of the jails, not
// learn of other clients' volumes, not stop the daemon, and not leave anything behind.

// wireAttack is one job with descriptors that nobody should send. want is as in attack.h's files: first line the outcome, then stdout.
type wireAttack struct {
	name   string
	change func(t *testing.T, j *wire.Job) (more []*os.File)
	want   string
	open   string // what happens today, if that is a hole
}

func pipeEnds(t *testing.T) (read, write *os.File) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { read.Close(); write.Close() })
	return read, write
}

func opened(t *testing.T, path string, flags int) *os.File {
	t.Helper()
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), path)
	t.Cleanup(func() { f.Close() })
	return f
}

func unixPair(t *testing.T, kind int) (a, b *os.File) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	a, b = os.NewFile(uintptr(pair[0]), "a"), os.NewFile(uintptr(pair[1]), "b")
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// special makes a descriptor of an anonymous inode.
func special(t *testing.T, fd int, err error) *os.File {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "special")
	t.Cleanup(func() { f.Close() })
	return f
}

// contents asks for one file of so many bytes from f.
func contents(size int64, open func(t *testing.T) *os.File) func(*testing.T, *wire.Job) []*os.File {
	return func(t *testing.T, j *wire.Job) []*os.File {
		j.Files, j.HasFiles = []wire.File{{Name: "f", Size: size}}, true
		return []*os.File{open(t)}
	}
}

// stdin gives the program f; script is what it does with it.
func stdin(script string, open func(t *testing.T) *os.File) func(*testing.T, *wire.Job) []*os.File {
	return func(t *testing.T, j *wire.Job) []*os.File {
		j.HasStdin, j.Argv[2] = true, script
		return []*os.File{open(t)}
	}
}

// environ has the program write 128 KiB of environment, and f receive it.
func environ(open func(t *testing.T) *os.File) func(*testing.T, *wire.Job) []*os.File {
	return func(t *testing.T, j *wire.Job) []*os.File {
		j.HasEnviron, j.Argv[2] = true, "head -c 131072 /dev/zero >/tmp/.environ; echo ran"
		return []*os.File{open(t)}
	}
}

var wireAttacks = []wireAttack{
	// A descriptor of a folder is a path: the program leaves its mount namespace by it.
	{name: "stdin is a folder of the host", want: "error invalid\n",
		change: stdin("cd /proc/self/fd/0/ && ls -d etc/hostname >/dev/null && echo found the host", func(t *testing.T) *os.File { return opened(t, "/", unix.O_RDONLY) })},
	{name: "stdin is a path", want: "error invalid\n",
		change: stdin("cd /proc/self/fd/0/ && ls -d etc/hostname >/dev/null && echo found the host", func(t *testing.T) *os.File { return opened(t, "/", unix.O_PATH) })},
	// A socket brings more descriptors at any later time.
	{name: "stdin is a UNIX socket", want: "error invalid\n",
		change: stdin("test -S /proc/self/fd/0 && echo a socket", func(t *testing.T) *os.File { a, _ := unixPair(t, unix.SOCK_STREAM); return a })},
	{name: "stdin is a connection to sandboxd", want: "error invalid\n",
		change: stdin("test -S /proc/self/fd/0 && echo a socket", func(t *testing.T) *os.File { a, _ := unixPair(t, unix.SOCK_SEQPACKET); return a })},
	{name: "stdin is a file", want: "code 0\n5\n",
		change: stdin("wc -c", func(t *testing.T) *os.File {
			f := memfile(t, "abcde")
			f.Seek(0, 0)
			t.Cleanup(func() { f.Close() })
			return f
		})},

	// PID 1 reads the contents: nothing may hold it up.
	{name: "contents are a pipe", want: "error file\n", change: contents(1, func(t *testing.T) *os.File { r, _ := pipeEnds(t); return r })},
	{name: "contents are a socket", want: "error file\n", change: contents(1, func(t *testing.T) *os.File { a, _ := unixPair(t, unix.SOCK_STREAM); return a })},
	{name: "contents are a folder", want: "error file\n", change: contents(1, func(t *testing.T) *os.File { return opened(t, "/etc", unix.O_RDONLY) })},
	{name: "contents cannot be read", want: "error file\n", change: contents(1, func(t *testing.T) *os.File { return opened(t, "/dev/null", unix.O_WRONLY) })},
	{name: "contents are a path", want: "error file\n", change: contents(1, func(t *testing.T) *os.File { return opened(t, "/etc/passwd", unix.O_PATH) })},
	{name: "contents are too short", want: "error file\n", change: contents(100, func(t *testing.T) *os.File { return opened(t, "/dev/null", unix.O_RDONLY) })},
	{name: "contents without end", want: "error file\n", change: contents(math.MaxInt64, func(t *testing.T) *os.File { return opened(t, "/dev/zero", unix.O_RDONLY) })},
	{name: "contents are an eventfd", want: "error file\n",
		change: contents(8, func(t *testing.T) *os.File { fd, err := unix.Eventfd(0, 0); return special(t, fd, err) })},
	{name: "contents are a timer", want: "error file\n",
		change: contents(8, func(t *testing.T) *os.File {
			fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, 0)
			return special(t, fd, err)
		})},
	{name: "contents are inotify", want: "error file\n",
		change: contents(8, func(t *testing.T) *os.File { fd, err := unix.InotifyInit1(0); return special(t, fd, err) })},
	{name: "contents are a signalfd", want: "error file\n",
		change: contents(128, func(t *testing.T) *os.File {
			fd, err := unix.Signalfd(-1, &unix.Sigset_t{}, 0)
			return special(t, fd, err)
		})},
	{name: "contents are a terminal", want: "error file\n", change: contents(1, func(t *testing.T) *os.File { return opened(t, "/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY) })},
	{name: "contents are the kernel's log", want: "error file\n", change: contents(1<<30, func(t *testing.T) *os.File { return opened(t, "/proc/kmsg", unix.O_RDONLY|unix.O_NONBLOCK) })},
	{name: "sizes overflow", want: "error file\n", change: func(t *testing.T, j *wire.Job) []*os.File {
		j.HasFiles = true
		j.Files = []wire.File{{Name: "a", Size: math.MaxInt64}, {Name: "b", Size: math.MaxInt64}, {Name: "c", Size: math.MaxInt64}}
		return []*os.File{opened(t, "/dev/null", unix.O_RDONLY)}
	}},
	{name: "a file on a folder", want: "error file\n", change: func(t *testing.T, j *wire.Job) []*os.File {
		j.Files, j.HasFiles = []wire.File{{Name: "a/b"}, {Name: "a"}}, true
		return []*os.File{opened(t, "/dev/null", unix.O_RDONLY)}
	}},
	{name: "a folder on a file", want: "error file\n", change: func(t *testing.T, j *wire.Job) []*os.File {
		j.Files, j.HasFiles = []wire.File{{Name: "a"}, {Name: "a/b"}}, true
		return []*os.File{opened(t, "/dev/null", unix.O_RDONLY)}
	}},
	// The names of the folders above add up to more than a packet of steps holds.
	{name: "names of many parts", want: "error file\n", change: func(t *testing.T, j *wire.Job) []*os.File {
		j.HasFiles = true
		for i := range 200 {
			j.Files = append(j.Files, wire.File{Name: strings.Repeat(fmt.Sprintf("%03d/", i), wire.MaxParts-1) + "f"})
		}
		return []*os.File{opened(t, "/dev/null", unix.O_RDONLY)}
	}},
	{name: "a name of too many parts", want: "error invalid\n", change: func(t *testing.T, j *wire.Job) []*os.File {
		j.Files, j.HasFiles = []wire.File{{Name: strings.Repeat("a/", wire.MaxParts) + "f"}}, true
		return []*os.File{opened(t, "/dev/null", unix.O_RDONLY)}
	}},
	{name: "a thousand files with long names", want: "code 0\nran\n", change: func(t *testing.T, j *wire.Job) []*os.File {
		j.HasFiles = true
		for i := range wire.MaxFiles {
			j.Files = append(j.Files, wire.File{Name: fmt.Sprintf("%0100d", i)})
		}
		return []*os.File{opened(t, "/dev/null", unix.O_RDONLY)}
	}},

	// PID 1 writes the environment: the wall clock must still hold.
	{name: "environ nobody reads", want: "limit wall\nran\n", change: environ(func(t *testing.T) *os.File { _, w := pipeEnds(t); return w })},
	{name: "environ whose reader is gone", want: "code 0\nran\n", change: environ(func(t *testing.T) *os.File { r, w := pipeEnds(t); r.Close(); return w })},
	{name: "environ that cannot be written", want: "code 0\nran\n", change: environ(func(t *testing.T) *os.File { return opened(t, "/dev/null", unix.O_RDONLY) })},
	{name: "environ is a folder", want: "code 0\nran\n", change: environ(func(t *testing.T) *os.File { return opened(t, "/etc", unix.O_RDONLY) })},
	{name: "environ is full", want: "code 0\nran\n", change: environ(func(t *testing.T) *os.File { return opened(t, "/dev/full", unix.O_WRONLY) })},
	{name: "environ is a socket nobody reads", want: "limit wall\nran\n", change: environ(func(t *testing.T) *os.File {
		a, _ := unixPair(t, unix.SOCK_STREAM)
		if err := unix.SetsockoptInt(int(a.Fd()), unix.SOL_SOCKET, unix.SO_SNDBUF, 4096); err != nil {
			t.Fatal(err)
		}
		return a
	})},

	// Numbers and words at their bounds.
	{name: "wall clock of 292 million years", want: "error invalid\n", change: func(_ *testing.T, j *wire.Job) []*os.File {
		j.Limits.WallMS, j.Argv[2] = math.MaxInt64, "sleep 0.3; echo ran"
		return nil
	}},
	{name: "CPU time of 292 million years", want: "error invalid\n", change: func(_ *testing.T, j *wire.Job) []*os.File { j.Limits.CPUMS = math.MaxInt64; return nil }},
	{name: "all memory there is", want: "code 0\nran\n", change: func(_ *testing.T, j *wire.Job) []*os.File { j.Limits.MemoryBytes = math.MaxInt64; return nil }},
	{name: "memory of one byte", want: "error invalid\n", change: func(_ *testing.T, j *wire.Job) []*os.File { j.Limits.MemoryBytes = 1; return nil }},
	{name: "ten thousand words", want: "error invalid\n", change: func(_ *testing.T, j *wire.Job) []*os.File {
		for range 10_000 {
			j.Argv = append(j.Argv, "a")
		}
		return nil
	}},
	{name: "longest words", want: "code 0\nran\n", change: func(_ *testing.T, j *wire.Job) []*os.File {
		j.Env = append(j.Env, "A="+strings.Repeat("x", 90<<10))
		return nil
	}},
	{name: "one volume in both places", want: "error volume_in_use\n", change: func(_ *testing.T, j *wire.Job) []*os.File {
		j.Workspace, j.Build = wire.Volume{ID: "both", New: true}, wire.Volume{ID: "both", New: true}
		return nil
	}},
	{name: "a volume by a guess", want: "error unknown_volume\n", change: func(_ *testing.T, j *wire.Job) []*os.File { j.Workspace.ID = "1"; return nil }},
	{name: "a volume by its path in the vault", want: "error invalid\n", change: func(_ *testing.T, j *wire.Job) []*os.File { j.Workspace.ID = "/1"; return nil }},
	{name: "a volume by way of another", want: "error invalid\n", change: func(_ *testing.T, j *wire.Job) []*os.File { j.Build.ID = "../1"; return nil }},
	{name: "an id with a line break", want: "error invalid\n", change: func(_ *testing.T, j *wire.Job) []*os.File {
		j.Workspace = wire.Volume{ID: "a\n", New: true}
		return nil
	}},
	{name: "a template by its path", want: "error unknown_template\n", change: func(_ *testing.T, j *wire.Job) []*os.File { j.Template = "../../etc/x"; return nil }},
	{name: "a program by a relative path", want: "error invalid\n", change: func(_ *testing.T, j *wire.Job) []*os.File { j.Argv[0] = "bin/sh"; return nil }},
	{name: "a folder as the program", want: "error exec\n", change: func(_ *testing.T, j *wire.Job) []*os.File { j.Argv[0] = "/bin"; return nil }},
	{name: "PID 1 as the program", want: "error exec\n", change: func(_ *testing.T, j *wire.Job) []*os.File { j.Argv[0] = "/proc/1/exe"; return nil }},
	{name: "the zygote's variable", want: "code 0\nran\n", change: func(_ *testing.T, j *wire.Job) []*os.File {
		j.Env = append(j.Env, "RUNTOOLS_ZYGOTE_FD=0")
		return nil
	}},
}

func TestWireAttacks(t *testing.T) {
	td := startDaemon(t, func(c *config) { c.WorkspaceBytes, c.MaxJails = 4<<20, 20 })
	for _, a := range wireAttacks {
		t.Run(a.name, func(t *testing.T) {
			var got string
			for wall := int64(1500); wall < hang.Milliseconds(); wall *= 4 {
				job := &wire.Job{Template: "toy/run", Argv: []string{"/bin/sh", "-c", "echo ran"}, Env: []string{"PATH=/bin"},
					Limits: wire.Limits{WallMS: wall, MemoryBytes: 64 << 20}}
				more := a.change(t, job)
				ctx, cancel := context.WithTimeout(context.Background(), hang)
				defer cancel()
				r := td.runJob(ctx, job, nil, more...)
				if got = outcome(r.Result, r.err) + r.stdout; !strings.HasPrefix(got, "limit wall\n") || got == a.want {
					break // else the machine was too busy for it to come as far
				}
			}
			switch {
			case a.open != "" && got == a.open:
				t.Logf("OPEN: %q", got)
			case a.open != "" && got == a.want:
				t.Error("this hole is closed: remove open")
			case got != a.want:
				t.Errorf("got %q, want %q", got, a.want)
			}
			if clean := td.run("ls -A; echo clean", nil); clean.err != nil || clean.stdout != "clean\n" {
				t.Errorf("the next job: %+v", clean)
			}
		})
	}
	td.wantOnlyPools(t)
}

// wantOnlyPools waits until the pools of busyboxImage are all that is left, and looks for zombies of the spawner.
func (td *testDaemon) wantOnlyPools(t *testing.T) {
	t.Helper()
	st := &wire.Status{}
	for deadline := time.Now().Add(hang); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		now, err := td.client.Status(context.Background(), &wire.StatusRequest{})
		if known := (*wire.Error)(nil); errors.As(err, &known) && known.Code == wire.CodeOverloaded {
			continue // the connections that hung up are not all closed yet
		}
		if err != nil {
			t.Fatal(err)
		}
		if st = now; st.LiveJails == 3 && st.Volumes == 3 && st.Jobs == 0 {
			break
		}
	}
	if st.LiveJails != 3 || st.Volumes != 3 || st.Jobs != 0 {
		t.Errorf("left: %+v, want 3 jails, 3 volumes and no job", *st)
	}
	spawner := fmt.Sprintf("\nPPid:\t%d\n", td.d.server.builder.spawner.PID())
	statuses, _ := filepath.Glob("/proc/[0-9]*/status")
	for _, path := range statuses {
		if data, err := os.ReadFile(path); err == nil && strings.Contains(string(data), spawner) && strings.Contains(string(data), "State:\tZ") {
			t.Errorf("a zombie of the spawner:\n%s", data)
		}
	}
}

func (td *testDaemon) dial(t *testing.T) *net.UnixConn {
	t.Helper()
	uc, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: td.config.Socket, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { uc.Close() })
	return uc
}

// packet is a request as bytes.
func packet(t *testing.T, r *wire.Request) []byte {
	t.Helper()
	body, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// A memfd that shrinks, and is full again, while PID 1 reads it: the job runs or is refused, nothing else.
func TestAttackShrinkingContents(t *testing.T) {
	td := startDaemon(t, nil)
	const size = 1 << 20
	f := memfile(t, strings.Repeat("x", size))
	defer f.Close()
	stop := make(chan struct{})
	var shrinker sync.WaitGroup
	shrinker.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_ = f.Truncate(0)
				_ = f.Truncate(size)
			}
		}
	})
	ran, refused := 0, 0
	for range 40 {
		job := &wire.Job{Template: "toy/run", Argv: []string{"/bin/sh", "-c", "wc -c <f"}, Env: []string{"PATH=/bin"}, HasFiles: true,
			Files: []wire.File{{Name: "f", Size: size}}, Limits: wire.Limits{WallMS: 10_000}}
		switch got := td.runJob(context.Background(), job, nil, f); {
		case got.err == nil && got.stdout == "1048576\n":
			ran++
		case outcome(got.Result, got.err) == "error file\n":
			refused++
		default:
			t.Fatalf("%v %+v", got.err, got)
		}
	}
	close(stop)
	shrinker.Wait()
	t.Logf("%d ran, %d were refused", ran, refused)
	td.wantOnlyPools(t)
}

// Connections that say nothing fill the table: more are refused with a word, and silence is not for ever.
func TestAttackSilentConnections(t *testing.T) {
	td := startDaemon(t, func(c *config) { c.MaxJails = 10 })
	start := time.Now()
	for range 2 * td.config.MaxJails {
		td.dial(t)
	}
	time.Sleep(200 * time.Millisecond)
	switch got := td.run("echo hi", nil); {
	case outcome(got.Result, got.err) == "error overloaded\n":
	default:
		t.Errorf("with a full table: %v %+v", got.err, got.Result)
	}
	for time.Since(start) < firstPacket+hang {
		if got := td.run("echo hi", nil); got.err == nil && got.stdout == "hi\n" {
			if waited := time.Since(start); waited < firstPacket {
				t.Errorf("served after %v, before any silent connection was dropped", waited)
			}
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Error("silent connections are never dropped")
}

// A thousand clients that hang up at once, some of them in the middle of their job: everything comes back.
func TestAttackHangUps(t *testing.T) {
	td := startDaemon(t, nil)
	_, w := pipeEnds(t)
	job := packet(t, &wire.Request{Job: &wire.Job{Template: "toy/run", Argv: []string{"/bin/sh", "-c", "sleep 100 & sleep 100"}, Env: []string{"PATH=/bin"},
		Workspace: wire.Volume{}}})
	for i := range 1000 {
		uc := td.dial(t)
		if i%5 == 0 {
			rights := unix.UnixRights(int(w.Fd()), int(w.Fd()))
			_, _, err := uc.WriteMsgUnix(job, rights, nil)
			if err != nil && !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) { // a server that is behind may have closed it
				t.Fatal(err)
			}
			time.Sleep(time.Duration(i%4) * time.Millisecond)
		}
		uc.Close()
	}
	td.wantOnlyPools(t)
	if got := td.run("echo well", nil); got.stdout != "well\n" {
		t.Errorf("afterwards: %+v", got)
	}
}

// Whatever comes on the connection of a running job ends it: packets with descriptors by the thousand, a second job, garbage.
func TestAttackTalkDuringAJob(t *testing.T) {
	td := startDaemon(t, nil)
	_, w := pipeEnds(t)
	rights := unix.UnixRights(int(w.Fd()), int(w.Fd()))
	job := packet(t, &wire.Request{Job: &wire.Job{Template: "toy/run", Argv: []string{"/bin/sleep", "100"}}})
	for name, c := range map[string]struct {
		say  []byte
		want string // in the reply; "" is the end of the connection without one
	}{
		"second job": {job, ""},
		"garbage":    {[]byte("x"), ""},
		"status":     {[]byte(`{"status":{}}`), ""},
		"kill":       {[]byte(`{"kill":{"limit":"stdout"}}`), `"limit":"stdout"`},
		"bad kill":   {[]byte(`{"kill":{"limit":"wall"}}`), ""},
	} {
		t.Run(name, func(t *testing.T) {
			uc := td.dial(t)
			if _, _, err := uc.WriteMsgUnix(job, rights, nil); err != nil {
				t.Fatal(err)
			}
			time.Sleep(50 * time.Millisecond)
			for range 1000 {
				if _, _, err := uc.WriteMsgUnix(c.say, rights, nil); err != nil {
					break // it has closed
				}
			}
			_ = uc.SetReadDeadline(time.Now().Add(hang))
			buf := make([]byte, 4096)
			n, err := uc.Read(buf)
			if errors.Is(err, unix.ECONNRESET) { // it has closed before it read all, which the kernel tells ahead of the reply: wire.Conn.Recv
				n, err = uc.Read(buf)
			}
			if c.want == "" && n > 0 || !strings.Contains(string(buf[:n]), c.want) || os.IsTimeout(err) {
				t.Errorf("reply %q %v, want %q", buf[:n], err, c.want)
			}
		})
	}
	td.wantOnlyPools(t)
}

// A volume that is forgotten while its job runs, and made anew under the same id: two volumes, whose ends do not mix.
func TestAttackForgetAndMakeAnew(t *testing.T) {
	td := startDaemon(t, nil)
	with := func(v wire.Volume) func(*wire.Job) { return func(j *wire.Job) { j.Workspace = v } }
	first := make(chan ran)
	go func() { first <- td.run("echo old >f; sleep 1", with(wire.Volume{ID: "w", New: true})) }()
	td.wantHolders("w", 1)
	if err := td.client.Forget(context.Background(), "w"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, td.run("", with(wire.Volume{ID: "w"})).err, wire.CodeUnknownVolume)
	if r := td.run("ls; echo new >g", with(wire.Volume{ID: "w", New: true})); r.err != nil || r.stdout != "" {
		t.Errorf("made anew: %+v", r)
	}
	if r := <-first; r.err != nil {
		t.Error(r.err)
	}
	time.Sleep(100 * time.Millisecond)
	if r := td.run("cat *", with(wire.Volume{ID: "w"})); r.stdout != "new\n" {
		t.Errorf("after the end of the first: %+v", r)
	}
	if err := td.client.ForgetAll(context.Background()); err != nil {
		t.Fatal(err)
	}
	td.wantOnlyPools(t)
}

// Many jobs want to make one id: one of them gets it.
func TestAttackRaceForAnID(t *testing.T) {
	td := startDaemon(t, nil)
	for round := range 5 {
		var made, refused sync.Map
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				r := td.run(fmt.Sprintf("echo %d >>f; sleep 0.3", i), func(j *wire.Job) { j.Workspace = wire.Volume{ID: "race", New: true} })
				if r.err == nil {
					made.Store(i, true)
				} else if outcome(r.Result, r.err) == "error volume_in_use\n" {
					refused.Store(i, true)
				} else {
					t.Error(r.err)
				}
			})
		}
		all.Wait()
		n := 0
		made.Range(func(any, any) bool { n++; return true })
		if n != 1 {
			t.Errorf("round %d: %d jobs made the volume", round, n)
		}
		if r := td.run("wc -l <f", func(j *wire.Job) { j.Workspace = wire.Volume{ID: "race"} }); r.stdout != "1\n" {
			t.Errorf("round %d: %+v", round, r)
		}
		if err := td.client.Forget(context.Background(), "race"); err != nil {
			t.Fatal(err)
		}
	}
	td.wantOnlyPools(t)
}
