package jail

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"time"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// netPool holds network namespaces made ahead: making one has a long tail (p99 4 ms, measured).
// They belong to the host's user namespace, so nothing in a jail has any capability over its network.
type netPool struct {
	ready  chan netResult // namespaces
	failed chan netResult // errors; unbuffered
	stop   chan struct{}
	done   chan struct{}
}

type netResult struct {
	ns  *os.File
	err error
}

// startNetPool makes namespaces until closed; size of them wait.
func startNetPool(size int) *netPool {
	p := &netPool{ready: make(chan netResult, size), failed: make(chan netResult), stop: make(chan struct{}), done: make(chan struct{})}
	go p.fill()
	return p
}

// retryNet is how long an error is offered before the next try.
const retryNet = 100 * time.Millisecond

func (p *netPool) fill() {
	defer close(p.done)
	// This thread changes its network namespace with each round. It is never unlocked, so it ends with the goroutine.
	runtime.LockOSThread()
	for {
		ns, err := newNet()
		ready := p.ready
		var retry <-chan time.Time
		if err != nil {
			ready, retry = p.failed, time.After(retryNet) // for who waits right now, not for those who come later
		}
		select {
		case ready <- netResult{ns, err}:
		case <-retry:
		case <-p.stop:
			if ns != nil {
				ns.Close()
			}
			return
		}
	}
}

// take returns a namespace that nothing has used.
func (p *netPool) take() (*os.File, error) {
	select {
	case r := <-p.ready:
		return r.ns, nil
	case r := <-p.failed:
		return nil, r.err
	}
}

func (p *netPool) close() {
	close(p.stop)
	<-p.done
	close(p.ready)
	for r := range p.ready {
		if r.ns != nil {
			r.ns.Close()
		}
	}
}

// newNet moves the calling thread into a new network namespace with nothing but loopback, which is up.
func newNet() (*os.File, error) {
	handle, err := netns.New()
	if err != nil {
		return nil, fmt.Errorf("jail: new network namespace: %w", err)
	}
	file := os.NewFile(uintptr(handle), "netns")
	if err := errors.Join(loopbackUp(), noTimestampCopies()); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// noTimestampCopies: a program may ask in the control data of a message, where no filter looks, for the time at which it is sent, and gets a copy of the
// message with it, in memory that no cgroup counts (sandboxd/testdata/attack/memory-error-queues.txtar). With this only CAP_NET_RAW of the host gets one. Kernels
// that have this setting for the host alone have no such file here: there it is the operator's (SECURITY.md).
func noTimestampCopies() error {
	err := os.WriteFile("/proc/sys/net/core/tstamp_allow_data", []byte("0"), 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("jail: network namespace: %w", err)
	}
	return nil
}

func loopbackUp() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("jail: loopback: socket: %w", err)
	}
	defer unix.Close(socket)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("jail: loopback up: %w", err)
	}
	return nil
}
