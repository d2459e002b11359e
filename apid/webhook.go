package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// A webhook is told the result of an execution by a POST, signed as Standard Webhooks says (https://www.standardwebhooks.com).
//
//	pending ---> delivered   an answer 2xx
//	        ---> failed      an answer that says no (3xx, 4xx but 429), a host at a private address, or the last attempt
//
// It lives no longer than the result that it is about: with that it is forgotten, so that the bounds of executions bound what waits here too.
// Where it goes is in webhookdial.go. Of what the receiver answers the caller sees the status, so that nobody can read by us what he cannot reach.
type webhook struct {
	url     *url.URL
	host    string // for TLS
	address string // host:port
	secret  []byte

	mu        sync.Mutex
	status    string
	attempts  int
	lastError string
}

// requestWebhook is a webhook as it was asked for.
type requestWebhook struct{ url, secret string }

func (q *request) readWebhook(r *jsonReader) *apiError {
	q.webhook = &requestWebhook{}
	return r.object("webhook", func(name string) *apiError {
		switch name {
		case "url":
			return r.stringInto("webhook.url", &q.webhook.url)
		case "secret":
			return r.stringInto("webhook.secret", &q.webhook.secret)
		}
		return invalidField("webhook."+shownField(name), "unknown field; known are url, secret")
	})
}

const (
	maxWebhookURL    = 2048 // bytes
	secretPrefix     = "whsec_"
	minWebhookSecret = 24 // bytes, as the standard has it, and the most likewise
	maxWebhookSecret = 64
)

// newWebhook checks what was asked for.
func newWebhook(asked *requestWebhook, cfg *webhooksConfig) (*webhook, *apiError) {
	if len(cfg.Allow) == 0 {
		return nil, invalidField("webhook", "this server sends none: its operator allows hosts with webhooks.allow in apid.toml; ask with GET /v1/executions/{id}?wait=60 instead")
	}
	const field = "webhook.url"
	if asked.url == "" || len(asked.url) > maxWebhookURL {
		return nil, invalidField(field, "has %d bytes, want 1 to %d", len(asked.url), maxWebhookURL)
	}
	// Nothing that could end a line or a word of the request that is made of it.
	if strings.ContainsFunc(asked.url, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
		return nil, invalidField(field, "has characters that must be percent-encoded")
	}
	u, err := url.Parse(asked.url)
	if err != nil {
		return nil, invalidField(field, "is not a URL")
	}
	schemePort := map[string]string{"https": "443", "http": "80"}[u.Scheme]
	if schemePort == "" || u.Scheme == "http" && !cfg.Private {
		return nil, invalidField(field, "want https://")
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	port := u.Port()
	if port == "" {
		port = schemePort
	}
	if u.User != nil || u.Fragment != "" || !plainHost.MatchString(host) {
		return nil, invalidField(field, "want a host, without user, password or fragment; a name of other letters in its xn-- form")
	}
	if !cfg.allows(host, port, schemePort) {
		return nil, invalidField(field, "%s at port %s is not among the hosts that the operator allowed with webhooks.allow in apid.toml", shown(host), port)
	}
	secret, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(asked.secret, secretPrefix))
	if !strings.HasPrefix(asked.secret, secretPrefix) || err != nil || len(secret) < minWebhookSecret || len(secret) > maxWebhookSecret {
		return nil, invalidField("webhook.secret", "want %s and %d to %d random bytes in base64: the receiver tells by it that the result is from us",
			secretPrefix, minWebhookSecret, maxWebhookSecret)
	}
	return &webhook{url: u, host: host, address: net.JoinHostPort(host, port), secret: secret, status: statePending}, nil
}

// webhookState is what a caller is told.
type webhookState struct {
	Status    string `json:"status"`
	Attempts  int    `json:"attempts"`
	LastError string `json:"last_error,omitempty"`
}

func (w *webhook) state() webhookState {
	w.mu.Lock()
	defer w.mu.Unlock()
	return webhookState{w.status, w.attempts, w.lastError}
}

// replyHooked answers with an execution, which all answers share, and the state of its webhook behind it.
func (s *server) replyHooked(c *call, w *webhook, body []byte) {
	tail, _ := json.Marshal(map[string]webhookState{"webhook": w.state()})
	tail[0] = ','
	tail = append(tail, '\n')
	body = bytes.TrimSuffix(body, []byte("}\n"))
	size := len(body) + len(tail)
	c.reply(nil)
	c.answerBytes = size
	c.ctx.Response.SetBodyStream(hookedBody{io.MultiReader(bytes.NewReader(body), bytes.NewReader(tail)), s.unread.hold(c.key.ID, int64(size))}, size)
}

// hookedBody is an answer in parts that fasthttp closes when it is sent, or cannot be.
type hookedBody struct {
	io.Reader
	release func()
}

func (b hookedBody) Close() error {
	b.release()
	return nil
}

// undelivered is why an attempt came to nothing.
type undelivered struct {
	shown string // to the caller: nothing that the receiver chose but its status
	again bool   // it may be otherwise later
	cause error  // for the log
}

// webhooks sends them.
type webhooks struct {
	cfg     webhooksConfig
	dialer  *net.Dialer
	roots   *x509.CertPool // nil: the machine's
	sending chan struct{}  // holds one for each attempt that is being made
}

// maxSending attempts are made at one time, of all keys; each holds two descriptors at most. Those of one key are fewer (per_key), so that one
// slow receiver is in nobody's way.
const maxSending = 32

func newWebhooks(cfg webhooksConfig) *webhooks {
	return &webhooks{cfg: cfg, dialer: cfg.dialer(), sending: make(chan struct{}, maxSending)}
}

// backoffFactor is how much longer each wait is than the one before; maxBackoff bounds it.
const (
	backoffFactor = 4
	maxBackoff    = 10 * time.Minute
)

// deliver has an execution that ended told to its webhook, until it is, is forgotten, or there were attempts enough. It counts as a
// conversation, for which a shutdown waits, except while it waits itself.
func (s *server) deliver(ctx context.Context, a *asyncExecution) {
	for wait := time.Duration(s.webhooks.cfg.Backoff); !s.attempt(ctx, a) && !s.draining.Load(); wait = min(wait*backoffFactor, maxBackoff) {
		s.conversations.Add(-1)
		select {
		case <-time.After(time.Duration(float64(wait) * (0.8 + 0.4*rand.Float64()))): // not all at once, when a receiver is back
		case <-ctx.Done():
		}
		s.conversations.Add(1)
	}
}

// attempt sends once, and says whether it was the last time.
func (s *server) attempt(ctx context.Context, a *asyncExecution) (last bool) {
	for _, slots := range []chan struct{}{a.sending, s.webhooks.sending} {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		case <-ctx.Done():
			return true
		}
	}
	w := a.webhook
	failure := s.webhooks.send(ctx, a)
	if ctx.Err() != nil { // forgotten: nobody can ask any more
		return true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.attempts++
	level := s.log.Info
	attrs := []any{"id", a.id, "key", a.keyID, "host", w.host, "attempts", w.attempts}
	if failure == nil {
		w.status, w.lastError = stateDelivered, ""
	} else {
		w.lastError = failure.shown
		attrs = append(attrs, "reason", failure.shown, "cause", failure.cause)
		if failure.again && w.attempts < s.webhooks.cfg.Attempts {
			level = s.log.Debug
		} else {
			w.status, level = stateFailed, s.log.Warn
		}
	}
	level("webhook", append(attrs, "status", w.status)...)
	return w.status != statePending
}

// maxAnswerHead is what is read of a receiver's answer: its status and headers, of which the status is looked at.
const maxAnswerHead = 32 << 10

// send makes one request on a connection of its own. It follows nothing, and reads no body.
func (h *webhooks) send(ctx context.Context, a *asyncExecution) *undelivered {
	w := a.webhook
	ctx, cancel := context.WithTimeout(ctx, time.Duration(h.cfg.Timeout))
	defer cancel()
	conn, err := h.dialer.DialContext(ctx, "tcp", w.address)
	switch {
	case errors.Is(err, errNotPublic):
		return &undelivered{"the host is not at a public address", false, err}
	case err != nil:
		return &undelivered{"no connection to the host", true, err}
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })() // ends all that follows in time
	stream := conn
	if w.url.Scheme == "https" {
		secure := tls.Client(conn, &tls.Config{ServerName: w.host, RootCAs: h.roots})
		if err := secure.HandshakeContext(ctx); err != nil {
			return &undelivered{"no TLS connection to the host, or its certificate is not valid", true, err}
		}
		stream = secure
	}
	if err := w.write(stream, a); err != nil {
		return &undelivered{"the connection ended before the request was sent", true, err}
	}
	status, err := readStatus(stream)
	switch {
	case err != nil:
		return &undelivered{"no answer of HTTP in time", true, err}
	case status >= 200 && status < 300:
		return nil
	}
	again := status >= 500 || status == fasthttp.StatusTooManyRequests
	return &undelivered{"the host answered with status " + strconv.Itoa(status), again, nil}
}

// write sends the request. The result is not copied: it is counted once.
func (w *webhook) write(to io.Writer, a *asyncExecution) error {
	timestamp := strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, w.secret)
	fmt.Fprintf(mac, "%s.%s.", a.id, timestamp)
	mac.Write(a.body)
	var r fasthttp.Request
	r.Header.SetMethod(fasthttp.MethodPost)
	r.Header.SetRequestURI(w.url.RequestURI())
	r.Header.SetHost(w.url.Host)
	r.Header.SetUserAgent("runtools")
	r.Header.SetContentType("application/json")
	r.Header.Set("webhook-id", a.id)
	r.Header.Set("webhook-timestamp", timestamp)
	r.Header.Set("webhook-signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	r.SetConnectionClose()
	r.SetBodyRaw(a.body)
	b := bufio.NewWriter(to)
	if err := r.Write(b); err != nil {
		return err
	}
	return b.Flush()
}

// readStatus reads the head of an answer, after at most a few that only say that one will come.
func readStatus(from io.Reader) (int, error) {
	b := bufio.NewReaderSize(from, maxAnswerHead)
	for range 4 {
		var head fasthttp.ResponseHeader
		if err := head.Read(b); err != nil {
			return 0, err
		}
		if head.StatusCode() >= 200 {
			return head.StatusCode(), nil
		}
	}
	return 0, errors.New("nothing but answers that announce others")
}
