package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// What happens at the bounds that an operator sets. Each test has daemons of its own.

// startOwn is a stack for one test. It knows bash, c and python, and the languages that more names.
func startOwn(t *testing.T, name, settings string, more ...string) *stack {
	t.Helper()
	return startKnowing(t, append([]string{"bash", "c", "python"}, more...), name, settings)
}

// startKnowing is a stack for one test that knows these languages, nil for all. settings are apid's.
func startKnowing(t *testing.T, languages []string, name, settings string, sandboxd ...string) *stack {
	t.Helper()
	s, err := startStackOf(languages, name, settings, sandboxd...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestIdleSessionsExpire(t *testing.T) {
	s := startOwn(t, "idle", "[sessions]\nidle = \"3s\"\n")
	volumes, err := s.metric("runtools_volumes")
	if err != nil {
		t.Fatal(err)
	}
	name := randomMarker()
	leave := program("bash", "export LEFT=1; echo 1 >f; echo done")
	wantStdout(t, s.execute(t, s.key, leave.with(request{"session_id": name})), "done\n")
	wantStdout(t, s.execute(t, s.key, leave), "done\n")
	if got, err := s.metric("runtools_sessions"); err != nil || got == 0 {
		t.Errorf("%v sessions, %v", got, err)
	}
	for metric, want := range map[string]float64{"runtools_sessions": 0, "runtools_volumes": volumes, "runtools_session_bytes": 0} {
		if err := s.waitMetric(metric, want); err != nil {
			t.Error(err)
		}
	}
	a := s.execute(t, s.key, program("bash", "ls; echo ${LEFT-none}").with(request{"session_id": name}))
	if wantStdout(t, a, "main.sh\nnone\n"); !a.SessionCreated {
		t.Error("no session_created")
	}
}

func TestSessionBounds(t *testing.T) {
	s := startOwn(t, "bounds", "[sessions]\nmax_per_key = 3\n")
	// Unnamed sessions that nobody came back to make room, longest idle first.
	var ids []string
	for range 5 {
		a := s.execute(t, s.key, program("bash", "echo 1 >f"))
		ids = append(ids, *a.SessionID)
	}
	for i, id := range ids[2:] {
		a := s.execute(t, s.key, program("bash", "cat f").with(request{"session_id": id}))
		if wantStdout(t, a, "1\n"); a.SessionCreated {
			t.Errorf("session %d was dropped", i+2)
		}
	}
	// Now all three were come back to: they stay, and there is no room for another.
	response, content, err := s.send(context.Background(), s.key, http.MethodPost, "/v1/execute", program("bash", ""))
	if err != nil {
		t.Fatal(err)
	}
	e := wantRefusal(t, response, content, http.StatusTooManyRequests, "rate_limited")
	if response.Header.Get("Retry-After") == "" || !strings.Contains(e.Message, "session") {
		t.Errorf("want Retry-After and the reason: %v, %s", response.Header, content)
	}
	wantStdout(t, s.execute(t, s.key, program("bash", "echo x").with(request{"ephemeral": true})), "x\n")
	wantStdout(t, s.execute(t, s.otherKey, program("bash", "echo x")), "x\n")
	s.deleteSession(t, s.key, ids[2])
	wantStdout(t, s.execute(t, s.key, program("bash", "echo x")), "x\n")
}

// A full queue answers at once, with 429 to the key that has its share and 503 to others. Another key's first program does not wait until those of
// the first end, which they do not.
func TestQueueBounds(t *testing.T) {
	s := startOwn(t, "queue", "[queue]\nmax_jobs = 1\nnewcomers = 1\ndepth = 3\nper_key = 2\n")
	var waiting sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	occupy := func(key string, running, queued int) {
		t.Helper()
		waiting.Go(func() {
			s.send(ctx, key, http.MethodPost, "/v1/execute", program("bash", "sleep 1000"))
		})
		for metric, want := range map[string]float64{"runtools_jobs_running": float64(running), "runtools_queue_length": float64(queued)} {
			if err := s.waitMetric(metric, want); err != nil {
				t.Fatal(err)
			}
		}
	}
	wantFull := func(key string, status int, code string) {
		t.Helper()
		response, content, err := s.send(context.Background(), key, http.MethodPost, "/v1/execute", program("bash", ""))
		if err != nil {
			t.Fatal(err)
		}
		if wantRefusal(t, response, content, status, code); response.Header.Get("Retry-After") == "" {
			t.Errorf("%d without Retry-After", status)
		}
	}
	occupy(s.key, 1, 0)
	occupy(s.key, 1, 1)
	occupy(s.key, 1, 2)
	wantFull(s.key, http.StatusTooManyRequests, "rate_limited")
	occupy(s.otherKey, 2, 2)
	wantFull(s.otherKey, http.StatusServiceUnavailable, "overloaded")
	cancel()
	waiting.Wait()
	if err := s.waitMetric("runtools_jobs_running", 0); err != nil {
		t.Error(err)
	}
	wantStdout(t, s.execute(t, s.key, program("bash", "echo x")), "x\n")
	s.wantQuiet(t)
}

// A revoked key is refused from then on, a new one is accepted, without a restart.
func TestKeysAreReadAgain(t *testing.T) {
	s := startOwn(t, "keys", "")
	key, err := s.createKey()
	if err != nil {
		t.Fatal(err)
	}
	if err := eventually("the new key is valid", func() error {
		_, err := s.try(key, program("bash", "echo x"))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(key, "rt_live_") || len(key) < len("rt_live_")+22 {
		t.Errorf("key %q: want rt_live_ and 128 random bits", key)
	}
	if err := s.revokeKey(2); err != nil {
		t.Fatal(err)
	}
	if err := eventually("the revoked key is refused", func() error {
		response, _, err := s.send(context.Background(), key, http.MethodGet, "/v1/execute/runtimes", nil)
		if err == nil && response.StatusCode != http.StatusUnauthorized {
			err = fmt.Errorf("%s", response.Status)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	wantStdout(t, s.execute(t, s.key, program("bash", "echo x")), "x\n")
}
