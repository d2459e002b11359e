package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// The second answer of a key waits until the first is taken; another key's does not, and who waits no longer holds nothing.
func TestRoom(t *testing.T) {
	const size = 600 << 10
	u := newUnread(1 << 20)
	first, err := u.room(context.Background(), "a", 1, size) // larger than the key's half: else it would never be told
	if err != nil {
		t.Fatal(err)
	}
	other, _ := u.room(context.Background(), "b", 1, size) // nor does that of others matter to a key that has none
	second := make(chan func())
	go func() {
		release, _ := u.room(context.Background(), "a", 400<<10, 100<<10)
		second <- release
	}()
	hasWaiting := func() bool {
		u.mu.Lock()
		defer u.mu.Unlock()
		return u.waiting["a"] == 400<<10
	}
	eventually(t, "it waits", hasWaiting)
	other() // that was not it
	if u.bytes() != size || !hasWaiting() {
		t.Fatalf("%d bytes are held", u.bytes())
	}
	gone, cancel := context.WithCancelCause(context.Background())
	cancel(errHungUp)
	if _, err := u.room(gone, "a", 1, 100<<10); err != errHungUp {
		t.Errorf("of a caller who hung up: %v", err)
	}
	first()
	(<-second)()
	if u.bytes() != 0 || len(u.byKey) != 0 || len(u.waiting) != 0 {
		t.Errorf("left: %d, %v, %v", u.bytes(), u.byKey, u.waiting)
	}
}

// Answers of programs that end at one time are put together one after the other, as their caller takes them, and meanwhile it is refused more.
func TestAnswersWaitForRoom(t *testing.T) {
	for _, accept := range []string{"application/json", eventStream} {
		t.Run(accept, func(t *testing.T) {
			ts := newTestServer(t, func(c *config) { c.HTTP.MaxUnreadBytes, c.Limits.OutputLimit.Default = 1<<20, c.Limits.OutputLimit.Max })
			body := encode(with(python("await", "spew 900000"), "ephemeral", true))
			conn := ts.dial(fmt.Sprintf("POST /v1/execute HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nAccept: %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s",
				ts.key, accept, len(body), body))
			eventually(t, "it runs", func() bool {
				ts.fake.mu.Lock()
				defer ts.fake.mu.Unlock()
				return ts.fake.running == 1
			})
			release := ts.unread.hold(ts.keys.find([]byte(ts.key)).ID, 1<<20) // another answer, which nobody reads
			ts.fake.gate <- struct{}{}
			eventually(t, "the answer waits", func() bool {
				ts.unread.mu.Lock()
				defer ts.unread.mu.Unlock()
				return len(ts.unread.waiting) == 1
			})
			if r := ts.refused(python("print x"), errRateLimited); !strings.Contains(r.Error.Message, "not been read") {
				t.Errorf("%s", r.Raw)
			}
			release()
			var answer bytes.Buffer
			answer.ReadFrom(conn)
			if got := strings.Count(answer.String(), "x"); got < 900_000 {
				t.Errorf("%d bytes of output: %.300s", got, answer.String())
			}
			eventually(t, "nothing is left", func() bool { return ts.unread.bytes() == 0 })
		})
	}
}

// The size is that of the answer, whatever is written.
func TestAnswerSize(t *testing.T) {
	for _, output := range []string{"", "plain", "\x00\x01\x7f\"\\\n\r\t", "€😀\u2028", "a\xff\xc3\x28\xf0\x9f", "\xf0\x9f\x98", strings.Repeat("\x00\xff", 1000)} {
		b := appendStream(nil, "", []byte(output))
		extra := len(`"":""`)
		if bytes.Contains(b, []byte(`,"_base64":"`)) {
			extra += len(`,"_base64":""`)
		}
		if got := streamSize([]byte(output)); got != int64(len(b)-extra) {
			t.Errorf("%q: %d, and it is %d", output, got, len(b)-extra)
		}
	}
	a := answer{run: stageAnswer{stdout: make([]byte, 1000)}, compile: &stageAnswer{stderr: []byte("\xff")}, tests: []testAnswer{{run: stageAnswer{stdout: []byte("x")}}},
		collected: &collected{files: []requestFile{{content: make([]byte, 3)}}}}
	if a.weigh(); a.raw != 1005 || a.size != 6000+3+4+1+4 {
		t.Errorf("%d and %d", a.raw, a.size)
	}
}

// What a tool has asked for is in memory until its message is answered, though it counts as read.
func TestMessagesCountWhatTheyRead(t *testing.T) {
	self := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 1000)) }))
	defer self.Close()
	message, answered := context.WithCancel(context.Background())
	released := make(chan struct{})
	var held int64
	calls := &ownCalls{message, "id", &http.Transport{}, func(size int64) func() { held = size; return func() { close(released) } }}
	answer, err := (&http.Client{Transport: calls}).Get(self.URL)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	select {
	case <-released:
		t.Error("it counts no more, though the message is not answered")
	default:
	}
	if answered(); held != 1000 {
		t.Errorf("%d bytes are held", held)
	}
	<-released
}
