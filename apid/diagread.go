package main

import (
	"path"
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

// header begins what takes several lines.
func (r *diagnosticReader) header(s string) bool {
	if text, ok := strings.CutPrefix(s, "x "); ok {
		r.arrow(diagnostic{severity: severityError, message: text}, ",-[")
		return true
	}
	for _, severity := range []string{severityError, severityWarning} {
		rest, ok := strings.CutPrefix(s, severity)
		code := ""
		if ok && strings.HasPrefix(rest, "[") {
			code, rest, ok = strings.Cut(rest[1:], "]")
		}
		if text, colon := strings.CutPrefix(rest, ": "); ok && colon {
			r.arrow(diagnostic{severity: severity, message: text, code: code}, "--> ")
			return true
		}
	}
	for _, prefix := range []string{"panic: ", "fatal error: ", "Unhandled exception. ", "Exception in thread "} {
		if text, ok := strings.CutPrefix(s, prefix); ok {
			if strings.HasPrefix(s, "Exception") {
				_, text, _ = strings.Cut(strings.TrimPrefix(text, `"`), `" `)
			}
			r.stack(diagnostic{severity: severityError, message: text})
			return true
		}
	}
	if text, ok := strings.CutPrefix(s, "Caused by: "); ok {
		r.stack(diagnostic{severity: severityNote, message: text})
		return true
	}
	if _, at, ok := strings.Cut(s, "' "); ok && strings.HasPrefix(s, "thread '") {
		if _, at, ok = strings.Cut(at, "panicked at "); ok {
			return r.panicked(strings.TrimSuffix(at, ":"))
		}
	}
	return r.traceback(s) || r.nodeHeader(s)
}

// arrow waits for the place of a message: it is on the next line.
func (r *diagnosticReader) arrow(d diagnostic, mark string) {
	r.next = func(s string) bool {
		r.next = nil
		place, ok := strings.CutPrefix(strings.TrimLeft(s, " "), mark)
		if !ok {
			return false
		}
		name, line, column, _ := splitPlace(strings.TrimSuffix(place, "]"))
		if d.file, ok = r.inWorkspace(name, strong); !ok {
			return true
		}
		d.line, d.column = line, column
		if mark == "--> " {
			r.add(d)
			return true
		}
		// swc's column is always 1: the line with the mark below the source has it.
		d.column = 0
		at := len(r.list)
		if r.add(d); at < len(r.list) {
			r.next = func(s string) bool {
				gutter := strings.TrimLeft(s, " ")
				switch {
				case strings.HasPrefix(gutter, "`--"):
					r.next = nil
				case strings.HasPrefix(gutter, ": "):
					if caret := strings.IndexByte(gutter, '^'); caret > 1 {
						r.list[at].column = caret - 1
						r.next = nil
					}
				}
				return true
			}
		}
		return true
	}
}

// stack waits for the first frame that is of the workspace: there it went wrong as far as its author can tell.
func (r *diagnosticReader) stack(d diagnostic) {
	r.next = func(s string) bool {
		if inner, ok := strings.CutPrefix(s, " ---> "); ok { // .NET: the frames that follow are those of this one
			d.message = inner
			return true
		}
		var ok bool
		if d.file, d.line, d.column, ok = r.frame(s); ok {
			r.next = nil
			r.add(d)
		}
		return ok
	}
}

// frame reads a line of a stack.
//
//	<tab>/home/user/main.go:3 +0x1d                Go
//	    at f (/home/user/main.js:2:8)              node; without the function: at /home/user/main.js:2:8
//	<tab>at app.Words.count(Words.java:4)          Java
//	   at P.F() in /home/user/Main.cs:line 3       .NET
func (r *diagnosticReader) frame(s string) (name string, line, column int, ok bool) {
	place := strings.TrimLeft(s, " \t")
	if place == s {
		return "", 0, 0, false
	}
	at, isCall := strings.CutPrefix(place, "at ")
	if !isCall { // Go
		place, _, _ = strings.Cut(place, " +0x")
		return r.framePlace(place)
	}
	if _, place, isNet := strings.Cut(at, " in "); isNet && strings.Contains(place, ":line ") {
		return r.framePlace(strings.Replace(place, ":line ", ":", 1))
	}
	function, place, ok := strings.Cut(strings.TrimSuffix(at, ")"), "(")
	if !ok {
		return r.framePlace(at)
	}
	if name, line, column, ok = r.framePlace(place); ok {
		return name, line, column, true
	}
	// Java tells the package and the file. A slash is in what belongs to a module, which no file of a request does.
	base, line, _, ok := splitPlace(place)
	if !ok || strings.ContainsAny(function, "/ ") || strings.Contains(base, "/") {
		return "", 0, 0, false
	}
	parts := strings.Split(function, ".")
	inPackage := path.Join(append(parts[:max(0, len(parts)-2)], base)...)
	if r.names[inPackage] {
		return inPackage, line, 0, true
	}
	name, ok = r.byBase(base)
	return name, line, 0, ok
}

func (r *diagnosticReader) framePlace(place string) (name string, line, column int, ok bool) {
	if name, line, column, ok = splitPlace(place); !ok || !strings.HasPrefix(strings.TrimPrefix(name, "file://"), homePrefix) {
		return "", 0, 0, false
	}
	name, ok = r.inWorkspace(name, strong)
	return name, line, column, ok
}

// panicked is Rust's: the text follows.
func (r *diagnosticReader) panicked(place string) bool {
	name, line, column, ok := splitPlace(place)
	d := diagnostic{line: line, column: column, severity: severityError}
	if ok {
		d.file, ok = r.inWorkspace(name, strong)
	}
	if ok {
		r.next = func(s string) bool {
			r.next = nil
			d.message = "panicked: " + s
			r.add(d)
			return true
		}
	}
	return ok
}

// traceback is Python's. The last frame of the workspace is where it went wrong, the exception comes after all of them. One that led to the
// next is a note.
func (r *diagnosticReader) traceback(s string) bool {
	d := diagnostic{severity: severityError}
	if !r.pythonFrame(s, &d) {
		return false
	}
	r.next = func(s string) bool {
		if r.pythonFrame(s, &d) {
			return true
		}
		text := strings.TrimPrefix(s, groupGutter(s))
		if text == "" || text[0] == ' ' {
			return true
		}
		r.next = nil
		if d.message = text; d.file != "" {
			at := len(r.list)
			r.add(d)
			r.chained(at)
		}
		return true
	}
	return true
}

// chained waits for the sentence that another exception came of the one at.
func (r *diagnosticReader) chained(at int) {
	r.next = func(s string) bool {
		switch {
		case strings.HasPrefix(s, "The above exception was the direct cause of "), strings.HasPrefix(s, "During handling of the above exception, "):
			if at < len(r.list) {
				r.list[at].severity = severityNote
			}
			r.next = nil
			return true
		case s == "":
			return true
		}
		r.next = nil
		return false
	}
}

// groupGutter is what stands before the lines of an exception group: "  | ".
func groupGutter(s string) string {
	if at := strings.Index(s, "| "); at >= 0 && strings.Trim(s[:at], " ") == "" {
		return s[:at+2]
	}
	return ""
}

func (r *diagnosticReader) pythonFrame(s string, d *diagnostic) bool {
	rest, ok := strings.CutPrefix(strings.TrimPrefix(s, groupGutter(s)), `  File "`)
	if !ok {
		return false
	}
	name, rest, ok := strings.Cut(rest, `", line `)
	line, _ := number(rest)
	if !ok || line == 0 {
		return false
	}
	if name, ok := r.inWorkspace(name, strong); ok {
		d.file, d.line = name, line
	}
	return true
}

// nodeHeader is "/home/user/main.js:3", or of a file of node's own, before a line of that file. Then come the mark and the exception. Where
// the file is not of the workspace the first frame that is tells the place.
func (r *diagnosticReader) nodeHeader(s string) bool {
	if !strings.HasPrefix(s, homePrefix) && !strings.HasPrefix(s, "file://"+homePrefix) && !strings.HasPrefix(s, "node:") {
		return false
	}
	name, line, column, ok := splitPlace(s)
	if !ok || column != 0 {
		return false
	}
	d := diagnostic{line: line, severity: severityError}
	d.file, ok = r.inWorkspace(name, strong)
	steps := 0
	r.next = func(s string) bool {
		steps++
		switch caret := strings.IndexByte(s, '^'); {
		case steps == 1: // the source
		case steps == 2:
			if caret < 0 || strings.Trim(s, " \t^") != "" {
				r.next = nil
				return false
			}
			d.column = caret + 1
		case s == "":
		case ok:
			r.next = nil
			d.message = s
			r.add(d)
		default:
			d.message = s
			r.stack(d)
		}
		return true
	}
	return true
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
