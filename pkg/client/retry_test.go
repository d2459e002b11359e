package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// reply is one answer of a script. Without a status the connection is closed without a word.
type reply struct {
	status     int
	code       string // of an error of the API; else the body is no JSON, or, with 200, a result
	retryAfter string
}

// script serves a client with these answers, the last one for ever, and records "METHOD PATH session_id" of what it was asked.
func script(t *testing.T, replies ...reply) (c *Client, asked func() []string) {
	t.Helper()
	var mu sync.Mutex
	var requests []string
	c = serve(t, func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			SessionID string `json:"session_id"`
		}
		_ = json.NewDecoder(r.Body).Decode(&body)
		mu.Lock()
		requests = append(requests, r.Method+" "+r.URL.EscapedPath()+" "+body.SessionID)
		answer := replies[min(len(requests), len(replies))-1]
		mu.Unlock()
		if answer.status == 0 {
			panic(http.ErrAbortHandler)
		}
		if answer.retryAfter != "" {
			w.Header().Set("Retry-After", answer.retryAfter)
		}
		w.WriteHeader(answer.status)
		switch {
		case answer.code != "":
			_, _ = io.WriteString(w, `{"error":{"code":"`+answer.code+`","message":"m"}}`)
		case answer.status == http.StatusOK:
			_, _ = io.WriteString(w, `{"session_id":"s-1","run":{"stdout":"42\n"}}`)
		}
	})
	return c, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(requests)
	}
}

func TestWhatHasNotRunIsSentAgain(t *testing.T) {
	past := time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)
	c, asked := script(t, reply{429, "rate_limited", "1"}, reply{503, "overloaded", past}, reply{status: 200})
	began := time.Now()
	res, err := c.Execute(context.Background(), &Request{Language: "c"})
	if err != nil || res.Run.Stdout != "42\n" || len(asked()) != 3 {
		t.Errorf("%+v, %v after %v", res, err, asked())
	}
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("waited %v, want the second of Retry-After and the second of the second wait", took)
	}
}

func TestWhatMayHaveRunIsNotSentAgain(t *testing.T) {
	for _, tt := range []struct {
		reply      reply
		mayHaveRun bool
	}{
		{reply{503, "interrupted", ""}, true},
		{reply{500, "internal", ""}, true},
		{reply{503, "", ""}, true}, // a proxy's
		{reply{504, "", ""}, true},
		{reply{}, true},
		{reply{400, "invalid_field", ""}, false},
		{reply{503, "overloaded", "61"}, false},
	} {
		c, asked := script(t, tt.reply)
		_, err := c.Execute(context.Background(), &Request{Language: "c"})
		if err == nil || len(asked()) != 1 || MayHaveRun(err) != tt.mayHaveRun {
			t.Errorf("%+v: %v, may have run: %v, after %v", tt.reply, err, MayHaveRun(err), asked())
		}
	}
}

func TestWhatMayBeDoneTwiceIsSentAgain(t *testing.T) {
	c, asked := script(t, reply{}, reply{502, "", ""}, reply{status: 204})
	if existed, err := c.DeleteSession(context.Background(), "a b"); err != nil || !existed {
		t.Errorf("%v, %v", existed, err)
	}
	// net/http itself sends a DELETE once more if a connection that it kept is closed, which a first one is not.
	if want := slices.Repeat([]string{"DELETE /prefix/v1/sessions/a%20b "}, 3); !slices.Equal(asked(), want) {
		t.Errorf("asked %q, want %q", asked(), want)
	}
}

func TestRetriesEnd(t *testing.T) {
	c, asked := script(t, reply{503, "overloaded", ""})
	c.MaxRetries = 1
	if _, err := c.Execute(context.Background(), &Request{Language: "c"}); err == nil || len(asked()) != 2 {
		t.Errorf("by their number: %v after %v", err, asked())
	}
	var refused *Error
	c, asked = script(t, reply{503, "overloaded", "60"})
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Second)
	defer cancel()
	if _, err := c.Execute(ctx, &Request{Language: "c"}); !errors.As(err, &refused) || len(asked()) != 1 {
		t.Errorf("the first wait would end after the deadline: %v after %v", err, asked())
	}
	mine := errors.New("mine")
	ctx, stop := context.WithCancelCause(context.Background())
	go func() {
		for len(asked()) != 2 {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(100 * time.Millisecond)
		stop(mine)
	}()
	if _, err := c.Execute(ctx, &Request{Language: "c"}); !errors.Is(err, mine) || len(asked()) != 2 {
		t.Errorf("cancelled while it waits: %v after %v", err, asked())
	}
}

func TestNoServer(t *testing.T) {
	c, err := New("http://127.0.0.1:1", "key")
	if err != nil {
		t.Fatal(err)
	}
	c.MaxRetries = 0
	if _, err := c.Execute(context.Background(), &Request{Language: "c"}); err == nil || MayHaveRun(err) {
		t.Errorf("%v, may have run: %v", err, MayHaveRun(err))
	}
}

func TestSession(t *testing.T) {
	c, asked := script(t, reply{status: 200}, reply{status: 200}, reply{400, "invalid_field", ""}, reply{status: 204}, reply{404, "not_found", ""})
	ctx := context.Background()
	s := c.Session("")
	if existed, err := s.Delete(ctx); existed || err != nil {
		t.Errorf("nothing to delete: %v, %v", existed, err)
	}
	req := &Request{Language: "c"}
	for n, wantErr := range []bool{false, false, true} {
		if _, err := s.Execute(ctx, req); (err != nil) != wantErr {
			t.Errorf("request %d: %v", n, err)
		}
	}
	if id, err := s.ID(ctx); id != "s-1" || err != nil {
		t.Errorf("id %q, %v", id, err)
	}
	for _, want := range []bool{true, false} {
		if existed, err := s.Delete(ctx); existed != want || err != nil {
			t.Errorf("delete: %v, %v, want %v", existed, err, want)
		}
	}
	const post, del = "POST /prefix/v1/execute ", "DELETE /prefix/v1/sessions/s-1 "
	if want := []string{post, post + "s-1", post + "s-1", del, del}; !slices.Equal(asked(), want) {
		t.Errorf("asked %q, want %q", asked(), want)
	}
	if _, err := s.Execute(ctx, &Request{SessionID: "other"}); err == nil || req.SessionID != "" {
		t.Errorf("another session's request: %v; the caller's own has id %q", err, req.SessionID)
	}
}

func TestSessionSendsOneAtATime(t *testing.T) {
	hold := make(chan struct{})
	arrived := make(chan struct{}, 2)
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		<-hold
		_, _ = io.WriteString(w, `{"session_id":"s"}`)
	})
	s := c.Session("s")
	first := make(chan error)
	go func() {
		_, err := s.Execute(context.Background(), &Request{Language: "c"})
		first <- err
	}()
	<-arrived
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Execute(ctx, &Request{Language: "c"}); !errors.Is(err, context.DeadlineExceeded) || len(arrived) != 0 {
		t.Errorf("the second, while the first runs: %v, and %d arrived", err, len(arrived))
	}
	close(hold)
	if err := <-first; err != nil {
		t.Error(err)
	}
}
