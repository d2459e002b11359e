package mcptools

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/runtools/runtools/pkg/client"
)

// fakeServer answers every execution alike, and keeps files by the path of their URL.
type fakeServer struct {
	mu        sync.Mutex
	status    int    // of POST
	answer    string // to POST
	list      string // of the files of every session
	full      bool   // no file is taken
	files     map[string][]byte
	requested client.Request // the last
	asked     []string       // methods and addresses
}

func (f *fakeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	content, there := f.files[r.URL.Path]
	f.asked = append(f.asked, r.Method+" "+r.URL.String())
	switch {
	case r.Method == http.MethodPost:
		_ = json.Unmarshal(body, &f.requested)
		w.WriteHeader(f.status)
		_, _ = io.WriteString(w, f.answer)
	case r.Method == http.MethodPut && f.full:
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"error":{"code":"invalid_field","message":"the workspace is full"}}`)
	case r.Method == http.MethodPut:
		f.files[r.URL.Path] = body
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodDelete && f.status < http.StatusBadRequest:
		w.WriteHeader(http.StatusNoContent)
	case strings.HasPrefix(r.URL.Path, "/v1/executions/") || r.Method == http.MethodDelete:
		w.WriteHeader(f.status)
		_, _ = io.WriteString(w, f.answer)
	case strings.HasSuffix(r.URL.Path, "/files"):
		_, _ = io.WriteString(w, f.list)
	case r.URL.Path == client.PathRuntimes:
		_, _ = io.WriteString(w, `[{"language":"c","version":"13","aliases":["gcc"],"compiled":true}]`)
	case there:
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	default:
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"error":{"code":"not_found","message":"this session has no such file"}}`)
	}
}

// mcpClient is the SDK's client, connected to our tools, which talk to a fake server.
type mcpClient struct {
	t       *testing.T
	server  *fakeServer
	session *mcp.ClientSession
	schemas map[string]*jsonschema.Schema // of arguments, by tool
}

func startMCP(t *testing.T) *mcpClient {
	t.Helper()
	fake := &fakeServer{status: http.StatusOK, files: map[string][]byte{}}
	srv := httptest.NewServer(fake)
	t.Cleanup(srv.Close)
	c, err := client.New(srv.URL, "rt_live_test")
	if err != nil {
		t.Fatal(err)
	}
	c.MaxRetries = 0
	ours, theirs := mcp.NewInMemoryTransports()
	if _, err := New(c, nil).Connect(t.Context(), ours, nil); err != nil {
		t.Fatal(err)
	}
	session, err := mcp.NewClient(&mcp.Implementation{Name: "test"}, nil).Connect(t.Context(), theirs, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	m := &mcpClient{t, fake, session, map[string]*jsonschema.Schema{}}
	m.readSchemas()
	return m
}

// readSchemas compiles what the server tells of its tools' arguments, by another library than the one that made it.
func (m *mcpClient) readSchemas() {
	m.t.Helper()
	list, err := m.session.ListTools(m.t.Context(), nil)
	if err != nil {
		m.t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	for _, tool := range list.Tools {
		if err := compiler.AddResource("http://tools/"+tool.Name, tool.InputSchema); err != nil {
			m.t.Fatalf("%s: %v", tool.Name, err)
		}
		if m.schemas[tool.Name], err = compiler.Compile("http://tools/" + tool.Name); err != nil {
			m.t.Fatalf("%s: %v", tool.Name, err)
		}
	}
}

// valid says whether a tool's schema takes the arguments.
func (m *mcpClient) valid(name string, args map[string]any) error {
	m.t.Helper()
	if args == nil {
		args = map[string]any{}
	}
	text, err := json.Marshal(args)
	if err != nil {
		m.t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		m.t.Fatal(err)
	}
	return m.schemas[name].Validate(value)
}

// call returns the texts of a tool's answer, one a line break apart, and whether it is an error.
func (m *mcpClient) call(name string, args map[string]any) (string, bool) {
	m.t.Helper()
	res, err := m.session.CallTool(m.t.Context(), &mcp.CallToolParams{Name: name, Arguments: args})
	if err != nil {
		m.t.Fatal(err)
	}
	var texts []string
	for _, c := range res.Content {
		texts = append(texts, c.(*mcp.TextContent).Text)
	}
	return strings.Join(texts, "\n"), res.IsError
}

func (m *mcpClient) want(name string, args map[string]any, isError bool, pattern string) string {
	m.t.Helper()
	got, failed := m.call(name, args)
	if err := m.valid(name, args); err != nil && !failed {
		m.t.Errorf("%s takes %v, and its schema does not: %v", name, args, err)
	}
	if failed != isError || !regexp.MustCompile(pattern).MatchString(got) {
		m.t.Errorf("%s %v: error %v, want %v; got\n%.600s\nwant %s", name, args, failed, isError, got, pattern)
	}
	return got
}

func (m *mcpClient) answerWith(res client.Result) {
	body, _ := json.Marshal(res)
	m.server.mu.Lock()
	defer m.server.mu.Unlock()
	m.server.answer = string(body)
}

func TestTools(t *testing.T) {
	m := startMCP(t)
	list, err := m.session.ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, tool := range list.Tools {
		names = append(names, tool.Name)
		if tool.Description == "" || tool.InputSchema == nil {
			t.Errorf("%s has no description or no schema", tool.Name)
		}
	}
	if got := strings.Join(names, " "); got != "cancel_execution end_session execute fork_session get_execution list_files list_runtimes read_file start_execution write_file" {
		t.Errorf("tools: %s", got)
	}
}

// TestSchemas: what a schema refuses, the tool refuses, and nothing of it reaches the server.
func TestSchemas(t *testing.T) {
	m := startMCP(t)
	execution := map[string]any{"language": "python", "code": "1"}
	for _, c := range []struct {
		tool  string
		valid map[string]any // with any of the changes it is not; nil takes away
		bad   map[string][]any
	}{
		{"execute", execution, map[string][]any{"language": {nil, 3}, "code": {3}, "files": {"x", []any{"x"}, []any{map[string]any{"content": ""}}}, "stdin": {[]any{}},
			"args": {"a", []any{1}}, "session_id": {7}, "run_timeout_ms": {"1", 1.5}, "new": {1}}},
		{"start_execution", execution, map[string][]any{"language": {nil}, "new": {1}}},
		{"get_execution", map[string]any{"execution_id": "e"}, map[string][]any{"execution_id": {nil, 1}, "wait_seconds": {"1"}, "new": {1}}},
		{"cancel_execution", map[string]any{"execution_id": "e"}, map[string][]any{"execution_id": {nil, 1}, "new": {1}}},
		{"list_runtimes", map[string]any{}, map[string][]any{"new": {1}}},
		{"list_files", map[string]any{"session_id": "s"}, map[string][]any{"session_id": {nil, 1}, "new": {1}}},
		{"read_file", map[string]any{"session_id": "s", "path": "p"}, map[string][]any{"session_id": {nil}, "path": {nil, 1}, "offset": {"0"}, "length": {0.5}, "new": {1}}},
		{"write_file", map[string]any{"session_id": "s", "path": "p", "content": ""}, map[string][]any{"path": {nil}, "content": {nil, 1}, "encoding": {1}, "new": {1}}},
		{"fork_session", map[string]any{"session_id": "s"}, map[string][]any{"session_id": {nil}, "count": {"1", 1.5}, "new": {1}}},
		{"end_session", map[string]any{"session_id": "s"}, map[string][]any{"session_id": {nil, 1}, "new": {1}}},
	} {
		if err := m.valid(c.tool, c.valid); err != nil {
			t.Errorf("%s %v: %v", c.tool, c.valid, err)
		}
		for field, values := range c.bad {
			for _, value := range values {
				args := maps.Clone(c.valid)
				if args[field] = value; value == nil {
					delete(args, field)
				}
				if m.valid(c.tool, args) == nil {
					t.Errorf("the schema of %s takes %v", c.tool, args)
				}
				m.want(c.tool, args, true, field)
			}
		}
	}
	m.wantAsked()
}

func TestExecute(t *testing.T) {
	m := startMCP(t)
	args := map[string]any{"language": "python", "version": "3.12", "code": "print(42)", "stdin": "in", "args": []string{"a"}, "session_id": "s", "run_timeout_ms": 1000,
		"files": []map[string]string{{"name": "lib/x.py", "content": "y"}}}
	m.answerWith(client.Result{Language: "python", Version: "3.12.3", SessionID: "a1b2c3d4-e5f6", SessionCreated: true,
		Run: client.Stage{Stdout: "42\n", Code: new(int), Status: client.OK}})
	m.want("execute", args, false, `(?s)^exit code 0\npython 3.12.3, session a1b2c3d4-e5f6, .*it began empty.*\nstdout:\n42\n$`)
	sent := m.server.requested
	if sent.Language != "python" || sent.Version != "3.12" || sent.Code != "print(42)" || sent.Stdin != "in" || sent.Args[0] != "a" || sent.SessionID != "s" ||
		sent.RunTimeout != 1000 || sent.Files[0] != (client.File{Name: "lib/x.py", Content: "y"}) {
		t.Errorf("sent %+v", sent)
	}

	// What the program did is an answer, no error of the tool.
	one := 1
	m.answerWith(client.Result{SessionID: "s", Compile: &client.Stage{Code: &one, Stderr: "main.c:1: error", Status: client.CompilationFailure},
		Run: client.Stage{Stderr: "main.c:1: error", Status: client.CompilationFailure}})
	if got := m.want("execute", args, false, `^compilation failed`); strings.Count(got, "main.c:1: error") != 1 {
		t.Errorf("the compiler's words, once: %s", got)
	}
	places := make([]client.Diagnostic, 21)
	places[0] = client.Diagnostic{File: "main.rs", Line: 3, Column: 5, Severity: "error", Message: "mismatched types", Code: "E0308"}
	m.answerWith(client.Result{SessionID: "s", Compile: &client.Stage{Code: &one, Status: client.CompilationFailure, Diagnostics: places},
		Run: client.Stage{Status: client.CompilationFailure, Diagnostics: places}})
	m.want("execute", args, false, `(?s)diagnostics, .*\nmain\.rs:3:5: error: mismatched types \[E0308\]\n.*\nand 1 more$`)
	m.answerWith(client.Result{SessionID: "s", Run: client.Stage{Code: &one, Stderr: "x", Status: client.RuntimeError, Diagnostics: places[:1]}})
	m.want("execute", args, false, `main\.rs:3:5: error`)
	m.answerWith(client.Result{SessionID: "s", Run: client.Stage{Signal: "SIGKILL", Status: client.TimeLimit, Message: "wall time exceeded"}})
	m.want("execute", args, false, `^killed by SIGKILL; wall time exceeded`)

	// What the schema does not know does not reach the server.
	m.want("execute", map[string]any{"lang": "python"}, true, `lang`)
}

// TestMCPLongOutput: head, tail, and the rest by read_file; together they are what the program wrote.
func TestLongOutput(t *testing.T) {
	m := startMCP(t)
	out := "first" + strings.Repeat("ä€😀", 5000) + "last" // characters of 2, 3 and 4 bytes: cuts fall inside some
	m.answerWith(client.Result{SessionID: "s", Run: client.Stage{Stdout: out, Code: new(int), Status: client.OK}})
	got := m.want("execute", map[string]any{"language": "python", "code": "1"}, false, `read_file with session_id "s.output", path "stdout", offset \d+`)
	if len(got) > outputBudget+1000 || strings.Contains(got, "\ufffd") {
		t.Errorf("%d bytes of answer, or a character in two", len(got))
	}
	_, shown, _ := strings.Cut(got, "stdout:\n")
	cut := regexp.MustCompile(`\n\[(\d+) of (\d+) bytes left out here; .* offset (\d+) .*\]\n`)
	first, last := cut.Split(shown, 2)[0], cut.Split(shown, 2)[1]
	var left, offset int
	var middle strings.Builder
	number := cut.FindStringSubmatch(shown)
	_ = json.Unmarshal([]byte(number[1]), &left)
	_ = json.Unmarshal([]byte(number[3]), &offset)
	for middle.Len() < left {
		text := m.want("read_file", map[string]any{"session_id": "s.output", "path": "stdout", "offset": offset, "length": 10000}, false, `^stdout: bytes \d+ to \d+ of \d+`)
		_, part, _ := strings.Cut(text, "\n")
		if part == "" {
			t.Fatal("read_file came to no end")
		}
		middle.WriteString(part)
		offset += len(part)
	}
	if rest := middle.String()[:left]; first+rest+last != out {
		t.Error("head, rest and tail are not what the program wrote")
	}
	m.want("read_file", map[string]any{"session_id": "s.output", "path": "stdout", "offset": len(out)}, false, `^stdout: bytes (\d+) to (\d+) of (\d+)\n$`)

	// The program's own session holds what it held, or the server could not use again what it compiled there.
	for path := range m.server.files {
		if strings.HasPrefix(path, "/v1/sessions/s/") {
			t.Errorf("%s was written", path)
		}
	}

	// A session that takes no file.
	m.server.full = true
	m.want("execute", map[string]any{"language": "python", "code": "1"}, false, `bytes left out here; they could not be kept .*let the program write to a file`)
}

func TestFiles(t *testing.T) {
	m := startMCP(t)
	m.want("write_file", map[string]any{"session_id": "s", "path": "a b/ü.txt", "content": "text"}, false, `^a b/ü.txt now holds 4 bytes$`)
	m.want("read_file", map[string]any{"session_id": "s", "path": "a b/ü.txt"}, false, `bytes 0 to 4 of 4\ntext$`)
	m.want("read_file", map[string]any{"session_id": "s", "path": "a b/ü.txt", "offset": 1, "length": 2}, false, `bytes 1 to 3 of 4; go on with offset 3\nex$`)
	m.want("write_file", map[string]any{"session_id": "s", "path": "bin", "content": "AP8=", "encoding": "base64"}, false, `2 bytes`)
	m.want("read_file", map[string]any{"session_id": "s", "path": "bin"}, false, `in base64\nAP8=$`)
	m.server.list = `{"files":[{"path":"bin","type":"file","size":2,"mode":"644","modified":1}]}`
	m.want("list_files", map[string]any{"session_id": "s"}, false, `^file +2  bin\n$`)
	m.want("list_runtimes", nil, false, `^c 13 \(also gcc\), compiled\n$`)

	// Errors say what to do.
	m.want("read_file", map[string]any{"session_id": "s", "path": "none"}, true, `no such file\. list_files shows what is there`)
	m.want("write_file", map[string]any{"session_id": "s", "path": "bin", "content": "!", "encoding": "base64"}, true, `use the standard alphabet`)
	m.server.status, m.server.answer = http.StatusBadRequest, `{"error":{"code":"unknown_language","message":"no language cobol"}}`
	m.want("execute", map[string]any{"language": "cobol", "code": "1"}, true, `^no language cobol\. list_runtimes shows`)
}

// TestSessions: copies and ends.
func TestSessions(t *testing.T) {
	m := startMCP(t)
	m.server.answer = `{"session_ids":["f-1","f-2"]}`
	m.want("fork_session", map[string]any{"session_id": "s", "count": 2}, false, "^new sessions:\nf-1\nf-2$")
	m.want("end_session", map[string]any{"session_id": "s"}, false, "^session s has ended$")
	m.wantAsked("POST /v1/sessions/s/fork", "DELETE /v1/sessions/s", "DELETE /v1/sessions/s.output")
	m.server.status, m.server.answer = http.StatusNotFound, `{"error":{"code":"not_found","message":"none"}}`
	m.want("end_session", map[string]any{"session_id": "s"}, true, `^there is no session "s"`)
}

// TestExecutions: begun, waited for, cancelled; the end is told as execute tells it.
func TestExecutions(t *testing.T) {
	m := startMCP(t)
	m.server.answer = `{"id":"e-1","status":"pending","created":"2026-01-02T03:04:05Z"}`
	m.want("start_execution", map[string]any{"language": "bash", "code": "sleep 99", "run_timeout_ms": 1000}, false, "^execution e-1 has begun; get_execution .* cancel_execution")
	if sent := m.server.requested; sent.Code != "sleep 99" || sent.RunTimeout != 1000 {
		t.Errorf("sent %+v", sent)
	}
	m.want("get_execution", map[string]any{"execution_id": "e-1"}, false, "not ended after 30 s more: call get_execution again$")
	m.server.answer = `{"id":"e-1","status":"done","result":{"language":"bash","version":"5","session_id":"s","run":{"stdout":"done\n","code":3,"status":"RE"}}}`
	m.want("get_execution", map[string]any{"execution_id": "e-1", "wait_seconds": 5}, false, `(?s)^exit code 3\nbash 5, session s.*\nstdout:\ndone\n$`)
	m.server.answer = `{"id":"e-1","status":"failed","error":{"code":"interrupted","message":"the server went down"}}`
	m.want("get_execution", map[string]any{"execution_id": "e-1"}, true, `^the server went down\. The program may have run`)
	m.want("cancel_execution", map[string]any{"execution_id": "e-1"}, false, "^execution e-1 has ended, and is forgotten$")
	m.wantAsked("POST /v1/executions", "GET /v1/executions/e-1?wait=30", "GET /v1/executions/e-1?wait=5", "GET /v1/executions/e-1?wait=30", "DELETE /v1/executions/e-1")
	m.want("get_execution", map[string]any{"execution_id": "e-1", "wait_seconds": 61}, true, "^wait_seconds 61: want 1 to 60")
	m.server.status, m.server.answer = http.StatusNotFound, `{"error":{"code":"not_found","message":"there is no execution"}}`
	m.want("cancel_execution", map[string]any{"execution_id": "e-1"}, true, `^there is no execution\. .*an execution is kept for some minutes`)
}

func (m *mcpClient) wantAsked(want ...string) {
	m.t.Helper()
	if !slices.Equal(m.server.asked, want) {
		m.t.Errorf("asked %q, want %q", m.server.asked, want)
	}
}
