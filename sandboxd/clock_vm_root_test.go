//go:build testvm

package main

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/wire"
)

// stepClock sets the time of day, of the guest: on a machine that others use this would be vandalism.
func stepClock(t *testing.T, by time.Duration) {
	t.Helper()
	tv := unix.NsecToTimeval(time.Now().Add(by).UnixNano())
	if err := unix.Settimeofday(&tv); err != nil {
		t.Fatal(err)
	}
}

// Someone sets the clock while jobs run: none ends early, and each limit fires when it should.
func TestClockSteps(t *testing.T) {
	const year = 365 * 24 * time.Hour
	td := startDaemon(t, nil)
	for name, step := range map[string]time.Duration{"a year on": year, "a year back": -year} {
		t.Run(name, func(t *testing.T) {
			stepWhile := func(script string, limits wire.Limits) ran {
				stepped := time.AfterFunc(500*time.Millisecond, func() { stepClock(t, step) })
				defer func() {
					if stepped.Stop() {
						t.Error("the job ended before the clock was set")
					}
					stepClock(t, -step)
				}()
				return td.run(script, func(j *wire.Job) { j.Limits = limits })
			}
			if r := stepWhile("sleep 3; echo done", wire.Limits{WallMS: 60_000, CPUMS: 60_000}); r.err != nil || r.Limit != "" || r.stdout != "done\n" {
				t.Errorf("a job within its limits: %v %+v", r.err, r.Result)
			}
			r := stepWhile("sleep 600", wire.Limits{WallMS: 3000})
			if r.err != nil || r.Limit != wire.LimitWall {
				t.Fatalf("a job beyond its wall time: %v %+v", r.err, r.Result)
			}
			if ran := time.Duration(r.WallNS); ran < 3*time.Second || ran > time.Minute {
				t.Errorf("killed after %v, want 3s", ran)
			}
			if r := td.run("echo next", nil); r.stdout != "next\n" {
				t.Errorf("the next job: %v %+v", r.err, r.Result)
			}
		})
	}
}
