package client

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"iter"
	"net/http"
)

// The calls below are those of [Client] in this session, each after the one that runs. Before the session has begun, by a program or by
// WriteFile, they fail with an [*Error] of Code "not_found".

// Stream is [Client.Stream] in this session, which is its own until the loop ends. The request's SessionID, Ephemeral and Tests must not be set.
func (s *Session) Stream(ctx context.Context, req *Request) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		if req.SessionID != "" || req.Ephemeral || len(req.Tests) > 0 {
			yield(Event{}, errors.New("request of a session: SessionID, Ephemeral and Tests must not be set"))
			return
		}
		if err := s.enter(ctx); err != nil {
			yield(Event{}, err)
			return
		}
		defer s.leave()
		mine := *req
		mine.SessionID = s.id
		for event, err := range s.client.Stream(ctx, &mine) {
			if err == nil && event.Result != nil {
				s.id = event.Result.SessionID
			}
			if !yield(event, err) {
				return
			}
		}
	}
}

// Files is [Client.Files].
func (s *Session) Files(ctx context.Context) (list []FileInfo, err error) {
	err = s.inTurn(ctx, func(id string) error { list, err = s.client.Files(ctx, id); return err })
	return list, err
}

// ReadFile is [Client.ReadFile].
func (s *Session) ReadFile(ctx context.Context, path string) (content []byte, err error) {
	err = s.inTurn(ctx, func(id string) error { content, err = s.client.ReadFile(ctx, id, path); return err })
	return content, err
}

// ReadFilePart is [Client.ReadFilePart].
func (s *Session) ReadFilePart(ctx context.Context, path string, offset, length int64) (part FilePart, err error) {
	err = s.inTurn(ctx, func(id string) error { part, err = s.client.ReadFilePart(ctx, id, path, offset, length); return err })
	return part, err
}

// WriteFile is [Client.WriteFile]. It begins a session that the server was to name, under a name of ours: the server names one only when a
// program ran.
func (s *Session) WriteFile(ctx context.Context, path string, content []byte) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	id := s.id
	if id == "" {
		id = "go-" + rand.Text()
	}
	err := s.client.WriteFile(ctx, id, path, content)
	if err == nil {
		s.id = id
	}
	return err
}

// RemoveFile is [Client.RemoveFile].
func (s *Session) RemoveFile(ctx context.Context, path string) error {
	return s.inTurn(ctx, func(id string) error { return s.client.RemoveFile(ctx, id, path) })
}

// Archive is [Client.Archive]. The session goes on when the server has the archive, not only when it is read.
func (s *Session) Archive(ctx context.Context) (archive io.ReadCloser, err error) {
	err = s.inTurn(ctx, func(id string) error { archive, err = s.client.Archive(ctx, id); return err })
	return archive, err
}

// Fork is [Client.Fork].
func (s *Session) Fork(ctx context.Context, count int) (copies []*Session, err error) {
	err = s.inTurn(ctx, func(id string) error {
		ids, err := s.client.Fork(ctx, id, count)
		for _, id := range ids {
			copies = append(copies, s.client.Session(id))
		}
		return err
	})
	return copies, err
}

// Info is [Client.SessionInfo].
func (s *Session) Info(ctx context.Context) (info *SessionInfo, err error) {
	err = s.inTurn(ctx, func(id string) error { info, err = s.client.SessionInfo(ctx, id); return err })
	return info, err
}

func (s *Session) inTurn(ctx context.Context, do func(id string) error) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	if s.id == "" {
		return errNotBegun()
	}
	return do(s.id)
}

func errNotBegun() error {
	return &Error{Status: http.StatusNotFound, Code: "not_found", Message: "the session has not begun: execute a program in it, or write a file"}
}
