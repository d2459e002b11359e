package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
)

// Event is one thing that happened while a program was compiled or ran. Name says which fields are set.
type Event struct {
	Name    string      // "compile", "stdout", "stderr", "exit", "test" or "result"
	Output  []byte      // of stdout and stderr: what was written since the last one
	Compile *Stage      // of compile
	Exit    *Stage      // of exit: Code, Signal and Status alone
	Index   int         // of test: its place in the request
	Test    *TestResult // of test
	Result  *Result     // of result, which is the last event
}

// Stream runs a program and yields events as they come. The last one has the result, or there is an error in its place, as [Client.Execute]
// returns it. The request is sent when the loop begins; leaving the loop before its end hangs up, which ends the program.
func (c *Client) Stream(ctx context.Context, req *Request) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		ctx, hangUp := context.WithCancel(ctx)
		defer hangUp()
		body, err := encode(req)
		if err != nil {
			yield(Event{}, fmt.Errorf("encode request: %w", err))
			return
		}
		var resp *http.Response
		err = c.retrying(ctx, false, func() (err error) {
			header := http.Header{"Accept": {"text/event-stream"}, "Content-Type": {"application/json"}}
			resp, err = c.send(ctx, http.MethodPost, PathExecute, body, header)
			return err
		})
		if err != nil {
			yield(Event{}, err)
			return
		}
		defer resp.Body.Close()
		for lines := bufio.NewReader(resp.Body); ; {
			name, data, err := nextEvent(lines)
			if err != nil {
				yield(Event{}, fmt.Errorf("events of %s: %w", c.base, err))
				return
			}
			event, err := decodeEvent(resp, name, data)
			if !yield(event, err) || err != nil || event.Result != nil {
				return
			}
		}
	}
}

// nextEvent reads one event of the form that apid sends: one line of data each. Comments keep the connection alive.
func nextEvent(r *bufio.Reader) (name string, data []byte, err error) {
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF // the result was to come
			}
			return "", nil, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if value, ok := bytes.CutPrefix(line, []byte("event: ")); ok {
			name = string(value)
		} else if value, ok := bytes.CutPrefix(line, []byte("data: ")); ok {
			data = value
		} else if len(line) == 0 && data != nil {
			return name, data, nil
		}
	}
}

func decodeEvent(resp *http.Response, name string, data []byte) (Event, error) {
	e := Event{Name: name}
	var err error
	switch name {
	case "compile":
		err = json.Unmarshal(data, &e.Compile)
	case "stdout", "stderr":
		var written struct {
			Text   string `json:"text"`
			Base64 string `json:"text_base64"`
		}
		if err = json.Unmarshal(data, &written); err == nil {
			e.Output, err = exact("text", written.Text, written.Base64)
		}
	case "exit":
		err = json.Unmarshal(data, &e.Exit)
	case "test":
		var ended struct {
			Index int         `json:"index"`
			Test  *TestResult `json:"test"`
		}
		err = json.Unmarshal(data, &ended)
		e.Index, e.Test = ended.Index, ended.Test
	case "result":
		e.Result = &Result{Raw: data}
		err = json.Unmarshal(data, e.Result)
	case "error":
		return e, errorOf(resp, data)
	}
	if err != nil {
		return e, fmt.Errorf("event %s: %w", name, err)
	}
	return e, nil
}
