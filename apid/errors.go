package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/runtools/runtools/pkg/wire"
)

// errCode is what a caller can act on. The message beside it is for people, and safe to show.
type errCode string

const (
	errBadRequest      errCode = "bad_request"
	errInvalidJSON     errCode = "invalid_json"
	errInvalidField    errCode = "invalid_field"
	errUnknownLanguage errCode = "unknown_language"
	errUnknownVersion  errCode = "unknown_version"
	errUnauthorized    errCode = "unauthorized"
	errForbidden       errCode = "forbidden"
	errNotFound        errCode = "not_found"
	errMethod          errCode = "method_not_allowed"
	errTooLarge        errCode = "payload_too_large"
	errMediaType       errCode = "unsupported_media_type"
	errUpgrade         errCode = "upgrade_required"
	errRateLimited     errCode = "rate_limited"
	errOverloaded      errCode = "overloaded"
	errInterrupted     errCode = "interrupted"
	errInternal        errCode = "internal"
	// errGone is never sent: the caller hung up. It is what the log and the metrics say.
	errGone errCode = "gone"
)

// httpStatus is the one place where a code becomes a status.
var httpStatus = map[errCode]int{
	errBadRequest:      http.StatusBadRequest,
	errInvalidJSON:     http.StatusBadRequest,
	errInvalidField:    http.StatusBadRequest,
	errUnknownLanguage: http.StatusBadRequest,
	errUnknownVersion:  http.StatusBadRequest,
	errUnauthorized:    http.StatusUnauthorized,
	errForbidden:       http.StatusForbidden,
	errNotFound:        http.StatusNotFound,
	errMethod:          http.StatusMethodNotAllowed,
	errTooLarge:        http.StatusRequestEntityTooLarge,
	errMediaType:       http.StatusUnsupportedMediaType,
	errUpgrade:         http.StatusUpgradeRequired,
	errRateLimited:     http.StatusTooManyRequests,
	errOverloaded:      http.StatusServiceUnavailable,
	errInterrupted:     http.StatusServiceUnavailable,
	errInternal:        http.StatusInternalServerError,
	errGone:            499, // as other servers log it
}

// retryAfter is what rate_limited, overloaded and interrupted answer, in seconds. Jobs are short, and a refused caller costs little.
const retryAfter = "1"

// apiError is a refused request. What a program did is never one.
type apiError struct {
	code    errCode
	field   string // of the request, or ""
	message string
	cause   error // for the log only
}

func (e *apiError) Error() string { return string(e.code) + ": " + e.message }

// is says that sandboxd refused a job with that code.
func (e *apiError) is(code wire.Code) bool {
	var theirs *wire.Error
	return e != nil && errors.As(e.cause, &theirs) && theirs.Code == code
}

func refuse(code errCode, format string, args ...any) *apiError {
	return &apiError{code: code, message: fmt.Sprintf(format, args...)}
}

func invalidField(field, format string, args ...any) *apiError {
	return &apiError{code: errInvalidField, field: field, message: field + ": " + fmt.Sprintf(format, args...)}
}

// internal hides the cause from the caller; the request id leads the operator to it.
func internal(cause error) *apiError {
	return &apiError{code: errInternal, message: "internal error; the operator finds the details in the log under this request_id", cause: cause}
}

// Bounds of what an error says, bytes. What comes from a request is cut where a message is made of it (shown); these hold where that was forgotten.
// The answer is at most six times as long, in JSON. Its memory is counted nowhere, so it must be too little to matter.
const (
	mostSaid  = 1 << 10
	mostField = 256
)

// said is the message as callers are told it.
func (e *apiError) said() string { return cut(e.message, mostSaid) }

// body is the answer that tells of it.
func (e *apiError) body(requestID string) []byte {
	type body struct {
		Code      errCode `json:"code"`
		Message   string  `json:"message"`
		Field     string  `json:"field,omitempty"`
		RequestID string  `json:"request_id"`
	}
	var encoded bytes.Buffer
	encoder := json.NewEncoder(&encoded)
	encoder.SetEscapeHTML(false) // people read it: "<key>" and not "\u003ckey\u003e"
	encoder.Encode(map[string]body{"error": {e.code, e.said(), cut(e.field, mostField), requestID}})
	return encoded.Bytes()
}

// mostShown is how much of a value of a request is repeated in a message about it, bytes.
const mostShown = 64

// shown quotes a value of a request in a message about it, at a bounded length.
func shown(value string) string {
	if len(value) <= mostShown {
		return strconv.Quote(value)
	}
	return strconv.Quote(value[:mostShown]) + "..."
}

// cut is cutText that shows where it cut.
func cut(text string, most int) string {
	if short := cutText(text, most); len(short) < len(text) {
		return short + "..."
	}
	return text
}
