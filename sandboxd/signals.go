package main

import (
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/jail"
)

// signals are those that a client has for its program, in order. Each is there once at most, so a client that sends many costs nothing: the last of
// two alike counts, as SIGCONT and SIGSTOP undo each other.
type signals struct {
	mu      sync.Mutex
	pending []int
	came    chan struct{}
}

func newSignals() *signals { return &signals{came: make(chan struct{}, 1)} }

// add takes a signal, which pkg/wire has checked.
func (s *signals) add(number int) {
	s.mu.Lock()
	s.pending = append(slices.DeleteFunc(s.pending, func(n int) bool { return n == number }), number)
	s.mu.Unlock()
	select {
	case s.came <- struct{}{}:
	default: // it has yet to look
	}
}

func (s *signals) take() (numbers []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	numbers, s.pending = s.pending, nil
	return numbers
}

// signalTick is how often a signal that came early looks whether the program has begun.
const signalTick = 2 * time.Millisecond

// deliver sends what comes to the program of a jail that was started, until stop is called.
func (s *signals) deliver(j *jail.Jail) (stop func()) {
	done := make(chan struct{})
	var working sync.WaitGroup
	working.Go(func() {
		for {
			select {
			case <-s.came:
			case <-done:
				return
			}
			// Before exec the process is ours, and its death would look like a failure of ours.
			for _, begun := j.Started(); !begun; _, begun = j.Started() {
				select {
				case <-time.After(signalTick):
				case <-done:
					return
				}
			}
			for _, n := range s.take() {
				j.Signal(unix.Signal(n))
			}
		}
	})
	return func() { close(done); working.Wait() }
}
