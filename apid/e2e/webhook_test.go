package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A result comes by webhook, and the check of docs/api.md takes it, and nothing else.
func TestWebhook(t *testing.T) {
	type delivery struct {
		Headers      map[string]string `json:"headers"`
		Body, Secret string
	}
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	got := make(chan delivery, 1)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		headers := map[string]string{}
		for name := range q.Header {
			headers[strings.ToLower(name)] = q.Header.Get(name)
		}
		got <- delivery{headers, string(body), secret}
	}))
	defer receiver.Close()
	s, err := startStackOf([]string{"bash"}, "webhook", fmt.Sprintf("[webhooks]\nallow = [%q]\nprivate = true\n", receiver.Listener.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	}()
	started, content, err := s.send(t.Context(), s.key, "POST", "/v1/executions",
		program("bash", "echo é").with(request{"webhook": request{"url": receiver.URL, "secret": secret}}))
	if err != nil || started.StatusCode != 202 {
		t.Fatalf("%v %d %s", err, started.StatusCode, content)
	}
	var d delivery
	select {
	case d = <-got:
	case <-time.After(hang):
		t.Fatal("no delivery")
	}
	if err := document.Hook("executionEnded", d.Headers, []byte(d.Body)); err != nil {
		t.Error(err)
	}
	var e execution
	if err := json.Unmarshal([]byte(d.Body), &e); err != nil || e.Result == nil || e.Result.Run.Stdout != "é\n" || e.ID != d.Headers["webhook-id"] {
		t.Errorf("%v in %s", err, d.Body)
	}

	docs, err := os.ReadFile(filepath.Join(repository, "docs/api.md"))
	if err != nil {
		t.Fatal(err)
	}
	verify := regexp.MustCompile("(?s)```python\n(import base64[^`]*def verify[^`]*)```").FindSubmatch(docs)
	if verify == nil {
		t.Fatal("docs/api.md has no example that verifies")
	}
	stdin, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	wantStdout(t, execute(t, program("python", string(verify[1])+`
import json, sys
d = json.load(sys.stdin)
headers, body, secret = d["headers"], d["Body"].encode(), d["Secret"]
old = dict(headers, **{"webhook-timestamp": "1"})
print(verify(headers, body, secret), verify(headers, body + b" ", secret), verify(headers, body, secret[:-1] + "x"), verify(old, body, secret))
`).with(request{"stdin": string(stdin)})), "True False False False\n")
}
