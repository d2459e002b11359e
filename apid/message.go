package main

import (
	"slices"

	"github.com/runtools/runtools/pkg/wire"
	"golang.org/x/sys/unix"
)

// message is one of the caller's, after the first.
type message struct {
	stdin      []byte
	stdinClose bool
	signal     unix.Signal   // 0: none
	resize     wire.Terminal // 0 columns: none
}

// decodeMessage reads one of the caller's messages.
func decodeMessage(body []byte) (m message, err *apiError) {
	var kind, encoding, sig string
	var data []byte
	given := map[string]bool{}
	r := &jsonReader{buf: body}
	err = r.document(func(name string) (err *apiError) {
		if given[name] {
			return invalidField(shownField(name), "is given twice")
		}
		given[name] = true
		switch name {
		case "type":
			return r.stringInto(name, &kind)
		case "data":
			data, err = r.text(name)
			return err
		case "encoding":
			return r.stringInto(name, &encoding)
		case "signal":
			return r.stringInto(name, &sig)
		case "cols":
			m.resize.Cols, err = r.terminalSide(name)
			return err
		case "rows":
			m.resize.Rows, err = r.terminalSide(name)
			return err
		}
		return invalidField(shownField(name), "unknown field of a message; known are type, data, encoding, signal, cols, rows")
	})
	if err != nil {
		return m, err
	}
	wants := map[string][]string{"stdin": {"data"}, "stdin_close": nil, "signal": {"signal"}, "resize": {"cols", "rows"}}
	needs, known := wants[kind]
	if !known {
		return m, invalidField("type", "%s is unknown; known are stdin, stdin_close, signal, resize", shown(kind))
	}
	for name := range given {
		if name != "type" && !slices.Contains(needs, name) && !(name == "encoding" && kind == "stdin") {
			return m, invalidField(name, "does not go with type %s", kind)
		}
	}
	for _, name := range needs {
		if !given[name] {
			return m, invalidField(name, "is missing: type %s needs it", kind)
		}
	}
	m.stdinClose = kind == "stdin_close"
	if kind == "signal" {
		if m.signal, err = findSignal(sig); err != nil {
			return m, err
		}
	}
	m.stdin, err = decodeContent("data", "encoding", data, encoding, "utf8", "base64")
	return m, err
}
