package e2e

import (
	"fmt"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
)

// live are the stacks that were started and not stopped, as keys.
var live sync.Map

// told: the tests were told to end, and what they started comes first.
var told atomic.Bool

// endOnSignal has SIGTERM and Ctrl-C leave nothing on the machine: no daemon, no cgroup, no mount, no folder.
func endOnSignal() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		told.Store(true)
		signal.Ignore(syscall.SIGPIPE) // whoever read what we write may be gone
		endStacks()
		os.RemoveAll(binaries)
		os.Exit(1)
	}()
}

func endStacks() {
	var all sync.WaitGroup
	live.Range(func(key, _ any) bool {
		s := key.(*stack)
		all.Go(func() {
			for _, d := range []*daemon{s.apid, s.sandboxd} {
				if d != nil && !d.ended() {
					d.terminate()
				}
			}
			s.forget()
			if err := s.leftovers(); err != nil {
				fmt.Fprintln(os.Stderr, "e2e:", err)
			}
			os.RemoveAll(s.dir)
		})
		return true
	})
	all.Wait()
}
