package client

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// Request is a program and what it gets. Language, and Code or Files, are required; a zero field is not sent, and the
// server's default applies. The server refuses what is out of its bounds, it clamps nothing.
type Request struct {
	Language string `json:"language"`          // name or alias, such as "python" or "py"
	Version  string `json:"version,omitempty"` // "3", "3.12" or ">=3.11 <3.14"; default the newest

	// Code is written as the language's main file. It may stand beside Files; it then is the entry.
	Code string `json:"code,omitempty"`
	// Files are written to the working directory. Without Code the first is the entry.
	Files []File `json:"files,omitempty"`

	Stdin         string            `json:"stdin,omitempty"`          // delivered byte for byte
	StdinEncoding string            `json:"stdin_encoding,omitempty"` // "utf8" (default) or "base64"
	Args          []string          `json:"args,omitempty"`
	Env           map[string]string `json:"env,omitempty"` // persists with the session

	// SessionID names the session to use: 1 to 128 of A-Z a-z 0-9 . _ -, scoped to the key. An unknown one is created.
	// When empty the server makes a session and names it in the result.
	SessionID string `json:"session_id,omitempty"`
	// Ephemeral keeps no session. Not beside SessionID.
	Ephemeral bool `json:"ephemeral,omitempty"`
	// Explain asks for Stage.Limits.
	Explain bool `json:"explain,omitempty"`

	RunTimeout         int64 `json:"run_timeout,omitempty"`          // wall time, milliseconds
	CompileTimeout     int64 `json:"compile_timeout,omitempty"`      // wall time, milliseconds
	RunCPUTime         int64 `json:"run_cpu_time,omitempty"`         // CPU time of all processes, milliseconds
	CompileCPUTime     int64 `json:"compile_cpu_time,omitempty"`     // CPU time of all processes, milliseconds
	RunMemoryLimit     int64 `json:"run_memory_limit,omitempty"`     // bytes
	CompileMemoryLimit int64 `json:"compile_memory_limit,omitempty"` // bytes
	OutputLimit        int64 `json:"output_limit,omitempty"`         // bytes a stream

	// Tests has the program compiled once and run for each, in a sandbox of its own. Not beside Stdin and SessionID.
	Tests         []Test `json:"tests,omitempty"`
	StopOnFailure bool   `json:"stop_on_failure,omitempty"` // the results end with the first that is not accepted

	// Artifacts are patterns: files that match when the program has ended come back. "*.png", "out/**". Not beside Tests.
	Artifacts []string `json:"artifacts,omitempty"`

	// Repeat runs the program that often, one run after another, to say how long it takes. Not beside Tests, Artifacts and SessionID.
	Repeat int `json:"repeat,omitempty"`

	// Webhook is told the result. Of [Client.Start] alone.
	Webhook *Webhook `json:"webhook,omitempty"`
}

// Test is an input of the program, and what it is to answer.
type Test struct {
	Stdin          string   `json:"stdin,omitempty"`
	StdinEncoding  string   `json:"stdin_encoding,omitempty"`  // "utf8" (default) or "base64"
	Args           []string `json:"args,omitempty"`            // default the request's
	Files          []File   `json:"files,omitempty"`           // added to the request's; one of the same name replaces it
	ExpectedStdout *string  `json:"expected_stdout,omitempty"` // nil: a program that ends well is accepted
	Checker        string   `json:"checker,omitempty"`         // "tokens" (default), "exact" or "floats"
	Tolerance      *float64 `json:"tolerance,omitempty"`       // of floats, absolute or relative; default 0.000001
}

// TestResult is what became of a test.
type TestResult struct {
	Verdict string `json:"verdict"` // "AC", "WA", "TO", "ML", "OL" or "RE"
	Run     Stage  `json:"run"`
}

// SetStdin sets Stdin to b, whatever bytes it holds.
func (t *Test) SetStdin(b []byte) {
	t.Stdin, t.StdinEncoding = textOrBase64(b)
}

// SetStdin sets Stdin to b, whatever bytes it holds.
func (r *Request) SetStdin(b []byte) {
	r.Stdin, r.StdinEncoding = textOrBase64(b)
}

// File is one file of a program.
type File struct {
	Name     string `json:"name"` // relative, with / between folders
	Content  string `json:"content"`
	Encoding string `json:"encoding,omitempty"` // of Content: "utf8" (default), "base64" or "hex"
}

// NewFile returns a file that holds b, whatever bytes these are.
func NewFile(name string, b []byte) File {
	content, encoding := textOrBase64(b)
	return File{Name: name, Content: content, Encoding: encoding}
}

func textOrBase64(b []byte) (text, encoding string) {
	if utf8.Valid(b) {
		return string(b), ""
	}
	return base64.StdEncoding.EncodeToString(b), "base64"
}

// Result is what became of a program.
type Result struct {
	Language       string `json:"language"` // canonical name
	Version        string `json:"version"`  // as the tool prints it, such as "3.12.3"
	SessionID      string `json:"session_id"`
	SessionCreated bool   `json:"session_created"`
	Compile        *Stage `json:"compile"` // nil for languages without a compile stage
	Run            Stage  `json:"run"`

	// Tests are the results in the order of the request's Tests; none if compilation failed.
	Tests []TestResult `json:"tests"`

	// Artifacts are the files that matched, in the order of their names.
	Artifacts        []Artifact `json:"artifacts"`
	ArtifactsOmitted *Omitted   `json:"artifacts_omitted"` // what matched besides; nil: nothing

	Repeat *Repeat `json:"repeat"` // with Repeat in the request; nil if compilation failed

	// Raw is the server's answer as it came.
	Raw json.RawMessage `json:"-"`
}

// Artifact is a file that the program left.
type Artifact struct {
	Name    string `json:"name"` // relative to the working directory
	Size    int64  `json:"size"` // bytes
	Content []byte `json:"content"`
}

// Repeat sums up the runs of one program.
type Repeat struct {
	Runs         int    `json:"runs"` // fewer than asked for if a limit fired: that run is the last
	WallMS       Spread `json:"wall_ms"`
	CPUMS        Spread `json:"cpu_ms"`
	MemoryKB     Spread `json:"memory_kb"`
	OutputsEqual bool   `json:"outputs_equal"` // all wrote the same and ended the same way
	Quality      struct {
		Grade   string   `json:"grade"`   // "A" nothing disturbed the runs ... "D" do not compare the figures
		Reasons []string `json:"reasons"` // what lowered it
	} `json:"quality"`
}

// Spread is one figure of all runs.
type Spread struct {
	Median float64     `json:"median"`
	Min    float64     `json:"min"`
	Max    float64     `json:"max"`
	CI95   *[2]float64 `json:"ci95"` // confidence interval of the median; nil below 6 runs
}

// Omitted sums up the files that did not fit into an answer.
type Omitted struct {
	Count   int    `json:"count"`
	Bytes   int64  `json:"bytes"`
	Message string `json:"message"`
}

// Status says how a stage ended.
type Status string

const (
	OK                 Status = "OK"
	RuntimeError       Status = "RE" // exit code other than 0
	Signaled           Status = "SG" // died of a signal
	TimeLimit          Status = "TO" // wall or CPU time
	MemoryLimit        Status = "ML"
	StdoutLimit        Status = "OL"
	StderrLimit        Status = "EL"
	SyscallViolation   Status = "SV" // killed by the syscall filter
	CompilationFailure Status = "CE" // of the run stage: Compile tells why
)

// Stage is the compilation or the run.
type Stage struct {
	// Stdout and Stderr are text: bytes that are not UTF-8 appear as U+FFFD. StdoutBytes and StderrBytes are exact.
	Stdout       string `json:"stdout"`
	Stderr       string `json:"stderr"`
	StdoutBase64 string `json:"stdout_base64"` // only when Stdout is not exact
	StderrBase64 string `json:"stderr_base64"` // only when Stderr is not exact

	Code       *int    `json:"code"`        // nil when a signal ended it
	Signal     string  `json:"signal"`      // "SIGSEGV"; empty when it exited
	TimeMS     float64 `json:"time_ms"`     // wall time, milliseconds
	CPUTimeMS  float64 `json:"cpu_time_ms"` // user and system time of all processes, milliseconds
	MemoryKB   int64   `json:"memory_kb"`   // peak, KiB
	Status     Status  `json:"status"`      // how it ended
	Message    string  `json:"message"`     // one sentence with figures, or empty
	Cached     bool    `json:"cached"`      // of Compile: no compiler ran, the same was compiled before; the figures are 0
	LimitFired *Limit  `json:"limit"`       // nil when none did

	Violations []Violation `json:"violations"` // system calls that the sandbox denied, at most 20

	Limits []LimitUse `json:"limits"` // with Request.Explain: every limit that was in force; none of a compilation that is Cached

	// Diagnostics are what compiler or interpreter said on stderr of places in the files, at most 100.
	Diagnostics []Diagnostic `json:"diagnostics"`
}

// Diagnostic is an error, a warning or a note of a compiler, or what a program was given up for by its interpreter.
type Diagnostic struct {
	File     string `json:"file"`     // as the request names files
	Line     int    `json:"line"`     // from 1; 0 where the tool does not tell
	Column   int    `json:"column"`   // from 1, as the tool counts; 0 where it does not tell
	Severity string `json:"severity"` // "error", "warning" or "note"
	Message  string `json:"message"`
	Code     string `json:"code"` // "E0308", "CS1002", "-Wint-conversion", or empty
}

// LimitUse is one limit of a stage and what is known of its use; nil where nobody counts.
type LimitUse struct {
	Name  string `json:"name"`   // "wall_time", "processes", "tmp_bytes", ...
	SetBy string `json:"set_by"` // field of the request; empty: the operator alone sets it
	Unit  string `json:"unit"`   // "ms", "ms/s", "bytes", "count" or "level"
	Limit *int64 `json:"limit"`  // nil: none
	Used  *int64 `json:"used"`   // when the main process had ended
	Peak  *int64 `json:"peak"`   // the most that it was
	Fired *bool  `json:"fired"`  // it ended the stage, or something was refused because of it
}

// Violation is one kind of system call that the sandbox denied.
type Violation struct {
	Syscall string `json:"syscall"` // name, "unknown" for a number that has none, or "*" for all that did not fit
	Args    string `json:"args"`    // printable ASCII, at most 200 bytes, or empty: written by the program, not to be trusted
	Count   uint64 `json:"count"`
}

// Limit is the limit that ended a stage, in the unit of the request field it is called after.
type Limit struct {
	Name  string  `json:"name"`
	Limit float64 `json:"limit"`
	Used  float64 `json:"used"`
}

// StdoutBytes returns what was written to standard output, byte for byte.
func (s *Stage) StdoutBytes() ([]byte, error) { return exact("stdout", s.Stdout, s.StdoutBase64) }

// StderrBytes returns what was written to standard error, byte for byte.
func (s *Stage) StderrBytes() ([]byte, error) { return exact("stderr", s.Stderr, s.StderrBase64) }

func exact(field, text, encoded string) ([]byte, error) {
	if encoded == "" {
		return []byte(text), nil
	}
	b, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, fmt.Errorf("decode %s_base64: %w", field, err)
	}
	return b, nil
}

// Runtime is one installed version of a language.
type Runtime struct {
	Language string   `json:"language"` // canonical name
	Version  string   `json:"version"`
	Aliases  []string `json:"aliases"`
	Compiled bool     `json:"compiled"` // has a compile stage
}
