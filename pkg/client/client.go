// Package client calls the Code Execution API over HTTP.
//
//	c, err := client.New("", "") // $RUNTOOLS_URL, $RUNTOOLS_API_KEY
//	res, err := c.Execute(ctx, &client.Request{Language: "python", Code: "print(42)"})
//	fmt.Print(res.Run.Stdout) // 42
//
// What the program did, a crash or a limit that fired included, is data in [Result]. An error says that there is no
// result: the server refused the request ([*Error]), or could not be reached (a [*url.Error]). [MayHaveRun] tells whether it is safe to
// send it again. What the server refused because it is busy has not run and is sent again by itself, up to MaxRetries times; what
// may have run never is.
//
// [Client.Stream] yields what the program writes while it runs, [Request.Tests] judges it on many inputs, and [Client.ReadFile] and its kin
// reach the files of a session.
//
// Cancelling the context hangs up, and the server then kills the job with everything it started. There is no other time
// limit here: a job may wait in a queue, compile and run for minutes, and the server bounds each of these.
package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// The paths of the API, below the base URL.
const (
	PathExecute  = "/v1/execute"
	PathRuntimes = "/v1/execute/runtimes"

	pathExecutions = "/v1/executions"
	pathSessions   = "/v1/sessions/"
)

// DefaultURL is where a server listens unless it is told otherwise.
const DefaultURL = "http://127.0.0.1:8080"

// maxErrorText bounds what is quoted of an answer that is not the API's: an HTML page of a proxy can be long.
const maxErrorText = 200

// Client calls one server. It may be used by several goroutines at once.
type Client struct {
	base string
	key  string

	// HTTP carries the requests. Set it before the first call to change proxies, TLS or connection reuse; a Timeout
	// there cuts long jobs short.
	HTTP *http.Client
	// UserAgent names the caller to the server's log.
	UserAgent string
	// MaxRetries is how often a call is sent again after a refusal that ran nothing, [DefaultRetries] unless set. The waits grow, and are
	// never shorter than the server's Retry-After.
	MaxRetries int
}

// New returns a client for the server at base, such as "https://runtools.example:8080". A path in base is kept, for
// servers behind a prefix. An empty base is $RUNTOOLS_URL or else [DefaultURL], an empty key $RUNTOOLS_API_KEY; without any, none is sent.
func New(base, key string) (*Client, error) {
	base = cmp.Or(base, os.Getenv("RUNTOOLS_URL"), DefaultURL)
	key = cmp.Or(key, os.Getenv("RUNTOOLS_API_KEY"))
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("server URL %q: want http://host:port or https://host:port", base)
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("server URL %q: must not have a query or a fragment", base)
	}
	if strings.ContainsAny(key, " \t\r\n") {
		return nil, fmt.Errorf("API key: must not contain white space")
	}
	return &Client{
		base:       strings.TrimRight(u.String(), "/"),
		key:        key,
		HTTP:       http.DefaultClient,
		UserAgent:  "runtools-go",
		MaxRetries: DefaultRetries,
	}, nil
}

// Execute runs a program and waits for its end.
func (c *Client) Execute(ctx context.Context, req *Request) (*Result, error) {
	res := new(Result)
	if err := c.Call(ctx, http.MethodPost, PathExecute, req, &res.Raw); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(res.Raw, res); err != nil {
		return nil, fmt.Errorf("answer of %s: %w", c.base, err)
	}
	return res, nil
}

// Runtimes lists the languages the server has installed, one entry a version.
func (c *Client) Runtimes(ctx context.Context) ([]Runtime, error) {
	var list []Runtime
	err := c.Call(ctx, http.MethodGet, PathRuntimes, nil, &list)
	return list, err
}

// Call sends in as JSON, unless it is nil, and decodes the answer into out, unless there is none (204). With a *json.RawMessage as out it
// hands over the server's bytes as they came. Whatever is not a POST may be sent again after a lost connection.
func (c *Client) Call(ctx context.Context, method, path string, in, out any) error {
	body, err := encode(in)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	return c.retrying(ctx, method != http.MethodPost, func() error { return c.attempt(ctx, method, path, body, out) })
}

func (c *Client) attempt(ctx context.Context, method, path string, body []byte, out any) error {
	header := http.Header{"Accept": {"application/json"}}
	if body != nil {
		header.Set("Content-Type", "application/json")
	}
	resp, err := c.send(ctx, method, path, body, header)
	if err != nil {
		return err
	}
	answer, err := c.readAll(resp)
	if err != nil || resp.StatusCode == http.StatusNoContent {
		return err
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("answer of %s is not the API's (%w): %s", c.base, err, excerpt(answer))
	}
	return nil
}

// send makes one request. An answer that is not a success is an [*Error]; the body of another is the caller's to close.
func (c *Client) send(ctx context.Context, method, path string, body []byte, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header = header
	req.Header.Set("User-Agent", c.UserAgent)
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	switch resp.StatusCode {
	case http.StatusOK, http.StatusAccepted, http.StatusPartialContent, http.StatusNoContent:
		return resp, nil
	}
	answer, err := c.readAll(resp)
	if err != nil {
		return nil, err
	}
	return nil, errorOf(resp, answer)
}

func (c *Client) readAll(resp *http.Response) ([]byte, error) {
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("read answer of %s: %w", c.base, err)
	}
	return b, nil
}

// encode leaves <, > and & as they are: escaping them is for HTML and makes programs longer.
func encode(in any) ([]byte, error) {
	if in == nil {
		return nil, nil
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(in)
	return b.Bytes(), err
}

// Error is the server's refusal to carry out a request. Nothing was run, or its result is lost: see [MayHaveRun].
type Error struct {
	Status    int    // HTTP status
	Code      string // [CodeInvalidField], [CodeUnknownLanguage], ...; empty when the answer was not the API's
	Message   string // one sentence for humans
	Field     string // the request's field that was refused, if one was
	RequestID string // finds the request in the server's log

	// RetryAfter is how long to wait before trying again; zero when the server named no time.
	RetryAfter time.Duration

	total int64 // of a range behind the end of a file: the file's size
}

func (e *Error) Error() string {
	msg := e.Message
	if e.Field != "" && !strings.Contains(msg, e.Field) {
		msg = e.Field + ": " + msg
	}
	return msg
}

func errorOf(resp *http.Response, answer []byte) *Error {
	var body struct {
		Error struct {
			Code      string `json:"code"`
			Message   string `json:"message"`
			Field     string `json:"field"`
			RequestID string `json:"request_id"`
		} `json:"error"`
	}
	e := &Error{Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header.Get("Retry-After")), total: totalOf(resp)}
	if err := json.Unmarshal(answer, &body); err != nil || body.Error.Message == "" {
		e.Message = fmt.Sprintf("HTTP status %s: %s", resp.Status, excerpt(answer))
		return e
	}
	e.Code, e.Message = body.Error.Code, body.Error.Message
	e.Field, e.RequestID = body.Error.Field, body.Error.RequestID
	return e
}

// excerpt quotes the start of foreign bytes, so that a terminal cannot be steered by them.
func excerpt(b []byte) string {
	b = bytes.TrimSpace(b)
	if len(b) == 0 {
		return "empty body"
	}
	if len(b) > maxErrorText {
		return strconv.QuoteToASCII(string(b[:maxErrorText])) + "..."
	}
	return strconv.QuoteToASCII(string(b))
}
