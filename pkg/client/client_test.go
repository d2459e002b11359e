package client

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func serve(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	c, err := New(srv.URL+"/prefix/", "key")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestExecute(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if got, want := r.URL.Path, "/prefix/v1/execute"; got != want {
			t.Errorf("path %s, want %s", got, want)
		}
		if got, want := r.Header.Get("Authorization"), "Bearer key"; got != want {
			t.Errorf("Authorization %q, want %q", got, want)
		}
		want := `{"language":"c","files":[{"name":"a.c","content":"<&>"},{"name":"b","content":"/w==","encoding":"base64"}],` +
			`"stdin":"AP8=","stdin_encoding":"base64","explain":true,"run_timeout":1500}` + "\n"
		if string(body) != want {
			t.Errorf("body\n%s want\n%s", body, want)
		}
		_, _ = io.WriteString(w, `{"language":"c","version":"13.3.0","session_id":null,"future":1,
			"compile":{"stdout":"","stderr":"OK (0.085 sec real)","code":0,"time_ms":0,"memory_kb":0,"cached":true},
			"run":{"stdout":"\ufffd","stdout_base64":"/w==","stderr":"e","code":null,"signal":"SIGKILL","time_ms":1.25,
			"memory_kb":1152,"status":"TO","message":"m","limit":{"name":"run_timeout","limit":1500,"used":1501.5},
			"limits":[{"name":"stack","set_by":null,"unit":"bytes","limit":8,"used":null,"peak":null,"fired":null}]}}`)
	})
	req := &Request{Language: "c", Files: []File{NewFile("a.c", []byte("<&>")), NewFile("b", []byte{0xff})}, RunTimeout: 1500, Explain: true}
	req.SetStdin([]byte{0, 0xff})
	res, err := c.Execute(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	if res.Compile == nil || *res.Compile.Code != 0 || !res.Compile.Cached || res.Run.Cached || res.SessionID != "" || len(res.Raw) == 0 {
		t.Errorf("result %+v", res)
	}
	run := res.Run
	if run.Code != nil || run.Signal != "SIGKILL" || run.TimeMS != 1.25 || run.Status != TimeLimit || run.LimitFired.Used != 1501.5 {
		t.Errorf("run %+v", run)
	}
	if l := run.Limits; len(l) != 1 || l[0].Name != "stack" || l[0].SetBy != "" || *l[0].Limit != 8 || l[0].Used != nil || l[0].Fired != nil {
		t.Errorf("limits %+v", l)
	}
	if b, err := run.StdoutBytes(); err != nil || string(b) != "\xff" {
		t.Errorf("stdout %q, %v", b, err)
	}
	if b, err := run.StderrBytes(); err != nil || string(b) != "e" {
		t.Errorf("stderr %q, %v", b, err)
	}
}

func TestErrors(t *testing.T) {
	tests := []struct {
		name, body, retry string
		status            int
		want              Error
	}{
		{
			name: "field", status: 400,
			body: `{"error":{"code":"invalid_field","message":"-1 is below 1","field":"run_timeout","request_id":"r"}}`,
			want: Error{Status: 400, Code: "invalid_field", Message: "-1 is below 1", Field: "run_timeout", RequestID: "r"},
		}, {
			name: "retry", status: 503, retry: "7",
			body: `{"error":{"code":"overloaded","message":"full"}}`,
			want: Error{Status: 503, Code: "overloaded", Message: "full", RetryAfter: 7 * time.Second},
		}, {
			name: "foreign", status: 502, body: "<html>\x1b[2J",
			want: Error{Status: 502, Message: `HTTP status 502 Bad Gateway: "<html>\x1b[2J"`},
		}, {
			name: "other JSON", status: 404, body: `{"error":{}}`,
			want: Error{Status: 404, Message: `HTTP status 404 Not Found: "{\"error\":{}}"`},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				if tt.retry != "" {
					w.Header().Set("Retry-After", tt.retry)
				}
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.body)
			})
			c.MaxRetries = 0
			_, err := c.Runtimes(context.Background())
			var got *Error
			if !errors.As(err, &got) || *got != tt.want {
				t.Errorf("got  %#v\nwant %#v", err, &tt.want)
			}
		})
	}
}

// TestCancel: hanging up is what makes the server kill a job.
func TestCancel(t *testing.T) {
	started, hungUp := make(chan struct{}), make(chan struct{})
	c := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body) // the server watches for a hang-up only after the body
		close(started)
		<-r.Context().Done()
		close(hungUp)
	})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-started
		cancel()
	}()
	if _, err := c.Execute(ctx, &Request{Language: "c"}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want canceled", err)
	}
	select {
	case <-hungUp:
	case <-time.After(time.Minute):
		t.Error("the server saw no hang-up")
	}
}

func TestNew(t *testing.T) {
	t.Setenv("RUNTOOLS_URL", "")
	t.Setenv("RUNTOOLS_API_KEY", "")
	for _, base := range []string{"127.0.0.1:8080", "ftp://h", "http://", "http://h?q=1", "http://h#f"} {
		if _, err := New(base, ""); err == nil {
			t.Errorf("New(%q) succeeded", base)
		}
	}
	if _, err := New("http://h", "key\n"); err == nil {
		t.Error("a key with a line end succeeded")
	}
	if c, err := New("", ""); err != nil || c.base != DefaultURL || c.key != "" {
		t.Errorf("without anything: %+v, %v", c, err)
	}
	t.Setenv("RUNTOOLS_URL", "http://env/")
	t.Setenv("RUNTOOLS_API_KEY", "env")
	if c, err := New("", ""); err != nil || c.base != "http://env" || c.key != "env" {
		t.Errorf("from the environment: %+v, %v", c, err)
	}
	if c, err := New("http://given", "given"); err != nil || c.base != "http://given" || c.key != "given" {
		t.Errorf("given: %+v, %v", c, err)
	}
}
