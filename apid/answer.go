package main

import (
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/runtools/runtools/pkg/wire"
	"golang.org/x/sys/unix"
)

// Statuses of a stage, as in docs/api.md.
const (
	statusOK             = "OK"
	statusRuntimeError   = "RE"
	statusSignal         = "SG"
	statusTimeout        = "TO"
	statusMemory         = "ML"
	statusStdout         = "OL"
	statusStderr         = "EL"
	statusSyscall        = "SV"
	statusCompileFailure = "CE"
)

// stageAnswer is one stage as the caller sees it.
type stageAnswer struct {
	stdout, stderr []byte
	code           int
	signal         string // "": the program exited with code
	wall, cpu      time.Duration
	memory         int64 // bytes
	status         string
	message        string // "": null
	limit          *limitHit
	violations     []wire.Violation
	diagnostics    []diagnostic
	limits         []limitRow // nil unless the request asked
	cached         bool       // compile: no job was needed
}

// limitHit is the limit that fired, under the name by which the request sets it.
type limitHit struct {
	name        string
	limit, used int64
}

// describe turns a job's result into an answer. The limit that fired decides the status, then the signal, then the code.
func describe(limits *stageLimits, out *jobOutput) stageAnswer {
	r := out.result
	a := stageAnswer{
		stdout: out.stdout.data, stderr: out.stderr.data, code: r.Code,
		wall: time.Duration(r.WallNS), cpu: time.Duration(r.CPUNS), memory: r.MemoryPeak, violations: r.Violations,
	}
	if r.Signal != 0 {
		a.signal = signalName(r.Signal)
	}
	switch limitOf(out) {
	case wire.LimitWall:
		a.hit(statusTimeout, "wall time", "ms", limitHit{limits.stage + "_timeout", limits.wall, milliseconds(r.WallNS)})
	case wire.LimitCPU:
		a.hit(statusTimeout, "CPU time", "ms", limitHit{limits.stage + "_cpu_time", limits.cpu, milliseconds(r.CPUNS)})
	case wire.LimitMemory:
		a.hit(statusMemory, "memory", "bytes", limitHit{limits.stage + "_memory_limit", memoryLimit(limits, r), r.MemoryPeak})
	case wire.LimitStdout:
		a.hit(statusStdout, "stdout", "bytes", limitHit{"output_limit", out.stdout.limit, out.stdout.total})
	case wire.LimitStderr:
		a.hit(statusStderr, "stderr", "bytes", limitHit{"output_limit", out.stderr.limit, out.stderr.total})
	default:
		a.describeEnd(r)
	}
	a.limits = explainLimits(limits, out)
	return a
}

// limitOf names the limit that fired. A program may have ended by itself between the byte that was too much and the kill: its output
// is cut all the same, and the caller must be told why.
func limitOf(out *jobOutput) string {
	switch r := out.result; {
	case r.Limit != "":
		return r.Limit
	case out.stdout.over():
		return wire.LimitStdout
	case out.stderr.over():
		return wire.LimitStderr
	}
	return ""
}

func memoryLimit(limits *stageLimits, r *wire.Result) int64 {
	if r.MemoryMax > 0 {
		return r.MemoryMax
	}
	return limits.memory
}

func (a *stageAnswer) hit(status, what, unit string, hit limitHit) {
	a.status, a.limit = status, &hit
	if hit.used > hit.limit {
		a.message = fmt.Sprintf("%s %d %s exceeded %s %d %s", what, hit.used, unit, hit.name, hit.limit, unit)
	} else { // memory stops at its limit: the page that was refused is not in the figure
		a.message = fmt.Sprintf("%s reached %s %d %s", what, hit.name, hit.limit, unit)
	}
}

func (a *stageAnswer) describeEnd(r *wire.Result) {
	switch {
	case r.Signal == int(unix.SIGSYS):
		a.status, a.message = statusSyscall, "killed by the syscall filter (SIGSYS)"
	case r.Signal == int(unix.SIGKILL):
		a.status, a.message = statusSignal, "died of SIGKILL, sent from inside the sandbox: no limit had fired"
	case r.Signal != 0:
		a.status, a.message = statusSignal, "died of "+a.signal
	case r.Code != 0:
		a.status, a.message = statusRuntimeError, "exited with code "+strconv.Itoa(r.Code)
	default:
		a.status = statusOK
	}
}

// signalName names a signal as callers know it.
func signalName(n int) string {
	if name := unix.SignalName(unix.Signal(n)); name != "" {
		return name
	}
	return fmt.Sprintf("SIG%d", n)
}

// milliseconds rounds up: what ran into a limit has used more than it, if only by a fraction.
func milliseconds(ns int64) int64 {
	return (ns + int64(time.Millisecond) - 1) / int64(time.Millisecond)
}

// compilerWasSilent begins what is shown where a compiler succeeded without a word.
const compilerWasSilent = "OK ("

// asCompile gives a compile stage its own way of saying that all is well, or not.
func (a *stageAnswer) asCompile() {
	switch {
	case a.status == statusRuntimeError:
		a.status = statusCompileFailure
	case a.status == statusOK && len(a.stdout) == 0 && len(a.stderr) == 0:
		a.stderr = fmt.Appendf(nil, compilerWasSilent+"%.3f sec real)", a.wall.Seconds())
	}
}

// afterFailedCompile is the run stage of a program that was never made: callers who read only run still see why.
func (a *stageAnswer) afterFailedCompile() stageAnswer {
	return stageAnswer{stderr: a.stderr, code: a.code, signal: a.signal, status: statusCompileFailure, message: "compilation failed: " + a.message}
}

// answer is the body of a 200.
type answer struct {
	language, version string
	sessionID         string // "": null
	sessionCreated    bool
	compile           *stageAnswer
	run               stageAnswer
	tests             []testAnswer
	hasTests          bool
	collected         *collected
	repeated          *repeated

	raw, size int64 // bytes of output, and what these are in JSON, about: weigh
}

// encode writes the JSON by hand: output is mostly one long string, which encoding/json would copy three times.
func (a *answer) encode() []byte {
	b := make([]byte, 0, 1024+a.size+a.size/64)
	b = append(b, `{"language":`...)
	b = appendText(b, []byte(a.language))
	b = append(b, `,"version":`...)
	b = appendText(b, []byte(a.version))
	b = append(b, `,"session_id":`...)
	b = appendOptional(b, a.sessionID)
	if a.sessionCreated {
		b = append(b, `,"session_created":true`...)
	}
	if a.compile != nil {
		b = append(b, `,"compile":`...)
		b = a.compile.append(b)
	}
	b = append(b, `,"run":`...)
	b = a.run.append(b)
	if a.collected != nil {
		b = a.collected.append(b)
	}
	if a.repeated != nil {
		b = append(append(b, `,"repeat":`...), a.repeated.encode()...)
	}
	if a.hasTests {
		b = append(b, `,"tests":[`...)
		for i := range a.tests {
			if i > 0 {
				b = append(b, ',')
			}
			b = a.tests[i].append(b)
		}
		b = append(b, ']')
	}
	return append(b, "}\n"...)
}

func (a *stageAnswer) append(b []byte) []byte {
	b = append(b, '{')
	b = appendStream(b, "stdout", a.stdout)
	b = append(b, ',')
	b = appendStream(b, "stderr", a.stderr)
	b = append(b, `,"code":`...)
	if a.signal == "" {
		b = strconv.AppendInt(b, int64(a.code), 10)
	} else {
		b = append(b, "null"...)
	}
	b = append(b, `,"signal":`...)
	b = appendOptional(b, a.signal)
	b = append(b, `,"time_ms":`...)
	b = appendMilliseconds(b, a.wall)
	b = append(b, `,"cpu_time_ms":`...)
	b = appendMilliseconds(b, a.cpu)
	b = append(b, `,"memory_kb":`...)
	b = strconv.AppendInt(b, a.memory>>10, 10)
	b = append(b, `,"status":"`...)
	b = append(b, a.status...)
	b = append(b, `","message":`...)
	b = appendOptional(b, a.message)
	if a.cached {
		b = append(b, `,"cached":true`...)
	}
	b = appendViolations(b, a.violations)
	b = appendDiagnostics(b, a.diagnostics)
	b = appendLimits(b, a.limits)
	b = append(b, `,"limit":`...)
	if a.limit == nil {
		return append(b, "null}"...)
	}
	b = append(b, `{"name":"`...)
	b = append(b, a.limit.name...)
	b = append(b, `","limit":`...)
	b = strconv.AppendInt(b, a.limit.limit, 10)
	b = append(b, `,"used":`...)
	b = strconv.AppendInt(b, a.limit.used, 10)
	return append(b, "}}"...)
}

// appendViolations writes nothing if there are none.
func appendViolations(b []byte, list []wire.Violation) []byte {
	for i, v := range list {
		if i == 0 {
			b = append(b, `,"violations":[`...)
		} else {
			b = append(b, ',')
		}
		b = append(b, `{"syscall":`...)
		b = appendText(b, []byte(v.Syscall))
		if v.Args != "" {
			b = append(b, `,"args":`...)
			b = appendText(b, []byte(v.Args))
		}
		b = append(b, `,"count":`...)
		b = strconv.AppendUint(b, v.Count, 10)
		b = append(b, '}')
	}
	if len(list) > 0 {
		b = append(b, ']')
	}
	return b
}

// appendStream writes output as text and, where text cannot carry it, the exact bytes as well.
func appendStream(b []byte, name string, data []byte) []byte {
	b = append(b, '"')
	b = append(b, name...)
	b = append(b, `":`...)
	b = appendText(b, data)
	if utf8.Valid(data) {
		return b
	}
	b = append(b, `,"`...)
	b = append(b, name...)
	b = append(b, `_base64":"`...)
	b = base64.StdEncoding.AppendEncode(b, data)
	return append(b, '"')
}

func appendOptional(b []byte, s string) []byte {
	if s == "" {
		return append(b, "null"...)
	}
	return appendText(b, []byte(s))
}

// appendText writes a JSON string. Each byte that is not UTF-8 becomes U+FFFD.
func appendText(b, s []byte) []byte {
	const hexDigits = "0123456789abcdef"
	b = append(b, '"')
	start := 0 // of what can be copied as it is
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			if r, size := utf8.DecodeRune(s[i:]); r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		b = append(b, s[start:i]...)
		i++
		start = i
		switch {
		case c >= utf8.RuneSelf:
			b = append(b, "\ufffd"...)
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c == '\t':
			b = append(b, `\t`...)
		default:
			b = append(b, `\u00`...)
			b = append(b, hexDigits[c>>4], hexDigits[c&0xf])
		}
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

// appendMilliseconds writes a time to the microsecond: what is below that is noise.
func appendMilliseconds(b []byte, d time.Duration) []byte {
	return strconv.AppendFloat(b, math.Round(float64(d)/1e3)/1e3, 'f', -1, 64)
}
