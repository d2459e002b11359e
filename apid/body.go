package main

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net"
	"strings"
	"sync"
	"time"
)

// pooledBody is the size of body that is worth keeping for the next request, in bytes. Most requests are far smaller.
const pooledBody = 64 << 10

var bodyBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// bodyBudget bounds the memory that all bodies hold together, those of queued requests included, and those that were announced and do not come.
type bodyBudget struct {
	most, mostPerKey int64

	mu    sync.Mutex
	all   int64
	byKey map[string]int64 // those with any
}

// littleBody is what a key may hold though others have taken all the memory, bytes.
const littleBody = pooledBody / 2

// newBodyBudget gives no key more than half, unless one body of the largest size is more.
func newBodyBudget(most, largest int64) *bodyBudget {
	return &bodyBudget{most: most, mostPerKey: max(most/2, largest), byKey: map[string]int64{}}
}

var (
	errBodyTooLong = errors.New("body too long")
	errNoBudget    = errors.New("no memory for the body")
	errNoShare     = errors.New("no memory for more bodies of this key")
)

func (b *bodyBudget) reserve(keyID string, n int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	held := b.byKey[keyID] + n
	switch {
	case held > b.mostPerKey:
		return errNoShare
	case b.all+n > b.most && held > littleBody:
		return errNoBudget
	}
	b.addLocked(keyID, n)
	return nil
}

func (b *bodyBudget) giveBack(keyID string, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.addLocked(keyID, -n)
}

func (b *bodyBudget) addLocked(keyID string, n int64) {
	b.all += n
	if b.byKey[keyID] += n; b.byKey[keyID] == 0 {
		delete(b.byKey, keyID)
	}
}

func (b *bodyBudget) held() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all
}

// bodyChecks refuse a request by its headers alone.
func (s *server) bodyChecks(c *call) *apiError {
	if err := checkMediaType(c); err != nil {
		return err
	}
	return s.checkLength(c)
}

func (s *server) checkLength(c *call) *apiError {
	if length := int64(c.ctx.Request.Header.ContentLength()); length > s.cfg.HTTP.MaxBodyBytes {
		return refuse(errTooLarge, "the body has %d bytes, at most %d", length, s.cfg.HTTP.MaxBodyBytes)
	}
	return nil
}

// readBody reads the JSON body of a request whose key is valid. release gives up the memory, and with it everything that points into it.
func (s *server) readBody(c *call) (body []byte, release func(), err *apiError) {
	if err := s.bodyChecks(c); err != nil {
		return nil, nil, err
	}
	return s.readRawBody(c)
}

// readRawBody is readBody for any bytes.
func (s *server) readRawBody(c *call) (body []byte, release func(), err *apiError) {
	if err := s.checkLength(c); err != nil {
		return nil, nil, err
	}
	buf := bodyBuffers.Get().(*bytes.Buffer)
	r := bodyReader{budget: s.bodies, keyID: c.key.ID, buf: buf, length: int64(c.ctx.Request.Header.ContentLength()), most: s.cfg.HTTP.MaxBodyBytes}
	release = func() {
		s.bodies.giveBack(r.keyID, r.held)
		if buf.Cap() <= pooledBody {
			clear(buf.Bytes()) // the next caller's buffer must not hold this one's code
			buf.Reset()
			bodyBuffers.Put(buf)
		}
	}
	if stream := c.ctx.RequestBodyStream(); stream != nil {
		if err := r.read(stream); err != nil {
			release()
			return nil, nil, err.describe(time.Duration(s.cfg.HTTP.ReadTimeout))
		}
	}
	if err := c.arrived(); err != nil {
		release()
		return nil, nil, err
	}
	c.bodyBytes = buf.Len()
	return buf.Bytes(), release, nil
}

// Bounds of what is read, and thrown away, of a body that was refused. On a machine that is busy with a crowd, megabytes take seconds to come.
const (
	discardTime  = 5 * time.Second
	discardBytes = 256 << 20
)

// discardBody lets a refusal arrive: to close a connection while its other side still sends would reset it, and the caller would see
// that instead of our answer (RFC 9112 section 9.6).
func (c *call) discardBody() {
	stream := c.ctx.RequestBodyStream()
	if stream == nil {
		return
	}
	if err := c.ctx.Conn().SetReadDeadline(time.Now().Add(discardTime)); err != nil {
		c.ctx.SetConnectionClose()
		return
	}
	if _, err := io.CopyN(io.Discard, stream, discardBytes); !errors.Is(err, io.EOF) {
		c.ctx.SetConnectionClose() // there is more of it: what follows is no request
	}
}

// bodyReader reads one body.
type bodyReader struct {
	budget *bodyBudget
	keyID  string
	held   int64 // of the budget
	buf    *bytes.Buffer
	length int64 // below 0: chunked, known at the end
	most   int64
}

func (r *bodyReader) read(stream io.Reader) *bodyError {
	if r.length >= 0 {
		if err := r.readUpTo(stream, r.length); err != nil {
			return &bodyError{err: err, most: r.most}
		}
		if int64(r.buf.Len()) < r.length {
			return &bodyError{err: io.ErrUnexpectedEOF}
		}
		return nil
	}
	// A body of unknown length takes its share of the budget as it grows.
	for step := int64(pooledBody / 2); ; step = int64(r.buf.Len()) {
		before := r.buf.Len()
		if err := r.readUpTo(stream, min(step, r.most+1-int64(before))); err != nil {
			return &bodyError{err: err, most: r.most}
		}
		switch got := int64(r.buf.Len()); {
		case got > r.most:
			return &bodyError{err: errBodyTooLong, most: r.most}
		case got-int64(before) < step:
			return nil
		}
	}
}

// readUpTo reads n bytes, or less if the stream ends.
func (r *bodyReader) readUpTo(stream io.Reader, n int64) error {
	if err := r.budget.reserve(r.keyID, n); err != nil {
		return err
	}
	r.held += n
	r.buf.Grow(int(n) + bytes.MinRead) // ReadFrom wants that much room to see the end
	_, err := r.buf.ReadFrom(io.LimitReader(stream, n))
	return err
}

// bodyError is why a body could not be read.
type bodyError struct {
	err  error
	most int64
}

func (e *bodyError) describe(timeout time.Duration) *apiError {
	var netErr net.Error
	switch {
	case e.err == errBodyTooLong:
		return refuse(errTooLarge, "the body has more than %d bytes", e.most)
	case e.err == errNoBudget:
		return refuse(errOverloaded, "the requests being served hold too much memory")
	case e.err == errNoShare:
		return refuse(errRateLimited, "the requests of this key hold as much memory as it may have")
	case errors.As(e.err, &netErr) && netErr.Timeout():
		return refuse(errBadRequest, "the body did not arrive within %v", timeout)
	}
	refused := refuse(errBadRequest, "the body ended too early")
	refused.cause = e.err
	return refused
}

// formType is what curl -d says of whatever it sends.
const formType = "application/x-www-form-urlencoded"

// checkMediaType wants application/json. Its only encoding is UTF-8, so a parameter may say nothing else. Who says nothing, or what curl says by itself, most
// likely means JSON as well, for there is no other body here; if not, who reads it says so. No page of another site gains by it: it has no key.
func checkMediaType(c *call) *apiError {
	if coding := c.ctx.Request.Header.ContentEncoding(); len(coding) > 0 && !strings.EqualFold(string(coding), "identity") {
		return refuse(errMediaType, "Content-Encoding %s is not accepted, want a body that is not compressed", shown(string(coding)))
	}
	header := string(c.ctx.Request.Header.ContentType())
	if header == "application/json" || header == "" {
		return nil
	}
	kind, params, err := mime.ParseMediaType(header)
	if err != nil || kind != "application/json" && kind != formType {
		return refuse(errMediaType, "Content-Type %s is not accepted, want application/json", shown(header))
	}
	if charset, given := params["charset"]; given && !strings.EqualFold(charset, "utf-8") {
		return refuse(errMediaType, "charset %s is not accepted, want utf-8", shown(charset))
	}
	return nil
}
