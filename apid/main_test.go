package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// freeAddr is an address that nobody listens on, most likely.
func freeAddr(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func TestRun(t *testing.T) {
	checkNoLeak(t)
	fake := startFake(t)
	fake.mu.Lock()
	fake.volumes["of-an-earlier-apid"] = &fakeVolume{}
	fake.mu.Unlock()
	keys := filepath.Join(t.TempDir(), "keys")
	ts := &testServer{t: t, fake: fake, addr: freeAddr(t)}
	metrics := freeAddr(t)
	ts.key = ts.makeKey(keys, 1)
	flags := []string{"-listen", ts.addr, "-metrics", metrics, "-socket", fake.path, "-image", fakeImage(t), "-keys", keys, "-state", "off"}
	t.Cleanup(http.DefaultClient.CloseIdleConnections)

	var out, log syncBuffer
	if err := run(t.Context(), append([]string{"check"}, flags...), nil, &out, &log); err != nil || !strings.Contains(out.String(), "a program was run") {
		t.Fatalf("check: %v: %s", err, out.String())
	}
	ctx, terminate := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, flags, nil, io.Discard, &log) }()
	eventually(t, "apid serves", func() bool {
		conn, err := net.Dial("tcp", ts.addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	// The address is open before they are forgotten; an answer is given only after.
	if r := ts.do("GET", "/healthz", ""); r.Status != 200 || fake.volumeCount() != 0 {
		t.Errorf("the volumes of an earlier apid are still there: %d, %d %s", fake.volumeCount(), r.Status, r.Raw)
	}
	if !strings.Contains(log.String(), "no source had ruby") {
		t.Errorf("the missing language is not reported: %s", log.String())
	}
	ts.execute(with(python("print secret-output", "write data x"), "stdin", "secret-input"))
	checkMetrics(t, metrics)

	// One runs and one waits when the end comes.
	running, waiting := make(chan *result, 1), make(chan *result, 1)
	go func() { running <- ts.do("POST", "/v1/execute", encode(python("await", "print finished"))) }()
	eventually(t, "one runs", func() bool { return strings.Contains(scrape(t, metrics), "\nruntools_jobs_running 1\n") })
	go func() { waiting <- ts.do("POST", "/v1/execute", encode(python("print never"))) }()
	eventually(t, "one waits", func() bool { return strings.Contains(scrape(t, metrics), "\nruntools_queue_length 1\n") })
	terminate()
	if r := <-waiting; r.Status != 503 || r.Error.Code != "overloaded" {
		t.Errorf("the one that waited: %d %s", r.Status, r.Raw)
	}
	fake.gate <- struct{}{}
	if r := <-running; r.Status != 200 || r.Run.Stdout != "finished\n" {
		t.Errorf("the one that ran: %d %s", r.Status, r.Raw)
	}
	if err := <-ended; err != nil {
		t.Errorf("run: %v", err)
	}
	if n := fake.volumeCount(); n != 0 {
		t.Errorf("%d volumes left behind", n)
	}
	for _, secret := range []string{"secret-output", "secret-input", ts.key} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
}

func scrape(t *testing.T, addr string) string {
	t.Helper()
	resp, err := http.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func checkMetrics(t *testing.T, addr string) {
	t.Helper()
	body := scrape(t, addr)
	for _, line := range []string{
		`runtools_requests_total{language="python",outcome="OK"} 1`, `runtools_phase_seconds_count{language="python",phase="run"} 1`,
		`runtools_pool_hits_total 7`, `runtools_jails_live 3`, `runtools_pool_ready{template="py/run"} 1`, `runtools_sandboxd_up 1`,
		`runtools_sessions 1`, `runtools_session_evictions_total 0`, `runtools_queue_length 0`, `runtools_jobs_running 0`, `runtools_keys 1`,
		`runtools_profiles_info{candidate="bb",in_force="aa",mode="shadow"} 1`, `runtools_profile_reloads_total 2`, `runtools_profile_reload_failures_total 1`,
		`runtools_profile_jobs_total{language="py",profiles="aa",stage="run",use="in force"} 9`,
		`runtools_profile_denials_total{language="py",profiles="aa",stage="run",use="in force"} 4`,
		`runtools_profile_jobs_total{language="py",profiles="bb",stage="run",use="shadow"} 2`,
		`runtools_profile_jobs_failed_total{language="py",profiles="bb",stage="run",use="shadow"} 1`,
		`runtools_profile_jobs_killed_total{language="py",profiles="bb",stage="run",use="shadow"} 1`,
		`runtools_profile_tried_syscalls_total{language="py",profiles="bb",stage="run",syscall="link",use="shadow"} 6`,
	} {
		if !strings.Contains(body, "\n"+line+"\n") {
			t.Errorf("no %s in\n%s", line, body)
		}
	}
}

// A request that does not end within the drain is cut off, and its job with it.
func TestDrainEnds(t *testing.T) {
	fake := startFake(t)
	keys := filepath.Join(t.TempDir(), "keys")
	ts := newTestServer(t, func(c *config) {
		c.SandboxdSocket, c.Keys = fake.path, keys
		c.HTTP.Drain = duration(50 * time.Millisecond)
	})
	got := make(chan *result, 1)
	go func() { got <- ts.do("POST", "/v1/execute", encode(python("sleep 1m"))) }()
	eventually(t, "it runs", func() bool { running, _ := ts.queue.counts(); return running == 1 })
	ts.queue.close()
	ts.draining.Store(true)
	if r := ts.do("GET", "/readyz", ""); r.Status != 503 {
		t.Errorf("readyz: %d", r.Status)
	}
	if r := ts.do("GET", "/v1/execute/ws", ""); r.Status != 503 {
		t.Errorf("a WebSocket: %d", r.Status)
	}
	ts.endJobs(errCutOff)
	if r := <-got; r.Status != 503 || r.Error.Code != string(errInterrupted) {
		t.Errorf("the one that ran too long: %d %s", r.Status, r.Raw)
	}
}

// A sender of one byte a second must not hold its connection for ever, nor one that sends nothing.
func TestSlowSender(t *testing.T) {
	ts := newTestServer(t, func(c *config) {
		c.HTTP.HeaderTimeout = duration(time.Second) // in which what is sent below has come, on a busy machine as well
		c.HTTP.ReadTimeout = c.HTTP.HeaderTimeout
	})
	for name, text := range map[string]string{
		"nothing": "", "half a header": "POST /v1/exec", "half a body": "POST /v1/execute HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + ts.key +
			"\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{" + strings.Repeat(" ", 9000),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", ts.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			io.WriteString(conn, text)
			conn.SetReadDeadline(time.Now().Add(hang))
			answer, err := io.ReadAll(conn)
			if err != nil {
				t.Error(err)
			}
			if name == "half a body" && !strings.Contains(string(answer), "did not arrive") {
				t.Errorf("got %s", answer)
			}
		})
	}
}
