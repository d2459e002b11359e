// Bench measures what a caller sees, against the bare command in the same image, in the same run: the machine may be shared and
// noisy, so ratios and medians are what counts. It starts pairs of daemons itself and ends them. docs/performance.md tells how each
// figure is made.
//
//	sudo bin/bench                          every section but soak
//	sudo bin/bench -only languages,tail     some of them: see the list below
//	sudo bin/bench -out docs                and write docs/performance.{json,svg,md}; what was not measured stays
//	bin/bench -render docs                  write the chart and the tables again from docs/performance.json
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	image, bin, only, out, render string
	languages, levels             string
	runs, jails, sessions, pairs  int
	turn, window, soak            time.Duration
	cold                          bool
}

func parseFlags() (o options, inside bool) {
	flag.StringVar(&o.image, "image", "/var/lib/runtools/current", "the image's `folder`")
	flag.StringVar(&o.bin, "bin", "bin", "the `folder` of the daemons")
	flag.StringVar(&o.only, "only", "", "comma-separated `sections`; empty: all but soak")
	flag.StringVar(&o.out, "out", "", "write performance.json and .svg to this `folder`, and the tables of its performance.md if it has one")
	flag.StringVar(&o.render, "render", "", "measure nothing; do what -out does with the performance.json of this `folder`")
	flag.IntVar(&o.runs, "runs", 101, "languages: runs of each at most")
	flag.DurationVar(&o.turn, "turn", 10*time.Second, "languages: for each program at most, but 15 runs at least")
	flag.StringVar(&o.languages, "languages", "", "languages, throughput: `names` of rows of the language table, or all; empty: all, and bash,python")
	flag.StringVar(&o.levels, "levels", "1,2,8,32", "throughput: requests at one time")
	flag.IntVar(&o.pairs, "pairs", 5, "throughput: `pairs` of measurements, of bare and of HTTP, for each row: an odd number, three at least, and fewer where calls are slow")
	seconds := flag.Int("seconds", 4, "throughput, tail: `seconds` of each measurement")
	flag.IntVar(&o.jails, "jails", 10_000, "growth: `jails` run; 100000, which the project claims to leave nothing of, take ten times as long")
	flag.IntVar(&o.sessions, "sessions", 10_000, "sessions: idle `sessions` made")
	minutes := flag.Int("minutes", 5, "soak: `minutes` of load")
	flag.BoolVar(&o.cold, "cold", true, "languages: also with a second pair of daemons that has no parked runners")
	flag.BoolVar(&inside, "inside", false, "used by bench itself")
	flag.Parse()
	o.window, o.soak = time.Duration(*seconds)*time.Second, time.Duration(*minutes)*time.Minute
	return o, inside
}

func main() {
	o, inside := parseFlags()
	// SIGPIPE: of `make bench | head` the daemons would be left.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGPIPE)
	defer stop()
	var err error
	switch {
	case o.render != "":
		err = publish(o.render, nil)
	case inside:
		err = run(ctx, &o)
	default:
		err = enterMountNamespace(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// enterMountNamespace starts this program again in a mount namespace of its own: all its threads must be in it.
func enterMountNamespace(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", append([]string{"-inside"}, os.Args[1:]...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGTERM}
	return cmd.Run()
}

// bench is what the sections work with.
type bench struct {
	options
	bare       *bare
	parked     *server
	coldServer *server // while there is one
}

// section is one part of the report.
type section struct {
	name string
	run  func(context.Context, *bench) ([]table, error)
}

var sections = []section{
	{"jail", benchJail},
	{"memory", benchMemory}, // before any demand makes pools larger
	{"languages", benchLanguages},
	{"profile", benchProfile},
	{"api", benchAPI},
	{"throughput", benchThroughput},
	{"pool", benchPool},
	{"tail", benchTail},
	{"harness", benchHarness},
	{"peers", benchPeers},
	{"growth", benchGrowth},
	{"sessions", benchSessions},
	{"soak", benchSoak},
}

// chosen are the sections that -only names.
func chosen(only string) (chosen []section, err error) {
	if only == "" {
		return slices.DeleteFunc(slices.Clone(sections), func(s section) bool { return s.name == "soak" }), nil
	}
	for name := range strings.SplitSeq(only, ",") {
		at := slices.IndexFunc(sections, func(s section) bool { return s.name == name })
		if at < 0 {
			return nil, fmt.Errorf("no section %q: see the list in scripts/bench/main.go", name)
		}
		chosen = append(chosen, sections[at])
	}
	return chosen, nil
}

// First uids of the two pairs: below those of make run and the default, so that bench can run beside a server.
const (
	parkedUID = 0x60000000
	coldUID   = 0x64000000
)

func run(ctx context.Context, o *options) (err error) {
	if o.out != "" { // now, and not when there is something to lose
		if err := os.MkdirAll(o.out, 0o755); err != nil {
			return err
		}
	}
	chosen, err := chosen(o.only)
	if err != nil {
		return err
	}
	leave, err := enterGroup(fmt.Sprintf("runtools-bench-%d", os.Getpid()))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, leave()) }()
	b := &bench{options: *o}
	load := loadAverage()
	if b.bare, err = mountBare(filepath.Join(o.image, "rootfs")); err != nil {
		return err
	}
	if b.parked, err = startServer(ctx, pair{name: "parked", bin: o.bin, image: o.image, firstUID: parkedUID}); err != nil {
		return err
	}
	defer b.parked.stop()
	for _, s := range chosen {
		start := time.Now()
		tables, failed := s.run(ctx, b)
		for i := range tables {
			fmt.Println(tables[i].text())
		}
		fmt.Printf("  (%s took %.0f s)\n\n", s.name, time.Since(start).Seconds())
		// After each section: a run that is broken off has not measured for nothing. What grew, and so failed, is a figure as well.
		if o.out != "" && len(tables) > 0 {
			if err := publish(o.out, &measured{Section: s.name, When: time.Now().UTC(), Commit: commit(), Machine: machine(), Load: load, Tables: tables}); err != nil {
				return err
			}
		}
		if failed != nil {
			return fmt.Errorf("%s: %w", s.name, failed)
		}
	}
	if o.out == "" {
		return nil
	}
	r, err := readReport(o.out)
	if err != nil {
		return err
	}
	bars := r.barsTable()
	fmt.Println(bars.text())
	return nil
}
