package jail

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// All our descriptors close by themselves when a program starts. Here some are planted that do not, as a mistake would leave them: below and above the
// control socket, whose number they do not have. Each of the places that close what is open must do so whatever the flags are.
func TestDescriptorsWithoutCloseOnExecAreClosed(t *testing.T) {
	b := newBench(t)
	b.toy(t)

	j, err := b.spawner.Spawn(testIDs)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	initPID := pidOf(t, j.pidfd)
	taken := openIn(t, initPID)
	numbers := []int{100}
	for n := 3; n < 30; n++ {
		if !slices.Contains(taken, n) {
			numbers = append(numbers, n)
		}
	}
	plant(t, j.init, numbers)
	if open := openIn(t, initPID); len(open) < len(numbers) {
		t.Fatalf("PID 1 has %v: nothing was planted", open)
	}
	if err := j.Build(b.spec(t, j)); err != nil {
		t.Fatal(err)
	}
	if open := openIn(t, j.RunnerPID()); len(open) != 4 || !slices.Equal(open[:3], []int{0, 1, 2}) || slices.Contains(numbers, open[3]) {
		t.Errorf("the runner, whose PID 1 has %v, has %v open; want 0 1 2 and its control socket", numbers, open)
	}

	b.built = func(j *Jail) { plant(t, j.runner.control, []int{40, 100}) }
	b.run(t, "ls /proc/self/fd", nil).want(t, "0\n1\n2\n3\n") // 3 is ls reading the folder
	b.runParked(t, nil, "/bin/toy", "descriptors").want(t, "0 1 2 ")
	b.runParked(t, []string{"TOY=1"}, "/bin/toy", "descriptors").want(t, "0 1 2 ") // executed
}

// plant gives a process of zygote.c descriptors that do not close when it executes something.
func plant(t *testing.T, c *control, numbers []int) {
	t.Helper()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	var p plan
	for _, n := range numbers {
		p.add(step{op: opStdio, fd: null, a: uint64(n), what: fmt.Sprintf("plant descriptor %d", n)})
	}
	if _, _, err := c.do(&p); err != nil {
		t.Fatal(err)
	}
}

// openIn lists the descriptors of a process, in order.
func openIn(t *testing.T, pid int) (open []int) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "fd"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, n)
	}
	slices.Sort(open)
	return open
}

// pidOf is the process of a pidfd.
func pidOf(t *testing.T, pidfd *os.File) int {
	t.Helper()
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", pidfd.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(info), "\nPid:\t")
	number, _, _ := strings.Cut(rest, "\n")
	pid, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}
