package mcptools

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/runtools/runtools/pkg/client"
)

// routes are what the tools may ask the server for, the ids in their arguments being one part of a path each.
var routes = map[string][]string{
	"execute": {"POST /v1/execute"}, "start_execution": {"POST /v1/executions"}, "list_runtimes": {"GET " + client.PathRuntimes},
	"get_execution": {"GET /v1/executions/*"}, "cancel_execution": {"DELETE /v1/executions/*"},
	"list_files": {"GET /v1/sessions/*/files"}, "read_file": {"GET /v1/sessions/*/files/*"}, "write_file": {"PUT /v1/sessions/*/files/*"},
	"fork_session": {"POST /v1/sessions/*/fork"}, "end_session": {"DELETE /v1/sessions/*"},
}

// asked records a tool's requests in place of a server.
type asked []*http.Request

func (a *asked) RoundTrip(r *http.Request) (*http.Response, error) {
	*a = append(*a, r)
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
	}
	answer := io.NopCloser(strings.NewReader(`{"error":{"code":"not_found","message":"no"}}`))
	return &http.Response{StatusCode: http.StatusNotFound, Header: http.Header{}, Body: answer, Request: r}, nil
}

// Whatever arguments a model writes, or is talked into, a tool asks the server for nothing but what it is for; and is heard to have failed.
func FuzzTools(f *testing.F) {
	for tool, args := range map[string]string{
		"execute":          `{"language":"py","code":"1","files":[{"name":"a","content":"b"}],"args":["x"],"session_id":"s","run_timeout_ms":1e3}`,
		"start_execution":  `{"language":"py","files":null}`,
		"get_execution":    `{"execution_id":"..","wait_seconds":61}`,
		"cancel_execution": `{"execution_id":"../sessions/a"}`,
		"list_files":       `{"session_id":"a/../../x?y#z"}`,
		"read_file":        `{"session_id":"a","path":"b/../c","offset":-1,"length":9e18}`,
		"write_file":       `{"session_id":"%2e%2e","path":"b//c","content":"AA==","encoding":"base64"}`,
		"fork_session":     `{"session_id":".","count":0}`,
		"end_session":      `{"session_id":"a"}`,
		"list_runtimes":    `[]`,
	} {
		f.Add(tool, args)
	}
	f.Add("list_runtimes", `{}`)
	var given asked
	c, err := client.New("http://apid", "key")
	if err != nil {
		f.Fatal(err)
	}
	c.HTTP, c.MaxRetries = &http.Client{Transport: &given}, 0
	tools := New(c, nil)
	handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return tools }, &mcp.StreamableHTTPOptions{Stateless: true, JSONResponse: true})
	f.Fuzz(func(t *testing.T, tool, args string) {
		given = nil
		name, _ := json.Marshal(tool)
		message := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":` + string(name) + `,"arguments":` + args + `}}`
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://apid/mcp", strings.NewReader(message))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept", "application/json, text/event-stream")
		answer := &recorder{header: http.Header{}, status: http.StatusOK}
		handler.ServeHTTP(answer, r)
		if answer.status == http.StatusOK && !json.Valid([]byte(answer.body.String())) {
			t.Fatalf("answered %q", answer.body.String())
		}
		for _, r := range given {
			// What a server sees that takes a URL apart before it looks at it, as apid does.
			asked := r.Method + " " + path.Clean(decoded(r.URL.EscapedPath()))
			fits := false
			for _, pattern := range routes[tool] {
				fits = fits || matches(asked, pattern)
			}
			if !fits || r.URL.Host != "apid" {
				t.Fatalf("%s %s asks for %s", tool, args, asked)
			}
		}
	})
}

func decoded(escaped string) string {
	path, err := url.PathUnescape(escaped)
	if err != nil {
		return "?"
	}
	return path
}

// matches compares part by part; a last part that is a star stands for several where there is one before it.
func matches(asked, pattern string) bool {
	a, p := strings.Split(asked, "/"), strings.Split(pattern, "/")
	several := strings.HasSuffix(pattern, "/files/*")
	if len(a) < len(p) || len(a) > len(p) && !several {
		return false
	}
	for i, part := range p {
		if part != "*" && a[i] != part {
			return false
		}
	}
	return true
}

// recorder takes an answer.
type recorder struct {
	header http.Header
	status int
	body   strings.Builder
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }
