package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/wire"
)

// topEvery is the time between two pictures.
const topEvery = time.Second

// Of ANSI X3.64, which every terminal of today understands: the second screen without a cursor, the first with one, and a clean sheet.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	cleanSheet  = "\x1b[H\x1b[J"
)

// top is `sandboxd top`: it shows what a running sandboxd does, once a second, n times, or until Ctrl-C if n is 0. Where the output is
// no terminal one picture is enough, and all pictures are plain text, one after the other.
func top(c *config, out *os.File, n int) error {
	client := &wire.Client{Path: c.Socket}
	_, _, terminal := terminalSize(out)
	if !terminal {
		n = max(n, 1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	if terminal && n != 1 {
		fmt.Fprint(out, enterScreen)
		defer fmt.Fprint(out, leaveScreen)
	} else {
		terminal = false
	}
	var before *wire.Status
	for i := 0; ; {
		now, err := client.Status(ctx, &wire.StatusRequest{Jobs: true})
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !terminal {
			return fmt.Errorf("top: %w", err)
		}
		text := picture(now, before, err)
		if terminal {
			width, height, _ := terminalSize(out) // it may change at any time
			text = cleanSheet + crop(text, width, height)
		}
		if _, err := io.WriteString(out, text); err != nil {
			return err
		}
		before = now
		if i++; i == n {
			return nil
		}
		select {
		case <-time.After(topEvery):
		case <-ctx.Done():
			return nil
		}
	}
}

// terminalSize is columns and rows; ok is false if f is no terminal.
func terminalSize(f *os.File) (width, height int, ok bool) {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0, 0, false
	}
	return int(size.Col), int(size.Row), true
}

// crop cuts a picture to the screen. What does not fit is counted on the last line. A terminal that does not know its size gets all of it.
func crop(picture string, width, height int) string {
	if width == 0 || height == 0 {
		return picture
	}
	lines := strings.Split(strings.TrimSuffix(picture, "\n"), "\n")
	if len(lines) > height {
		lines = append(lines[:height-1], fmt.Sprintf("... and %d lines more", len(lines)-height+1))
	}
	for i, line := range lines {
		lines[i] = line[:min(len(line), width)]
	}
	return strings.Join(lines, "\n")
}

// picture shows a status as text. Rates are those since before, or since the start of sandboxd if that is nil or of another sandboxd. What it shows
// of programs is names of system calls that the kernel has. Jobs come before denials, of which there may be as many.
func picture(now, before *wire.Status, err error) string {
	if err != nil {
		return fmt.Sprintf("no answer: %v\n", err)
	}
	since := "this second"
	if before == nil || before.UptimeMS > now.UptimeMS {
		before, since = &wire.Status{}, "since start"
	}
	seconds := float64(max(now.UptimeMS-before.UptimeMS, 1)) / 1000
	rate := func(now, before uint64) float64 { return float64(now-min(now, before)) / seconds }
	jobs, jobsBefore := now.PoolHits+now.PoolMisses, before.PoolHits+before.PoolMisses

	var b strings.Builder
	fmt.Fprintf(&b, "sandboxd, up %v: %d jobs running, %d of %d jails, memory %s\n", up(now.UptimeMS), now.Jobs, now.LiveJails, now.MaxJails, size(now.Memory))
	fmt.Fprintf(&b, "self test  %s\n", selftestState(now.Selftest))
	fmt.Fprintf(&b, "rates      %s: %.1f jobs/s, %.1f jails/s built\n", since, rate(jobs, jobsBefore), rate(now.Built, before.Built))
	fmt.Fprintf(&b, "jobs       %d since start; %s found a jail ready, %s a runtime loaded, %s a warm compiler\n", jobs,
		percent(now.PoolHits, jobs), percent(now.Parked, jobs), percent(now.Reused, jobs))
	fmt.Fprintf(&b, "volumes    %d: %d of sessions, %d of compiled programs, %d of jails alone\n", now.Volumes, now.Workspaces, now.Builds,
		now.Volumes-now.Workspaces-now.Builds)
	fmt.Fprintf(&b, "jails      %d built since start, %d could not be; those that are ready take %s of %s\n", now.Built, now.Failed,
		size(now.PoolBytes), size(now.PoolBudget))

	builtBefore := map[string]uint64{}
	for _, t := range before.Templates {
		builtBefore[t.Name] = t.Built
	}
	fmt.Fprintf(&b, "\n%-24s %6s %6s %6s %8s %10s\n", "POOL", "READY", "TARGET", "JOBS", "BUILT/S", "A JAIL")
	templates := slices.SortedFunc(slices.Values(now.Templates), func(a, b wire.Template) int { return strings.Compare(a.Name, b.Name) })
	for _, t := range templates {
		each := "-"
		if t.Bytes > 0 {
			each = size(t.Bytes)
		}
		fmt.Fprintf(&b, "%-24s %6d %6d %6d %8.1f %10s\n", t.Name, t.Ready, t.Size, t.Jobs, rate(t.Built, builtBefore[t.Name]), each)
	}
	b.WriteString(jobsPanel(now))
	if len(now.Denials) == 0 {
		return b.String()
	}
	earlier := map[wire.Denial]uint64{}
	for _, d := range before.Denials {
		earlier[wire.Denial{Language: d.Language, Syscall: d.Syscall}] = d.Count
	}
	fmt.Fprintf(&b, "\n%-24s %-24s %10s %8s\n", "DENIED TO", "SYSTEM CALL", "COUNT", "PER S")
	for _, d := range now.Denials {
		fmt.Fprintf(&b, "%-24s %-24s %10d %8.1f\n", d.Language, d.Syscall, d.Count, rate(d.Count, earlier[wire.Denial{Language: d.Language, Syscall: d.Syscall}]))
	}
	return b.String()
}

// jobsPanel lists the jobs that run, those that have run longest first.
func jobsPanel(now *wire.Status) string {
	if len(now.Running) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n%-24s %9s %9s %10s  %s\n", "RUNNING", "AGE", "CPU", "MEMORY", "FOR")
	for _, r := range now.Running {
		cpu, memory, label := "-", "-", "-"
		if r.CPUNS >= 0 {
			cpu = seconds(r.CPUNS)
		}
		if r.Memory >= 0 {
			memory = size(r.Memory)
		}
		if r.Label != "" {
			label = printable(r.Label)
		}
		fmt.Fprintf(&b, "%-24s %9s %9s %10s  %s\n", printable(r.Template), seconds(r.AgeNS), cpu, memory, label)
	}
	if more := now.Jobs - len(now.Running); more > 0 {
		fmt.Fprintf(&b, "and %d more\n", more)
	}
	return b.String()
}

func seconds(ns int64) string { return fmt.Sprintf("%.1f s", float64(ns)/1e9) }

// printable is a text that does nothing to a terminal: what a job brought is apid's, which may have been taken over.
func printable(text string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, text)
}

func selftestState(s *wire.Selftest) string {
	switch {
	case s == nil:
		return "off"
	case s.Stuck != "":
		return "STUCK: this node is not ready: " + s.Stuck
	case s.Runs == 0:
		return "not yet passed: this node is not ready"
	case s.Passed:
		return "passed " + up(s.AgoMS).String() + " ago"
	}
	return "FAILED: this node is not ready: " + strings.Join(s.Failed, "; ")
}

func up(ms int64) time.Duration {
	return (time.Duration(ms) * time.Millisecond).Truncate(time.Second)
}

func percent(part, whole uint64) string {
	return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(max(whole, 1)))
}

// size in the largest unit of which there is one.
func size(bytes int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	n, unit := float64(bytes), 0
	for n >= 1024 && unit < len(units)-1 {
		n, unit = n/1024, unit+1
	}
	return fmt.Sprintf("%.*f %s", min(unit, 1), n, units[unit])
}
