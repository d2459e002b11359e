package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"runtools": main})
}

// TestScript runs each script against a fake server of its own (see fakeServer).
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			srv := httptest.NewServer(&fakeServer{dir: env.WorkDir})
			env.Defer(srv.Close)
			env.Setenv("RUNTOOLS_URL", srv.URL)
			env.Setenv("WRONG_SCHEME", strings.Replace(srv.URL, "http", "https", 1))
			env.Setenv("RUNTOOLS_API_KEY", "rt_live_test")
			env.Setenv("GORACE", "atexit_sleep_ms=0") // else each command takes a second under -race
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status":   cmdStatus,
			"waitfile": cmdWaitFile,
			"waitgrep": cmdWaitGrep,
		},
	})
}

// fakeServer answers from the files of a script's folder, and leaves what it was asked there.
//
//	answer.json      body of the answer to POST /v1/execute; absent: a Python program that printed 42
//	answer.status    HTTP status line and headers of every answer, such as "503" or "503 Retry-After: 2"; absent: 200
//	events.txt       for a client that accepts events; absent: one with answer.json
//	runtimes.json    body of the answer to GET /v1/execute/runtimes; absent: 404
//	hang             when present, POST waits until the client hangs up, then leaves the file hungup
//	sessions/ID/     the files of a session, by GET and PUT
//	put.status       when present, PUT is refused
//	execution.json   how the execution stands, until DELETE; absent: 404. Once told it is execution.next, if there is one
//	request.json     left: the last request's body, indented
//	request.txt      left: "METHOD PATH" and the headers that matter of every request
type fakeServer struct {
	dir       string
	recording sync.Mutex
}

const defaultAnswer = `{"language":"python","version":"3.12.3","session_id":"a1b2c3d4-e5f6","session_created":true,` +
	`"run":{"stdout":"42\n","stderr":"","code":0,"signal":null,"time_ms":22,"cpu_time_ms":20.5,"memory_kb":9088,` +
	`"status":"OK","message":null,"limit":null}}`

func (f *fakeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	f.record(r, body)
	if rest, ok := strings.CutPrefix(r.URL.Path, "/v1/sessions/"); ok {
		id, what, _ := strings.Cut(rest, "/")
		f.serveSession(w, r, filepath.Join("sessions", id), what, body)
		return
	}
	answer := f.read("runtimes.json", "")
	if _, ok := strings.CutPrefix(r.URL.Path, "/v1/executions/"); ok {
		f.serveExecution(w, r)
		return
	}
	if r.Method == http.MethodPost {
		answer = f.read("answer.json", defaultAnswer)
		if f.read("hang", "") != "" {
			f.write("waiting", nil)
			<-r.Context().Done()
			f.write("hungup", nil)
			return
		}
	}
	if r.Header.Get("Accept") == "text/event-stream" && f.read("answer.status", "") == "" {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, f.read("events.txt", "event: result\ndata: "+strings.ReplaceAll(answer, "\n", "")+"\n\n"))
		return
	}
	status, header, _ := strings.Cut(strings.TrimSpace(f.read("answer.status", "200")), " ")
	if name, value, ok := strings.Cut(header, ": "); ok {
		w.Header().Set(name, value)
	}
	code, _ := strconv.Atoi(status)
	w.WriteHeader(code)
	_, _ = io.WriteString(w, answer)
}

// serveSession answers for the files of one session as apid does, as far as the tests ask.
func (f *fakeServer) serveSession(w http.ResponseWriter, r *http.Request, folder, what string, body []byte) {
	path := filepath.Join(f.dir, folder, strings.TrimPrefix(what, "files/"))
	switch {
	case r.Method == http.MethodPut && f.read("put.status", "") != "":
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"error":{"code":"invalid_field","message":"the workspace is full"}}`)
	case r.Method == http.MethodPut:
		_ = os.MkdirAll(filepath.Dir(path), 0o777)
		_ = os.WriteFile(path, body, 0o666)
		w.WriteHeader(http.StatusNoContent)
	case f.read(folder+"/list.json", "") != "" && what == "files":
		_, _ = io.WriteString(w, f.read(folder+"/list.json", ""))
	default:
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"error":{"code":"not_found","message":"this session has no such file"}}`)
			return
		}
		http.ServeFile(w, r, path)
	}
}

// serveExecution answers for the one execution there is.
func (f *fakeServer) serveExecution(w http.ResponseWriter, r *http.Request) {
	state := f.read("execution.json", "")
	switch {
	case state == "":
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"error":{"code":"not_found","message":"there is no execution of this id"}}`)
	case r.Method == http.MethodDelete:
		_ = os.Remove(filepath.Join(f.dir, "execution.json"))
		w.WriteHeader(http.StatusNoContent)
	default:
		if next := f.read("execution.next", ""); next != "" {
			f.write("execution.json", []byte(next))
		}
		_, _ = io.WriteString(w, state)
	}
}

func (f *fakeServer) record(r *http.Request, body []byte) {
	f.recording.Lock()
	defer f.recording.Unlock()
	var log bytes.Buffer
	log.WriteString(f.read("request.txt", ""))
	log.WriteString(r.Method + " " + r.URL.Path + "\n")
	for _, name := range []string{"Authorization", "Content-Type"} {
		if value := r.Header.Get(name); value != "" {
			log.WriteString(name + ": " + value + "\n")
		}
	}
	f.write("request.txt", log.Bytes())
	if len(body) > 0 {
		var indented bytes.Buffer
		_ = json.Indent(&indented, body, "", "  ")
		f.write("request.json", indented.Bytes())
	}
}

func (f *fakeServer) read(name, absent string) string {
	b, err := os.ReadFile(filepath.Join(f.dir, name))
	if err != nil {
		return absent
	}
	return string(b)
}

func (f *fakeServer) write(name string, b []byte) {
	if err := os.WriteFile(filepath.Join(f.dir, name), b, 0o666); err != nil {
		panic(err)
	}
}

// cmdStatus is exec for commands that must leave with a given status: status 124 runtools ...
func cmdStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N command...")
	}
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if want, _ := strconv.Atoi(args[0]); got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// cmdWaitFile waits until a file is there: waitfile NAME
func cmdWaitFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: waitfile name")
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(ts.MkAbs(args[0])); err == nil {
			return
		}
	}
	ts.Fatalf("%s did not appear", args[0])
}

// cmdWaitGrep waits until a file has a match: waitgrep REGEXP NAME
func cmdWaitGrep(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitgrep regexp name")
	}
	pattern := regexp.MustCompile(args[0])
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if b, err := os.ReadFile(ts.MkAbs(args[1])); err == nil && pattern.Match(b) {
			return
		}
	}
	ts.Fatalf("%s did not come to match %s", args[1], args[0])
}
