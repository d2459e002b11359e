package main

import (
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/runtools/runtools/pkg/wire"
)

// What a daemon did is in the picture; into a pipe it is printed once.
func TestTop(t *testing.T) {
	td := startDaemon(t, nil)
	td.run("chroot /tmp true", nil)
	td.run("chroot /tmp true; exit 3", func(j *wire.Job) { j.Workspace = wire.Volume{ID: "kept", New: true} })
	td.run("echo x >/build/main", func(j *wire.Job) { j.Template, j.Build = "toy/compile", wire.Volume{ID: "made", New: true} })
	text := td.top()
	for _, want := range []string{
		`^sandboxd, up \d+s: 0 jobs running, \d+ of 100 jails, memory \d+\.\d [KM]iB\n`, `\nself test  off\n`, `\njobs       3 since start; `,
		`\nvolumes    \d+: 1 of sessions, 1 of compiled programs, [1-9]\d* of jails alone\n`, `\ntoy/cold +0 +0 +0 +\d+\.\d `, `\ntoy/run +\d +2 +0 +\d+\.\d `, `\ntoy +chroot +2 `,
	} {
		if !regexp.MustCompile(want).MatchString(text) {
			t.Errorf("no match of %s in\n%s", want, text)
		}
	}
	if strings.Contains(text, "\x1b") || strings.Count(text, "POOL") != 1 {
		t.Errorf("not one picture in plain text:\n%q", text)
	}
	status, err := td.client.Status(t.Context(), &wire.StatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	built := map[string]uint64{}
	for _, pool := range status.Templates {
		built[pool.Name] = pool.Built
	}
	// The trial at the start is of any template.
	if built["toy/cold"] > 1 || built["toy/run"] < 2 || built["toy/compile"] < 1 || built["toy/cold"]+built["toy/run"]+built["toy/compile"] < status.Built {
		t.Errorf("%v of %d jails built", built, status.Built)
	}
	stdin, end, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	done := make(chan ran)
	go func() {
		job := &wire.Job{Template: "toy/run", Argv: []string{"/bin/sh", "-c", "i=0; while [ $i -lt 99999 ]; do i=$((i+1)); done; cat"}, HasStdin: true, Label: "k_1 r-1"}
		done <- td.runJob(t.Context(), job, nil, stdin)
	}()
	// In the end with the time that its loop took: the counters are those of its own cgroup.
	running := regexp.MustCompile(`: 1 jobs running,(.|\n)*\ntoy/run +\d +\d +1 (.|\n)*\nRUNNING .*\ntoy/run +\d+\.\d s +(0\.[1-9]|[1-9]\d*\.\d) s +\d+\.\d [KM]iB  k_1 r-1\n`)
	for began := time.Now(); !running.MatchString(td.top()); {
		if time.Since(began) > hang {
			t.Fatal("the running job is not shown")
		}
		time.Sleep(10 * time.Millisecond)
	}
	end.Close()
	if r := <-done; r.err != nil {
		t.Error(r.err)
	}
	for began := time.Now(); strings.Contains(td.top(), "RUNNING"); {
		if time.Since(began) > hang {
			t.Fatal("the job that has ended is shown")
		}
		time.Sleep(10 * time.Millisecond)
	}
	missing := config{Socket: td.config.Socket + "-none"}
	if err := top(&missing, os.Stdout, 1); err == nil {
		t.Error("no error without a daemon")
	}
}

// top is what the command prints into a pipe.
func (td *testDaemon) top() string {
	td.t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		td.t.Fatal(err)
	}
	defer read.Close()
	if err := top(&td.config, write, 0); err != nil {
		td.t.Fatal(err)
	}
	write.Close()
	text, err := io.ReadAll(read)
	if err != nil {
		td.t.Fatal(err)
	}
	return string(text)
}
