// Bench measures what a caller sees, against the bare command in the same image, in the same run: the machine may be shared and
// noisy, so ratios and medians are what counts. It starts both daemons of bin/ itself and ends them.
//
//	sudo bin/bench                  every section
//	sudo bin/bench -only languages  one of: jail languages throughput growth sessions
//
// The last line written to -out is the same as JSON.
package main

import (
	"context"
	"encoding/json"
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

func main() {
	image := flag.String("image", "/var/lib/runtools/current", "the image's folder")
	only := flag.String("only", "", "comma-separated sections; empty: all")
	runs := flag.Int("runs", 41, "runs of each language, bare and over HTTP in turn")
	out := flag.String("out", "", "also write the figures to this file, as JSON")
	sessions := flag.Int("sessions", 50_000, "idle sessions of the section sessions")
	jails := flag.Int("jails", 10_000, "jails of the section growth")
	inside := flag.Bool("inside", false, "used by bench itself")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if !*inside {
		if err := enterMountNamespace(); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	if err := run(ctx, *image, *only, *runs, *sessions, *jails, *out); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// enterMountNamespace starts this program again in a mount namespace of its own: all its threads must be in it.
func enterMountNamespace() error {
	cmd := exec.Command("/proc/self/exe", append([]string{"-inside"}, os.Args[1:]...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGTERM}
	return cmd.Run()
}

func run(ctx context.Context, image, only string, runs, sessions, jails int, out string) error {
	bare, err := mountBare(filepath.Join(image, "rootfs"))
	if err != nil {
		return err
	}
	server, err := startServer(ctx, image)
	if err != nil {
		return err
	}
	defer server.stop()
	report := map[string]any{"when": time.Now().UTC().Format(time.RFC3339)}
	for _, section := range []struct {
		name string
		run  func() (any, error)
	}{
		{"jail", func() (any, error) { return benchJail(server, image) }},
		{"languages", func() (any, error) { return benchLanguages(server, bare, image, runs) }},
		{"throughput", func() (any, error) { return benchThroughput(server, bare) }},
		{"growth", func() (any, error) { return benchGrowth(server, jails) }},
		{"sessions", func() (any, error) { return benchSessions(server, sessions) }},
	} {
		if only != "" && !slices.Contains(strings.Split(only, ","), section.name) {
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		figures, err := section.run()
		if err != nil {
			return fmt.Errorf("%s: %w", section.name, err)
		}
		report[section.name] = figures
		fmt.Println()
	}
	if out == "" {
		return nil
	}
	data, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(out, append(data, '\n'), 0o644)
}

// quantiles of some durations, in milliseconds.
type quantiles struct {
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
}

func summarize(times []time.Duration) quantiles {
	slices.Sort(times)
	at := func(q float64) float64 {
		return float64(times[int(q*float64(len(times)-1))].Microseconds()) / 1000
	}
	return quantiles{P50: at(0.5), P99: at(0.99)}
}
