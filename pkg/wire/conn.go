package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Conn frames packets on one SEQPACKET connection. One goroutine may send while another receives.
type Conn struct {
	uc *net.UnixConn
}

// NewConn takes over an accepted connection.
func NewConn(uc *net.UnixConn) *Conn { return &Conn{uc: uc} }

// Dial connects to the server's socket.
func Dial(path string) (*Conn, error) {
	uc, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return nil, err
	}
	return &Conn{uc: uc}, nil
}

// Close hangs up.
func (c *Conn) Close() error { return c.uc.Close() }

// SetReadDeadline bounds the next Recv; the zero time means for ever.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.uc.SetReadDeadline(t) }

// Peer returns the credentials that the kernel recorded when the other side connected.
func (c *Conn) Peer() (*unix.Ucred, error) {
	raw, err := c.uc.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var sockErr error
	if err := raw.Control(func(fd uintptr) {
		cred, sockErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return nil, err
	}
	return cred, sockErr
}

// Send sends one object and copies of the descriptors.
func (c *Conn) Send(v any, files ...*os.File) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("wire: encode: %w", err)
	}
	if len(body) > MaxPacket {
		return fmt.Errorf("wire: packet of %d bytes, at most %d", len(body), MaxPacket)
	}
	var oob []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		oob = unix.UnixRights(fds...)
	}
	if _, _, err := c.uc.WriteMsgUnix(body, oob, nil); err != nil {
		return fmt.Errorf("wire: send: %w", err)
	}
	return nil
}

// ErrTruncated is a packet or control message longer than the contract allows, or one for whose descriptors our table has no room.
var ErrTruncated = errors.New("wire: packet too long or with too many descriptors")

// packets saves a fresh MaxPacket, all zeroed, for each of a job's few hundred bytes.
var packets = sync.Pool{New: func() any { return new([MaxPacket]byte) }}

// Recv receives one object into v and the descriptors beside it, which the caller owns. It returns io.EOF when the peer hung up, and
// ECONNRESET when it did so without having read all that we sent.
// On any error every received descriptor is closed: a peer cannot fill our table with a malformed packet.
func (c *Conn) Recv(v any) ([]*os.File, error) { return c.receive(v, Decode) }

func (c *Conn) receive(v any, decode func([]byte, any) error) (files []*os.File, err error) {
	buf := packets.Get().(*[MaxPacket]byte)
	used := 0
	defer func() {
		clear(buf[:used]) // one caller's arguments must not lie about in another's buffer
		packets.Put(buf)
	}()
	body := buf[:]
	oob := make([]byte, unix.CmsgSpace(4*MaxFds))
	n, oobn, flags, _, err := c.uc.ReadMsgUnix(body, oob)
	if errors.Is(err, unix.ECONNRESET) {
		// The peer closed before it read our last packet (a Kill that crossed the Reply). The kernel tells that once, ahead of what
		// the peer had sent, which is still there.
		reset := err
		if n, oobn, flags, _, err = c.uc.ReadMsgUnix(body, oob); n == 0 && (err == nil || errors.Is(err, io.EOF)) {
			err = reset
		}
	}
	used = max(n, 0)
	files = parseRights(oob[:oobn])
	defer func() {
		if err != nil {
			CloseAll(files)
			files = nil
		}
	}()
	if err != nil {
		return files, err
	}
	if n == 0 && oobn == 0 {
		return files, io.EOF
	}
	// MSG_CTRUNC: the kernel dropped descriptors that did not fit; the rest would be in the wrong places.
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 || len(files) > MaxFds {
		return files, ErrTruncated
	}
	return files, decode(body[:n], v)
}

// Decode reads exactly one JSON object and refuses unknown fields and trailing data.
func Decode(body []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("wire: decode: %w", err)
	}
	if dec.InputOffset() != int64(len(body)) {
		return fmt.Errorf("wire: decode: %d bytes after the object", int64(len(body))-dec.InputOffset())
	}
	return nil
}

// decodeReply is Decode for a client, which passes over fields that it does not know: a newer server tells more of a job, and to lose the answer of one
// that ran would be worse than to miss that. A server never reads a request so: what it does not know may be a limit of the job.
func decodeReply(body []byte, v any) error {
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("wire: decode: %w", err)
	}
	return nil
}

// parseRights wraps every descriptor in the control message. Go's net package has received it with MSG_CMSG_CLOEXEC.
func parseRights(oob []byte) []*os.File {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	var files []*os.File
	for i := range msgs {
		fds, err := unix.ParseUnixRights(&msgs[i])
		if err != nil {
			continue
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "wire"))
		}
	}
	return files
}

// CloseAll closes every file.
func CloseAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

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
