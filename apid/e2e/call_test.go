package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// request is the body of POST /v1/execute.
type request map[string]any

func program(language, code string) request {
	return request{"language": language, "code": code}
}

// with returns a copy with more fields.
func (q request) with(more request) request {
	all := request{}
	for _, fields := range []request{q, more} {
		for name, value := range fields {
			all[name] = value
		}
	}
	return all
}

// answer is the body of a 200. Unknown fields are refused: a field that nobody documented is a defect too.
type answer struct {
	Language       string  `json:"language"`
	Version        string  `json:"version"`
	SessionID      *string `json:"session_id"`
	SessionCreated bool    `json:"session_created"`
	Compile        *stage  `json:"compile"`
	Run            stage   `json:"run"`
	Tests          []test  `json:"tests"`

	Repeat           *repeat    `json:"repeat"`
	Artifacts        []artifact `json:"artifacts"`
	ArtifactsOmitted *struct {
		Count   int    `json:"count"`
		Bytes   int64  `json:"bytes"`
		Message string `json:"message"`
	} `json:"artifacts_omitted"`
}

type test struct {
	Verdict string `json:"verdict"`
	Run     stage  `json:"run"`
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
	MemoryKB     float64 `json:"memory_kb"`
	Status       string  `json:"status"`
	Message      *string `json:"message"`
	Cached       bool    `json:"cached"`
	Limit        *limit  `json:"limit"`
	Violations   []struct {
		Syscall string `json:"syscall"`
		Args    string `json:"args"`
		Count   uint64 `json:"count"`
	} `json:"violations"`
	Diagnostics []diagnostic `json:"diagnostics"`
	Limits      []limitUse   `json:"limits"`
}

// limitUse is one row of the table that a request with explain gets.
type limitUse struct {
	Name  string  `json:"name"`
	SetBy *string `json:"set_by"`
	Unit  string  `json:"unit"`
	Limit *int64  `json:"limit"`
	Used  *int64  `json:"used"`
	Peak  *int64  `json:"peak"`
	Fired *bool   `json:"fired"`
}

type limit struct {
	Name  string  `json:"name"`
	Limit float64 `json:"limit"`
	Used  float64 `json:"used"`
}

// refusal is the body of an error.
type refusal struct {
	Code      string  `json:"code"`
	Message   string  `json:"message"`
	Field     *string `json:"field"`
	RequestID string  `json:"request_id"`
}

func (a *answer) String() string {
	text, _ := json.Marshal(a)
	if len(text) > 2000 {
		text = append(text[:2000], "..."...)
	}
	return string(text)
}

// bytes are what the program wrote, exactly.
func exact(t *testing.T, text string, encoded *string) []byte {
	t.Helper()
	if encoded == nil {
		return []byte(text)
	}
	b, err := base64.StdEncoding.DecodeString(*encoded)
	if err != nil {
		t.Fatalf("base64 in the answer: %v", err)
	}
	return b
}

// clients keeps connections alive, as callers' clients do.
var clients = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: 5 * time.Minute}

// send makes one HTTP request. A body that is a string is sent as it is, anything else as JSON.
func (s *stack) send(ctx context.Context, key, method, path string, body any) (*http.Response, []byte, error) {
	text, isText := body.(string)
	if !isText && body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, nil, err
		}
		text = string(encoded)
	}
	q, err := http.NewRequestWithContext(ctx, method, s.url+path, strings.NewReader(text))
	if err != nil {
		return nil, nil, err
	}
	if key != "" {
		q.Header.Set("Authorization", "Bearer "+key)
	}
	if body != nil {
		q.Header.Set("Content-Type", "application/json")
	}
	a, err := clients.Do(q)
	if err != nil {
		return nil, nil, err
	}
	defer a.Body.Close()
	content, err := io.ReadAll(a.Body)
	return a, content, err
}

// try carries out a request that must be answered with 200.
func (s *stack) try(key string, body any) (*answer, error) {
	response, content, err := s.send(context.Background(), key, http.MethodPost, "/v1/execute", body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", response.Status, content)
	}
	var a answer
	if err := strict(content, &a); err != nil {
		return nil, fmt.Errorf("%w in %.500s", err, content)
	}
	return &a, nil
}

func strict(content []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(content))
	d.DisallowUnknownFields()
	return d.Decode(to)
}

// execute is try with the first key, on the stack that all tests share.
func execute(t *testing.T, body any) *answer {
	t.Helper()
	return api.execute(t, api.key, body)
}

func (s *stack) execute(t *testing.T, key string, body any) *answer {
	t.Helper()
	a, err := s.try(key, body)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// output runs a program that must end well and returns what it wrote.
func output(t *testing.T, body any) string {
	t.Helper()
	a := execute(t, body)
	wantStatus(t, a, "OK")
	return a.Run.Stdout
}

func wantStatus(t *testing.T, a *answer, status string) {
	t.Helper()
	if a.Run.Status != status {
		t.Fatalf("status %s, want %s: %s", a.Run.Status, status, a)
	}
}

func wantStdout(t *testing.T, a *answer, stdout string) {
	t.Helper()
	wantStatus(t, a, "OK")
	if a.Run.Stdout != stdout {
		t.Errorf("stdout %q, want %q (stderr %q)", a.Run.Stdout, stdout, a.Run.Stderr)
	}
}

// refused makes a request to execute that must be refused, and checks what every refusal has.
func refused(t *testing.T, key string, body any, status int, code string) refusal {
	t.Helper()
	response, content, err := api.send(context.Background(), key, http.MethodPost, "/v1/execute", body)
	if err != nil {
		t.Fatal(err)
	}
	return wantRefusal(t, response, content, status, code)
}

func wantRefusal(t *testing.T, response *http.Response, content []byte, status int, code string) refusal {
	t.Helper()
	var body struct {
		Error refusal `json:"error"`
	}
	if err := strict(content, &body); err != nil {
		t.Fatalf("%s: %v in %.500s", response.Status, err, content)
	}
	e := body.Error
	if response.StatusCode != status || e.Code != code {
		t.Fatalf("%d %s, want %d %s: %s", response.StatusCode, e.Code, status, code, content)
	}
	if e.Message == "" || e.RequestID == "" || e.RequestID != response.Header.Get("X-Request-Id") {
		t.Errorf("want a message and the id of header X-Request-Id %q: %s", response.Header.Get("X-Request-Id"), content)
	}
	return e
}
