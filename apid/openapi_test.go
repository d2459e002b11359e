package main

import (
	"bufio"
	"bytes"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/runtools/runtools/apid/conform"
	"github.com/runtools/runtools/pkg/wire"
)

// Each example of openapi.json is what the schema beside it says. That real answers are is seen to by TestMain, for all tests, and in e2e.
func TestOpenAPIExamples(t *testing.T) {
	if n, err := document.Examples(); err != nil || n < 10 {
		t.Errorf("%d examples: %v", n, err)
	}
}

// The bodies that docs/api.md sends are requests by the schema, and as we decode them.
func TestRequestsOfTheDocs(t *testing.T) {
	docs, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	bodies := regexp.MustCompile(`(?s)-d '(\{\s*"language".*?\})'`).FindAllSubmatch(docs, -1)
	if len(bodies) < 8 {
		t.Errorf("%d requests were found", len(bodies))
	}
	for _, m := range bodies {
		body := string(m[1])
		if err := document.Value("ExecuteRequest", m[1]); err != nil {
			t.Errorf("%v in %s", err, body)
		}
		if _, err := decodeRequest([]byte(body)); err != nil {
			t.Errorf("%s in %s", err.message, body)
		}
	}
}

// What is served and what is documented are the same paths and methods. HEAD goes with GET, OPTIONS with everything.
func TestOpenAPIRoutes(t *testing.T) {
	served := map[string][]string{}
	for _, r := range routes {
		served[r.path] = slices.Sorted(maps.Keys(r.calls))
	}
	pages, err := loadPages()
	if err != nil {
		t.Fatal(err)
	}
	for path := range pages {
		if strings.HasPrefix(path, "/assets/") {
			path = "/assets/{name}"
		}
		served[path] = []string{"GET"}
	}
	documented := document.Routes()
	for path := range maps.Keys(served) {
		if !slices.Equal(served[path], documented[path]) {
			t.Errorf("%s: %v are served, %v are documented", path, served[path], documented[path])
		}
		delete(documented, path)
	}
	if len(documented) > 0 {
		t.Errorf("documented, and not served: %v", documented)
	}
}

// An address is taken apart as it came: nothing that it hides in an encoding makes it another route's.
func TestRoutesMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, address, id, path string
		want                       bool
	}{
		{"/a", "/a", "", "", true}, {"/a", "/a/", "", "", false}, {"/a", "/ab", "", "", false}, {"/a", "//a", "", "", false}, {"/a", "/%61", "", "", true},
		{"/a", "/b/../a", "", "", false}, {"/a", "/./a", "", "", false}, {"/a", "", "", "", false}, {"/", "/", "", "", true},
		{"/a/{id}", "/a/b", "b", "", true}, {"/a/{id}", "/a/", "", "", false}, {"/a/{id}", "/a", "", "", false}, {"/a/{id}", "/a/b/c", "", "", false},
		{"/a/{id}", "/a/b%2Fc", "", "", false}, {"/a/{id}", "/a/%2e%2E", "", "", false}, {"/a/{id}", "/a/..%2fx%2fy", "", "", false}, {"/a/{id}", "/a/%2F", "", "", false},
		{"/a/{id}", "/a/b+%20%2B%zz", "b+%20%2B%zz", "", true}, {"/a/{id}", "/a/b+%20%2B", "b+ +", "", true}, {"/a/{id}/c", "/a/b%2Fc", "", "", false},
		{"/a/{id}/c", "/a/b/c", "b", "", true}, {"/a/{id}/c", "/a//c", "", "", false}, {"/a/{id}/c", "/a/b/c/d", "", "", false},
		{"/a/{id}/f/{path}", "/a/b/f/c/d", "b", "c/d", true}, {"/a/{id}/f/{path}", "/a/b/f/c%2Fd", "b", "c/d", true}, {"/a/{id}/f/{path}", "/a/b/f/c%2F..%2Fd", "", "", false},
		{"/a/{id}/f/{path}", "/a/b/f/", "", "", false}, {"/a/{id}/f/{path}", "/a/b/f", "", "", false}, {"/a/{id}/f/{path}", "/a/b/f//c", "", "", false},
		{"/a/{id}/f/{path}", "/a/b/f/c/", "", "", false}, {"/a/{id}/f/{path}", "/a/b/g/c", "", "", false}, {"/a/{id}/f/{path}", "/a/b%2Ff%2Fc", "", "", false},
	} {
		id, path, ok := (&route{path: c.pattern}).match(c.address)
		if ok != c.want || ok && (id != c.id || path != c.path) {
			t.Errorf("%s and %s: %q, %q, %v; want %q, %q, %v", c.pattern, c.address, id, path, ok, c.id, c.path, c.want)
		}
	}
}

// The document says what this server's operator has chosen.
func TestOpenAPIBounds(t *testing.T) {
	ts := newTestServer(t, func(c *config) {
		c.Limits.RunTimeout, c.Limits.OutputLimit, c.Repeat.MaxRuns = bound{2000, 5000}, bound{100, 1000}, 7
	})
	d, err := conform.Read([]byte(ts.do("GET", "/openapi.json", "").Raw))
	if err != nil {
		t.Fatal(err)
	}
	for body, valid := range map[string]bool{`"run_timeout": 5000`: true, `"run_timeout": 5001`: false, `"output_limit": 1001`: false, `"repeat": 7`: true, `"repeat": 8`: false, `"compile_timeout": 60000`: true} {
		body = `{"language": "python", "code": "", ` + body + `}`
		if err := d.Value("ExecuteRequest", []byte(body)); (err == nil) != valid {
			t.Errorf("%s: %v", body, err)
		}
		if r := ts.do("POST", "/v1/execute", body); (r.Status == 200) != valid {
			t.Errorf("%s: %s", body, r.Raw)
		}
	}
}

// apiTest is a server all of whose answers are held against a document of its own, so that the end can tell which are missing.
type apiTest struct {
	*testServer
	client *http.Client
}

// serveFor starts one.
func serveFor(t *testing.T, d *conform.Document, tune func(*config)) *apiTest {
	next := &http.Transport{DisableCompression: true}
	t.Cleanup(next.CloseIdleConnections)
	return &apiTest{newTestServer(t, tune), &http.Client{Transport: &conform.Transport{Next: next, Document: d}}}
}

// ask sends a request, which must be answered with a status. headers are pairs; one with an empty value is left out.
func (a *apiTest) ask(status int, method, path, body string, headers ...string) (answer *http.Response, content string) {
	a.t.Helper()
	req, err := http.NewRequest(method, "http://"+a.addr+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header = http.Header{"Authorization": {"Bearer " + a.key}, "Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}}
	if path == "/v1/execute" {
		req.Header.Del("Accept")
	}
	for i := 0; i < len(headers); i += 2 {
		if req.Header.Set(headers[i], headers[i+1]); headers[i+1] == "" {
			req.Header.Del(headers[i])
		}
	}
	resp, err := a.client.Do(req)
	if err != nil {
		a.t.Errorf("%s %s: %v", method, path, err)
		return nil, ""
	}
	defer resp.Body.Close()
	var raw []byte
	if resp.StatusCode != http.StatusSwitchingProtocols {
		if raw, err = io.ReadAll(resp.Body); err != nil {
			a.t.Errorf("%s %s: %v", method, path, err)
		}
	}
	if resp.StatusCode != status {
		a.t.Errorf("%s %s: %s, want %d: %.300s", method, path, resp.Status, status, raw)
	}
	return resp, string(raw)
}

// operation is a request that is right, of an operation of the document.
type operation struct{ method, path, body string }

// operations has one for each; id is of a session and an execution that need not be there.
func operations() []operation {
	hello, piston := encode(python("print x")), `{"language": "python", "files": [{"content": "print x"}]}`
	return []operation{
		{"POST", "/v1/execute", hello}, {"GET", "/v1/execute/ws", ""}, {"GET", "/v1/execute/runtimes", ""}, {"POST", "/v1/executions", hello},
		{"GET", "/v1/executions/id", ""}, {"DELETE", "/v1/executions/id", ""}, {"GET", "/v1/sessions/id", ""}, {"DELETE", "/v1/sessions/id", ""},
		{"GET", "/v1/sessions/id/files", ""}, {"GET", "/v1/sessions/id/files/x", ""}, {"PUT", "/v1/sessions/id/files/x", "content"},
		{"DELETE", "/v1/sessions/id/files/x", ""}, {"GET", "/v1/sessions/id/archive", ""}, {"POST", "/v1/sessions/id/fork", `{"count": 2}`},
		{"POST", "/api/v2/execute", piston}, {"GET", "/api/v2/connect", ""}, {"GET", "/api/v2/runtimes", ""},
		{"POST", "/mcp", `{"jsonrpc": "2.0", "id": 1, "method": "ping"}`}, {"GET", "/v1/metrics", ""}, {"GET", "/openapi.json", ""}, {"GET", "/healthz", ""}, {"GET", "/readyz", ""},
		{"GET", "/", ""}, {"GET", "/status", ""}, {"GET", "/icon.svg", ""}, {"GET", "/assets/index.js", ""}, {"GET", "/assets/style.css", ""},
	}
}

// handshake are the headers of a WebSocket.
var handshake = []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "MDEyMzQ1Njc4OWFiY2RlZg=="}

// Every answer that the document has is really given, each by a request over HTTP, and is as the document says.
func TestOpenAPIAnswers(t *testing.T) {
	d, err := conform.Read(openAPIDocument)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("as it should be", func(t *testing.T) { answersOfWork(t, d) })
	t.Run("refused", func(t *testing.T) { answersOfRefusals(t, d) })
	t.Run("no room", func(t *testing.T) { answersWithoutRoom(t, d) })
	t.Run("broken", func(t *testing.T) { answersOfTheBroken(t, d) })
	if missing := d.Unanswered(); len(missing) > 0 {
		t.Errorf("documented, and never seen:\n%s", strings.Join(missing, "\n"))
	}
}

func answersOfWork(t *testing.T, d *conform.Document) {
	a := serveFor(t, d, nil)
	const operator = "rt_live_of_the_operator"
	if err := createKey(a.cfg.Keys, key{Name: "operator", Operator: true}, operator, io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the key is known", func() bool { return a.keys.find([]byte(operator)) != nil })
	a.ask(200, "POST", "/v1/execute", encode(with(python("write x 1"), "session_id", "id")))
	a.ask(200, "POST", "/v1/execute", encode(cc("print x", "bytes ff", "deny /", "exit 3")))
	a.ask(200, "POST", "/v1/execute", encode(with(cc("print x", "cat"), "tests", []any{map[string]any{"stdin": "1", "expected_stdout": "x\n1"}}, "explain", true)), "Accept", "text/event-stream")
	a.ask(101, "GET", "/v1/execute/ws", "", append(handshake, "Sec-WebSocket-Protocol", "runtools")...)
	a.ask(101, "GET", "/api/v2/connect", "", append(handshake, "Authorization", a.key)...)
	a.ask(200, "GET", "/v1/execute/runtimes", "")
	_, started := a.ask(202, "POST", "/v1/executions", encode(python("print x")))
	id := regexp.MustCompile(`"id":"([^"]+)"`).FindStringSubmatch(started)[1]
	a.ask(200, "GET", "/v1/executions/"+id+"?wait=60", "")
	a.ask(204, "DELETE", "/v1/executions/"+id, "")
	a.ask(200, "GET", "/v1/sessions/id", "")
	a.tool("write . bytes 66 9 35 9 36 34 34 9 31 9 2e 2f 61 0")
	a.ask(200, "GET", "/v1/sessions/id/files", "")
	a.tool("write -c bytes 68 69", "warn")
	a.ask(200, "GET", "/v1/sessions/id/archive", "")
	a.ask(200, "POST", "/v1/sessions/id/fork", `{"count": 2}`)
	a.ask(200, "POST", "/v1/sessions/id/fork", "")
	a.ask(204, "PUT", "/v1/sessions/id/files/a/b", "content", "Content-Type", "text/csv")
	a.scripts("print hi\nwarn 3")
	a.ask(200, "GET", "/v1/sessions/id/files/x", "")
	a.ask(206, "GET", "/v1/sessions/id/files/x", "", "Range", "bytes=0-5")
	a.scripts("warn 3")
	a.ask(416, "GET", "/v1/sessions/id/files/x", "", "Range", "bytes=9-")
	a.ask(204, "DELETE", "/v1/sessions/id/files/x", "")
	a.ask(204, "DELETE", "/v1/sessions/id", "")
	a.ask(200, "POST", "/api/v2/execute", `{"language": "c", "version": "*", "files": [{"content": "print x"}, {"name": "y", "content": "", "encoding": "hex"}]}`)
	a.ask(200, "GET", "/api/v2/runtimes", "")
	a.ask(200, "POST", "/mcp", `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`)
	a.ask(200, "POST", "/mcp", `{"jsonrpc":"2.0","id":"a","method":"tools/list"}`)
	a.ask(200, "POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"execute","arguments":{"language":"python","code":"print 1"}}}`)
	a.ask(200, "POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"none"}}`)
	a.ask(202, "POST", "/mcp", `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	a.ask(200, "GET", "/v1/metrics", "", "Authorization", "Bearer "+operator)
	a.ask(200, "GET", "/v1/metrics", "", "Authorization", "Bearer "+operator, "Accept-Encoding", "gzip")
	for path := range a.pages {
		answer, _ := a.ask(200, "GET", path, "", "Authorization", "")
		a.ask(304, "GET", path, "", "If-None-Match", answer.Header.Get("ETag"))
	}
	a.ask(200, "HEAD", "/", "", "Accept-Encoding", "gzip")
	for _, path := range []string{"/openapi.json", "/healthz", "/readyz"} {
		a.ask(200, "GET", path, "", "Authorization", "")
	}
	for _, op := range operations() {
		a.ask(204, "OPTIONS", op.path, "")
	}
}

// tool runs a program in the session named id, which may leave what the fake's tools do there.
func (a *apiTest) tool(lines ...string) {
	a.t.Helper()
	a.ask(200, "POST", "/v1/execute", encode(with(python(lines...), "session_id", "id")))
}

// scripts makes the scripts that read and delete files in the session named id do something else.
func (a *apiTest) scripts(text string) {
	a.t.Helper()
	a.ask(200, "POST", "/v1/execute", encode(with(python(""), "session_id", "id", "files", files("-c", text))))
}

func answersOfRefusals(t *testing.T, d *conform.Document) {
	a := serveFor(t, d, func(c *config) {
		c.HTTP.MaxBodyBytes, c.HTTP.MaxBodiesBytes = 20_000, 200_000
		c.Limits.OutputLimit = bound{4096, 4096}
	})
	large := `{"code": "` + strings.Repeat("x", 20_000) + `"}`
	for _, op := range operations() {
		path := d.Find(op.path)
		keyed := slices.Contains(d.Documented(), op.method+" "+path+" 401")
		if keyed {
			a.ask(401, op.method, op.path, op.body, "Authorization", "")
			a.ask(401, op.method, op.path, op.body, "Authorization", "Bearer wrong")
		}
		if op.body != "" && !strings.HasSuffix(op.path, "/fork") {
			a.ask(413, op.method, op.path, large)
		}
		if op.body != "" && !strings.HasPrefix(op.path, "/v1/sessions/") {
			a.ask(415, op.method, op.path, op.body, "Content-Type", "text/plain")
			a.ask(400, op.method, op.path, "{")
		}
		if strings.HasPrefix(op.path, "/v1/sessions/") && op.method != "PUT" {
			a.ask(404, op.method, op.path, op.body)
			a.ask(400, op.method, strings.Replace(op.path, "/id", "/a%20b", 1), op.body)
		}
		a.ask(405, "PATCH", op.path, "")
	}
	a.ask(400, "POST", "/v1/execute", encode(with(python("x"), "run_timeout", 0)))
	a.ask(426, "GET", "/v1/execute/ws", "")
	a.ask(426, "GET", "/api/v2/connect", "")
	a.ask(400, "GET", "/v1/executions/id?wait=x", "")
	a.ask(404, "GET", "/v1/executions/id", "")
	a.ask(404, "DELETE", "/v1/executions/id", "")
	a.ask(400, "PUT", "/v1/sessions/id/files/"+strings.Repeat("x", 300), "")
	a.tool("write . spew 5000", "write -c spew 5000")
	a.ask(413, "GET", "/v1/sessions/id/files", "")
	a.ask(413, "GET", "/v1/sessions/id/files/x", "")
	a.ask(413, "POST", "/v1/sessions/id/fork", large)
	a.fake.setTar(fakeTar{create: "spew"})
	a.ask(413, "GET", "/v1/sessions/id/archive", "")
	a.ask(400, "POST", "/v1/sessions/id/fork", `{"count": 0}`)
	a.tool("write -c exit 44")
	a.ask(404, "GET", "/v1/sessions/id/files/x", "")
	a.ask(404, "DELETE", "/v1/sessions/id/files/x", "")
	a.ask(400, "POST", "/mcp", `[]`)
	a.ask(400, "POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"none"}`)
	a.ask(403, "GET", "/v1/metrics", "")
	a.ask(404, "GET", "/nowhere", "")
	a.ask(413, "GET", "/healthz", "", "X-Long", strings.Repeat("x", 1<<14))

	a.askRaw(400, d, "GET", "*", "this is not HTTP\r\n\r\n")
}

// askRaw sends bytes on a connection of their own. Go's client takes no answer that is there before its request is.
func (a *apiTest) askRaw(status int, d *conform.Document, method, path, text string) {
	a.t.Helper()
	conn, err := net.Dial("tcp", a.addr)
	if err != nil {
		a.t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, text)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		a.t.Fatal(err)
	}
	body, err := io.ReadAll(answer.Body)
	if err == nil {
		err = d.Answer(method, path, answer, body)
	}
	if err != nil || answer.StatusCode != status {
		a.t.Errorf("%s %s: %s, want %d: %v", method, path, answer.Status, status, err)
	}
}

// A key has its share of the connections; then all of them are being served.
func answersWithoutRoom(t *testing.T, d *conform.Document) {
	a := serveFor(t, d, func(c *config) { c.HTTP.MaxConnections, c.Queue.MaxJobs = 4, 8 })
	a.tool("write x 1")
	held := make(chan struct{}, 4)
	hold := func(key string, running int) {
		go func() {
			a.ask(200, "POST", "/v1/execute", encode(python("await")), "Authorization", "Bearer "+key)
			held <- struct{}{}
		}()
		eventually(t, "the program runs", func() bool { a.fake.mu.Lock(); defer a.fake.mu.Unlock(); return a.fake.running == running })
	}
	other := a.makeKey(a.cfg.Keys, 0)
	eventually(t, "the key is known", func() bool { return a.keys.find([]byte(other)) != nil })
	for i := range 3 {
		hold(a.key, i+1)
	}
	for _, op := range operations() {
		if slices.Contains(d.Documented(), op.method+" "+d.Find(op.path)+" 429") {
			a.ask(429, op.method, op.path, op.body)
		}
	}
	hold(other, 4)
	for _, op := range append(operations(), operation{"GET", "/nowhere", ""}) {
		req, err := http.NewRequest(op.method, "http://"+a.addr+op.path, strings.NewReader(op.body))
		if err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		if err := req.Write(&text); err != nil {
			t.Fatal(err)
		}
		a.askRaw(503, d, op.method, op.path, text.String())
	}
	for range 4 {
		a.fake.gate <- struct{}{}
	}
	for range 4 {
		<-held
	}
}

// What sandboxd, or we ourselves, failed at.
func answersOfTheBroken(t *testing.T, d *conform.Document) {
	a := serveFor(t, d, nil)
	a.tool("write x 1")
	a.fake.mu.Lock()
	a.fake.broken = wire.Errorf(wire.CodeInternal, "secret detail")
	a.fake.mu.Unlock()
	for _, op := range operations() {
		if slices.Contains(d.Documented(), op.method+" "+d.Find(op.path)+" 500") {
			a.ask(500, op.method, op.path, op.body)
		}
	}
	a.ask(503, "GET", "/readyz", "")
	a.keys = nil // each request that has a key panics
	a.ask(500, "GET", "/v1/metrics", "")
}
