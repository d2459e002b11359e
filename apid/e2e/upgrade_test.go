package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// passSocket has apid started as a unit of systemd with a socket unit is.
func (s *stack) passSocket() error {
	ln, err := net.Listen("tcp", s.listen)
	if err != nil {
		return err
	}
	defer ln.Close()
	s.socket, err = ln.(*net.TCPListener).File()
	return err
}

// An operator restarts both daemons, again and again, while callers send. No connection is refused or cut off, what cannot be carried
// out is answered with a 503 that says when to try again, and no session loses anything.
func TestUpgradeUnderLoad(t *testing.T) {
	s := startOwn(t, "upgrade", "")
	if err := s.apid.terminate(); err != nil {
		t.Fatal(err)
	}
	if err := s.passSocket(); err != nil {
		t.Fatal(err)
	}
	defer func() { s.socket.Close() }()
	if err := s.startApid(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	var good, refused atomic.Int64
	for i := range 6 {
		callers.Go(func() {
			counted := 0
			for ctx.Err() == nil {
				n, err := s.countOnce(fmt.Sprint("s", i))
				switch {
				case err != nil:
					t.Error(err)
				case n == 0:
					refused.Add(1)
				case n <= counted:
					t.Errorf("a session had counted to %d, and now %d", counted, n)
				}
				if n > 0 {
					counted = n
					good.Add(1)
				}
			}
		})
	}
	some := func() { // are carried out in between, however busy the machine is
		before := good.Load()
		if err := eventually("requests are carried out", func() error {
			if good.Load() < before+12 {
				return errors.New("too few")
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		some()
		if err := s.sandboxd.terminate(); err != nil {
			t.Error(err)
		}
		if err := s.startSandboxd(); err != nil {
			t.Fatal(err)
		}
		some()
		if err := s.apid.terminate(); err != nil {
			t.Error(err)
		}
		if err := s.startApid(); err != nil {
			t.Fatal(err)
		}
	}
	some()
	cancel()
	callers.Wait()
	t.Logf("%d carried out, %d refused", good.Load(), refused.Load())
	if good.Load() == 0 || refused.Load() > good.Load() {
		t.Error("most requests were refused")
	}
}

// countOnce sends a request on a connection of its own, and returns how far its session has counted, or 0 for a 503.
func (s *stack) countOnce(session string) (n int, err error) {
	body, err := json.Marshal(program("bash", "n=$(( $(cat n 2>/dev/null || echo 0) + 1 )); echo $n >new; mv new n; echo $n").
		with(request{"session_id": session}))
	if err != nil {
		return 0, err
	}
	q, err := http.NewRequest(http.MethodPost, s.url+"/v1/execute", strings.NewReader(string(body)))
	if err != nil {
		return 0, err
	}
	q.Close = true
	q.Header.Set("Authorization", "Bearer "+s.key)
	q.Header.Set("Content-Type", "application/json")
	a, err := clients.Do(q)
	if err != nil {
		return 0, err
	}
	defer a.Body.Close()
	content, err := io.ReadAll(a.Body)
	if err != nil || a.StatusCode == http.StatusServiceUnavailable && a.Header.Get("Retry-After") != "" {
		return 0, err
	}
	var got answer
	if err := strict(content, &got); err != nil || got.Run.Status != "OK" {
		return 0, fmt.Errorf("%s: %s", a.Status, content)
	}
	_, err = fmt.Sscan(got.Run.Stdout, &n)
	return n, err
}
