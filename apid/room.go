package main

import (
	"context"
	"encoding/base64"
	"unicode/utf8"
)

// What an answer takes of memory when it is put together: in JSON a NUL is six bytes. So a few programs that write what they may would have us hold gigabytes at one
// moment, all their answers being made at once. Each waits for its room instead, as the bytes that the program wrote: those its slot has bounded.
//
//	a program ended ---> waiting: its output ---> put together: the answer ---> taken

// room waits until the answer may be put together. release says that it is taken, or counted by who sends it.
func (x *execution) room(ctx context.Context) (release func(), err *apiError) {
	a := x.answer()
	return x.unread.room(ctx, x.call.key.ID, a.raw, a.size)
}

// weigh finds about how many bytes of output an answer has, and how many it has in JSON, what is small left out.
func (a *answer) weigh() {
	count := func(s *stageAnswer) {
		a.raw += int64(len(s.stdout) + len(s.stderr))
		a.size += streamSize(s.stdout) + streamSize(s.stderr)
	}
	count(&a.run)
	if a.compile != nil {
		count(a.compile)
	}
	for i := range a.tests {
		count(&a.tests[i].run)
	}
	if a.collected != nil {
		for _, f := range a.collected.files {
			a.raw += int64(len(f.content))
			a.size += int64(base64.StdEncoding.EncodedLen(len(f.content)))
		}
	}
}

// streamSize is the length of what appendStream writes of data.
func streamSize(data []byte) (size int64) {
	valid := true
	for i := 0; i < len(data); {
		switch c := data[i]; {
		case c >= utf8.RuneSelf:
			r, width := utf8.DecodeRune(data[i:])
			i += width
			if r == utf8.RuneError && width == 1 {
				valid, width = false, len("\ufffd")
			}
			size += int64(width)
			continue
		case c == '"', c == '\\', c == '\n', c == '\r', c == '\t':
			size += 2
		case c < ' ':
			size += 6
		default:
			size++
		}
		i++
	}
	if !valid {
		size += int64(base64.StdEncoding.EncodedLen(len(data)))
	}
	return size
}

// room waits until an answer of this size may be put together of raw bytes of output. A key that has no other unread waits for nobody; one that has waits
// until they leave room for it in the key's half and in all: as long as callers may take to read, write_timeout, at most for each.
func (u *unread) room(ctx context.Context, keyID string, raw, size int64) (release func(), err *apiError) {
	if size < unreadSmall {
		return func() {}, nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.waitLocked(keyID, raw)
	defer u.waitLocked(keyID, -raw)
	for held := u.byKey[keyID]; held > 0 && (held+size > u.mostPerKey || u.all+size > u.most); held = u.byKey[keyID] {
		if u.freed == nil {
			u.freed = make(chan struct{})
		}
		freed := u.freed
		u.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			err = contextError(ctx)
		}
		u.mu.Lock()
		if err != nil {
			return nil, err
		}
	}
	return u.holdLocked(keyID, size), nil
}

func (u *unread) waitLocked(keyID string, raw int64) {
	if u.waiting[keyID] += raw; u.waiting[keyID] == 0 {
		delete(u.waiting, keyID)
	}
}
