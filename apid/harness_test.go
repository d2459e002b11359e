package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/runtools/runtools/apid/conform"
	"github.com/runtools/runtools/pkg/lang"
)

// document is what all answers of these tests are held against: a client of theirs gets an error in place of one that openapi.json does not have.
var document = func() *conform.Document {
	d, err := conform.Read(openAPIDocument)
	if err != nil {
		panic(err)
	}
	return d
}()

func TestMain(m *testing.M) {
	http.DefaultTransport = &conform.Transport{Next: http.DefaultTransport, Document: document}
	os.Exit(m.Run())
}

// hang bounds every wait. It is long, because the machine may be busy.
const hang = time.Minute

// testServer is an apid over a fake sandboxd.
type testServer struct {
	*server
	t    testing.TB
	fake *fakeSandboxd
	addr string
	key  string
	log  *syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// newTestServer serves with the settings that tune leaves.
func newTestServer(t testing.TB, tune func(*config)) *testServer {
	t.Helper()
	checkNoLeak(t)
	fake := startFake(t)
	cfg := defaults()
	cfg.SandboxdSocket, cfg.Image, cfg.Keys = fake.path, fakeImage(t), filepath.Join(t.TempDir(), "keys")
	if tune != nil {
		tune(&cfg)
	}
	if err := cfg.complete(); err != nil {
		t.Fatal(err)
	}
	var log syncBuffer
	ts := &testServer{t: t, fake: fake, log: &log}
	ts.key = ts.makeKey(cfg.Keys, 0)
	langs, err := lang.Load(cfg.Image)
	if err != nil {
		t.Fatal(err)
	}
	if ts.server, err = newServer(&cfg, langs, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ts.addr = ln.Addr().String()
	done := make(chan struct{})
	background, stop := context.WithCancel(context.Background())
	var tasks sync.WaitGroup
	tasks.Go(func() { ts.forgetter.run(background) })
	tasks.Go(func() { ts.packSessions(background) })
	go func() { defer close(done); ts.http.Serve(ts.visitors.at(ln)) }()
	t.Cleanup(func() {
		ts.endJobs(errShuttingDown)
		ts.http.Shutdown()
		<-done
		stop()
		tasks.Wait()
		ts.hangups.close()
		http.DefaultClient.CloseIdleConnections()
	})
	return ts
}

func (ts *testServer) makeKey(path string, concurrency int) string {
	ts.t.Helper()
	var out bytes.Buffer
	if err := createKey(path, key{Name: "test", Concurrency: concurrency}, "", &out, io.Discard); err != nil {
		ts.t.Fatal(err)
	}
	return strings.TrimSpace(out.String())
}

// result is an answer as a caller reads it.
type result struct {
	Status  int         `json:"-"`
	Header  http.Header `json:"-"`
	Raw     string      `json:"-"`
	Lang    string      `json:"language"`
	Version string      `json:"version"`
	Session *string     `json:"session_id"`
	Created bool        `json:"session_created"`
	Compile *stage      `json:"compile"`
	Run     *stage      `json:"run"`
	Tests   []struct {
		Verdict string `json:"verdict"`
		Run     stage  `json:"run"`
	} `json:"tests"`
	Error *struct {
		Code      string `json:"code"`
		Message   string `json:"message"`
		Field     string `json:"field"`
		RequestID string `json:"request_id"`
	} `json:"error"`
}

type stage struct {
	Stdout       string  `json:"stdout"`
	Stderr       string  `json:"stderr"`
	StdoutBase64 *string `json:"stdout_base64"`
	StderrBase64 *string `json:"stderr_base64"`
	Code         *int    `json:"code"`
	Signal       *string `json:"signal"`
	TimeMS       float64 `json:"time_ms"`
	CPUTimeMS    float64 `json:"cpu_time_ms"`
	MemoryKB     int64   `json:"memory_kb"`
	Status       string  `json:"status"`
	Message      *string `json:"message"`
	Cached       *bool   `json:"cached"`
	Limit        *struct {
		Name        string
		Limit, Used int64
	} `json:"limit"`
}

// do sends a request; headers are pairs, and one with an empty value is left out.
func (ts *testServer) do(method, path, body string, headers ...string) *result {
	ts.t.Helper()
	req, err := http.NewRequest(method, "http://"+ts.addr+path, strings.NewReader(body))
	if err != nil {
		ts.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+ts.key)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Del(headers[i])
		if headers[i+1] != "" {
			req.Header.Set(headers[i], headers[i+1])
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		ts.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		ts.t.Fatal(err)
	}
	r := &result{Status: resp.StatusCode, Header: resp.Header, Raw: string(raw)}
	if strings.HasPrefix(r.Raw, "{") {
		if err := json.Unmarshal(raw, r); err != nil {
			ts.t.Fatalf("%v in %s", err, raw)
		}
	}
	return r
}

// execute sends a request that must be carried out.
func (ts *testServer) execute(fields map[string]any) *result {
	ts.t.Helper()
	r := ts.do("POST", "/v1/execute", encode(fields))
	if r.Status != 200 {
		ts.t.Fatalf("status %d: %s", r.Status, r.Raw)
	}
	return r
}

// refused sends a request that must be answered with that code.
func (ts *testServer) refused(fields map[string]any, code errCode) *result {
	ts.t.Helper()
	r := ts.do("POST", "/v1/execute", encode(fields))
	if r.Error == nil || r.Error.Code != string(code) || r.Status != httpStatus[code] {
		ts.t.Fatalf("status %d, want %s: %s", r.Status, code, r.Raw)
	}
	return r
}

func encode(fields map[string]any) string {
	body, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	return string(body)
}

func python(lines ...string) map[string]any {
	return map[string]any{"language": "python", "code": strings.Join(lines, "\n") + "\n"}
}

func with(fields map[string]any, pairs ...any) map[string]any {
	for i := 0; i < len(pairs); i += 2 {
		fields[pairs[i].(string)] = pairs[i+1]
	}
	return fields
}

// fakeImage has a language without and one with a compile stage, two versions of the first, and one that is missing.
func fakeImage(t testing.TB) string {
	dir := t.TempDir()
	files := map[string]string{
		"image.json": `{"digest": "d1", "base": "trixie", "built": "2026-01-01", "languages": {
			"py": {"version": "3.13.5"}, "py311": {"version": "3.11.2"}, "cc": {"version": "14.2.0"}, "rb": {"error": "no source had ruby; run make rootfs again"}}}`,
		"languages/py/lang.json": `{"name": "python", "aliases": ["py", "python3"], "extensions": [".py"], "main": "main.py",
			"env": {"PYTHONX": "1"}, "run": {"template": "run", "argv": ["/usr/bin/python3", "{main}", "{args}"], "keep_env": true}}`,
		"languages/py311/lang.json": `{"name": "python", "aliases": ["py"], "extensions": [".py"], "main": "main.py",
			"run": {"template": "run", "argv": ["/usr/bin/python3.11", "{main}", "{args}"]}}`,
		"languages/cc/lang.json": `{"name": "c", "aliases": ["gcc"], "extensions": [".c"], "main": "main.c",
			"compile": {"template": "compile", "argv": ["/usr/bin/gcc", "{sources}", "-o", "/build/main"], "memory": 268435456, "mirror": ["@import"]},
			"run": {"template": "run", "argv": ["/build/main", "x", "{args}"]}}`,
		"languages/rb/lang.json": `{"name": "ruby", "aliases": ["rb"], "extensions": [".rb"], "main": "main.rb",
			"run": {"template": "run", "argv": ["/usr/bin/ruby", "{main}"]}}`,
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// checkNoLeak fails the test when descriptors were left open.
func checkNoLeak(t testing.TB) {
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := count()
	t.Cleanup(func() {
		for deadline := time.Now().Add(hang); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			if count() <= before {
				return
			}
		}
		entries, _ := os.ReadDir("/proc/self/fd")
		for _, e := range entries {
			target, _ := os.Readlink("/proc/self/fd/" + e.Name())
			t.Logf("%s -> %s", e.Name(), target)
		}
		t.Errorf("%d descriptors open, %d before the test", len(entries), before)
	})
}

// eventually waits for something that happens behind the answers.
func eventually(t testing.TB, what string, true func() bool) {
	t.Helper()
	for deadline := time.Now().Add(hang); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if true() {
			return
		}
	}
	t.Fatalf("waited in vain: %s", what)
}
