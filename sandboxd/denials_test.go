package main

import (
	"errors"
	"log/slog"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/seccomp"
)

// A listener from which nothing can be received is closed, as the log says: else whoever makes a denied call would wait for its answer for ever.
func TestListenerThatFailsIsClosed(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	// It can be read, as if a call were there; but the kernel's receive is of listeners alone.
	broken, other := os.NewFile(uintptr(pair[0]), "broken listener"), os.NewFile(uintptr(pair[1]), "its other end")
	defer broken.Close()
	defer other.Close()
	if _, err := other.WriteString("a call"); err != nil {
		t.Fatal(err)
	}
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		new(denials).answer(seccomp.NewListener(broken), nil, slog.New(slog.DiscardHandler))
	}()
	select {
	case <-answered:
	case <-time.After(time.Minute):
		t.Fatal("what cannot be received is waited for")
	}
	// The end of one side with bytes unread is ECONNRESET to the other.
	other.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := other.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the listener is open: %v", err)
	}
}

// A job's first counted calls are free together, not of each name.
func TestCountedCallsAreFreeTogether(t *testing.T) {
	var d denials
	d.begin()
	for range 3 {
		d.count("flock")
	}
	if named, all := d.count("fcntl"); named != 1 || all != 4 {
		t.Errorf("fcntl after three flock: %d of its name, %d of all, want 1 and 4", named, all)
	}
	d.begin()
	if named, all := d.count("fcntl"); named != 1 || all != 1 {
		t.Errorf("the first call of the next job: %d of its name, %d of all, want 1 and 1", named, all)
	}
}
