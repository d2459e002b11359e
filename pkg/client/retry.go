package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"
)

// The waits between attempts.
const (
	// DefaultRetries make about four seconds together: a busy server refuses for seconds, not for minutes.
	DefaultRetries = 3

	firstWait   = 500 * time.Millisecond // each further one is twice as long
	longestWait = 8 * time.Second
	// longestRetryAfter: who is told to wait longer is better off with the error.
	longestRetryAfter = time.Minute
)

// retrying calls attempt until it succeeds or must not be repeated. A request is sent again only if it is certain that nothing ran, for
// the program may have had effects; or, idempotent, if it makes no difference.
func (c *Client) retrying(ctx context.Context, idempotent bool, attempt func() error) error {
	for n := 0; ; n++ {
		err := attempt()
		if err == nil || n >= c.MaxRetries || ctx.Err() != nil || !passing(err) || MayHaveRun(err) && !idempotent {
			return err
		}
		wait, ok := waitBefore(err, n)
		deadline, bounded := ctx.Deadline()
		if !ok || bounded && time.Now().Add(wait).After(deadline) {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}

// passing says that the same request may succeed later.
func passing(err error) bool {
	var refused *Error
	if !errors.As(err, &refused) {
		var network net.Error // also every *url.Error
		return errors.As(err, &network)
	}
	switch refused.Status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// waitBefore is never less than the server asked for, and not the same for all, or they would be refused together again.
func waitBefore(err error, n int) (wait time.Duration, ok bool) {
	wait = min(firstWait<<n, longestWait)
	var refused *Error
	if errors.As(err, &refused) {
		if refused.RetryAfter > longestRetryAfter {
			return 0, false
		}
		wait = max(wait, refused.RetryAfter)
	}
	return wait + rand.N(wait/4), true
}

// MayHaveRun says whether the program of a failed [Client.Execute] may have begun. If not, it is safe to send it again.
func MayHaveRun(err error) bool {
	var refused *Error
	if errors.As(err, &refused) {
		return refused.mayHaveRun()
	}
	var dial *net.OpError
	return !errors.As(err, &dial) || dial.Op != "dial"
}

func (e *Error) mayHaveRun() bool {
	return (e.Status == http.StatusOK || e.Status >= http.StatusInternalServerError) && e.Code != CodeOverloaded
}

// retryAfter reads the header: it is seconds, or a date.
func retryAfter(header string) time.Duration {
	if s, err := strconv.Atoi(header); err == nil {
		return max(0, time.Duration(s)*time.Second)
	}
	at, err := http.ParseTime(header)
	if err != nil {
		return 0
	}
	return max(0, time.Until(at))
}
