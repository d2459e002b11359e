package conform

import (
	"bytes"
	"io"
	"net/http"
)

// Transport carries requests as Next does, and holds each answer of apid against a document. What does not agree is an error of the request, or of
// reading its body, so that whoever sent it fails.
type Transport struct {
	Next     http.RoundTripper
	Document *Document
}

// mostBody is what of a body is looked at, bytes; of a larger one nothing is.
const mostBody = 1 << 20

// RoundTrip implements [http.RoundTripper].
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := t.Next.RoundTrip(r)
	if err != nil || answer.Header.Get("X-Request-Id") == "" { // which every answer of apid's has, and none of its listener for metrics
		return answer, err
	}
	check := func(body []byte) error { return t.Document.Answer(r.Method, r.URL.String(), answer, body) }
	switch {
	case answer.StatusCode == http.StatusSwitchingProtocols || answer.Body == http.NoBody:
		if err := check(nil); err != nil {
			answer.Body.Close()
			return nil, err
		}
	default:
		answer.Body = &watchedBody{ReadCloser: answer.Body, check: check}
	}
	return answer, nil
}

// CloseIdleConnections is for [http.Client.CloseIdleConnections].
func (t *Transport) CloseIdleConnections() {
	if next, ok := t.Next.(interface{ CloseIdleConnections() }); ok {
		next.CloseIdleConnections()
	}
}

// watchedBody is checked when it has been read to its end.
type watchedBody struct {
	io.ReadCloser
	check func(body []byte) error
	seen  bytes.Buffer
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.seen.Len() <= mostBody {
		b.seen.Write(p[:n])
	}
	if err == io.EOF && b.seen.Len() <= mostBody {
		if failed := b.check(b.seen.Bytes()); failed != nil {
			err = failed
		}
	}
	return n, err
}
