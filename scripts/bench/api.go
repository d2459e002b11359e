package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/runtools/runtools/pkg/client"
)

// clock prints CLOCK_MONOTONIC again and again: what is written is the moment before it was written.
const clock = `import time
for _ in range(10):
    time.sleep(0.02)
    print(time.clock_gettime_ns(time.CLOCK_MONOTONIC), flush=True)
`

// sum reads numbers; the comment makes it a program that no cache has.
const sum = `// %d
#include <iostream>
int main() { long a, s = 0; while (std::cin >> a) s += a; std::cout << s << '\n'; }
`

const (
	streams   = 30 // programs whose events are timed
	rounds    = 11 // of one compile and one run against twenty tests
	tests     = 20
	forks     = 50
	forkBytes = 10 << 20
)

// benchAPI measures what is more than one program and one answer: events, tests and forks.
func benchAPI(ctx context.Context, b *bench) ([]table, error) {
	c, err := client.New("http://"+b.parked.addr, benchKey)
	if err != nil {
		return nil, err
	}
	if err := b.quiet(ctx); err != nil {
		return nil, err
	}
	t := table{
		Title:   "Events, and a fork of a session: ms",
		Columns: []column{{"p50", "p50"}, {"p99", "p99"}},
		Notes: []string{
			"An event: from the moment before Python's print to the client's decoding of the event, both by CLOCK_MONOTONIC; first is the first of each program.",
			fmt.Sprintf("The session holds one file of %d MiB, half of it random; the fork is the whole request.", forkBytes>>20),
		},
	}
	first, later, err := eventDelays(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	forked, err := forkTimes(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("fork: %w", err)
	}
	for _, way := range []struct {
		name  string
		times []time.Duration
	}{{"an event, the first", first}, {"an event, later", later}, {"a fork", forked}} {
		q := summarize(way.times)
		t.Rows = append(t.Rows, row{Name: way.name, Values: map[string]float64{"p50": q.P50, "p99": q.P99}})
	}
	many, err := testTimes(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("tests: %w", err)
	}
	return []table{t, *many}, nil
}

func eventDelays(ctx context.Context, c *client.Client) (first, later []time.Duration, err error) {
	for range streams {
		lines := 0
		for e, err := range c.Stream(ctx, &client.Request{Language: "python", Code: clock}) {
			if err != nil {
				return nil, nil, err
			}
			if e.Name != "stdout" {
				continue
			}
			now := monotonic()
			written, err := strconv.ParseInt(strings.TrimSpace(string(e.Output)), 10, 64)
			if err != nil {
				continue // two lines came as one event: neither moment is the event's
			}
			if lines++; lines == 1 {
				first = append(first, time.Duration(now-written))
			} else {
				later = append(later, time.Duration(now-written))
			}
		}
	}
	return first, later, nil
}

func forkTimes(ctx context.Context, c *client.Client) (times []time.Duration, err error) {
	session := c.Session("")
	if _, err := session.Execute(ctx, &client.Request{Language: "bash", Code: "echo begun > begun"}); err != nil {
		return nil, err
	}
	defer session.Delete(ctx)
	data := bytes.Repeat([]byte("0123456789abcdef"), forkBytes/16)
	rand.NewChaCha8([32]byte{}).Read(data[:forkBytes/2]) // half of it does not compress
	if err := session.WriteFile(ctx, "data", data); err != nil {
		return nil, err
	}
	for range forks {
		start := time.Now()
		copies, err := session.Fork(ctx, 1)
		if err != nil {
			return nil, err
		}
		times = append(times, time.Since(start))
		if _, err := copies[0].Delete(ctx); err != nil {
			return nil, err
		}
		time.Sleep(20 * time.Millisecond) // the pool refills
	}
	return times, nil
}

func testTimes(ctx context.Context, c *client.Client) (*table, error) {
	var one, all []float64
	for round := range rounds {
		program := client.Request{Language: "cpp", Code: fmt.Sprintf(sum, 2*round), Stdin: "1 2 3"}
		took, err := timed(func() error { _, err := c.Execute(ctx, &program); return err })
		if err != nil {
			return nil, err
		}
		one = append(one, took)
		judged := client.Request{Language: "cpp", Code: fmt.Sprintf(sum, 2*round+1)}
		for i := range tests {
			want := fmt.Sprintln(i + 1)
			judged.Tests = append(judged.Tests, client.Test{Stdin: fmt.Sprintf("%d 1", i), ExpectedStdout: &want})
		}
		took, err = timed(func() error {
			res, err := c.Execute(ctx, &judged)
			if err != nil {
				return err
			}
			for i, test := range res.Tests {
				if test.Verdict != "AC" {
					return fmt.Errorf("test %d: %s", i, test.Verdict)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		all = append(all, took)
	}
	return &table{
		Title:   "Many inputs of one C++ program: ms",
		Columns: []column{{"one", "compile + 1 run"}, {"all", fmt.Sprintf("compile + %d tests", tests)}, {"ratio", "ratio"}},
		Rows:    []row{{Name: "c++ iostream", Values: map[string]float64{"one": median(one), "all": median(all), "ratio": median(all) / median(one)}}},
		Notes:   []string{fmt.Sprintf("Medians of %d requests each, in turn; each is another program, so that each is compiled.", rounds)},
	}, nil
}

func timed(do func() error) (ms float64, err error) {
	start := time.Now()
	err = do()
	return float64(time.Since(start)) / float64(time.Millisecond), err
}
