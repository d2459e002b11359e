package client

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// silentSuccess is what the server says for a compiler that had nothing to say.
var silentSuccess = regexp.MustCompile(`^OK \([0-9.]+ sec real\)\n?$`)

// CompilerWords are stdout and stderr of a compile stage, one after the other; none if all the server has to say is that there were none.
func (s *Stage) CompilerWords() ([]byte, error) {
	out, err := s.StdoutBytes()
	if err != nil {
		return nil, err
	}
	errText, err := s.StderrBytes()
	if err != nil {
		return nil, err
	}
	if silentSuccess.Match(errText) && s.Code != nil && *s.Code == 0 {
		errText = nil
	}
	return append(out, errText...), nil
}

// Note is the server's message, or one for an end that would otherwise be invisible; empty if there is nothing to say. An exit code is
// visible: the caller has it, or the compiler said why.
func (s *Stage) Note() string {
	switch {
	case s.Status == RuntimeError, s.Status == CompilationFailure:
		return ""
	case s.Message != "":
		return s.Message
	case s.LimitFired != nil:
		return s.LimitFired.Name + " " + figure(s.LimitFired.Limit) + " exceeded: " + figure(s.LimitFired.Used) + " used"
	case s.Signal != "":
		return "killed by " + s.Signal
	}
	return ""
}

// Summary is one line with version, session, time and memory.
func (r *Result) Summary() string {
	var parts []string
	parts = append(parts, strings.TrimSpace(r.Language+" "+r.Version))
	if r.SessionID != "" {
		parts = append(parts, "session "+r.SessionID)
	}
	switch c := r.Compile; {
	case c == nil:
	case c.Cached:
		parts = append(parts, "compile cached")
	default:
		parts = append(parts, fmt.Sprintf("compile %s ms %d KiB", figure(c.TimeMS), c.MemoryKB))
	}
	parts = append(parts, fmt.Sprintf("run %s ms %d KiB", figure(r.Run.TimeMS), r.Run.MemoryKB))
	return strings.Join(parts, ", ")
}

// figure writes a number without an exponent: limits of bytes are large.
func figure(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
