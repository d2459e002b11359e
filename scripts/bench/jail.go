package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/wire"
)

// firstInstruction writes CLOCK_MONOTONIC, two words of seconds and nanoseconds, as the first thing it does. It has no C library: what the dynamic loader and
// the start of libc take, 0.3 ms of a static program here, is the program's own cost.
const firstInstruction = `
static long call(long n, long a, void *b, long c)
{
	long r;
	__asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return r;
}

void _start(void)
{
	long at[2];
	call(228, 1, at, 0); /* clock_gettime, CLOCK_MONOTONIC */
	call(1, 1, at, sizeof at); /* write */
	call(231, 0, 0, 0); /* exit_group */
	__builtin_unreachable();
}
`

func monotonic() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(err)
	}
	return t.Nano()
}

// job runs one job on sandboxd's socket, as apid would.
func (s *server) job(j *wire.Job, contents string) (*wire.Result, string, error) {
	var out, errs [2]int
	for _, p := range []*[2]int{&out, &errs} {
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			return nil, "", err
		}
	}
	outR, outW := os.NewFile(uintptr(out[0]), "out"), os.NewFile(uintptr(out[1]), "out")
	errR, errW := os.NewFile(uintptr(errs[0]), "err"), os.NewFile(uintptr(errs[1]), "err")
	defer outR.Close()
	defer errR.Close()
	files := []*os.File{outW, errW}
	if contents != "" {
		fd, err := unix.MemfdCreate("code", unix.MFD_CLOEXEC)
		if err != nil {
			return nil, "", err
		}
		f := os.NewFile(uintptr(fd), "code")
		defer f.Close()
		if _, err := f.WriteString(contents); err != nil {
			return nil, "", err
		}
		j.HasFiles = true
		files = append(files, f)
	}
	result, err := s.wire.Run(context.Background(), j, nil, files...)
	outW.Close()
	errW.Close()
	if err != nil {
		return nil, "", err
	}
	printed, _ := io.ReadAll(outR)
	complaint, _ := io.ReadAll(errR)
	if result.Code != 0 || result.Signal != 0 {
		return nil, "", fmt.Errorf("job %v: code %d, signal %d, limit %q: %s", j.Argv, result.Code, result.Signal, result.Limit, complaint)
	}
	return result, string(printed), nil
}

// checkout is the way of one job to its program's first instruction.
type checkout struct {
	fromTake []time.Duration // from the moment sandboxd takes the jail
	fromSend []time.Duration // from the moment the client connects to sandboxd's socket
	misses   int             // jobs that found the pool empty; left out
}

func (s *server) checkoutTimes(n int) (c checkout, err error) {
	const build = "bench-first-instruction"
	_, _, err = s.job(&wire.Job{Template: "c/compile", Argv: []string{"/usr/bin/gcc-13", "-O2", "-static", "-nostdlib", "-fno-stack-protector", "-o", "/build/main", "main.c"},
		Env: []string{"PATH=/usr/bin:/bin"}, Build: wire.Volume{ID: build, New: true},
		Files: []wire.File{{Name: "main.c", Size: int64(len(firstInstruction))}}}, firstInstruction)
	if err != nil {
		return c, err
	}
	defer s.wire.Forget(context.Background(), build)
	for range n {
		time.Sleep(20 * time.Millisecond) // the pool refills, as it would between the requests of one person
		start := monotonic()
		result, printed, err := s.job(&wire.Job{Template: "c/run", Argv: []string{"/build/main"}, Env: []string{}, Build: wire.Volume{ID: build}}, "")
		if err != nil {
			return c, err
		}
		var at [2]int64
		if err := binary.Read(strings.NewReader(printed), binary.LittleEndian, &at); err != nil {
			return c, fmt.Errorf("the time of the first instruction: %w", err)
		}
		first := at[0]*int64(time.Second) + at[1]
		if !result.PoolHit {
			c.misses++
			continue
		}
		taken := result.ExecAt - result.FilesNS - result.CheckoutNS
		c.fromTake = append(c.fromTake, time.Duration(first-taken))
		c.fromSend = append(c.fromSend, time.Duration(first-start))
	}
	return c, nil
}

func benchJail(ctx context.Context, b *bench) ([]table, error) {
	const n = 500
	if err := b.quiet(ctx); err != nil {
		return nil, err
	}
	c, err := b.parked.checkoutTimes(n)
	if err != nil {
		return nil, err
	}
	t := table{
		Title:   "A ready jail, to the first instruction of a program: ms",
		Columns: []column{{"p50", "p50"}, {"p99", "p99"}},
		Notes:   []string{fmt.Sprintf("%d jobs on sandboxd's socket, one at a time; %d that found no jail ready are left out. The program has no libc, whose start took 0.3 ms of earlier figures.", n, c.misses)},
	}
	for _, way := range []struct {
		name  string
		times []time.Duration
	}{{"from sandboxd taking the jail (checkout)", c.fromTake}, {"from the client connecting to sandboxd", c.fromSend}} {
		q := summarize(way.times)
		t.Rows = append(t.Rows, row{Name: way.name, Values: map[string]float64{"p50": q.P50, "p99": q.P99}})
	}
	return []table{t}, nil
}

func children(pid int) ([]int, error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return nil, err
	}
	var all []int
	for _, path := range tasks {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // the thread has ended
		}
		for _, word := range strings.Fields(string(data)) {
			n, err := strconv.Atoi(word)
			if err != nil {
				return nil, err
			}
			all = append(all, n)
		}
	}
	return all, nil
}

// statusField reads a number of /proc/PID/<file>; 0 if the process is gone.
func statusField(pid int, file, name string) int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return 0
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 1 && fields[0] == name {
			n, _ := strconv.ParseInt(fields[1], 10, 64)
			return n
		}
	}
	return 0
}

// descendants are all processes below one, at this moment.
func descendants(pid int) (all []int, err error) {
	for next := []int{pid}; len(next) > 0; next = next[1:] {
		below, err := children(next[0])
		if err != nil {
			return nil, err
		}
		all, next = append(all, below...), append(next, below...)
	}
	return all, nil
}
