package main

import (
	"encoding/json"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/runtools/runtools/pkg/client"
)

// mcpClient is the SDK's client, connected to our tools, which talk to a fake server.
type mcpClient struct {
	t       *testing.T
	server  *fakeServer
	session *mcp.ClientSession
}

func startMCP(t *testing.T) *mcpClient {
	t.Helper()
	fake := &fakeServer{dir: t.TempDir()}
	srv := httptest.NewServer(fake)
	t.Cleanup(srv.Close)
	a := &app{stdout: io.Discard, stderr: io.Discard, url: srv.URL, apiKey: "rt_live_test"}
	c, err := a.client()
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := mcp.NewInMemoryTransports()
	if _, err := a.mcpServer(c).Connect(t.Context(), ours, nil); err != nil {
		t.Fatal(err)
	}
	session, err := mcp.NewClient(&mcp.Implementation{Name: "test"}, nil).Connect(t.Context(), theirs, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	return &mcpClient{t, fake, session}
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
	if failed != isError || !regexp.MustCompile(pattern).MatchString(got) {
		m.t.Errorf("%s %v: error %v, want %v; got\n%.600s\nwant %s", name, args, failed, isError, got, pattern)
	}
	return got
}

func (m *mcpClient) answerWith(res client.Result) {
	body, _ := json.Marshal(res)
	m.server.write("answer.json", body)
}

func TestMCPTools(t *testing.T) {
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
	if got := strings.Join(names, " "); got != "execute list_files list_runtimes read_file write_file" {
		t.Errorf("tools: %s", got)
	}
}

func TestMCPExecute(t *testing.T) {
	m := startMCP(t)
	args := map[string]any{"language": "python", "code": "print(42)", "stdin": "in", "args": []string{"a"}, "session_id": "s", "run_timeout_ms": 1000,
		"files": []map[string]string{{"name": "lib/x.py", "content": "y"}}}
	m.want("execute", args, false, `(?s)^exit code 0\npython 3.12.3, session a1b2c3d4-e5f6, .*it began empty.*\nstdout:\n42\n$`)
	var sent client.Request
	if err := json.Unmarshal([]byte(m.server.read("request.json", "")), &sent); err != nil {
		t.Fatal(err)
	}
	if sent.Language != "python" || sent.Code != "print(42)" || sent.Stdin != "in" || sent.Args[0] != "a" || sent.SessionID != "s" ||
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
	m.answerWith(client.Result{SessionID: "s", Run: client.Stage{Signal: "SIGKILL", Status: client.TimeLimit, Message: "wall time exceeded"}})
	m.want("execute", args, false, `^killed by SIGKILL; wall time exceeded`)

	// What the schema does not know does not reach the server.
	m.want("execute", map[string]any{"lang": "python"}, true, `lang`)
}

// TestMCPLongOutput: head, tail, and the rest by read_file; together they are what the program wrote.
func TestMCPLongOutput(t *testing.T) {
	m := startMCP(t)
	out := "first" + strings.Repeat("ä€😀", 5000) + "last" // characters of 2, 3 and 4 bytes: cuts fall inside some
	m.answerWith(client.Result{SessionID: "s", Run: client.Stage{Stdout: out, Code: new(int), Status: client.OK}})
	got := m.want("execute", map[string]any{"language": "python", "code": "1"}, false, `read_file with session_id "s", path ".output/stdout", offset \d+`)
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
		text := m.want("read_file", map[string]any{"session_id": "s", "path": ".output/stdout", "offset": offset, "length": 10000}, false, `^\.output/stdout: bytes \d+ to \d+ of \d+`)
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
	m.want("read_file", map[string]any{"session_id": "s", "path": ".output/stdout", "offset": len(out)}, false, `^\.output/stdout: bytes (\d+) to (\d+) of (\d+)\n$`)

	// A session that takes no file.
	if err := os.RemoveAll(filepath.Join(m.server.dir, "sessions")); err != nil {
		t.Fatal(err)
	}
	m.server.write("put.status", []byte("400"))
	m.want("execute", map[string]any{"language": "python", "code": "1"}, false, `bytes left out here; they could not be kept .*let the program write to a file`)
}

func TestMCPFiles(t *testing.T) {
	m := startMCP(t)
	m.want("write_file", map[string]any{"session_id": "s", "path": "a b/ü.txt", "content": "text"}, false, `^a b/ü.txt now holds 4 bytes$`)
	m.want("read_file", map[string]any{"session_id": "s", "path": "a b/ü.txt"}, false, `bytes 0 to 4 of 4\ntext$`)
	m.want("read_file", map[string]any{"session_id": "s", "path": "a b/ü.txt", "offset": 1, "length": 2}, false, `bytes 1 to 3 of 4; go on with offset 3\nex$`)
	m.want("write_file", map[string]any{"session_id": "s", "path": "bin", "content": "AP8=", "encoding": "base64"}, false, `2 bytes`)
	m.want("read_file", map[string]any{"session_id": "s", "path": "bin"}, false, `in base64\nAP8=$`)
	m.server.write("sessions/s/list.json", []byte(`{"files":[{"path":"bin","type":"file","size":2,"mode":"644","modified":1}]}`))
	m.want("list_files", map[string]any{"session_id": "s"}, false, `^file +2  bin\n$`)
	m.server.write("runtimes.json", []byte(`[{"language":"c","version":"13","aliases":["gcc"],"compiled":true}]`))
	m.want("list_runtimes", nil, false, `c +13 +yes +gcc`)

	// Errors say what to do.
	m.want("read_file", map[string]any{"session_id": "s", "path": "none"}, true, `no such file\. list_files shows what is there`)
	m.want("write_file", map[string]any{"session_id": "s", "path": "bin", "content": "!", "encoding": "base64"}, true, `use the standard alphabet`)
	m.server.write("answer.status", []byte("400"))
	m.server.write("answer.json", []byte(`{"error":{"code":"unknown_language","message":"no language cobol"}}`))
	m.want("execute", map[string]any{"language": "cobol", "code": "1"}, true, `^no language cobol\. list_runtimes shows`)
}
