package main

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/runtools/runtools/pkg/wire"
)

// request is the body of POST /v1/execute as it was sent. Byte slices point into the body.
type request struct {
	language  string
	version   string
	code      []byte // nil: not sent
	files     []requestFile
	stdin     []byte
	args      []string
	env       map[string]string
	sessionID string
	ephemeral bool
	explain   bool

	tests         []requestTest // nil: none
	stopOnFailure bool
	artifacts     []string // patterns; nil: none
	repeat        *int64
	webhook       *requestWebhook // nil: none

	runTimeout, compileTimeout         *int64
	runCPUTime, compileCPUTime         *int64
	runMemoryLimit, compileMemoryLimit *int64
	outputLimit                        *int64

	terminal *wire.Terminal // nil: none
}

type requestFile struct {
	name    string
	content []byte
}

// decodeRequest reads a body. null stands for a field that was not sent, as many clients write it.
func decodeRequest(body []byte) (*request, *apiError) {
	var q request
	var stdinEncoding string
	r := &jsonReader{buf: body}
	seen := make(map[string]bool, 8)
	err := r.document(func(name string) *apiError {
		if seen[name] {
			return invalidField(shownField(name), "is given twice")
		}
		seen[name] = true
		return q.field(r, name, &stdinEncoding)
	})
	if err != nil {
		return nil, err
	}
	if q.stdin, err = decodeContent("stdin", "stdin_encoding", q.stdin, stdinEncoding, "utf8", "base64"); err != nil {
		return nil, err
	}
	return &q, nil
}

// field reads one field of the request.
func (q *request) field(r *jsonReader, name string, stdinEncoding *string) *apiError {
	var err *apiError
	switch name {
	case "language":
		return r.stringInto(name, &q.language)
	case "version":
		return r.stringInto(name, &q.version)
	case "code":
		if !r.null() {
			q.code, err = r.text(name)
		}
	case "files":
		if !r.null() {
			q.files, err = readFiles(r, name)
		}
	case "stdin":
		if !r.null() {
			q.stdin, err = r.text(name)
		}
	case "stdin_encoding":
		return r.stringInto(name, stdinEncoding)
	case "args":
		if !r.null() {
			q.args, err = readArgs(r, name)
		}
	case "env":
		if !r.null() {
			err = q.readEnv(r)
		}
	case "session_id":
		return q.readSessionID(r)
	case "ephemeral":
		if !r.null() {
			q.ephemeral, err = r.boolean(name)
		}
	case "explain":
		if !r.null() {
			q.explain, err = r.boolean(name)
		}
	case "tests":
		if !r.null() {
			err = q.readTests(r)
		}
	case "pty":
		if !r.null() {
			err = q.readPTY(r)
		}
	case fieldStopOnFailure:
		if !r.null() {
			q.stopOnFailure, err = r.boolean(name)
		}
	case "repeat":
		if !r.null() {
			q.repeat = new(int64)
			*q.repeat, err = r.integer(name)
		}
	case "webhook":
		if !r.null() {
			err = q.readWebhook(r)
		}
	case "artifacts":
		if !r.null() {
			err = q.readArtifacts(r)
		}
	default:
		limit := q.limitField(name)
		if limit == nil {
			return invalidField(shownField(name), "unknown field; known are %s", knownFields)
		}
		if !r.null() {
			*limit = new(int64)
			**limit, err = r.integer(name)
		}
	}
	return err
}

const knownFields = "language, version, code, files, stdin, stdin_encoding, args, env, session_id, ephemeral, explain, tests, stop_on_failure, artifacts, repeat, webhook, pty, run_timeout, compile_timeout, " +
	"run_cpu_time, compile_cpu_time, run_memory_limit, compile_memory_limit, output_limit"

func (q *request) limitField(name string) **int64 {
	switch name {
	case "run_timeout":
		return &q.runTimeout
	case "compile_timeout":
		return &q.compileTimeout
	case "run_cpu_time":
		return &q.runCPUTime
	case "compile_cpu_time":
		return &q.compileCPUTime
	case "run_memory_limit":
		return &q.runMemoryLimit
	case "compile_memory_limit":
		return &q.compileMemoryLimit
	case "output_limit":
		return &q.outputLimit
	}
	return nil
}

func (q *request) readSessionID(r *jsonReader) *apiError {
	if r.null() {
		return nil
	}
	id, err := r.text("session_id")
	if err != nil {
		return err
	}
	q.sessionID = string(id)
	return checkSessionID(q.sessionID)
}

const maxSessionID = 128 // bytes

func checkSessionID(id string) *apiError {
	if id == "" || len(id) > maxSessionID {
		return invalidField("session_id", "has %d characters, want 1 to %d", len(id), maxSessionID)
	}
	for i := range len(id) {
		if !isNameByte(id[i]) {
			return invalidField("session_id", "%s: want only A-Z a-z 0-9 . _ -", shown(id))
		}
	}
	if id == "." || id == ".." { // nobody could ask for its files, or end it
		return invalidField("session_id", "%s cannot stand in an address; choose another name", shown(id))
	}
	return nil
}

func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
}

func readFiles(r *jsonReader, path string) ([]requestFile, *apiError) {
	files := []requestFile{}
	err := r.array(path, func(i int) *apiError {
		if i >= maxFiles {
			return invalidField(path, "more than %d files", maxFiles)
		}
		f, err := readFile(r, fieldIndex(path, i))
		files = append(files, f)
		return err
	})
	return files, err
}

func readFile(r *jsonReader, path string) (f requestFile, err *apiError) {
	var encoding string
	var seen, given struct{ name, content, encoding bool } // null is not given
	err = r.object(path, func(name string) *apiError {
		var twice *bool
		var err *apiError
		switch name {
		case "name":
			twice = &seen.name
			if given.name = !r.null(); given.name {
				err = r.stringInto(path+".name", &f.name)
			}
		case "content":
			twice = &seen.content
			if given.content = !r.null(); given.content {
				f.content, err = r.text(path + ".content")
			}
		case "encoding":
			twice = &seen.encoding
			err = r.stringInto(path+".encoding", &encoding)
		default:
			return invalidField(path+"."+shownField(name), "unknown field; known are name, content, encoding")
		}
		if *twice && err == nil {
			err = invalidField(path+"."+name, "is given twice")
		}
		*twice = true
		return err
	})
	switch {
	case err != nil:
		return f, err
	case !given.name:
		return f, invalidField(path+".name", "is missing")
	case !given.content:
		return f, invalidField(path+".content", "is missing")
	}
	f.content, err = decodeContent(path+".content", path+".encoding", f.content, encoding, "utf8", "base64", "hex")
	return f, err
}

func readArgs(r *jsonReader, path string) ([]string, *apiError) {
	args, size := []string{}, 0
	err := r.array(path, func(i int) *apiError {
		element := fieldIndex(path, i)
		arg, err := r.text(element)
		if err != nil {
			return err
		}
		if size += len(arg) + 1; i >= maxWords || size > maxWordBytes { // prepare counts again, with all else
			return invalidField(path, "more than %d words, or than %d bytes together", maxWords, maxWordBytes)
		}
		args = append(args, string(arg))
		if strings.IndexByte(args[i], 0) >= 0 {
			return invalidField(element, "holds a NUL byte")
		}
		return nil
	})
	return args, err
}

func (q *request) readEnv(r *jsonReader) *apiError {
	q.env = map[string]string{}
	size := 0
	return r.object("env", func(name string) *apiError {
		path := "env." + shownField(name)
		if name == "" || strings.ContainsAny(name, "=\x00") {
			return invalidField("env", "%s is not the name of a variable", shown(name))
		}
		if _, twice := q.env[name]; twice {
			return invalidField(path, "is given twice")
		}
		value, err := r.text(path)
		if err != nil {
			return err
		}
		if size += len(name) + len(value) + 2; len(q.env) >= maxWords || size > maxWordBytes { // prepare counts again, with all else
			return invalidField("env", "more than %d variables, or than %d bytes together", maxWords, maxWordBytes)
		}
		q.env[name] = string(value)
		if strings.IndexByte(q.env[name], 0) >= 0 {
			return invalidField(path, "holds a NUL byte")
		}
		return nil
	})
}

// mostShort bounds the strings that are names of something, bytes: they are copied, and nothing counts the copy.
const mostShort = wire.MaxPath

// stringInto reads a short string that outlives the body.
func (r *jsonReader) stringInto(path string, to *string) *apiError {
	if r.null() {
		return nil
	}
	text, err := r.text(path)
	if err == nil && len(text) > mostShort {
		return invalidField(path, "has %d bytes, at most %d", len(text), mostShort)
	}
	*to = string(text)
	return err
}

// decodeContent applies an encoding that a request names. In place, as strings are unescaped: what is decoded is shorter, and neither decoder writes beyond
// what it has read. A copy would be memory that nothing counts.
func decodeContent(path, encodingPath string, content []byte, encoding string, known ...string) ([]byte, *apiError) {
	if encoding == "" {
		return content, nil
	}
	for _, name := range known {
		if name != encoding {
			continue
		}
		n, err := len(content), error(nil)
		switch encoding {
		case "base64":
			if n, err = base64.StdEncoding.Decode(content, content); err != nil { // whose error names no place where padding is missing
				err = errors.New("want the standard alphabet (+ and /), padded with = to a multiple of four characters")
			}
		case "hex":
			n, err = hex.Decode(content, content)
		}
		if err != nil {
			return nil, invalidField(path, "is not %s: %v", encoding, err)
		}
		return content[:n:n], nil
	}
	return nil, invalidField(encodingPath, "%s is unknown; known are %s", shown(encoding), strings.Join(known, ", "))
}

// shownField keeps a name that a caller made up readable and short.
func shownField(name string) string {
	if quoted := shown(name); len(name) > mostShown || len(quoted) != len(name)+2 {
		return quoted
	}
	return name
}
