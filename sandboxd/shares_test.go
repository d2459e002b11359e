package main

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runtools/runtools/pkg/cgroup"
)

// weighed is a leaf of which only the weight matters.
type weighed struct {
	cgroup.Leaf
	weight uint64
	writes *int
}

func (w *weighed) SetWeight(weight uint64) error {
	w.weight = weight
	*w.writes++
	return nil
}

// crowd is jobs that come and go.
type crowd struct {
	*shares
	t      *testing.T
	writes int
	jobs   []crowdJob
}

type crowdJob struct {
	account string
	leaf    *weighed
	leave   func(bool)
}

func newCrowd(t *testing.T) *crowd { return &crowd{shares: newShares(100, slog.Default()), t: t} }

func (c *crowd) come(account string) {
	leaf := &weighed{weight: 100, writes: &c.writes}
	c.jobs = append(c.jobs, crowdJob{account, leaf, c.join(account, leaf)})
}

func (c *crowd) end(i int, again bool) {
	c.jobs[i].leave(again)
	if again && c.jobs[i].leaf.weight != 100 {
		c.t.Errorf("the next job in the jail begins with %d", c.jobs[i].leaf.weight)
	}
	c.jobs = slices.Delete(c.jobs, i, i+1)
}

// weights are what the jobs of each account weigh, "a 25 25 25 25, b 100". The timer writes them under mu.
func (c *crowd) weights() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	by := map[string]string{}
	for _, j := range c.jobs {
		by[j.account] += fmt.Sprint(" ", j.leaf.weight)
	}
	var all []string
	for account, weights := range by {
		all = append(all, account+weights)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func TestShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t)
		want := func(weights string, writes int) {
			t.Helper()
			got := c.weights()
			c.mu.Lock()
			defer c.mu.Unlock()
			if got != weights || c.writes != writes {
				t.Errorf("%s after %d writes, want %s after %d", got, c.writes, weights, writes)
			}
			c.writes = 0
		}
		deal := func() { time.Sleep(dealDelay); synctest.Wait() }
		for range 4 {
			c.come("a")
		}
		deal()
		want("a 100 100 100 100", 0) // who is alone pays nothing
		c.come("b")
		want("a 25 25 25 25, b 100", 4)
		c.come("a")
		want("a 25 25 25 25 25, b 100", 1) // near enough, for now
		deal()
		want("a 20 20 20 20 20, b 100", 5)
		c.end(5-1, false) // b
		c.come("b")
		c.end(5, false)
		want("a 20 20 20 20 20", 0) // one that comes and goes has nothing written
		c.come("b")
		c.come("b")
		want("a 20 20 20 20 20, b 50 50", 2)
		for range 3 {
			c.end(0, true)
		}
		deal()
		want("a 50 50, b 50 50", 3+2)
		c.end(0, false)
		c.end(0, false)
		deal()
		want("b 100 100", 2)
		c.end(0, false)
		c.end(0, false)
		deal()
		if len(c.accounts) != 0 || c.timer != nil {
			t.Errorf("left: %+v", c.shares)
		}
	})
}

// Whatever comes and goes: the jobs of an account weigh the same, no account has much more than its share, and soon none has much less.
func TestSharesAreFair(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	synctest.Test(t, func(t *testing.T) {
		for range 50 {
			c := newCrowd(t)
			for range 200 {
				switch {
				case len(c.jobs) > 0 && random.IntN(5) < 2:
					c.end(random.IntN(len(c.jobs)), random.IntN(2) == 0)
				case random.IntN(9) == 0:
					time.Sleep(dealDelay)
					synctest.Wait()
					c.wantFair(seed, 80)
				default:
					c.come(string("aaaaabbc"[random.IntN(8)]))
				}
				c.wantFair(seed, 0)
			}
		}
	})
}

func (c *crowd) wantFair(seed uint64, least uint64) {
	c.t.Helper()
	sums, counts, weights := map[string]uint64{}, map[string]int{}, map[string]uint64{}
	weighs := func(j crowdJob) uint64 {
		c.mu.Lock()
		defer c.mu.Unlock()
		return j.leaf.weight
	}
	for _, j := range c.jobs {
		weight := weighs(j)
		sums[j.account] += weight
		counts[j.account]++
		if w := weights[j.account]; w != 0 && w != weight {
			c.t.Fatalf("seed %d: jobs of one account weigh %s", seed, c.weights())
		}
		weights[j.account] = weight
	}
	if len(sums) < 2 {
		return
	}
	for account, sum := range sums {
		if sum > 125 || sum < min(least, 100-uint64(counts[account])) {
			c.t.Fatalf("seed %d: %s has %d: %s", seed, account, sum, c.weights())
		}
	}
}

// What ends weighs less than those of its account that run, however many these are.
func TestWhatEndsYields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t)
		ends := func(account, want string) {
			t.Helper()
			i := slices.IndexFunc(c.jobs, func(j crowdJob) bool { return j.account == account })
			c.yield(account, c.jobs[i].leaf)
			if got := c.weights(); got != want {
				t.Errorf("after a job of %s: %q, want %q", account, got, want)
			}
			c.end(i, false)
		}
		c.come("a")
		ends("a", "a 25")
		c.come("b")
		for range 4 {
			c.come("a")
		}
		ends("a", "a 6 25 25 25, b 100")
		ends("b", "a 25 25 25, b 25")
	})
}
