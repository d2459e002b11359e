package main

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"strings"
	"time"
)

// cpuPrograms use the CPU for about a third of a second and touch nothing else: what a judge or a benchmark of models measures.
var cpuPrograms = []program{
	{name: "c", language: "c", file: "main.c", compiled: true, bare: "gcc-13 -O2 main.c -o main && ./main", code: `#include <stdint.h>
#include <stdio.h>

int main(void) {
	uint64_t x = 88172645463325252u;
	for (int i = 0; i < 150000000; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
	}
	printf("hello %d\n", x ? NONCE : 0);
}
`},
	{name: "python", language: "python", file: "main.py", bare: "python3 main.py", code: `x = 0
for i in range(6_000_000):
    x = (x * 31 + i) % 1000003
print("hello", NONCE if x else 0)
`},
}

// benchHarness compares the CPU time that answers report with what the kernel says of the bare command, and shows what fillers do to it.
func benchHarness(ctx context.Context, b *bench) ([]table, error) {
	const n, busyRuns = 31, 15
	t := table{
		Title: "CPU time of CPU-bound programs: ms",
		Columns: []column{{"bare", "bare user+sys"}, {"ours", "cpu_time_ms"}, {"difference", "difference %"}, {"off", "either way %"},
			{"bare_cv", "bare variation %"}, {"ours_cv", "ours variation %"}, {"cv", "ours/bare"}, {"wall", "wall/bare"},
			{"pinned", "pinned"}, {"pinned_cv", "pinned variation %"}},
		Notes: []string{
			fmt.Sprintf("Medians of %d runs in turn. Pinned: sandboxd ties jobs to one CPU (pin_cpus). The variation is the standard deviation over the mean. Start-up of the interpreter is in bare's "+
				"time, and in ours only if the runner was not parked.", n),
		},
	}
	busy := table{
		Title: "The same beside other jobs, whose jails are refilled all the time, and beside refills alone, against an idle machine",
		Columns: []column{{"others", "others/s"}, {"cpu", "CPU ratio"}, {"wall", "wall ratio"}, {"bare_cpu", "bare CPU ratio"}, {"bare_wall", "bare wall ratio"},
			{"refill_cpu", "refills: CPU ratio"}, {"refill_wall", "wall ratio"}, {"pinned_cpu", "refills, pinned: CPU ratio"}, {"pinned_wall", "wall ratio"}},
		Notes: []string{
			fmt.Sprintf("Medians of %d runs in turn: idle; beside one caller who runs hellos of bash in a closed loop; right after a burst that emptied "+
				"the pool of JavaScript, whose runtimes are loaded while the program runs. Pinned: with pin_cpus, idle and beside refills. Bare: the bare command beside the callers.", busyRuns),
		},
	}
	settings := fmt.Sprintf("pin_cpus = \"%d\"\n", runtime.NumCPU()-1)
	pinned, err := startServer(ctx, pair{name: "pinned", bin: b.bin, image: b.image, firstUID: coldUID, settings: settings})
	if err != nil {
		return nil, err
	}
	defer pinned.stop()
	if err := pinned.settle(5); err != nil {
		return nil, err
	}
	for i := range cpuPrograms {
		r, err := accuracy(ctx, b, pinned, &cpuPrograms[i], n)
		if err != nil {
			return nil, err
		}
		t.Rows = append(t.Rows, r)
		if r, err = disturbance(ctx, b, pinned, &cpuPrograms[i], busyRuns); err != nil {
			return nil, err
		}
		busy.Rows = append(busy.Rows, r)
	}
	return []table{t, busy}, nil
}

// usage collects what runs took, ms.
type usage struct{ cpu, wall []float64 }

func (u *usage) bare(b *bench, p *program, nonce int64) error {
	commands := strings.Split(p.bare, " && ")
	out, wall, cpu, err := b.bare.run("harness", strings.Fields(commands[len(commands)-1])...)
	if err != nil {
		return err
	}
	u.cpu, u.wall = append(u.cpu, milliseconds(cpu)), append(u.wall, milliseconds(wall))
	return p.check(nonce, out)
}

func (u *usage) http(s *server, p *program, nonce int64) error {
	if err := s.settle(1); err != nil {
		return err
	}
	return u.httpNow(s, p, nonce)
}

func (u *usage) httpNow(s *server, p *program, nonce int64) error {
	a, err := p.runHTTP(s, nonce)
	if err != nil {
		return err
	}
	u.cpu, u.wall = append(u.cpu, a.Run.CPUTimeMS), append(u.wall, a.Run.TimeMS)
	return nil
}

func accuracy(ctx context.Context, b *bench, pinned *server, p *program, n int) (r row, err error) {
	nonce := fresh()
	if _, err := p.runBare(b.bare, "harness", nonce); err != nil { // compiles it
		return r, err
	}
	var bare, ours, tied usage
	for range n {
		err := ctx.Err()
		if err == nil {
			err = bare.bare(b, p, nonce)
		}
		if err == nil {
			err = ours.http(b.parked, p, nonce)
		}
		if err == nil {
			err = tied.http(pinned, p, nonce)
		}
		if err != nil {
			return r, err
		}
	}
	a, o := median(bare.cpu), median(ours.cpu)
	return row{Name: p.name, Values: map[string]float64{"bare": a, "ours": o, "difference": 100 * (o - a) / a, "off": 100 * math.Abs(o-a) / a,
		"bare_cv": variation(bare.cpu), "ours_cv": variation(ours.cpu), "cv": variation(ours.cpu) / variation(bare.cpu), "wall": median(ours.wall) / median(bare.wall),
		"pinned": median(tied.cpu), "pinned_cv": variation(tied.cpu)}}, nil
}

// disturbance runs the program idle, beside a stream of other jobs and beside refills, in turn.
func disturbance(ctx context.Context, b *bench, pinned *server, p *program, n int) (r row, err error) {
	hello, err := find("bash")
	if err != nil {
		return r, err
	}
	nonce := fresh()
	if _, err := p.runBare(b.bare, "harness", nonce); err != nil {
		return r, err
	}
	var idle, busy, refilled, bareIdle, bareBusy, pinnedIdle, pinnedRefilled usage
	var others int
	var elapsed time.Duration
	for range n {
		for _, once := range []func() error{
			ctx.Err,
			func() error { return idle.http(b.parked, p, nonce) },
			func() error { return bareIdle.bare(b, p, nonce) },
			func() error { return refilled.besideRefills(ctx, b.parked, p, nonce) },
			func() error { return pinnedIdle.http(pinned, p, nonce) },
			func() error { return pinnedRefilled.besideRefills(ctx, pinned, p, nonce) },
		} {
			if err := once(); err != nil {
				return r, err
			}
		}
		for _, once := range []func() error{
			func() error { return busy.httpNow(b.parked, p, nonce) },
			func() error { return bareBusy.bare(b, p, nonce) },
		} {
			start := time.Now()
			count, err := beside(ctx, func() error { _, err := hello.runHTTP(b.parked, fresh()); return err }, once)
			if err != nil {
				return r, err
			}
			others, elapsed = others+count, elapsed+time.Since(start)
		}
	}
	return row{Name: p.name, Values: map[string]float64{
		"others": float64(others) / elapsed.Seconds(),
		"cpu":    median(busy.cpu) / median(idle.cpu), "wall": median(busy.wall) / median(idle.wall),
		"bare_cpu": median(bareBusy.cpu) / median(bareIdle.cpu), "bare_wall": median(bareBusy.wall) / median(bareIdle.wall),
		"refill_cpu": median(refilled.cpu) / median(idle.cpu), "refill_wall": median(refilled.wall) / median(idle.wall),
		"pinned_cpu": median(pinnedRefilled.cpu) / median(pinnedIdle.cpu), "pinned_wall": median(pinnedRefilled.wall) / median(pinnedIdle.wall),
	}}, nil
}

// besideRefills runs the program right after a burst that emptied the pool of JavaScript.
func (u *usage) besideRefills(ctx context.Context, s *server, p *program, nonce int64) error {
	slow, err := find("javascript")
	if err != nil {
		return err
	}
	_, pool, err := s.missing(ctx, slow.language)
	if err != nil {
		return err
	}
	if _, err := atOnce(s, slow, pool); err != nil {
		return err
	}
	if err := u.httpNow(s, p, nonce); err != nil {
		return err
	}
	return s.settle(5)
}

// beside runs once while another goroutine calls other in a loop, and tells how often that was.
func beside(ctx context.Context, other, once func() error) (count int, err error) {
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		var err error
		for ; ctx.Err() == nil && err == nil; count++ {
			err = other()
		}
		ended <- err
	}()
	time.Sleep(20 * time.Millisecond) // the stream is under way
	err = once()
	stop()
	if otherErr := <-ended; err == nil {
		err = otherErr
	}
	return count, err
}
