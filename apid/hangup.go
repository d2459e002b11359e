package main

import (
	"context"
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// hangups tells a request that its caller is gone, which neither fasthttp nor the runtime's poller does while nobody reads.
//
// One epoll instance beside the runtime's watches the connections of all requests that are being carried out. It only looks: no byte
// that a caller pipelined is consumed, and no deadline is touched. It costs a request two system calls.
//
// A caller that closes only its sending side looks the same as one that died: the kernel of a killed client sends the same FIN. Jobs
// of callers who left must end, so a half-closed connection counts as hung up. docs/api.md says so.
type hangups struct {
	epfd int

	mu      sync.Mutex
	next    int64
	watched map[int64]context.CancelCauseFunc
	ended   chan struct{}
}

// errHungUp is the cause of a request's context when its caller is gone.
var errHungUp = refuse(errGone, "the caller hung up")

func newHangups() (*hangups, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	h := &hangups{epfd: epfd, watched: map[int64]context.CancelCauseFunc{}, ended: make(chan struct{})}
	go h.loop()
	return h, nil
}

// watch cancels ctx when the connection is closed by the other side, until the returned function is called.
func (h *hangups) watch(conn net.Conn, cancel context.CancelCauseFunc) (stop func()) {
	if own, ok := conn.(*ownConn); ok {
		stop := context.AfterFunc(own.gone, func() { cancel(errHungUp) })
		return func() { stop() }
	}
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return func() {}
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return func() {}
	}
	h.mu.Lock()
	h.next++
	id := h.next
	h.watched[id] = cancel
	h.mu.Unlock()
	// The token is ours, not the descriptor: a number may be in use again by the time an event is read.
	event := unix.EpollEvent{Events: unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: int32(id), Pad: int32(id >> 32)}
	raw.Control(func(fd uintptr) {
		unix.EpollCtl(h.epfd, unix.EPOLL_CTL_ADD, int(fd), &event)
	})
	return func() {
		// Fails when the connection is closed already, which takes it out of the set as well.
		raw.Control(func(fd uintptr) {
			unix.EpollCtl(h.epfd, unix.EPOLL_CTL_DEL, int(fd), nil)
		})
		h.mu.Lock()
		delete(h.watched, id)
		h.mu.Unlock()
	}
}

// close ends the loop.
func (h *hangups) close() {
	// Closing an epoll instance does not wake its waiters, so it is told by a pipe whose other end is gone.
	var fds [2]int
	if unix.Pipe2(fds[:], unix.O_CLOEXEC) != nil {
		return
	}
	defer unix.Close(fds[0])
	unix.Close(fds[1])
	unix.EpollCtl(h.epfd, unix.EPOLL_CTL_ADD, fds[0], &unix.EpollEvent{Events: unix.EPOLLIN, Fd: hangupsEnd})
	<-h.ended
	unix.Close(h.epfd)
}

// hangupsEnd is the token that ends the loop. Those of connections begin at 1, and do not come round: 64 bits, which Fd and Pad are together.
const hangupsEnd = 0

func (h *hangups) loop() {
	defer close(h.ended)
	events := make([]unix.EpollEvent, 64)
	for {
		n, err := unix.EpollWait(h.epfd, events, -1)
		if err != nil && err != unix.EINTR {
			return
		}
		for i := range max(n, 0) {
			id := int64(events[i].Pad)<<32 | int64(uint32(events[i].Fd))
			if id == hangupsEnd {
				return
			}
			h.mu.Lock()
			cancel := h.watched[id]
			h.mu.Unlock()
			if cancel != nil {
				cancel(errHungUp)
			}
		}
	}
}
