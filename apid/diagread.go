package main

import (
	"strconv"
	"strings"
)

// diagnosticReader reads stderr line by line. It knows forms and no languages: a Bash program that runs Python has Python's diagnostics. The
// work for a line is linear in its length, whatever is in it.
//
//	one line    name:1:2: error: text [-Wcode]     gcc, g++, javac (no column), ruby -w
//	            name:1:2: text                     go, ruby
//	            name(1,2): error CS1002: text      Roslyn, tsc
//	            name: line 1: text                 bash
//	            name:1:in `f': text            ruby
//	several     error[E0308]: text, then --> name:1:2                         rustc
//	            x text, then ,-[name:1:1], a line of the source, and : ^      swc, which strips the types of TypeScript
//	            File "name", line 1, ... and at last the exception            Python
//	            name:1, a line of the source, ^, the exception, the stack     node
//	            the exception, then the stack                                 Go, Java, .NET
//	            panicked at name:1:2:, then the text                          Rust
type diagnosticReader struct {
	compiler bool
	names    map[string]bool   // of the request's files
	bases    map[string]string // base name to name
	list     []diagnostic

	next     func(line string) bool // takes the line if it goes on with what the ones before began
	required string                 // last "name:1:2:   required from" of g++: the user's part in an error of a header
}

func (r *diagnosticReader) line(s string) {
	if r.next != nil && r.next(s) {
		return
	}
	switch {
	case r.header(s), r.parenthesised(s), r.shell(s), r.located(s):
	}
}

// parenthesised is "name(1,2): error CS1002: text".
func (r *diagnosticReader) parenthesised(s string) bool {
	end := strings.Index(s, "): ")
	if end < 0 {
		return false
	}
	open := strings.LastIndexByte(s[:end], '(')
	if open < 0 {
		return false
	}
	line, rest := number(s[open+1 : end])
	column, tail := number(strings.TrimPrefix(rest, ","))
	severity, text, _ := strings.Cut(s[end+3:], " ")
	code, text, ok := strings.Cut(text, ": ")
	if line == 0 || tail != "" || !ok || severity != severityError && severity != severityWarning {
		return r.undefined(s[:open], s[end+3:])
	}
	d := diagnostic{line: line, column: column, severity: severity, message: text, code: code}
	if d.file, ok = r.inWorkspace(s[:open], strong); ok {
		r.add(d)
	}
	return ok
}

// undefined is a linker's "main.c:(.text+0x1): undefined reference to `f'", which knows no line.
func (r *diagnosticReader) undefined(name, text string) bool {
	name, ok := strings.CutSuffix(name, ":")
	if !ok || !strings.HasPrefix(text, "undefined reference to ") && !strings.HasPrefix(text, "multiple definition of ") {
		return false
	}
	name = name[strings.LastIndexByte(name, ' ')+1:] // "/usr/bin/ld: main.c" too
	file, ok := r.inWorkspace(name, strong)
	if known, one := r.byBase(name); one {
		file = known
	}
	if ok {
		r.add(diagnostic{file: file, severity: severityError, message: text})
	}
	return ok
}

// shell is Bash's "name: line 1: text". The line that quotes the source below a syntax error says nothing more.
func (r *diagnosticReader) shell(s string) bool {
	name, rest, ok := strings.Cut(s, ": line ")
	line, rest := number(rest)
	text, colon := strings.CutPrefix(rest, ": ")
	if !ok || line == 0 || !colon {
		return false
	}
	if name, ok = r.inWorkspace(name, weak); ok && !strings.HasPrefix(text, "`") {
		r.add(diagnostic{file: name, line: line, severity: severityError, message: text})
	}
	return ok
}

// located is "name:1:2: error: text", with or without column and severity.
func (r *diagnosticReader) located(s string) bool {
	s = strings.TrimPrefix(s, "vet: ")
	name, rest, line := cutNumber(s)
	if line == 0 {
		return false
	}
	column, after := number(rest)
	if column > 0 && strings.HasPrefix(after, ":") {
		rest = after[1:]
	} else {
		column = 0
	}
	if text := strings.TrimSpace(rest); strings.HasPrefix(text, "required from") {
		r.required = s[:len(s)-len(rest)]
		return true
	}
	text, ok := strings.CutPrefix(rest, " ")
	if !ok && !strings.HasPrefix(rest, "in ") { // Ruby's
		return false
	}
	d := diagnostic{line: line, column: column, severity: severityError, message: text}
	sure := weak
	for _, prefix := range []string{"fatal error: ", "error: ", "warning: ", "note: "} {
		if rest, ok := strings.CutPrefix(text, prefix); ok {
			d.severity, d.message, sure = strings.TrimSuffix(strings.TrimPrefix(prefix, "fatal "), ": "), rest, strong
			break
		}
	}
	if sure == weak {
		d.unadorned()
	} else {
		d.option()
	}
	if d.file, ok = r.inWorkspace(name, sure); !ok && sure == strong && d.severity == severityError && r.required != "" {
		if name, line, column, ok = splitPlace(strings.TrimSuffix(r.required, ":")); ok {
			d.line, d.column = line, column
			d.file, ok = r.inWorkspace(name, strong)
		}
	}
	if ok {
		r.required = ""
		r.add(d)
	}
	return ok
}

// unadorned reads a text that no word of severity begins: Ruby's "in `f': text", Python's "SyntaxWarning: text".
func (d *diagnostic) unadorned() {
	if rest, ok := strings.CutPrefix(d.message, "in "); ok && rest != "" && (rest[0] == '`' || rest[0] == '\'') {
		if _, text, ok := strings.Cut(rest, "': "); ok {
			d.message = text
		}
	}
	if class, _, ok := strings.Cut(d.message, ": "); ok && strings.HasSuffix(class, "Warning") && !strings.Contains(class, " ") {
		d.severity = severityWarning
	}
}

// option takes the name of the warning off a message: gcc's "[-Wint-conversion]" from its end, javac's "[removal]" from its beginning.
func (d *diagnostic) option() {
	if name, text, ok := strings.Cut(d.message, "] "); ok && strings.HasPrefix(name, "[") && !strings.Contains(name, " ") {
		d.message, d.code = text, name[1:]
		return
	}
	if text, ok := strings.CutSuffix(d.message, "]"); ok {
		if at := strings.LastIndex(text, " [-W"); at >= 0 {
			d.message, d.code = text[:at], text[at+2:]
		}
	}
}

// splitPlace reads "name:1" and "name:1:2".
func splitPlace(s string) (name string, line, column int, ok bool) {
	at := strings.LastIndexByte(s, ':')
	if at < 0 {
		return "", 0, 0, false
	}
	last, tail := number(s[at+1:])
	if last == 0 || tail != "" {
		return "", 0, 0, false
	}
	if before := strings.LastIndexByte(s[:at], ':'); before > 0 {
		if line, tail = number(s[before+1 : at]); line > 0 && tail == "" {
			return s[:before], line, last, true
		}
	}
	return s[:at], last, 0, at > 0
}

// cutNumber finds the first ":1:", and what is around it.
func cutNumber(s string) (before, after string, n int) {
	for at := 0; ; {
		colon := strings.IndexByte(s[at:], ':')
		if colon < 0 {
			return "", "", 0
		}
		at += colon + 1
		if n, rest := number(s[at:]); n > 0 && strings.HasPrefix(rest, ":") {
			return s[:at-1], rest[1:], n
		}
	}
}

// number reads decimal digits, at most 9, at the start of s; 0: there are none.
func number(s string) (n int, rest string) {
	end := 0
	for end < len(s) && end < 9 && s[end] >= '0' && s[end] <= '9' {
		end++
	}
	n, _ = strconv.Atoi(s[:end])
	return n, s[end:]
}
