package client

import (
	"context"
	"crypto/rand"
	"io"
	"iter"
	"net/http"
	"sync"
)

// The calls below are those of [Client] in this session, each after the one that runs. Before the session has begun, by a program or by
// WriteFile, they fail with an [*Error] of [CodeNotFound].

// Stream is [Client.Stream] in this session, which is its own until the loop ends. What must not be set is what [Session.Execute] says.
func (s *Session) Stream(ctx context.Context, req *Request) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		mine, err := s.begin(ctx, req)
		if err != nil {
			yield(Event{}, err)
			return
		}
		defer s.leave()
		for event, err := range s.client.Stream(ctx, mine) {
			if err == nil && event.Result != nil {
				s.id.Store(&event.Result.SessionID)
			}
			if !yield(event, err) {
				return
			}
		}
	}
}

// Interactive is [Client.Interactive] in this session, which is its own until the last event, Close, or the end of ctx. What must not be set is
// what [Session.Execute] says.
func (s *Session) Interactive(ctx context.Context, req *Request, pty *PTY) (*Interactive, error) {
	mine, err := s.begin(ctx, req)
	if err != nil {
		return nil, err
	}
	leave := sync.OnceFunc(s.leave)
	x, err := s.client.Interactive(ctx, mine, pty)
	if err != nil {
		leave()
		return nil, err
	}
	stop := context.AfterFunc(ctx, leave)
	x.ended = func(res *Result) {
		stop()
		if res != nil {
			s.id.Store(&res.SessionID)
		}
		leave()
	}
	return x, nil
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
	id := *s.id.Load()
	if id == "" {
		id = "go-" + rand.Text()
	}
	err := s.client.WriteFile(ctx, id, path, content)
	if err == nil {
		s.id.Store(&id)
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

// Info is [Client.SessionInfo]. It waits for nothing: it answers while a program of the session runs, too.
func (s *Session) Info(ctx context.Context) (*SessionInfo, error) {
	id := *s.id.Load()
	if id == "" {
		return nil, errNotBegun()
	}
	return s.client.SessionInfo(ctx, id)
}

func (s *Session) inTurn(ctx context.Context, do func(id string) error) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	id := *s.id.Load()
	if id == "" {
		return errNotBegun()
	}
	return do(id)
}

func errNotBegun() error {
	return &Error{Status: http.StatusNotFound, Code: CodeNotFound, Message: "the session has not begun: execute a program in it, or write a file"}
}
