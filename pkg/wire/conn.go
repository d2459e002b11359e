package wire

import (
	"bytes"
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
