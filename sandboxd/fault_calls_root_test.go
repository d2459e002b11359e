package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/jail"
	"github.com/runtools/runtools/pkg/seccomp"
	"github.com/runtools/runtools/pkg/wire"
)

// jailCalls are the system calls of the spawner, PID 1 and the runner, from the clone of PID 1 to the end of the program, and the step that is named if one
// fails. The first row counts whose call is the beginning of one. Calls without a step are none of a step's, or not needed.
var jailCalls = []struct{ call, step string }{
	{"setresuid(-1, 0, -1)", "take effective uid 0"},
	{"setresuid(-1, ", "take effective uid 1"},
	{"setns(", "join network namespace"},
	{"clone3(", "clone"},
	{"setgroups(0, NULL) 1", "become uid 0"}, {"setresgid(0, ", "become uid 0"}, {"setresuid(0, ", "become uid 0"}, {"prctl(4, 0x0, 0x0, 0x0, 0x0) 1", "become uid 0"},
	{`openat(AT_FDCWD, "/proc/sys/user/max_user_namespaces", `, "let no user namespace be made"}, {"write(7, &, 1) 1", "let no user namespace be made"},
	{`move_mount(3, "", AT_FDCWD, "/jail", `, "attach /jail"},
	{`move_mount(4, "", AT_FDCWD, "/jail/dev", `, "attach /jail/dev"},
	{`mount("tmpfs", "/jail/tmp", `, "mount tmpfs on /jail/tmp"},
	{`mount("tmpfs", "/jail/dev/shm", `, "mount tmpfs on /jail/dev/shm"},
	{`mount("proc", "/jail/proc", `, "mount proc on /jail/proc"},
	{`chdir("/jail")`, "pivot_root"}, {"pivot_root(", "pivot_root"}, {"umount2(", "pivot_root"}, {`chdir("/")`, "pivot_root"},
	{"sethostname(", "set host name"},
	{"prctl(24, ", "empty bounding set"}, {"prctl(47, ", "empty bounding set"},
	{"capset(", "set capabilities"},
	{"prctl(38, ", "set no_new_privs"},
	{"seccomp(", "load seccomp filter"},
	{"write(9, ", "place d/f"}, {"write(1, ", ""}, {"write(", "join cgroup"}, // the second is the program's
	{"unshare(", "unshare cgroup namespace"},
	{"setsid(", "setsid"},
	{"prlimit64(0, 3, NULL, ", ""}, // the program's
	{"prlimit64(", "set rlimit"},
	{"setgroups(0, NULL) 2", "become uid 1000"}, {"setresgid(1000, ", "become uid 1000"}, {"setresuid(1000, ", "become uid 1000"},
	{"prctl(4, 0x0, 0x0, 0x0, 0x0) 2", "become uid 1000"},
	{"close_range(3, -1, ", "exec /bin/cat"},
	{"close_range(", "close descriptors"},

	{`move_mount(3, "", AT_FDCWD, "/home/user", `, "attach /home/user"},
	{"setfsgid(", "take the file access of the user: operation not permitted"}, {"setfsuid(", "take the file access of the user: operation not permitted"}, // they give no reasons
	{"prctl(4, ", "take the file access of the user"},
	{`chdir("/home/user")`, "the working directory"},
	{`openat2(AT_FDCWD, ".", `, "mkdir d"}, {"mkdirat(", "mkdir d"},
	{`openat2(AT_FDCWD, "d", `, "place d/f"}, {`unlinkat(`, "place d/f"}, {`openat(8, "f", `, "place d/f"}, {"pread64(", "place d/f"},
	{"sendmsg(6, &, 0x4000) 3", "start the runner"},
	{"sendmsg(", ""}, // replies: who cannot answer ends
	{"prctl(1, ", "wait for the program"}, {"wait4(-1, &, 0x0, &)", "wait for the program"},
	{`openat(AT_FDCWD, "/dev/null", `, "open /dev/null"}, {"dup2(4, 0)", "open /dev/null"},
	{"dup2(3, 1)", "set descriptor 1"}, {"dup2(3, 2)", "set descriptor 2"},
	{`openat2(AT_FDCWD, "/bin/cat", `, "exec /bin/cat"}, {"execve(", "exec /bin/cat"},
	{"wait4(", ""}, // who else is there, when the program has ended
}

// filtered are the numbers of these calls.
var filtered = []uint32{
	unix.SYS_SETRESUID, unix.SYS_SETNS, unix.SYS_CLONE3, unix.SYS_SETGROUPS, unix.SYS_SETRESGID, unix.SYS_PRCTL, unix.SYS_MOVE_MOUNT, unix.SYS_MOUNT, unix.SYS_CHDIR,
	unix.SYS_PIVOT_ROOT, unix.SYS_UMOUNT2, unix.SYS_SETHOSTNAME, unix.SYS_FCNTL, unix.SYS_CAPSET, unix.SYS_SECCOMP, unix.SYS_UNSHARE, unix.SYS_SETSID,
	unix.SYS_PRLIMIT64, unix.SYS_CLOSE_RANGE, unix.SYS_SETFSGID, unix.SYS_SETFSUID, unix.SYS_OPENAT2, unix.SYS_MKDIRAT, unix.SYS_UNLINKAT, unix.SYS_OPENAT,
	unix.SYS_PREAD64, unix.SYS_SENDMSG, unix.SYS_WAIT4, unix.SYS_DUP2, unix.SYS_EXECVE, unix.SYS_WRITE,
}

// injected is what no call returns by itself.
const injected = unix.EXFULL

// saboteur lets every call of a spawner, and of all that it clones, pass, but for one.
type saboteur struct {
	mu     sync.Mutex
	seen   map[string]int // since begin
	calls  []string       // in their order: "name(arguments) number"; of threads of ours "name number\tname(arguments) file of a cgroup", for their descriptors differ from run to run
	last   string         // what came before, of a thread of ours
	target string         // fails; "": none
}

// startSabotaged starts a spawner whose calls come to a saboteur. A filter is its thread's and goes on to what that thread forks, so this one is not used again.
func startSabotaged(t *testing.T) (*jail.Spawner, *saboteur) {
	t.Helper()
	s := &saboteur{seen: map[string]int{}}
	// A thread that forks keeps its P until the child has called execve, which another P has to answer.
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), 4))
	var spawner *jail.Spawner
	failed := make(chan error)
	go func() {
		runtime.LockOSThread()
		// The forked child waits for us before its exec, and the thread that forks for the child: it could not stop for the garbage collector.
		defer debug.SetGCPercent(debug.SetGCPercent(-1))
		fd, err := filterThread(filtered)
		if err == nil {
			go s.answer(t, fd, false)
			spawner, err = jail.Start(1)
		}
		failed <- err
	}()
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { spawner.Close() })
	return spawner, s
}

// filterThread has these calls of the calling thread decided elsewhere.
func filterThread(filtered []uint32) (listener int, err error) {
	const load, equal, result = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	filter := []unix.SockFilter{{Code: load, K: 0}} // the number
	for i, n := range filtered {
		filter = append(filter, unix.SockFilter{Code: equal, K: n, Jt: uint8(len(filtered) - i)})
	}
	filter = append(filter,
		unix.SockFilter{Code: result, K: unix.SECCOMP_RET_ALLOW},
		// Of a hundred about capabilities one will do, and the end of them all is a failure that is none.
		unix.SockFilter{Code: equal, K: unix.SYS_PRCTL, Jf: 5},
		unix.SockFilter{Code: load, K: 16}, // its first argument
		unix.SockFilter{Code: equal, K: unix.PR_CAPBSET_READ, Jt: 8},
		unix.SockFilter{Code: equal, K: unix.PR_CAPBSET_DROP, Jf: 6},
		unix.SockFilter{Code: load, K: 24}, // its second
		unix.SockFilter{Code: equal, K: 0, Jt: 4, Jf: 5},
		// What os.NewFile asks keeps the garbage collector waiting, and us with it.
		unix.SockFilter{Code: equal, K: unix.SYS_FCNTL, Jf: 3},
		unix.SockFilter{Code: load, K: 24},
		unix.SockFilter{Code: equal, K: unix.F_GETFL, Jt: 2},
		unix.SockFilter{Code: equal, K: unix.F_SETFL, Jt: 1},
		unix.SockFilter{Code: result, K: unix.SECCOMP_RET_USER_NOTIF},
		unix.SockFilter{Code: result, K: unix.SECCOMP_RET_ALLOW},
	)
	program := &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, reflect.ValueOf(program).Pointer())
	runtime.KeepAlive(program)
	if errno != 0 {
		return 0, errno
	}
	return int(fd), nil
}

func (s *saboteur) answer(t *testing.T, fd int, ours bool) {
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Error(err)
	}
	file := os.NewFile(uintptr(fd), "listener")
	defer file.Close()
	listener := seccomp.NewListener(file)
	for {
		c, err := listener.Receive()
		if err != nil {
			return
		}
		text, _ := listener.Describe(c)
		call, more := c.Name()+"("+text+")", ""
		if ours {
			call, more = c.Name(), "\t"+call
			if call == "pwrite64" || call == "pread64" || call == "mkdirat" {
				fd, _, _ := strings.Cut(text, ",")
				if path, _ := os.Readlink("/proc/self/fd/" + fd); strings.HasPrefix(path, "/sys/fs/cgroup/") {
					more += " " + path
				}
			}
		}
		s.mu.Lock()
		fails := false
		// A limit that gave way to a signal is written again (pkg/cgroup): that is no call more, or the next run would have one less.
		if again := call == "pwrite64" && more == s.last; !again {
			s.seen[call]++
			call = fmt.Sprint(call, " ", s.seen[call])
			s.calls = append(s.calls, call+more)
			fails = call == s.target
		}
		s.last = more
		s.mu.Unlock()
		if fails {
			err = listener.Answer(c, injected)
		} else {
			err = listener.Continue(c)
		}
		if err != nil {
			t.Errorf("%s: %v", call, err)
		}
	}
}

// begin has a call fail, or none. It returns those since the last time.
func (s *saboteur) begin(target string) (calls []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls = s.calls
	s.seen, s.calls, s.last = map[string]int{}, nil, ""
	s.target, _, _ = strings.Cut(target, "\t")
	return calls
}

// Each system call by which a jail is built and a job started in it fails once, outside its process, by a filter which the spawner hands down. The error
// names the step and why, nothing is left, and the next job runs in a jail of the same spawner. A call that jailCalls does not know is a new step: say there
// what its failure is called.
func TestEachCallOfAJailFails(t *testing.T) {
	td := startDaemon(t, func(c *config) {
		c.Networks = 1 // more would still be filling up
		if err := os.WriteFile(filepath.Join(c.Image, "languages/toy/jail.json"), []byte(`{"templates": {"cold": {"pool": 0}}}`), 0o644); err != nil {
			t.Fatal(err)
		}
	})
	spawner, s := startSabotaged(t)
	if err := td.d.cgroups.AddInit(spawner.PID()); err != nil {
		t.Fatal(err)
	}
	td.d.server.builder.spawner = spawner
	contents := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(contents, []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	calls := td.sabotage(s, "", contents)
	if calls.err != nil || calls.stdout != "x\n" {
		t.Fatalf("without a fault: %+v", calls)
	}
	td.awaitNoJail()
	before := td.holding()
	used := map[string]bool{}
	for _, call := range s.begin("") {
		at := slices.IndexFunc(jailCalls, func(row struct{ call, step string }) bool { return strings.HasPrefix(call, row.call) })
		if at < 0 {
			if !used["execve("] { // else the program's
				t.Errorf("%s is a call that jailCalls does not know", call)
			}
			continue
		}
		used[jailCalls[at].call] = true
		step := jailCalls[at].step
		if spared(call, step) {
			continue
		}
		err := td.sabotage(s, call, contents).err
		if err == nil || !strings.Contains(err.Error(), step) || !strings.Contains(err.Error(), injected.Error()) && !strings.Contains(step, ": ") {
			t.Errorf("%s: want %s: %v, got %v", call, step, injected, err)
		}
		if step == "wait for the program" && err != nil && strings.Contains(err.Error(), "no jail for a job") {
			t.Errorf("%s: its caller would try again what may have run: %v", call, err)
		}
		after := td.holding()
		for deadline := time.Now().Add(hang); after.exceeds(before) && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			after = td.holding()
		}
		if after.exceeds(before) {
			t.Fatalf("after %s: %+v are left, %+v before", call, after, before)
		}
		if next := td.sabotage(s, "", contents); next.err != nil || next.stdout != "x\n" {
			t.Fatalf("after %s: %+v", call, next)
		}
	}
	for _, row := range jailCalls {
		if !used[row.call] && row.step != "" {
			t.Errorf("no call begins like %s", row.call)
		}
	}
}

// awaitNoJail waits for the end of jails, which are destroyed behind the answer.
func (td *testDaemon) awaitNoJail() {
	td.t.Helper()
	live := &td.d.server.builder.live
	for deadline := time.Now().Add(hang); live.Load() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			td.t.Fatalf("%d jails are left", live.Load())
		}
	}
}

// sabotage runs a job while a call fails.
func (td *testDaemon) sabotage(s *saboteur, call, contents string) (r ran) {
	td.t.Helper()
	td.awaitNoJail()
	b := td.d.server.builder
	file, err := os.Open(contents)
	if err != nil {
		td.t.Fatal(err)
	}
	defer file.Close()
	read, write, err := os.Pipe()
	if err != nil {
		td.t.Fatal(err)
	}
	defer read.Close()
	var buildErr error
	j := &job{
		server: td.d.server, fds: jobFiles{stdout: write, stderr: write, contents: file},
		req: &wire.Job{
			Template: "toy/cold", Argv: []string{"/bin/cat", "d/f"}, Files: []wire.File{{Name: "d/f", Size: 2}}, HasFiles: true,
			Limits: wire.Limits{WallMS: hang.Milliseconds()},
		},
		apart: func(t *template) (ready *readyJail, err error) {
			p := *b.policy.Load()
			filter := *p.inForce[t.name].filter
			filter.Notifies = false // a process has one listener, and this one's is ours
			ready, buildErr = b.buildUnder(t, &p, &variant{filter: &filter})
			return ready, buildErr
		},
	}
	s.begin(call)
	r.Result, r.err = j.run(make(chan string))
	write.Close()
	if buildErr != nil {
		r.err = buildErr // the job's says where to look
	} else if known := (*wire.Error)(nil); errors.As(r.err, &known) && known.Code == wire.CodeNotBegun {
		r.err = errors.New(td.log.take()) // likewise
	}
	out, _ := io.ReadAll(read)
	r.stdout = string(out)
	return r
}
