package e2e

import (
	"context"
	"errors"
	"net/http"
	"testing"
)

// startRequest sends a request in the background. hangUp closes its connection.
func startRequest(t *testing.T, q request) (hangUp func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if response, content, err := api.send(ctx, api.key, http.MethodPost, "/v1/execute", q); err == nil {
			t.Errorf("answered before the hang-up: %s: %s", response.Status, content)
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// waitStarted waits until a process of the host has the marker.
func waitStarted(t *testing.T, marker string) {
	t.Helper()
	err := eventually("the program runs", func() error {
		if len(processes("environ", marker)) == 0 {
			return errors.New("no process has the marker")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A caller that hangs up ends its program: all of its processes, at once.
func TestHangUpKills(t *testing.T) {
	const touch = "until [ -e go ]; do sleep 0.1; done; touch late"
	for name, q := range map[string]request{
		"bash":           program("bash", touch),
		"python":         program("python", "import os, time, subprocess; subprocess.Popen(['sh', '-c', '"+touch+"'])\nwhile not os.path.exists('go'): time.sleep(0.1)\nopen('late', 'w'); time.sleep(100)"),
		"javascript":     program("javascript", "const fs = require('fs'); setInterval(() => { if (fs.existsSync('go')) fs.writeFileSync('late', '') }, 100)"),
		"c":              program("c", "#include <unistd.h>\n#include <fcntl.h>\nint main(void) { fork(); while (access(\"go\", F_OK)) usleep(100000); open(\"late\", O_CREAT, 0600); sleep(100); }"),
		"own session":    program("bash", "setsid -f sh -c '"+touch+"; sleep 100'; (trap '' HUP TERM INT; "+touch+"; sleep 100) & sleep 1000"),
		"with output":    program("bash", "("+touch+") & while :; do head -c 1000 /dev/zero; sleep 0.01; done"),
		"stopped":        program("bash", "("+touch+") & kill -STOP $$"),
		"while it forks": program("bash", "("+touch+") & while :; do (sleep 100 &) ; done 2>/dev/null"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id, run := session(t)
			marker := randomMarker()
			hangUp := startRequest(t, q.with(request{"session_id": id, "env": request{"MARKER": marker}}))
			waitStarted(t, marker)
			hangUp()
			wantGone(t, marker)
			// The same session's next request comes after it, and gives what might have stayed its chance.
			wantStdout(t, run("bash", "unset MARKER; touch go; sleep 1; ls late 2>/dev/null; echo end"), "end\n")
		})
	}
}

func TestHangUpLeavesNothing(t *testing.T) {
	var hangUps []func()
	marker := randomMarker()
	for range 6 {
		hangUps = append(hangUps, startRequest(t, program("bash", "sleep 1000").with(request{"env": request{"MARKER": marker}})))
	}
	if err := api.waitMetric("runtools_jobs_running", 6); err != nil {
		t.Error(err)
	}
	if sums, err := api.metricSums("runtools_jails_live", "runtools_pool_ready"); err != nil || sums[0] < sums[1]+6 {
		t.Errorf("%v jails live and ready while six jobs run: %v", sums, err)
	}
	for _, hangUp := range hangUps {
		hangUp()
	}
	if err := api.waitMetric("runtools_jobs_running", 0); err != nil {
		t.Error(err)
	}
	wantGone(t, marker)
	api.wantQuiet(t)
}

func TestHangUpWhileCompiling(t *testing.T) {
	marker := randomMarker()
	hangUp := startRequest(t, program("rust", heavyRust).with(request{"env": request{"MARKER": marker}}))
	waitStarted(t, marker)
	hangUp()
	wantGone(t, marker)
	api.wantQuiet(t)
}

// A request that still waits for its session never runs once its caller is gone, and does not hold up those behind it.
func TestHangUpWhileWaiting(t *testing.T) {
	id, run := session(t)
	first := startRequest(t, program("bash", "sleep 1000").with(request{"session_id": id}))
	if err := api.waitMetric("runtools_jobs_running", 1); err != nil {
		t.Fatal(err)
	}
	second := startRequest(t, program("bash", "touch second").with(request{"session_id": id}))
	if err := api.waitMetric("runtools_queue_length", 1); err != nil {
		t.Fatal(err)
	}
	second()
	if err := api.waitMetric("runtools_queue_length", 0); err != nil {
		t.Error(err)
	}
	first()
	wantStdout(t, run("bash", "ls second 2>/dev/null; echo end"), "end\n")
}
