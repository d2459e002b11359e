// Package threads makes the threads of a daemon before it needs them.
//
// Go's runtime makes another thread when goroutines could run and every thread that there is waits in a system call. If the kernel refuses (pids.max of a
// cgroup, RLIMIT_NPROC, kernel.threads-max) the runtime ends the program at once: no error comes to anybody. But a thread that was made stays, also when it
// has nothing to do. So a daemon that has all that it will need from its start on, and bounds what waits in system calls at one time, goes on while nobody on
// the machine gets another process.
package threads

import (
	"runtime"
	"sync"
)

// Ahead is how many threads Make leaves idle, besides one for each CPU: many more than are in a system call at one time, see TestOverload. One
// that has never run takes some 20 KiB.
const Ahead = 64

// Make returns when they are there.
func Make() {
	var made, left sync.WaitGroup
	count := Ahead + runtime.GOMAXPROCS(0)
	made.Add(count)
	for range count {
		left.Go(func() {
			// Who is locked to a thread and waits keeps it: each of them has one of its own. Unlocked, it goes back to the runtime.
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			made.Done()
			made.Wait()
		})
	}
	left.Wait()
}
