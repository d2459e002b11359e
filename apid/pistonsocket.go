package main

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/fasthttp/websocket"
	"github.com/runtools/runtools/pkg/lang"
)

// Piston's interactive execution, over the same machinery as ours.

// pistonConnect is GET /api/v2/connect.
func (s *server) pistonConnect(c *call) *apiError {
	return s.openSocket(c, &dialect{begin: (*server).beginPiston, shape: appendPiston, message: decodePistonMessage, ending: pistonEnding})
}

// What Piston closes for without a message before, the reason beside the code.
var (
	errPistonAgain    = refuse(errInvalidField, "Already Initialized")
	errPistonNotYet   = refuse(errInvalidField, "Not yet initialized")
	errPistonNotStdin = refuse(errInvalidField, "Can only write to stdin")
	errPistonSignal   = refuse(errInvalidField, "Invalid signal")
)

var pistonCodes = map[*apiError]int{errPistonAgain: 4000, errPistonNotYet: 4003, errPistonNotStdin: 4004, errPistonSignal: 4005}

func pistonEnding(err *apiError) (code int, reason string, alone bool) {
	switch {
	case err == nil:
		return 4999, "Job Completed", false
	case pistonCodes[err] != 0:
		return pistonCodes[err], err.message, true
	case err.cause == errSilence:
		return 4001, "Initialization Timeout", true
	case err == errShuttingDown:
		return websocket.CloseTryAgainLater, err.message, false
	}
	return 4002, "Notified Error", false
}

// beginPiston makes the plan of an init message.
func (s *server) beginPiston(c *call, body []byte) (*plan, *apiError) {
	if kind := pistonType(body); kind == "data" || kind == "signal" {
		return nil, errPistonNotYet
	}
	return s.planPiston(c, body, true)
}

// pistonType is the type of a message, which decides how the rest is read; "" if it has none, or is no JSON.
func pistonType(body []byte) string {
	var head struct{ Type string }
	json.Unmarshal(body, &head)
	return head.Type
}

// pistonMessage is any of those that Piston sends.
type pistonMessage struct {
	Type     string  `json:"type"`
	Language string  `json:"language,omitempty"`
	Version  string  `json:"version,omitempty"`
	Stage    string  `json:"stage,omitempty"`
	Stream   string  `json:"stream,omitempty"`
	Data     string  `json:"data,omitempty"`
	Message  string  `json:"message,omitempty"`
	exit     bool    // Code and Signal are there
	Code     *int    `json:"code"`
	Signal   *string `json:"signal"`
}

func (m *pistonMessage) append(b []byte) []byte {
	var line bytes.Buffer
	if m.exit {
		json.NewEncoder(&line).Encode(m)
	} else {
		type short struct { // without the two fields that only an exit has
			*pistonMessage
			Code   *int    `json:"code,omitempty"`
			Signal *string `json:"signal,omitempty"`
		}
		json.NewEncoder(&line).Encode(short{pistonMessage: m})
	}
	return append(b, line.Bytes()...)
}

// appendPiston turns an event of ours into Piston's messages.
func appendPiston(b []byte, name string, data []byte) []byte {
	var event struct {
		Language, Version      string // begin
		Compiled               bool
		Text                   string // stdout, stderr
		Stdout, Stderr, Status string // compile
		Code                   *int   // exit, compile
		Signal                 *string
		Message                string // error, compile
	}
	json.Unmarshal(data, &event) // which we have just written
	first := "run"
	if event.Compiled {
		first = "compile"
	}
	var messages []pistonMessage
	switch name {
	case eventBegin:
		messages = []pistonMessage{{Type: "runtime", Language: event.Language, Version: event.Version}, {Type: "stage", Stage: first}}
	case "stdout", "stderr":
		messages = []pistonMessage{{Type: "data", Stream: name, Data: event.Text}}
	case "compile":
		if event.Stdout != "" {
			messages = append(messages, pistonMessage{Type: "data", Stream: "stdout", Data: event.Stdout})
		}
		if event.Stderr != "" && !strings.HasPrefix(event.Stderr, compilerWasSilent) {
			messages = append(messages, pistonMessage{Type: "data", Stream: "stderr", Data: event.Stderr})
		}
		messages = append(messages, pistonMessage{Type: "exit", Stage: "compile", exit: true, Code: event.Code, Signal: event.Signal})
		if event.Status == statusOK {
			messages = append(messages, pistonMessage{Type: "stage", Stage: "run"})
		}
	case "exit":
		messages = []pistonMessage{{Type: "exit", Stage: "run", exit: true, Code: event.Code, Signal: event.Signal}}
	case "error":
		messages = []pistonMessage{{Type: "error", Message: event.Message}}
	}
	for i := range messages {
		b = messages[i].append(b)
	}
	return b
}

// eventBegin is an event that our own callers are not sent: they know what they asked for.
const eventBegin = "begin"

func beginning(r *lang.Runtime) []byte {
	body, _ := json.Marshal(map[string]any{"language": r.Name, "version": r.Version, "compiled": r.Compile != nil})
	return body
}

// decodePistonMessage reads one of the caller's messages.
func decodePistonMessage(body []byte) (m message, err *apiError) {
	var stream, sig string
	kind := pistonType(body)
	switch kind {
	case "init":
		return m, errPistonAgain
	case "data", "signal":
	default:
		if json.Valid(body) {
			return m, nil // as Piston has it, which knows no other
		}
	}
	r := &jsonReader{buf: body}
	err = r.document(func(name string) (err *apiError) {
		switch name {
		case "type":
			return r.stringInto(name, &kind) // the same
		case "stream":
			return r.stringInto(name, &stream)
		case "data":
			m.stdin, err = r.text(name)
			return err
		case "signal":
			return r.stringInto(name, &sig)
		}
		return invalidField(shownField(name), "unknown field of a message; known are type, stream, data, signal")
	})
	switch {
	case err != nil:
		return m, err
	case kind == "data" && stream != "stdin":
		return m, errPistonNotStdin
	case kind == "data":
		return m, nil
	case kind == "signal":
		if m.signal, err = findSignal(sig); err != nil {
			return m, errPistonSignal
		}
		return message{signal: m.signal}, nil
	}
	return m, invalidField("type", "%s is unknown; known are init, data, signal", shown(kind))
}
