package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/google/uuid"
)

// maxForks is how many copies one request makes at most.
const maxForks = 100

// forking is a request for copies of a session.
type forking struct {
	names []string // ids of the copies
}

// fork makes sessions that begin with the files and the environment of another.
func (s *server) fork(c *call, name, _ string) *apiError {
	count, err := s.readFork(c)
	if err != nil {
		return err
	}
	f := &forking{names: make([]string, count)}
	for i := range f.names {
		f.names[i] = uuid.NewString()
	}
	x := &execution{server: s, call: c, plan: &plan{sessionID: name}, forking: f}
	ctx, done := s.whileWanted(c)
	defer done()
	if err := x.perform(ctx); err != nil {
		return err
	}
	body, _ := json.Marshal(map[string][]string{"session_ids": f.names})
	c.reply(append(body, '\n'))
	return nil
}

// makeCopies is jobs for a fork. Nothing is copied that is large: loan.go. A small workspace is packed, or each that was ever forked would stay mounted
// as long as a copy of it is not used.
func (x *execution) makeCopies(ctx context.Context) *apiError {
	var packed []byte
	var err *apiError
	switch s := x.session; s.form {
	case formNone: // it ended while we waited, or sandboxd has lost it
		err = x.noSession()
	case formLent:
		err = x.touchLoan(ctx)
	case formMounted:
		if s.packable {
			packed, err = x.packed(ctx)
		}
		if err == nil && packed == nil {
			err = x.checkCopyable(ctx)
		}
	}
	if err != nil {
		return err
	}
	return x.sessions.fork(x.session, x.forking.names, packed)
}

// packed is the workspace as it is kept when it is packed; nil if that is not all of it.
func (x *execution) packed(ctx context.Context) ([]byte, *apiError) {
	t := &tool{argv: packTar, most: packedTar, packs: true}
	if err := x.useTool(ctx, t); err != nil || notWhole(t.out) != nil {
		return nil, err
	}
	return t.out.packed, nil
}

func (x *execution) noSession() *apiError {
	return refuse(errNotFound, "this key has no session %s", shown(x.name))
}

// uncopyable finds a file that a copy could not be made of: a program took the right to read it from itself, or made folders below each other until
// their names together are longer than a path may be (PATH_MAX, with /build before them).
var uncopyable = []string{"/usr/bin/find", ".", "-regextype", "posix-extended",
	"(", "-regex", fmt.Sprintf(".{%d,}", longPath), "-o", "-type", "d", "!", "(", "-readable", "-executable", ")", "-o", "-type", "f", "!", "-readable", ")",
	"-printf", `%p\n`, "-quit"}

// checkCopyable says now what would else be found when a copy is used.
func (x *execution) checkCopyable(ctx context.Context) *apiError {
	t := &tool{argv: uncopyable, most: 8 << 10}
	if err := x.useTool(ctx, t); err != nil {
		return err
	}
	if name := strings.TrimSpace(string(t.out.stdout.data)); name != "" {
		return refuse(errInvalidField, "%s cannot be read by its owner, or its path is too long, so the session cannot be copied; change its mode, or move it", shown(name))
	}
	if err := t.out.toolError(); err != nil {
		return &apiError{code: errInvalidField, message: "the files of the session could not be looked through: " + strings.TrimSpace(shown(string(t.out.stderr.data))), cause: err}
	}
	return nil
}

// readFork reads {"count": n}; without a body it is 1.
func (s *server) readFork(c *call) (count int64, err *apiError) {
	body, release, err := s.readRawBody(c)
	if err != nil {
		return 0, err
	}
	defer release()
	count = 1
	if len(bytes.TrimSpace(body)) == 0 {
		return count, nil
	}
	r := &jsonReader{buf: body}
	err = r.document(func(field string) (err *apiError) {
		if field != "count" {
			return invalidField(shownField(field), "unknown field; known is count")
		}
		if !r.null() {
			count, err = r.integer(field)
		}
		return err
	})
	if err == nil && (count < 1 || count > maxForks) {
		err = outOfRange("count", count, 1, maxForks)
	}
	return count, err
}
