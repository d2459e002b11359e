package main

import (
	"bytes"
	"encoding/json"
	"io"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/client"
)

// Exit statuses. Where a shell or a well-known tool has one for the event, it is that one.
const (
	exitCompile     = 1                       // what a failing compiler leaves: cc x.c && ./a.out
	exitTimeLimit   = 124                     // timeout(1)
	exitFailure     = 125                     // timeout(1), docker run: the program was not run
	exitMemoryLimit = 128 + int(unix.SIGKILL) // the kernel's OOM killer, docker run
	exitPipe        = 128 + int(unix.SIGPIPE)
	exitOutputLimit = 128 + int(unix.SIGXFSZ) // what a program that exceeds a file size limit dies of
	exitSyscall     = 128 + int(unix.SIGSYS)
	exitUnknown     = 255 // died of a signal that has no number here
)

// exitStatus is the error that means: all is said, leave with this status.
type exitStatus int

func (s exitStatus) Error() string { return "exit status " + strconv.Itoa(int(s)) }

// outputForm is how a result is shown; its zero value is the default.
type outputForm struct {
	json, quiet, verbose, explain bool
}

func (a *app) print(form outputForm, res *client.Result) error {
	if form.json {
		return writeJSON(a.stdout, res.Raw)
	}
	out, err := res.Run.StdoutBytes()
	if err != nil {
		return err
	}
	if form.quiet {
		_, err = a.stdout.Write(out)
		return err
	}
	errText, err := res.Run.StderrBytes()
	if err != nil {
		return err
	}
	if res.Compile != nil {
		if res.Run.Status == client.CompilationFailure {
			errText = nil // it repeats the compiler's
		}
		if err := a.printCompile(res.Compile); err != nil {
			return err
		}
	}
	if _, err := a.stdout.Write(out); err != nil {
		return err
	}
	if _, err := a.stderr.Write(errText); err != nil {
		return err
	}
	return a.printNotes(form, res, errText)
}

// printCompile shows the compiler's words on stderr, wherever it wrote them: stdout is the program's.
func (a *app) printCompile(c *client.Stage) error {
	words, err := c.CompilerWords()
	if err != nil {
		return err
	}
	_, err = a.stderr.Write(endLine(words))
	return err
}

func endLine(b []byte) []byte {
	if len(b) > 0 && !bytes.HasSuffix(b, []byte("\n")) {
		b = append(b, '\n')
	}
	return b
}

// printNotes says what the output does not show. After a clean run it is silent unless asked.
func (a *app) printNotes(form outputForm, res *client.Result, before []byte) error {
	var notes []string
	if res.Compile != nil {
		if note := res.Compile.Note(); note != "" {
			notes = append(notes, "compile: "+note)
		}
	}
	if res.Run.Status != client.CompilationFailure {
		if note := res.Run.Note(); note != "" {
			notes = append(notes, note)
		}
	}
	if form.verbose {
		notes = append(notes, res.Summary())
	}
	var text strings.Builder
	for _, note := range notes {
		text.WriteString(a.paint(a.stderr, yellow, "runtools:") + " " + note + "\n")
	}
	if form.explain {
		writeLimits(&text, res)
	}
	if text.Len() == 0 {
		return nil
	}
	lead := ""
	if len(before) > 0 && !bytes.HasSuffix(before, []byte("\n")) {
		lead = "\n" // the program's last line must not run into ours
	}
	_, err := io.WriteString(a.stderr, lead+text.String())
	return err
}

// statusOf is the exit status that stands for a result.
func statusOf(res *client.Result) int {
	s := &res.Run
	if s.Status == client.CompilationFailure {
		if res.Compile == nil {
			return exitCompile
		}
		switch res.Compile.Status {
		case client.TimeLimit, client.MemoryLimit, client.StdoutLimit, client.StderrLimit, client.SyscallViolation:
			s = res.Compile
		default:
			return exitCompile
		}
	}
	switch s.Status {
	case client.TimeLimit:
		return exitTimeLimit
	case client.MemoryLimit:
		return exitMemoryLimit
	case client.StdoutLimit, client.StderrLimit:
		return exitOutputLimit
	case client.SyscallViolation:
		return exitSyscall
	}
	if s.Code != nil {
		return *s.Code
	}
	if n := unix.SignalNum(s.Signal); n != 0 {
		return 128 + int(n)
	}
	return exitUnknown
}

// writeJSON prints one line, however the server laid it out: a line is what shells and log tools take.
func writeJSON(w io.Writer, raw json.RawMessage) error {
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return err
	}
	b.WriteByte('\n')
	_, err := w.Write(b.Bytes())
	return err
}
