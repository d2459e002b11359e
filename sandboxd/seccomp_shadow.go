package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/runtools/runtools/pkg/wire"
)

// statusWait bounds how long the running server may take to answer.
const statusWait = 10 * time.Second

// fewestJobs is the least that a verdict can rest on: of three jobs none says less than nothing (the rule of three, below).
const fewestJobs = 3

// seccompShadow asks a running server what the candidate denied, or in shadow would have denied, so far. enough is how many jobs of each
// template must have been without any, for a verdict. Whatever is not a "safe to promote" is an error.
func seccompShadow(socket string, enough uint64, out io.Writer) error {
	ctx, cancel := context.WithTimeout(context.Background(), statusWait)
	defer cancel()
	status, err := (&wire.Client{Path: socket}).Status(ctx, &wire.StatusRequest{})
	if err != nil {
		return fmt.Errorf("%s: %w: is sandboxd running, and may you connect?", socket, err)
	}
	if status.Seccomp == nil {
		return errors.New("the sandboxd that runs is older than this command: restart it")
	}
	return trialReport(status.Seccomp, enough, out)
}

// trialReport writes what a status says of a trial, and judges.
func trialReport(s *wire.Seccomp, enough uint64, out io.Writer) error {
	fmt.Fprintf(out, "in force   %s, read at %s\n", s.InForce, s.Loaded)
	if s.Failure != "" {
		fmt.Fprintf(out, "the last reload was refused: %s\n", s.Failure)
	}
	if s.Candidate == "" {
		return errors.New("nothing is on trial: set seccomp.candidate in sandboxd.toml, and send SIGHUP")
	}
	fmt.Fprintf(out, "candidate  %s, %s on %g %% of the jails\n\n", s.Candidate, s.Mode, 100*s.Share)
	fmt.Fprintf(out, "%-22s %-9s %9s %8s %8s %8s\n", "template", "", "jobs", "failed", "SIGSYS", "denials")
	denies, killed, fewest, least := []string{}, false, ^uint64(0), ""
	tried := false
	for _, t := range s.Tallies {
		if t.Use == wire.InForce {
			continue
		}
		tried = true
		for _, side := range []wire.Tally{inForce(s, t.Template), t} {
			fmt.Fprintf(out, "%-22s %-9s %9d %8d %8d %8d\n", t.Template, side.Use, side.Jobs, side.Failed, side.Killed, side.Denied)
		}
		for _, c := range t.Tried {
			denies = append(denies, t.Template+" "+c.Syscall)
			fmt.Fprintf(out, "  %s(%s): %d calls, %s\n", c.Syscall, c.Args, c.Count, inJobs(c.Jobs))
		}
		killed = killed || t.Use == modeCanary && t.Killed > 0
		if t.Jobs < fewest {
			fewest, least = t.Jobs, t.Template
		}
	}
	fmt.Fprintln(out)
	switch {
	case !tried:
		return errors.New("the candidate changes nothing: it is what is in force already")
	case len(denies) > 0:
		return fmt.Errorf("not safe to promote: the candidate denies what jobs use: %s", strings.Join(denies, ", "))
	case killed:
		return errors.New("not safe to promote: jobs were killed by SIGSYS, of which the kernel names no call: try it in shadow, which does")
	case fewest < enough:
		return fmt.Errorf("too early to say: %d jobs of %s, and -jobs asks for %d", fewest, least, enough)
	}
	// The rule of three: of n jobs none, so with 95 % confidence fewer than 3/n of all.
	fmt.Fprintf(out, "safe to promote: no job of %d or more of each template made a call that only the candidate denies.\n"+
		"With 95 %% confidence fewer than one job in %d would, if the jobs to come are like these.\n", fewest, fewest/3)
	return nil
}

func inForce(s *wire.Seccomp, template string) wire.Tally {
	for _, t := range s.Tallies {
		if t.Template == template && t.Use == wire.InForce {
			return t
		}
	}
	return wire.Tally{Use: wire.InForce}
}

func inJobs(n uint64) string {
	if n == 0 {
		return "while a runtime was loaded"
	}
	return fmt.Sprintf("in %d jobs", n)
}
