package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Client talks to one sandboxd.
type Client struct {
	Path string // of the socket
	// Patience is how long Run tries again while there is no sandboxd to take a job, as when it is being restarted.
	Patience time.Duration
}

// ErrAway means that there is no sandboxd that would take the request, or that it could make no jail: nothing of it was begun.
var ErrAway = errors.New("sandboxd: is not there")

// ErrLost means that sandboxd ended before it answered: a job may have run, in part or as a whole.
var ErrLost = errors.New("sandboxd: ended before it answered")

// ErrVersion means that sandboxd refused, as against the contract, a job that is valid by ours: it is of another version. Nothing of it was begun.
var ErrVersion = errors.New("sandboxd: is of another version")

// Times between two tries of Run: the first, and the longest.
const (
	retryPause = 20 * time.Millisecond
	mostPause  = 200 * time.Millisecond
)

// Run carries out one job. Descriptors stay the caller's. When ctx ends the connection is hung up, which kills the job. A value from
// kill asks sandboxd to end the job and still report what it did; kill may be nil. Errors are ErrAway, ErrLost, ErrVersion, ctx's, an *Error,
// or of the system.
func (c *Client) Run(ctx context.Context, job *Job, kill <-chan Kill, files ...*os.File) (*Result, error) {
	return c.RunLive(ctx, job, &Live{Kill: kill}, files...)
}

// Live is what can be done to a job while it runs. Channels may be nil.
type Live struct {
	Kill    <-chan Kill
	Signals <-chan Signal // of a job with Signals
	// Terminal is given the master's side of a job with a Terminal, which it owns, when the job has begun. It blocks and is not polled.
	Terminal func(master *os.File)
}

// RunLive is Run for a job that is interactive.
func (c *Client) RunLive(ctx context.Context, job *Job, live *Live, files ...*os.File) (*Result, error) {
	if len(files) != job.Fds() {
		panic(fmt.Sprintf("wire: internal error: %d descriptors for a job that needs %d", len(files), job.Fds()))
	}
	giveUp := time.Now().Add(c.Patience)
	reply, err := c.exchange(ctx, &Request{Job: job}, live, files...)
	for pause := retryPause; errors.Is(err, ErrAway) && time.Now().Before(giveUp); pause = min(2*pause, mostPause) {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
		}
		reply, err = c.exchange(ctx, &Request{Job: job}, live, files...)
	}
	if err != nil {
		return nil, otherVersion(job, err)
	}
	if reply.Result == nil {
		return nil, errors.New("sandboxd: answered a job without a result")
	}
	return reply.Result, nil
}

// otherVersion tells a sandboxd that does not know what we ask for from a mistake of ours, which another try would repeat.
func otherVersion(job *Job, err error) error {
	if refused := (*Error)(nil); errors.As(err, &refused) && refused.Code == CodeInvalid && (&Request{Job: job}).Validate() == nil {
		return fmt.Errorf("%w: %w", ErrVersion, err)
	}
	return err
}

// Forget drops volumes.
func (c *Client) Forget(ctx context.Context, ids ...string) error {
	_, err := c.exchange(ctx, &Request{Forget: &Forget{IDs: ids}}, &Live{})
	return err
}

// ForgetAll drops every volume.
func (c *Client) ForgetAll(ctx context.Context) error {
	_, err := c.exchange(ctx, &Request{Forget: &Forget{All: true}}, &Live{})
	return err
}

// List is the ids of all volumes. Those that come or go meanwhile may be in it or not.
func (c *Client) List(ctx context.Context) (ids []string, err error) {
	for after := ""; ; {
		reply, err := c.exchange(ctx, &Request{List: &List{After: after}}, &Live{})
		if err != nil || len(reply.IDs) == 0 {
			return ids, err
		}
		ids = append(ids, reply.IDs...)
		after = reply.IDs[len(reply.IDs)-1]
	}
}

// Status asks for a snapshot.
func (c *Client) Status(ctx context.Context, req *StatusRequest) (*Status, error) {
	reply, err := c.exchange(ctx, &Request{Status: req}, &Live{})
	if err != nil {
		return nil, err
	}
	if reply.Status == nil {
		return nil, errors.New("sandboxd: answered without a status")
	}
	return reply.Status, nil
}

// Selftest has the server test its jails now.
func (c *Client) Selftest(ctx context.Context) ([]Check, error) {
	reply, err := c.exchange(ctx, &Request{Selftest: &struct{}{}}, &Live{})
	if err != nil {
		return nil, err
	}
	return reply.Checks, nil
}

func (c *Client) exchange(ctx context.Context, req *Request, live *Live, files ...*os.File) (*Reply, error) {
	conn, err := Dial(c.Path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAway, err)
	}
	defer conn.Close()
	if err := conn.Send(req, files...); err != nil {
		if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
			err = fmt.Errorf("%w: %w", ErrAway, err)
		}
		return nil, contextError(ctx, err)
	}
	done := make(chan struct{})
	ended := make(chan struct{})
	spoke, begun := false, false
	go func() {
		defer close(ended)
		kill := live.Kill
		for {
			select {
			case <-ctx.Done():
				conn.Close()
				return
			case k := <-kill:
				// A job that has just ended makes this fail; its Result is on the way all the same.
				_ = conn.Send(&Request{Kill: &k})
				kill, spoke = nil, true
			case sig := <-live.Signals:
				_ = conn.Send(&Request{Signal: &sig})
				spoke = true
			case <-done:
				return
			}
		}
	}()
	var reply Reply
	extra, err := conn.receive(&reply, decodeReply)
	for err == nil && reply.Terminal != nil && len(extra) == 1 && live.Terminal != nil {
		live.Terminal(extra[0])
		reply, begun = Reply{}, true
		extra, err = conn.receive(&reply, decodeReply)
	}
	close(done)
	if err != nil {
		<-ended
		return nil, contextError(ctx, lostOrAway(err, spoke || begun))
	}
	CloseAll(extra)
	switch {
	case reply.Error == nil:
		return &reply, nil
	case reply.Error.Code == CodeNotBegun:
		return nil, fmt.Errorf("%w: %w", ErrAway, reply.Error)
	}
	return nil, reply.Error
}

// lostOrAway says what became of a request when the connection broke. A reset tells that the server had not read everything: our one
// packet, if we spoke no more after it and had no answer yet.
func lostOrAway(err error, spoke bool) error {
	switch {
	case errors.Is(err, unix.ECONNRESET) && !spoke:
		return fmt.Errorf("%w: %w", ErrAway, err)
	case errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET):
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	return err
}

// contextError prefers the reason why we hung up over the error that hanging up caused.
func contextError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
