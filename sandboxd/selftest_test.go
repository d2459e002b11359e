package main

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/runtools/runtools/pkg/wire"
)

// What was seen once does not hold for ever: a test that cannot be made any more takes the node out, and the log says so once.
func TestSelftestThatTellsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		st := &selftest{server: &server{log: slog.New(slog.NewTextHandler(&log, nil)), builder: &builder{}}, every: time.Hour}
		held := []wire.Check{{Name: "memory", Template: "c/run"}, {Name: "forks", Template: "c/run"}}
		seen := []wire.Check{held[0], {Name: "forks", Template: "c/run", Problem: "got through"}}
		nothing := []wire.Check{held[0], {Name: "forks", Template: "c/run", Problem: "no room", Inconclusive: true}}
		step := func(what string, after time.Duration, checks []wire.Check, passed bool, stuck string) {
			t.Helper()
			time.Sleep(after)
			if checks != nil {
				st.conclude(checks)
			}
			if s := st.status(); s.Passed != passed || stuck == "" && s.Stuck != "" || !strings.Contains(s.Stuck, stuck) {
				t.Errorf("%s: %+v", what, s)
			}
		}
		st.server.builder.limits.CPUWeight = 100
		step("before the first run", 0, nil, false, "")
		step("the first tells nothing", 0, nothing, false, "yet: forks in c/run: no room")
		step("the first that does", time.Minute, held, true, "")
		step("one that tells nothing", time.Hour, nothing, true, "")
		if w := st.weight(); w != loadWeight {
			t.Errorf("its jails have the weight %d", w)
		}
		step("still", 2*time.Hour, nothing, true, "")
		if w := st.weight(); w != 100 {
			t.Errorf("its jails have the weight %d, though it tells nothing for long", w)
		}
		if strings.Contains(log.String(), "not ready") {
			t.Errorf("too early:\n%s", &log)
		}
		step("for too long", time.Second, nothing, false, "for more than 3h0m0s: forks in c/run: no room")
		step("and longer", time.Hour, nothing, false, "3h0m0s")
		if n := strings.Count(log.String(), "level=ERROR"); n != 1 {
			t.Errorf("%d errors in the log:\n%s", n, &log)
		}
		step("at last", time.Minute, held, true, "")
		if w := st.weight(); w != loadWeight {
			t.Errorf("its jails still have the weight %d", w)
		}
		if n := strings.Count(log.String(), "the self test passed"); n != 2 {
			t.Errorf("passed %d times in the log:\n%s", n, &log)
		}
		step("no run ends", 3*time.Hour+1, nil, false, "no run has ended")
		step("one that fails", 0, seen, false, "")
		step("what failed stays so, and says what it was", 9*time.Hour, nothing, false, "")
		if s := st.status(); len(s.Failed) != 1 || s.Runs != 3 || s.AgoMS != 9*time.Hour.Milliseconds() {
			t.Errorf("%+v", s)
		}
	})
}
