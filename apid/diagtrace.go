package main

import (
	"path"
	"strings"
)

// What takes several lines of stderr: a message and then its place, or a stack and its exception.

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
