package main

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/runtools/runtools/pkg/wire"
)

// Jobs of two accounts, in real cgroups: what one's crowd weighs is what the other's only job weighs, and nothing is left of it.
func TestAccountsShareTheCPU(t *testing.T) {
	td := startDaemon(t, nil)
	stdin, end := pipeEnds(t)
	var jobs sync.WaitGroup
	for _, account := range []string{"a", "b", "a", "a", "a"} {
		jobs.Go(func() {
			job := &wire.Job{Template: "toy/run", Argv: []string{"/bin/cat"}, Account: account, HasStdin: true}
			if r := td.runJob(t.Context(), job, nil, stdin); r.err != nil || r.Limit != "" {
				t.Errorf("%+v, %v", r.Result, r.err)
			}
		})
	}
	// As the kernel has them: without those of ready jails, which weigh as much as an only job.
	want := []string{"25", "25", "25", "25"} // cpu.weight of v2
	full := "100"
	if td.d.cgroups.Version() == 1 {
		want, full = []string{"256", "256", "256", "256"}, "1024"
	}
	var got []string
	for deadline := time.Now().Add(hang); !slices.Equal(got, want) && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		got = slices.DeleteFunc(td.weights(), func(weight string) bool { return weight == full })
	}
	if !slices.Equal(got, want) {
		t.Errorf("weights below %s are %v, want %v", full, got, want)
	}
	end.Close()
	jobs.Wait()
	s := td.d.server.shares
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.accounts) != 0 {
		t.Errorf("accounts are left: %v", s.accounts)
	}
}
