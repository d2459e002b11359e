package client

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
)

// Session keeps the id of one session and sends its requests one after another: each finds what the one before it left. The files of
// the working directory and the environment persist, processes do not. It may be used by several goroutines at once.
type Session struct {
	client *Client
	turn   chan struct{}          // holds one token while a request runs
	id     atomic.Pointer[string] // written by whoever has the turn
}

// Session returns a session whose id is kept: that of an earlier result, a name of the caller's own, or, if empty, the id that the
// server gives it at its first request.
func (c *Client) Session(id string) *Session {
	s := &Session{client: c, turn: make(chan struct{}, 1)}
	s.id.Store(&id)
	return s
}

// Execute is [Client.Execute] in this session. The request's SessionID, Ephemeral, Tests and Repeat must not be set.
func (s *Session) Execute(ctx context.Context, req *Request) (*Result, error) {
	mine, err := s.begin(ctx, req)
	if err != nil {
		return nil, err
	}
	defer s.leave()
	res, err := s.client.Execute(ctx, mine)
	if err == nil {
		s.id.Store(&res.SessionID)
	}
	return res, err
}

// begin takes the turn, and returns the request as it is in this session.
func (s *Session) begin(ctx context.Context, req *Request) (*Request, error) {
	if req.SessionID != "" || req.Ephemeral || len(req.Tests) > 0 || req.Repeat != 0 {
		return nil, errors.New("request of a session: SessionID, Ephemeral, Tests and Repeat must not be set: a session has its own, tests and repeated runs have none")
	}
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	mine := *req
	mine.SessionID = *s.id.Load()
	return &mine, nil
}

// ID is empty before the first result of a session that the server is to name. It waits for a request that runs.
func (s *Session) ID(ctx context.Context) (string, error) {
	if err := s.enter(ctx); err != nil {
		return "", err
	}
	defer s.leave()
	return *s.id.Load(), nil
}

// Delete ends the session, files and all, after the request that runs; existed is false if there was none any more.
func (s *Session) Delete(ctx context.Context) (existed bool, err error) {
	if err := s.enter(ctx); err != nil {
		return false, err
	}
	defer s.leave()
	id := *s.id.Load()
	if id == "" {
		return false, nil
	}
	return s.client.DeleteSession(ctx, id)
}

func (s *Session) enter(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *Session) leave() { <-s.turn }

// DeleteSession ends a session, files and all; existed is false if this key has none of that id: it expired, or was deleted already.
func (c *Client) DeleteSession(ctx context.Context, id string) (existed bool, err error) {
	address, err := idPath(pathSessions, id)
	if err == nil {
		err = c.Call(ctx, http.MethodDelete, address, nil, nil)
	}
	var refused *Error
	if errors.As(err, &refused) && refused.Code == CodeNotFound {
		return false, nil
	}
	return err == nil, err
}
