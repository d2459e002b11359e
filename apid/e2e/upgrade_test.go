package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"
	"golang.org/x/sys/unix"
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

// An operator restarts both daemons, again and again, while callers send in every way there is. No new connection is refused or cut off, what cannot be
// carried out is answered with a 503 that says when to try again, and was not begun; what was begun ends with its own answer; and no session loses anything.
func TestUpgradeUnderLoad(t *testing.T) {
	// On a busy machine a program may take longer than what it is given as shipped.
	s := startKnowing(t, []string{"bash"}, "upgrade", "[http]\ndrain = \"1m\"\n", `drain = "1m"`)
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
	var all []*counter
	for range 2 {
		kept := &http.Client{Transport: &http.Transport{}, Timeout: hang}
		defer kept.CloseIdleConnections()
		for way, once := range map[string]func(request) (string, error){
			"a connection each":  func(q request) (string, error) { return s.countOnce(clients, q) },
			"a connection kept":  func(q request) (string, error) { return s.countOnce(kept, q) },
			"a stream of events": s.countInEvents,
			"a WebSocket":        s.countInSocket,
		} {
			c := &counter{way: way, session: randomMarker(), once: once}
			all = append(all, c)
			callers.Go(func() {
				for ctx.Err() == nil {
					if err := c.next(); err != nil {
						t.Errorf("%s: %v", c.way, err)
					}
				}
			})
		}
	}
	some := func() { // are carried out in between of each kind, however busy the machine is
		before := map[*counter]int64{}
		for _, c := range all {
			before[c] = c.good.Load()
		}
		if err := eventually("requests are carried out", func() error {
			for _, c := range all {
				if c.good.Load() < before[c]+2 {
					return errors.New("too few with " + c.way)
				}
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
	var good, refused int64
	for _, c := range all {
		t.Logf("%s: %d carried out, %d refused, %d connections closed", c.way, c.good.Load(), c.refused, c.closed)
		good, refused = good+c.good.Load(), refused+c.refused+c.closed
	}
	if refused > good {
		t.Error("most requests were refused")
	}
	s.betweenVersions(t, all)
}

// counter is a caller whose program counts in its session: a request that was not begun leaves no trace there.
type counter struct {
	way, session    string
	once            func(request) (stdout string, err error)
	counted         int
	good            atomic.Int64
	refused, closed int64
}

var (
	errRefused = errors.New("refused, for now")
	errClosed  = errors.New("closed") // before anything came of a connection that had waited for a request, or with the word that it goes away
	errEnded   = errors.New("the program did not end well")
	errWrong   = errors.New("an answer that must not be given")
)

// next sends one request.
func (c *counter) next() error {
	stdout, err := c.once(program("bash", "n=$(( $(cat n 2>/dev/null || echo 0) + 1 )); echo $n >new; mv new n; echo begun; read -t 9 x; echo $n").
		with(request{"session_id": c.session}))
	switch {
	case errors.Is(err, errRefused):
		c.refused++
		return nil
	case errors.Is(err, errClosed):
		c.closed++
		return nil
	case err != nil:
		return err
	}
	c.counted++
	c.good.Add(1)
	if want := fmt.Sprintf("begun\n%d\n", c.counted); stdout != want {
		fmt.Sscanf(stdout, "begun\n%d", &c.counted) // one complaint will do
		return fmt.Errorf("a session counted %q, want %q: a request that was refused had been begun, or one that was answered is lost", stdout, want)
	}
	return nil
}

// post sends a request to /v1/execute. The answer is one with 200.
func (s *stack) post(client *http.Client, accept string, q request) (*http.Response, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	post, err := http.NewRequest(http.MethodPost, s.url+"/v1/execute", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	reused := false
	post = post.WithContext(httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
		GotConn: func(got httptrace.GotConnInfo) { reused = got.Reused },
	}))
	post.Close = client == clients
	post.Header.Set("Authorization", "Bearer "+s.key)
	post.Header.Set("Content-Type", "application/json")
	post.Header.Set("Accept", accept)
	a, err := client.Do(post)
	if err != nil {
		if reused && (errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE)) {
			return nil, errClosed // a server may close a connection that waits, at any time: RFC 9112, section 9.5
		}
		return nil, err
	}
	if a.StatusCode != http.StatusOK {
		defer a.Body.Close()
		content, err := io.ReadAll(a.Body)
		if err == nil && a.StatusCode == http.StatusServiceUnavailable && a.Header.Get("Retry-After") != "" {
			return nil, refusedOr(content)
		}
		return nil, errors.Join(err, fmt.Errorf("%w: %s: %s", errWrong, a.Status, content))
	}
	return a, nil
}

func (s *stack) countOnce(client *http.Client, q request) (string, error) {
	a, err := s.post(client, "*/*", q)
	if err != nil {
		return "", err
	}
	defer a.Body.Close()
	content, err := io.ReadAll(a.Body)
	if err != nil {
		return "", err
	}
	return stdoutOf(content)
}

// stdoutOf is that of an answer to a program that ended well.
func stdoutOf(content []byte) (string, error) {
	var got answer
	if err := json.Unmarshal(content, &got); err != nil {
		return "", fmt.Errorf("%w: %w: %s", errWrong, err, content)
	}
	if got.Run.Status != "OK" {
		return "", fmt.Errorf("%w: %s", errEnded, content)
	}
	return got.Run.Stdout, nil
}

// refusedOr is the meaning of an event "error".
func refusedOr(content []byte) error {
	var body struct{ Error *refusal }
	switch err := json.Unmarshal(content, &body); {
	case err != nil || body.Error == nil:
		return fmt.Errorf("%w: %s", errWrong, content)
	case body.Error.Code == "overloaded":
		return errRefused
	case body.Error.Code == "interrupted":
		return fmt.Errorf("%w: %s", errEnded, content)
	}
	return fmt.Errorf("%w: %s", errWrong, content)
}

func (s *stack) countInEvents(q request) (string, error) {
	a, err := s.post(clients, "text/event-stream", q)
	if err != nil {
		return "", err
	}
	defer a.Body.Close()
	event, seen := "", ""
	lines := bufio.NewScanner(a.Body)
	for lines.Scan() {
		if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			event = name
		}
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		switch {
		case ok && event == "result":
			return stdoutOf([]byte(data))
		case ok && event == "error":
			return "", refusedOr([]byte(data))
		}
		seen += lines.Text() + "\n"
	}
	return "", errors.Join(lines.Err(), fmt.Errorf("a stream without an end: %q", seen))
}

// countInSocket has the program wait for its caller.
func (s *stack) countInSocket(q request) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	ws, response, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(s.url, "http")+"/v1/execute/ws",
		&websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + s.key}}})
	if err != nil {
		if response != nil && response.StatusCode == http.StatusServiceUnavailable && response.Header.Get("Retry-After") != "" {
			return "", errRefused
		}
		return "", err
	}
	defer ws.CloseNow()
	body, err := json.Marshal(q)
	if err == nil {
		err = ws.Write(ctx, websocket.MessageText, body)
	}
	seen := ""
	for err == nil {
		var content []byte
		if _, content, err = ws.Read(ctx); err != nil {
			break
		}
		var e struct {
			Type string
			Data json.RawMessage
		}
		if err := json.Unmarshal(content, &e); err != nil {
			return "", err
		}
		switch e.Type {
		case "stdout":
			ws.Write(ctx, websocket.MessageText, []byte(`{"type":"stdin","data":"\n"}`))
		case "result":
			return stdoutOf(e.Data)
		case "error":
			return "", refusedOr(e.Data)
		}
		seen += string(content)
	}
	return "", fmt.Errorf("a WebSocket without an end: %q %w", seen, err)
}
