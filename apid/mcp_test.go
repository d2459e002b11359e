package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// keyed adds a key to each request.
type keyed string

func (k keyed) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(k))
	return http.DefaultTransport.RoundTrip(r)
}

// connectMCP connects the SDK's client with a key.
func (ts *testServer) connectMCP(key string) (*mcp.ClientSession, error) {
	session, err := mcp.NewClient(&mcp.Implementation{Name: "test"}, nil).Connect(ts.t.Context(), &mcp.StreamableClientTransport{
		Endpoint: "http://" + ts.addr + "/mcp", HTTPClient: &http.Client{Transport: keyed(key)}}, nil)
	if err == nil {
		ts.t.Cleanup(func() { session.Close() })
	}
	return session, err
}

func (ts *testServer) callTool(session *mcp.ClientSession, name string, args map[string]any) (text string, isError bool) {
	ts.t.Helper()
	res, err := session.CallTool(ts.t.Context(), &mcp.CallToolParams{Name: name, Arguments: args})
	if err != nil {
		ts.t.Fatal(err)
	}
	for _, content := range res.Content {
		text += content.(*mcp.TextContent).Text + "\n"
	}
	return text, res.IsError
}

func TestMCP(t *testing.T) {
	ts := newTestServer(t, nil)
	session, err := ts.connectMCP(ts.key)
	if err != nil {
		t.Fatal(err)
	}
	list, err := session.ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, tool := range list.Tools {
		names = append(names, tool.Name)
	}
	if want := []string{"cancel_execution", "end_session", "execute", "fork_session", "get_execution", "list_files", "list_runtimes", "read_file",
		"start_execution", "write_file"}; !slices.Equal(names, want) {
		t.Errorf("tools %v, want %v", names, want)
	}
	args := python("print hello")
	args["session_id"] = "mine"
	if text, isError := ts.callTool(session, "execute", args); isError || !strings.HasPrefix(text, "exit code 0\n") || !strings.Contains(text, "stdout:\nhello") {
		t.Errorf("execute: %s", text)
	}
	if text, isError := ts.callTool(session, "execute", map[string]any{"language": "cobol", "code": "x"}); !isError || !strings.Contains(text, "list_runtimes") {
		t.Errorf("unknown language: %s", text)
	}
	// It was a request like any other: the key's session, and a line of the log under the id of the message.
	if !ts.sessions.has(keyID(ts), "mine") {
		t.Error("the session is not the key's")
	}
	ids := map[string][]string{}
	for line := range strings.Lines(ts.log.String()) {
		if _, rest, ok := strings.Cut(line, " id="); ok {
			id, rest, _ := strings.Cut(rest, " ")
			ids[id] = append(ids[id], rest)
		}
	}
	both := 0
	for _, lines := range ids {
		if len(lines) == 2 && strings.Contains(lines[0], "route=/v1/execute ") && strings.Contains(lines[1], "route=/mcp ") {
			both++
		}
	}
	if both != 2 {
		t.Errorf("%d messages have a line of their own and one of their request, want 2:\n%s", both, ts.log.String())
	}
}

func keyID(ts *testServer) string { return ts.keys.find([]byte(ts.key)).ID }

// What a stranger, another page of a browser or an old client may try.
func TestMCPRefuses(t *testing.T) {
	ts := newTestServer(t, nil)
	if _, err := ts.connectMCP("rt_live_wrong"); err == nil {
		t.Error("connected with a wrong key")
	}
	const ping = `{"jsonrpc":"2.0","id":1,"method":"ping"}`
	accept := []string{"Accept", "application/json, text/event-stream"}
	if r := ts.do("POST", "/mcp", ping, accept...); r.Status != 200 || strings.TrimSpace(r.Raw) != `{"jsonrpc":"2.0","id":1,"result":{}}` || r.Header.Get("Mcp-Session-Id") != "" {
		t.Errorf("ping: %d %s", r.Status, r.Raw)
	}
	for what, c := range map[string]struct {
		method, body string
		headers      []string
		status       int
	}{
		"no key":               {"POST", ping, []string{"Authorization", ""}, 401},
		"no key, foreign host": {"POST", ping, []string{"Authorization", "", "Origin", "http://evil.example"}, 401},
		"a stream of our own":  {"GET", "", nil, 405},
		"a batch":              {"POST", " [" + ping + "]", nil, 400},
		"not JSON":             {"POST", "{", nil, 400},
		"nothing":              {"POST", "", nil, 400},
		"curl's media type":    {"POST", ping, []string{"Content-Type", "application/x-www-form-urlencoded"}, 200},
		"another media type":   {"POST", ping, []string{"Content-Type", "text/plain"}, 415},
		"who takes no events":  {"POST", ping, []string{"Accept", "application/json"}, 400},
		"a notification":       {"POST", `{"jsonrpc":"2.0","method":"notifications/initialized"}`, nil, 202},
		"an unknown method":    {"POST", `{"jsonrpc":"2.0","id":1,"method":"no/such"}`, nil, 400},
	} {
		if r := ts.do(c.method, "/mcp", c.body, append(slices.Clone(accept), c.headers...)...); r.Status != c.status {
			t.Errorf("%s: %d %s, want %d", what, r.Status, r.Raw, c.status)
		}
	}
	if held := ts.bodies.held(); held != 0 {
		t.Errorf("%d bytes of bodies are held", held)
	}
}

// A body counts as often as it is in memory.
func TestMCPBodies(t *testing.T) {
	ts := newTestServer(t, func(cfg *config) { cfg.HTTP.MaxBodyBytes, cfg.HTTP.MaxBodiesBytes = 1<<20, 2<<20 })
	session, err := ts.connectMCP(ts.key)
	if err != nil {
		t.Fatal(err)
	}
	large := map[string]any{"session_id": "s", "path": "x", "content": strings.Repeat("x", 512<<10)}
	if _, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "write_file", Arguments: large}); err == nil || !strings.Contains(err.Error(), "Too Many Requests") {
		t.Errorf("six times 512 KiB in 2 MiB: %v", err)
	}
	large["content"] = strings.Repeat("x", 128<<10)
	if text, isError := ts.callTool(session, "write_file", large); isError {
		t.Errorf("six times 128 KiB in 2 MiB: %s", text)
	}
}

// The SDK reads values of any type, for 70 times the memory of their text or, nested, in time that grows with the square of it. It never sees these.
func TestMCPShapes(t *testing.T) {
	ts := newTestServer(t, nil)
	const size = 8 << 20
	for what, value := range map[string]string{
		"many":                    "[" + strings.Repeat("[],", size/3) + "0]",
		"many members":            "{" + strings.Repeat(`"a":0,`, size/6) + `"a":0}`,
		"nested":                  strings.Repeat("[", 900) + strings.Repeat("0,", size/2) + "0" + strings.Repeat("]", 900),
		"behind an escaped quote": `["\"",` + strings.Repeat("[],", size/3) + `0]`,
		"behind a backslash":      `["\\",` + strings.Repeat("[],", size/3) + `0]`,
	} {
		for _, body := range []string{
			`{"jsonrpc":"2.0","method":"x","id":` + value + `}`,
			`{"jsonrpc":"2.0","method":"tools/call","id":1,"params":{"name":"execute_code","arguments":` + value + `}}`,
		} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			r := ts.do("POST", "/mcp", body, "Accept", "application/json, text/event-stream")
			runtime.ReadMemStats(&after)
			if r.Status != 400 || !strings.Contains(r.Raw, "values") {
				t.Errorf("%s: %d %.200s", what, r.Status, r.Raw)
			}
			if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 8*size { // the body here, and as it grows there
				t.Errorf("%s: %d bytes were allocated", what, allocated)
			}
		}
	}
	// What only looks like many values is one.
	session, err := ts.connectMCP(ts.key)
	if err != nil {
		t.Fatal(err)
	}
	if text, isError := ts.callTool(session, "write_file", map[string]any{"session_id": "s", "path": "x", "content": strings.Repeat(`[],"{`, 100_000)}); isError {
		t.Errorf("a long string: %s", text)
	}
}

// Whoever hangs up, or cancels a call, ends the job.
func TestMCPHangUp(t *testing.T) {
	ts := newTestServer(t, nil)
	session, err := ts.connectMCP(ts.key)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "execute", Arguments: python("sleep 10m")})
		ended <- err
	}()
	eventually(t, "the job runs", func() bool { ts.fake.mu.Lock(); defer ts.fake.mu.Unlock(); return ts.fake.running == 1 })
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	eventually(t, "the job is killed", func() bool {
		ts.fake.mu.Lock()
		defer ts.fake.mu.Unlock()
		return ts.fake.killed == 1 && ts.fake.running == 0
	})
}

// Two clients of one key and one of another number their calls alike; a cancellation means its own.
func TestMCPCancel(t *testing.T) {
	ts := newTestServer(t, nil)
	other := ts.makeKey(ts.cfg.Keys, 0)
	eventually(t, "the key is known", func() bool { return ts.keys.find([]byte(other)) != nil })
	send := func(key, session, body string) (status int) {
		return ts.do("POST", "/mcp", body, "Accept", "application/json, text/event-stream", "Authorization", "Bearer "+key, mcpSession, session).Status
	}
	init := ts.do("POST", "/mcp", `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`,
		"Accept", "application/json, text/event-stream")
	session := init.Header.Get(mcpSession)
	if session == "" {
		t.Fatalf("no session id: %s", init.Raw)
	}
	answered := make(chan int, 1)
	go func() {
		answered <- send(ts.key, session, `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"execute","arguments":{"language":"python","code":"sleep 10m"}}}`)
	}()
	running := func() int { ts.fake.mu.Lock(); defer ts.fake.mu.Unlock(); return ts.fake.running }
	eventually(t, "the job runs", func() bool { return running() == 1 })
	cancel := func(id string) string {
		return `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":` + id + `}}`
	}
	for what, status := range map[string]int{
		"another key":     send(other, session, cancel("7")),
		"another session": send(ts.key, "another", cancel("7")),
		"another call":    send(ts.key, session, cancel("8")),
	} {
		if status != http.StatusAccepted {
			t.Errorf("%s: status %d", what, status)
		}
	}
	if ts.mcpCalls.count() != 1 {
		t.Fatal("a cancellation that did not mean the call ended it")
	}
	if status := send(ts.key, session, cancel("7")); status != http.StatusAccepted {
		t.Errorf("status %d", status)
	}
	if status := <-answered; status != http.StatusAccepted {
		t.Errorf("the cancelled call: status %d", status)
	}
	eventually(t, "the job is killed", func() bool { return running() == 0 })
	if ts.mcpCalls.count() != 0 {
		t.Error("the call is still known")
	}
}

func (m *mcpCalls) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.running)
}

// What a message asks of ourselves takes no descriptor: nobody counts those.
func TestMCPTakesNoDescriptors(t *testing.T) {
	ts := newTestServer(t, nil)
	session, err := ts.connectMCP(ts.key)
	if err != nil {
		t.Fatal(err)
	}
	open := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(fds)
	}
	if text, isError := ts.callTool(session, "list_runtimes", map[string]any{}); isError {
		t.Fatal(text)
	}
	const calls = 64
	before := open()
	for range calls {
		conn, err := ts.dialSelf(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	if more := open() - before; more >= calls {
		t.Errorf("%d calls took %d descriptors", calls, more)
	}
}
