package main

import (
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/cgroup"
	"github.com/runtools/runtools/pkg/jail"
	"github.com/runtools/runtools/pkg/wire"
)

// mutedLeaf has used a second of CPU, and cannot tell at first.
type mutedLeaf struct {
	cgroup.Leaf
	fails, asked int
}

func (l *mutedLeaf) CPU() (time.Duration, error) {
	if l.asked++; l.asked <= l.fails {
		return 0, unix.ENOMEM
	}
	return time.Second, nil
}

// A counter that cannot be read for a moment, as on a host without memory, takes no limit away; and one that never can be keeps nobody.
func TestCPULimitOutlivesAFailedRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		newJob := func(fails int) (*job, *mutedLeaf) {
			leaf := &mutedLeaf{fails: fails}
			return &job{server: &server{cpus: 1}, ready: &readyJail{jail: &jail.Jail{}, leaf: leaf}}, leaf
		}
		j, _ := newJob(2)
		j.watchCPU(time.Second/2, 0, make(chan struct{}))
		if j.cause.limit != wire.LimitCPU {
			t.Errorf("ended by %q", j.cause.limit)
		}
		j, leaf := newJob(1 << 30)
		done := make(chan struct{})
		go func() { time.Sleep(10 * cpuTick); close(done) }()
		j.watchCPU(time.Second/2, 0, done)
		if j.cause.limit != "" || leaf.asked > 12 {
			t.Errorf("ended by %q after %d reads", j.cause.limit, leaf.asked)
		}
	})
}
