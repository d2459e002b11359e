package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Execution is a program that runs without a connection; see [Client.Start].
type Execution struct {
	ID      string     `json:"id"`
	Status  string     `json:"status"` // "pending", "done" or "failed"
	Created time.Time  `json:"created"`
	Ended   *time.Time `json:"ended"`
	Result  *Result    `json:"result"` // if done
	Webhook *struct {
		Status    string `json:"status"` // "pending", "delivered" or "failed"
		Attempts  int    `json:"attempts"`
		LastError string `json:"last_error"`
	} `json:"webhook"` // if there was one in the request
	Error *struct {
		Code      string `json:"code"`
		Message   string `json:"message"`
		Field     string `json:"field"`
		RequestID string `json:"request_id"`
	} `json:"error"` // if failed: what Execute would have returned

	// Raw is the server's answer as it came.
	Raw json.RawMessage `json:"-"`
}

// Webhook is where the server sends the result of an execution, signed as https://www.standardwebhooks.com says, if its operator allows the host.
type Webhook struct {
	URL    string `json:"url"`
	Secret string `json:"secret"` // "whsec_" and 24 to 64 random bytes in base64
}

// MaxWait is the longest that one call of [Client.Execution] waits on the server.
const MaxWait = time.Minute

// Start has a program run and returns at once. The server keeps its result for some minutes, until [Client.Forget].
func (c *Client) Start(ctx context.Context, req *Request) (*Execution, error) {
	return c.execution(ctx, http.MethodPost, pathExecutions, req)
}

// Execution tells how an execution stands. It waits for its end for as long as wait, at most [MaxWait].
func (c *Client) Execution(ctx context.Context, id string, wait time.Duration) (*Execution, error) {
	address, err := idPath(pathExecutions+"/", id)
	if err != nil {
		return nil, err
	}
	seconds := strconv.FormatFloat(min(max(wait, 0), MaxWait).Seconds(), 'f', -1, 64)
	return c.execution(ctx, http.MethodGet, address+"?wait="+seconds, nil)
}

func (c *Client) execution(ctx context.Context, method, path string, in any) (*Execution, error) {
	e := new(Execution)
	if err := c.Call(ctx, method, path, in, &e.Raw); err != nil {
		return nil, err
	}
	var raw struct {
		Result json.RawMessage `json:"result"`
	}
	if err := errors.Join(json.Unmarshal(e.Raw, e), json.Unmarshal(e.Raw, &raw)); err != nil {
		return nil, fmt.Errorf("answer of %s: %w", c.base, err)
	}
	if e.Result != nil {
		e.Result.Raw = raw.Result
	}
	return e, nil
}

// Forget ends an execution if it runs, and has the server forget it.
func (c *Client) Forget(ctx context.Context, id string) error {
	address, err := idPath(pathExecutions+"/", id)
	if err != nil {
		return err
	}
	return c.Call(ctx, http.MethodDelete, address, nil, nil)
}
