package jail

import (
	"errors"
	"os"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/seccomp"
)

// netCalls are the system calls by which a network namespace is made, and the step that is named if one fails.
var netCalls = []struct{ call, step string }{
	{"unshare(CLONE_NEWNET)", "jail: new network namespace"},
	{`openat(AT_FDCWD, "/proc/sys/net/core/tstamp_allow_data", `, "jail: network namespace: open /proc/sys/net/core/tstamp_allow_data"},
	{`openat(AT_FDCWD, "/proc/`, "jail: new network namespace"},
	{"socket(AF_INET, ", "jail: loopback: socket"},
	{"ioctl(", "jail: loopback up"},
	{"write(", "jail: network namespace: write /proc/sys/net/core/tstamp_allow_data"}, // an older kernel has no such file
}

// netFault is a thread that makes network namespaces, of whose calls one fails until told otherwise.
type netFault struct {
	file   *os.File // listener
	mu     sync.Mutex
	calls  []string
	target string // the calls that fail begin like that; "": none
}

const injected = unix.EXFULL // what no call returns by itself

// start starts a pool of that thread, which keeps none ready.
func (f *netFault) start(t *testing.T) *netPool {
	t.Helper()
	p := &netPool{ready: make(chan netResult), failed: make(chan netResult), stop: make(chan struct{}), done: make(chan struct{})}
	failed := make(chan error)
	go func() {
		runtime.LockOSThread()
		fd, err := filterNetCalls()
		if err == nil {
			f.file = os.NewFile(uintptr(fd), "listener")
			go f.answer(t)
		}
		failed <- err
		if err == nil {
			p.fill()
		}
	}()
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	return p
}

// filterNetCalls has what newNet calls decided by who listens. Of writes only one of one byte is: others are those of Go's runtime.
func filterNetCalls() (listener int, err error) {
	const load, equal, result = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	filter := []unix.SockFilter{
		{Code: load, K: 0}, // the number
		{Code: equal, K: unix.SYS_UNSHARE, Jt: 7},
		{Code: equal, K: unix.SYS_OPENAT, Jt: 6},
		{Code: equal, K: unix.SYS_SOCKET, Jt: 5},
		{Code: equal, K: unix.SYS_IOCTL, Jt: 4},
		{Code: equal, K: unix.SYS_WRITE, Jf: 2},
		{Code: load, K: 32}, // its third argument
		{Code: equal, K: 1, Jt: 1},
		{Code: result, K: unix.SECCOMP_RET_ALLOW},
		{Code: result, K: unix.SECCOMP_RET_USER_NOTIF},
	}
	program := &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, reflect.ValueOf(program).Pointer())
	runtime.KeepAlive(program)
	if errno != 0 {
		return 0, errno
	}
	return int(fd), unix.SetNonblock(int(fd), true)
}

func (f *netFault) answer(t *testing.T) {
	listener := seccomp.NewListener(f.file)
	for {
		c, err := listener.Receive()
		if err != nil {
			return // it is closed
		}
		text, _ := listener.Describe(c)
		call := c.Name() + "(" + text + ")"
		f.mu.Lock()
		f.calls = append(f.calls, call)
		fails := f.target != "" && strings.HasPrefix(call, f.target)
		f.mu.Unlock()
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

// over ends the fault. It returns the calls so far.
func (f *netFault) over() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.target = ""
	return slices.Clone(f.calls)
}

// Each system call by which a network namespace is made fails for a while. The error that is there for a new jail names the step, jails are made again when it
// is over, and no descriptor is left. A call that netCalls does not know is a new step: say there what its failure is called.
func TestEachCallOfANetworkNamespaceFails(t *testing.T) {
	// Go's runtime does not know that socket may wait: whoever answers needs another processor, and the garbage collector must not want them all.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	s, err := Start(1)
	if err != nil {
		t.Fatal(err)
	}
	s.nets.close()
	defer func() {
		s.nets = startNetPool(1)
		s.Close()
	}()
	used := map[string]bool{}
	for _, call := range netTrial(t, s, "", "") {
		at := slices.IndexFunc(netCalls, func(row struct{ call, step string }) bool { return strings.HasPrefix(call, row.call) })
		switch {
		case at < 0:
			t.Errorf("%s is a call that netCalls does not know", call)
		case !used[netCalls[at].call]:
			used[netCalls[at].call] = true
			netTrial(t, s, netCalls[at].call, netCalls[at].step)
		}
	}
	for _, row := range netCalls {
		if !used[row.call] && row.call != "write(" {
			t.Errorf("no call begins like %s", row.call)
		}
	}
}

// netTrial makes a jail, after one could not be made because a call fails, by a thread whose calls it returns.
func netTrial(t *testing.T, s *Spawner, fails, step string) []string {
	t.Helper()
	before := descriptors(t)
	f := &netFault{target: fails}
	s.nets = f.start(t)
	if fails != "" {
		if j, err := s.Spawn(testIDs); err == nil {
			j.Close()
			t.Errorf("%s fails, and a jail is made", fails)
		} else if !strings.HasPrefix(err.Error(), step) || !errors.Is(err, injected) {
			t.Errorf("%s: want %s: %v, got %v", fails, step, injected, err)
		}
	}
	f.over()
	j, err := s.Spawn(testIDs)
	for deadline := time.Now().Add(time.Minute); err != nil && fails != "" && time.Now().Before(deadline); {
		j, err = s.Spawn(testIDs) // what failed before may still be said
	}
	if err != nil {
		t.Fatalf("after a fault in %q: %v", fails, err)
	}
	j.Close()
	s.nets.close()
	f.file.Close() // the thread may be the process's first, which never ends
	after := descriptors(t)
	for deadline := time.Now().Add(time.Minute); after > before && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		after = descriptors(t) // who answers may still hold it
	}
	if after > before {
		t.Fatalf("after a fault in %q: %d descriptors are open, %d before", fails, after, before)
	}
	return f.over()
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
