package threads

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func count(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := bytes.Cut(status, []byte("\nThreads:\t"))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	n, err := strconv.Atoi(string(line))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// As many goroutines as threads were made ahead wait in a system call, and no thread is made for it.
func TestMadeThreadsAreUsed(t *testing.T) {
	Make()
	before := count(t)
	if least := Ahead + runtime.GOMAXPROCS(0); before < least {
		t.Fatalf("%d threads, want %d", before, least)
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	var waiting sync.WaitGroup
	for range Ahead {
		waiting.Go(func() {
			var b [1]byte
			if _, err := unix.Read(pipe[0], b[:]); err != nil { // a descriptor that blocks, unknown to Go
				t.Error(err)
			}
		})
	}
	for inRead(t, pipe[0]) < Ahead {
		runtime.Gosched()
	}
	if after := count(t); after > before {
		t.Errorf("%d threads, %d before", after, before)
	}
	unix.Close(pipe[1])
	waiting.Wait()
}

// inRead is how many of our threads are in read(2) of a descriptor.
func inRead(t *testing.T, fd int) (n int) {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		call, err := os.ReadFile("/proc/self/task/" + task.Name() + "/syscall")
		if err == nil && bytes.HasPrefix(call, fmt.Appendf(nil, "%d %#x ", unix.SYS_READ, fd)) {
			n++
		}
	}
	return n
}
