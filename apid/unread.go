package main

import (
	"bytes"
	"sync"
)

// unread bounds the memory of answers that are ready and that their callers have not taken yet. A program may write tens of MiB, most callers
// take them at once, and one that does not take them at all has write_timeout; so it is not the answer that is refused, for the program has
// run, but what its key sends next.
type unread struct {
	most, mostPerKey int64

	mu    sync.Mutex
	all   int64
	byKey map[string]int64 // those with any

	waiting map[string]int64 // by key: output whose answer is not put together yet (room.go)
	freed   chan struct{}    // closed when something was taken; nil: nobody waits for that
}

// unreadSmall is what is not counted, bytes: max_connections bounds those.
const unreadSmall = 64 << 10

func newUnread(most int64) *unread {
	return &unread{most: most, mostPerKey: most / 2, byKey: map[string]int64{}, waiting: map[string]int64{}}
}

// admit refuses a request at once if its key has left too much unread.
func (u *unread) admit(keyID string) *apiError {
	u.mu.Lock()
	defer u.mu.Unlock()
	// A key that has none does not pay for the others.
	if held := u.byKey[keyID] + u.waiting[keyID]; held >= u.mostPerKey || held > 0 && u.all >= u.most {
		return refuse(errRateLimited, "answers of %d bytes to this key have not been read yet", held)
	}
	return nil
}

// reply is call.reply for what may be large.
func (u *unread) reply(c *call, body []byte) {
	c.reply(body)
	u.replyRaw(c, body)
}

// replyRaw answers with what may be large and of any type, which the headers tell already.
func (u *unread) replyRaw(c *call, body []byte) {
	c.answerBytes = len(body)
	if len(body) < unreadSmall {
		c.ctx.Response.SetBodyRaw(body)
		return
	}
	c.ctx.Response.SetBodyStream(heldBody{bytes.NewReader(body), u.hold(c.key.ID, int64(len(body)))}, len(body))
}

// hold counts an answer until release is called.
func (u *unread) hold(keyID string, size int64) (release func()) {
	if size < unreadSmall {
		return func() {}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.holdLocked(keyID, size)
}

func (u *unread) holdLocked(keyID string, size int64) (release func()) {
	u.addLocked(keyID, size)
	return sync.OnceFunc(func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.addLocked(keyID, -size)
		if u.freed != nil {
			close(u.freed)
			u.freed = nil
		}
	})
}

func (u *unread) addLocked(keyID string, size int64) {
	u.all += size
	if u.byKey[keyID] += size; u.byKey[keyID] == 0 {
		delete(u.byKey, keyID)
	}
}

func (u *unread) bytes() int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.all
}

// heldBody is an answer that fasthttp closes when it is sent, or cannot be.
type heldBody struct {
	*bytes.Reader
	release func()
}

func (b heldBody) Close() error {
	b.release()
	return nil
}
