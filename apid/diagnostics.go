package main

import (
	"bytes"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"
)

// diagnostic is what a compiler, or an interpreter that gave a program up, says of a place in one of its files.
type diagnostic struct {
	file     string // as the request names files; below the workspace
	line     int    // from 1; 0: not told
	column   int    // from 1, as the tool counts them; 0: not told
	severity string // of the three below
	message  string
	code     string // "E0308", "-Wint-conversion"; "": none
}

const (
	severityError   = "error"
	severityWarning = "warning"
	severityNote    = "note"
)

// Bounds of the diagnostics of one stage. The text is foreign: a program may write anything to its stderr.
const (
	maxDiagnostics   = 100
	diagnosedBytes   = 256 << 10 // of stderr that are looked at: the first of a compiler's, the last of a program's, which ends with what went wrong
	diagnosedLine    = 4 << 10   // bytes of a line that are looked at
	diagnosedMessage = 1000      // bytes
	diagnosedName    = 1000      // bytes
)

// homePrefix begins the full name of each file of the workspace.
const homePrefix = "/home/user/"

// diagnose reads a stage's stderr. compiler says that no program of the caller's could write to it, so that a looser form is believed.
func (p *plan) diagnose(stderr []byte, compiler bool) []diagnostic {
	if len(stderr) == 0 {
		return nil
	}
	if over := len(stderr) - diagnosedBytes; over > 0 && compiler {
		stderr = stderr[:diagnosedBytes]
	} else if over > 0 {
		stderr = stderr[over:]
		stderr = stderr[bytes.IndexByte(stderr, '\n')+1:]
	}
	r := &diagnosticReader{compiler: compiler, names: make(map[string]bool, len(p.names)), bases: make(map[string]string, len(p.names))}
	for _, name := range p.names {
		base := path.Base(name)
		if r.names[name] = true; r.bases[base] != "" {
			name = ambiguous
		}
		r.bases[base] = name
	}
	for line := range bytes.Lines(stderr) {
		if len(r.list) == maxDiagnostics {
			break
		}
		line = bytes.TrimRight(line, "\r\n")
		r.line(string(line[:min(len(line), diagnosedLine)]))
	}
	return r.list
}

// add keeps a diagnostic that is of the workspace.
func (r *diagnosticReader) add(d diagnostic) {
	if d.message = strings.TrimSpace(d.message); d.message == "" || len(r.list) == maxDiagnostics {
		return
	}
	d.message = cutText(d.message, diagnosedMessage)
	r.list = append(r.list, d)
}

// cutText cuts between characters.
func cutText(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}

// strength is how much a line says for itself that it is a diagnostic.
type strength int

const (
	weak   strength = iota // "name:1: text": could be anything
	strong                 // "name:1: error: text", `File "name", line 1`
)

// inWorkspace turns the name in a message into that of the request. A name of none of the request's files may be one of the session's.
func (r *diagnosticReader) inWorkspace(name string, s strength) (string, bool) {
	name = strings.TrimPrefix(strings.TrimPrefix(name, "file://"), "./")
	full := strings.HasPrefix(name, homePrefix)
	name = strings.TrimPrefix(name, homePrefix)
	if r.names[name] {
		return name, true
	}
	switch {
	case name == "", len(name) > diagnosedName, name[0] == '/', name[0] == '<', name != strings.TrimSpace(name), name != path.Clean(name), strings.HasPrefix(name, "../"):
		return "", false
	case full:
		return name, true
	}
	return name, (s == strong || r.compiler) && isSourceName(name)
}

// isSourceName says that a name looks like one of a source: no space in it, and an extension that begins with a letter.
func isSourceName(name string) bool {
	ext := path.Ext(name)
	return len(ext) > 1 && (ext[1]|0x20 >= 'a' && ext[1]|0x20 <= 'z') && !strings.ContainsAny(name, " \t\"'`()[]{}")
}

// ambiguous stands for the names of files that share a base name: no file is called that.
const ambiguous = "/"

// byBase finds the one file of the request that has a base name, for tools that tell no folder.
func (r *diagnosticReader) byBase(base string) (string, bool) {
	name := r.bases[base]
	return name, name != "" && name != ambiguous
}

// appendDiagnostics writes nothing if there are none.
func appendDiagnostics(b []byte, list []diagnostic) []byte {
	for i := range list {
		d := &list[i]
		if i == 0 {
			b = append(b, `,"diagnostics":[`...)
		} else {
			b = append(b, ',')
		}
		b = append(b, `{"file":`...)
		b = appendText(b, []byte(d.file))
		if d.line > 0 {
			b = strconv.AppendInt(append(b, `,"line":`...), int64(d.line), 10)
		}
		if d.column > 0 {
			b = strconv.AppendInt(append(b, `,"column":`...), int64(d.column), 10)
		}
		b = append(b, `,"severity":"`...)
		b = append(b, d.severity...)
		b = append(b, `","message":`...)
		b = appendText(b, []byte(d.message))
		if d.code != "" {
			b = append(b, `,"code":`...)
			b = appendText(b, []byte(d.code))
		}
		b = append(b, '}')
	}
	if len(list) > 0 {
		b = append(b, ']')
	}
	return b
}
