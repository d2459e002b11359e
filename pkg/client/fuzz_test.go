package client

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// answers is a server that says the same to everybody.
type answers struct {
	status int
	body   []byte
}

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: a.status, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(a.body)), Request: r}, nil
}

// FuzzEvents streams what a server, or one in its place, sends: it ends with one result or one error, and what was written comes as encoding/json has it.
func FuzzEvents(f *testing.F) {
	f.Add([]byte("event: stdout\ndata: {\"text\":\"a\\n\"}\n\n: beat\n\nevent: exit\r\ndata: {\"code\":0}\r\n\r\nevent: result\ndata: {\"run\":{\"code\":0}}\n\n"), uint16(200))
	f.Add([]byte("event: stderr\ndata: {\"text\":\"\",\"text_base64\":\"/w==\"}\n\nevent: error\ndata: {\"error\":{\"code\":\"x\",\"message\":\"y\"}}\n\n"), uint16(200))
	f.Add([]byte("event: result\ndata: null\n\n"), uint16(200))
	f.Add([]byte("event: test\ndata: {\"index\":-1}\n\nevent: compile\ndata: 1\n\n"), uint16(200))
	f.Add([]byte(`{"error":{"code":"overloaded","message":"m"}}`), uint16(503))
	f.Fuzz(func(t *testing.T, body []byte, status uint16) {
		c, err := New("http://server", "key")
		if err != nil {
			t.Fatal(err)
		}
		c.HTTP, c.MaxRetries = &http.Client{Transport: answers{int(status), body}}, 0
		ended := 0
		for e, err := range c.Stream(t.Context(), &Request{Language: "py"}) {
			if ended > 0 {
				t.Fatalf("%+v, %v after the end", e, err)
			}
			if err != nil || e.Result != nil {
				ended++
			}
			if err != nil && err.Error() == "" {
				t.Fatal("an error without words")
			}
			if err == nil && (e.Name == "stdout" || e.Name == "stderr") && !bytes.Contains(body, []byte("base64")) {
				found := false
				for line := range strings.Lines(string(body)) {
					var written struct{ Text string }
					data, ok := strings.CutPrefix(strings.TrimRight(line, "\r\n"), "data: ")
					found = found || ok && json.Unmarshal([]byte(data), &written) == nil && written.Text == string(e.Output)
				}
				if !found {
					t.Fatalf("%q was not sent", e.Output)
				}
			}
		}
		if ended != 1 {
			t.Fatal("no end")
		}
	})
}
