package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/runtools/runtools/pkg/wire"
)

// healthz says that the process lives.
func (s *server) healthz(c *call) *apiError {
	c.reply([]byte(`{"status":"ok"}` + "\n"))
	return nil
}

// readiness remembers the last probe: a jail for every question of every load balancer would be a load of its own.
type readiness struct {
	mu     sync.Mutex
	probed time.Time
	err    error
}

const (
	readyFor     = 5 * time.Second // an answer holds, good
	unreadyFor   = time.Second     // or bad
	probeTimeout = 5 * time.Second
)

// readyz says that a jail was made and a program ran in it, moments ago, and that sandboxd's own attacks on its jails were held.
func (s *server) readyz(c *call) *apiError {
	if s.draining.Load() {
		return errShuttingDown
	}
	s.readiness.mu.Lock()
	defer s.readiness.mu.Unlock()
	age := readyFor
	if s.readiness.err != nil {
		age = unreadyFor
	}
	if time.Since(s.readiness.probed) > age {
		before := s.readiness.err
		s.readiness.err = s.probe()
		s.readiness.probed = time.Now()
		if now := s.readiness.err; now != nil && (before == nil || before.Error() != now.Error()) {
			s.log.Warn("not ready", "err", now)
		}
	}
	if s.readiness.err != nil {
		return &apiError{code: errOverloaded, message: s.whyNotReady(c), cause: s.readiness.err}
	}
	c.reply([]byte(`{"status":"ready"}` + "\n"))
	return nil
}

// whyNotReady is for an operator's key alone: which attack the sandbox does not hold would tell a stranger which one to try. Others need no more than
// the status.
func (s *server) whyNotReady(c *call) string {
	if s.authenticate(c) != nil || !c.key.Operator {
		return "not ready"
	}
	if untrusted := (*untrustedError)(nil); errors.As(s.readiness.err, &untrusted) {
		return untrusted.Error()
	}
	return "no program can be run at present"
}

// untrustedError is why programs could be run, but should not. It names the checks, and not what they saw.
type untrustedError struct {
	checks []string
	stuck  string // or why no check told anything, for too long
}

func (e *untrustedError) Error() string {
	switch {
	case e.stuck != "":
		return "the sandbox cannot test itself, see the log of sandboxd: " + e.stuck
	case len(e.checks) == 0:
		return "the sandbox has not yet passed the test of itself"
	}
	return "the sandbox did not pass the test of itself, see the log of sandboxd: " + strings.Join(e.checks, ", ")
}

// failedChecks are "memory in bash/run".
func failedChecks(t *wire.Selftest) (checks []string) {
	for _, f := range t.Failed {
		name, _, _ := strings.Cut(f, ": ")
		checks = append(checks, name)
	}
	return checks
}

// probe runs true in the first language's jail, and asks what sandboxd thinks of its jails.
func (s *server) probe() error {
	ctx, cancel := context.WithTimeout(s.jobs, probeTimeout)
	defer cancel()
	in, err := s.toolJob("apid readyz", probeTimeout, toolWords, "/usr/bin/true")
	if err != nil {
		return err
	}
	out, err := s.runJob(ctx, in)
	if err != nil {
		return err
	}
	if err := out.toolError(); err != nil {
		return fmt.Errorf("/usr/bin/true in %s: %w", in.job.Template, err)
	}
	status, err := s.sandbox.Status(ctx, &wire.StatusRequest{})
	if err != nil {
		return err
	}
	if t := status.Selftest; t != nil && !t.Passed {
		return &untrustedError{failedChecks(t), t.Stuck}
	}
	return nil
}
