package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"

	"github.com/coder/websocket"
)

// PTY is a terminal for an interactive program: all of its output is stdout then.
type PTY struct {
	Cols int `json:"cols"`
	Rows int `json:"rows"`
}

// Interactive is a program that can be talked to while it runs. Its methods may be used by several goroutines, Events by one.
type Interactive struct {
	ws   *websocket.Conn
	ctx  context.Context
	resp *http.Response // for errors that come later
	base string

	ended func(*Result) // of a session: told once or more when it is over, of the result if there is one
}

const pathInteractive = "/v1/execute/ws"

// Interactive starts a program. pty may be nil: the program has pipes. Stdin of the request is the beginning of its input. A refused request
// may be an error here or in Events. When ctx ends, or by Close, the program is ended.
func (c *Client) Interactive(ctx context.Context, req *Request, pty *PTY) (*Interactive, error) {
	body, err := encode(struct {
		*Request
		PTY *PTY `json:"pty,omitempty"`
	}{req, pty})
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	x := &Interactive{ctx: ctx, base: c.base, ended: func(*Result) {}}
	err = c.retrying(ctx, false, func() error {
		header := http.Header{"User-Agent": {c.UserAgent}}
		if c.key != "" {
			header.Set("Authorization", "Bearer "+c.key)
		}
		ws, resp, err := websocket.Dial(ctx, c.base+pathInteractive, &websocket.DialOptions{HTTPClient: c.HTTP, HTTPHeader: header})
		if err == nil {
			x.ws, x.resp = ws, resp
			return nil
		}
		if resp == nil {
			return err
		}
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		return errorOf(resp, answer)
	})
	if err != nil {
		return nil, err
	}
	x.ws.SetReadLimit(-1)             // the result holds all output, which the server bounds
	x.resp.StatusCode = http.StatusOK // of an error that comes as an event
	if err := x.ws.Write(ctx, websocket.MessageText, body); err != nil {
		x.Close()
		return nil, fmt.Errorf("send the request to %s: %w", c.base, err)
	}
	return x, nil
}

// mostInput is how much goes into one message, bytes. The server takes more, but its answer to a signal waits behind it.
const mostInput = 64 << 10

// Write sends input. It waits while the program does not read.
func (x *Interactive) Write(p []byte) (n int, err error) {
	for n < len(p) {
		part := p[n:min(n+mostInput, len(p))]
		text, encoding := textOrBase64(part)
		if err := x.send(map[string]any{"type": "stdin", "data": text, "encoding": encoding}); err != nil {
			return n, err
		}
		n += len(part)
	}
	return n, nil
}

// CloseInput is the end of input.
func (x *Interactive) CloseInput() error { return x.send(map[string]any{"type": "stdin_close"}) }

// Signal sends a signal by its name, such as "SIGINT".
func (x *Interactive) Signal(name string) error {
	return x.send(map[string]any{"type": "signal", "signal": name})
}

// Resize tells the new size of the terminal.
func (x *Interactive) Resize(cols, rows int) error {
	return x.send(map[string]any{"type": "resize", "cols": cols, "rows": rows})
}

func (x *Interactive) send(message map[string]any) error {
	if message["encoding"] == "" {
		delete(message, "encoding")
	}
	body, err := encode(message)
	if err != nil {
		return err
	}
	return x.ws.Write(x.ctx, websocket.MessageText, body)
}

// Events yields what happens, as [Client.Stream] does. The program waits when nobody asks for the next one.
func (x *Interactive) Events() iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for {
			_, body, err := x.ws.Read(x.ctx)
			if err != nil {
				x.ended(nil)
				if errors.As(err, new(websocket.CloseError)) {
					err = io.ErrUnexpectedEOF // the result was to come
				}
				yield(Event{}, fmt.Errorf("events of %s: %w", x.base, err))
				return
			}
			var message struct {
				Type string          `json:"type"`
				Data json.RawMessage `json:"data"`
			}
			var event Event
			if err = json.Unmarshal(body, &message); err == nil {
				event, err = decodeEvent(x.resp, message.Type, message.Data)
			}
			if err != nil || event.Result != nil {
				x.ended(event.Result)
			}
			if !yield(event, err) || err != nil || event.Result != nil {
				return
			}
		}
	}
}

// Close hangs up, which ends the program if it still runs.
func (x *Interactive) Close() error {
	err := x.ws.CloseNow()
	x.ended(nil)
	return err
}
