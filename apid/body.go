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

// readBody reads the body of a request whose key is valid. release gives up the memory, and with it everything that points into it.
func (s *server) readBody(c *call) (body []byte, release func(), err *apiError) {
	if err := checkMediaType(c); err != nil {
		return nil, nil, err
	}
	most := s.cfg.HTTP.MaxBodyBytes
	length := int64(c.ctx.Request.Header.ContentLength()) // below 0: chunked, or none
	if length > most {
		return nil, nil, refuse(errTooLarge, "the body has %d bytes, at most %d", length, most)
	}
	held := max(length, 0)
	if length == -1 {
		held = most // known at the end; nobody needs chunks for a small body
	}
	if s.bodies.Add(held) > s.cfg.HTTP.MaxBodiesBytes {
		s.bodies.Add(-held)
		return nil, nil, refuse(errOverloaded, "the requests being served hold too much memory")
	}
	buf := bodyBuffers.Get().(*bytes.Buffer)
	release = func() {
		s.bodies.Add(-held)
		if buf.Cap() <= pooledBody {
			clear(buf.Bytes()) // the next caller's buffer must not hold this one's code
			buf.Reset()
			bodyBuffers.Put(buf)
		}
	}
	if err := readInto(buf, c.ctx.RequestBodyStream(), length, most); err != nil {
		release()
		return nil, nil, err.describe(time.Duration(s.cfg.HTTP.ReadTimeout))
	}
	c.bodyBytes = buf.Len()
	return buf.Bytes(), release, nil
}

// bodyError is why a body could not be read.
type bodyError struct {
	err  error
	most int64 // set: it is longer than this
}

func (e *bodyError) describe(timeout time.Duration) *apiError {
	var netErr net.Error
	switch {
	case e.most > 0:
		return refuse(errTooLarge, "the body has more than %d bytes", e.most)
	case errors.As(e.err, &netErr) && netErr.Timeout():
		return refuse(errInvalidJSON, "the body did not arrive within %v", timeout)
	}
	refused := refuse(errInvalidJSON, "the body ended too early")
	refused.cause = e.err
	return refused
}

func readInto(buf *bytes.Buffer, stream io.Reader, length, most int64) *bodyError {
	if stream == nil {
		return nil
	}
	if length > 0 {
		buf.Grow(int(length) + bytes.MinRead) // ReadFrom wants that much room to see the end
	}
	n, err := buf.ReadFrom(io.LimitReader(stream, most+1))
	switch {
	case err != nil:
		return &bodyError{err: err}
	case n > most:
		return &bodyError{most: most}
	case length > 0 && n < length:
		return &bodyError{err: io.ErrUnexpectedEOF}
	}
	return nil
}

// checkMediaType wants application/json. Its only encoding is UTF-8, so a parameter may say nothing else.
func checkMediaType(c *call) *apiError {
	if coding := c.ctx.Request.Header.ContentEncoding(); len(coding) > 0 && !strings.EqualFold(string(coding), "identity") {
		return refuse(errMediaType, "Content-Encoding %s is not accepted", shown(string(coding)))
	}
	header := string(c.ctx.Request.Header.ContentType())
	if header == "application/json" {
		return nil
	}
	kind, params, err := mime.ParseMediaType(header)
	if err != nil || kind != "application/json" {
		return refuse(errMediaType, "Content-Type %s is not accepted, want application/json", shown(header))
	}
	if charset, given := params["charset"]; given && !strings.EqualFold(charset, "utf-8") {
		return refuse(errMediaType, "charset %s is not accepted, want utf-8", shown(charset))
	}
	return nil
}
