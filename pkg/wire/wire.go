package wire

import "fmt"

// Bounds of the protocol. MaxPacket stays below the default socket buffer of Linux (net.core.wmem_default, 212,992 bytes),
// above which a SEQPACKET message is refused.
const (
	MaxPacket    = 160 << 10 // bytes of one JSON object
	MaxFds       = 5         // file descriptors beside one packet
	MaxFiles     = 1000      // files placed by one job
	MaxWordBytes = 96 << 10  // bytes of argv and env together, terminators included
	MaxID        = 128       // bytes of a volume id
	MaxLabel     = 128       // bytes of a job's label
	MaxName      = 255       // bytes of one part of a file name
	MaxPath      = 4000      // bytes of a whole file name; PATH_MAX is 4096
	MaxParts     = 64        // parts of a file name: each folder is a step of the jail's. Deep trees of real projects have 30
	MaxWords     = 8000      // words of argv and env
	MaxList      = 1000      // volume ids in one answer to List
	MaxMS        = 1 << 40   // of a time limit; 35 years, far below where nanoseconds overflow
	MinMemory    = 1 << 20   // bytes of a memory limit; a parked jail has a few hundred KiB already
)

// Request is what a client sends: exactly one field is set.
type Request struct {
	Job    *Job           `json:"job,omitempty"`
	Kill   *Kill          `json:"kill,omitempty"`
	Signal *Signal        `json:"signal,omitempty"`
	Forget *Forget        `json:"forget,omitempty"`
	List   *List          `json:"list,omitempty"`
	Status *StatusRequest `json:"status,omitempty"`

	Selftest *struct{} `json:"selftest,omitempty"` // now, whatever the schedule
}

// Job runs one program in one fresh jail, or, the first time, in that of the compiler which made it, where the template says so.
type Job struct {
	Template  string   `json:"template"`  // "<folder>/<template>"
	Argv      []string `json:"argv"`      // argv[0] is an absolute path in the jail
	Env       []string `json:"env"`       // "NAME=value"
	Workspace Volume   `json:"workspace"` // attached read-write at /home/user
	Build     Volume   `json:"build"`     // attached at /build
	Files     []File   `json:"files"`     // placed in the workspace, in order, before the program starts
	Limits    Limits   `json:"limits"`

	// Owner, of MaxID bytes as an id has, allows that the jail of a compiler served another job of the same owner before, or serves one
	// afterwards, if the server is set so. For a job that reads nothing but Files, and whose program runs nothing of them. "": no.
	Owner string `json:"owner,omitempty"`

	// Account, of MaxLabel bytes, is on whose account the job runs: those that run jobs at one time share the CPU, however many jobs each has.
	Account string `json:"account,omitempty"`

	Explain bool `json:"explain,omitempty"` // Result.Meters is wanted
	// Terminal gives the program a terminal of its own as standard streams and controlling terminal. None of the three descriptors comes with
	// such a job; the other end of the terminal goes to the client, in a Reply before the last.
	Terminal *Terminal `json:"terminal,omitempty"`

	Signals bool `json:"signals,omitempty"` // Request{Signal} may follow
	Noise   bool `json:"noise,omitempty"`   // Result.Noise is wanted

	// Label is what an operator is shown beside the job, of MaxLabel bytes: whose it is, by names that the client has in its log. It decides nothing.
	Label string `json:"label,omitempty"`

	HasStdin   bool `json:"has_stdin"`   // a descriptor follows; without it stdin is empty
	HasFiles   bool `json:"has_files"`   // a descriptor follows: the contents of Files
	HasEnviron bool `json:"has_environ"` // a descriptor follows: receives /tmp/.environ, see docs/languages.md
}

// Terminal is the size of one, in characters.
type Terminal struct {
	Cols uint16 `json:"cols"`
	Rows uint16 `json:"rows"`
}

// Volume names a tmpfs that outlives a job. The zero Volume asks for none to be kept: a workspace is then made for the job and
// dropped with it, and nothing is attached at /build.
type Volume struct {
	ID string `json:"id,omitempty"` // chosen by the client; at most MaxID bytes of A-Z a-z 0-9 . _ -
	// New makes an empty volume of this id and keeps it after the job; an existing one of that id is an error.
	// A build volume is writable in the job that makes it and read-only in every other, of which any number may have it at one time. It is
	// kept only if the program exits with 0.
	New bool `json:"new,omitempty"`
	// DropUnchanged, with New and for a workspace, keeps the volume only if the job changed it: else the client knows what was in it,
	// Files, and can give it again. Most programs write nothing, and a mounted volume slows the kernel down for everyone else
	// (docs/theory.md). Result.WorkspaceDropped tells.
	DropUnchanged bool `json:"drop_unchanged,omitempty"`
}

// File is one file to place: Size bytes of the contents descriptor, after those of the files before it.
type File struct {
	Name string `json:"name"` // relative, '/' separates folders
	Size int64  `json:"size"` // bytes
}

// Limits bound one job. Zero means no limit, for MemoryBytes the server's default.
type Limits struct {
	WallMS      int64 `json:"wall_ms"`      // from exec to exit, milliseconds
	CPUMS       int64 `json:"cpu_ms"`       // user + system of all processes, milliseconds
	MemoryBytes int64 `json:"memory_bytes"` // of all processes, and of the tmpfs pages they write
}

// Kill ends the running job of this connection. Its Result carries the reason in Limit.
type Kill struct {
	Limit string `json:"limit"` // LimitStdout or LimitStderr
}

// Signal goes to the main process of the running job of this connection, once it has begun. One that is pending already is not sent twice, as
// with kill(2); the last of two alike counts.
type Signal struct {
	Number int `json:"number"` // 1 to MaxSignal
}

// MaxSignal is the last of the signals that the kernel does not queue: queued ones take memory of its own.
const MaxSignal = 31

// Forget drops volumes, also those that do not exist. A volume in use is dropped when its last job ends.
type Forget struct {
	IDs []string `json:"ids"`
	All bool     `json:"all,omitempty"` // every volume: the client that knew them is new, or about to end
}

// List asks for the ids of volumes, at most MaxList of them in order: those after After. Workspaces outlive the server, and its client may
// be new as well.
type List struct {
	After string `json:"after"`
}

// Reply is what the server sends: exactly one field is set, or none in answer to Forget, or to a List that finds nothing.
type Reply struct {
	Result *Result  `json:"result,omitempty"`
	Status *Status  `json:"status,omitempty"`
	Checks []Check  `json:"checks,omitempty"` // of Selftest
	Error  *Error   `json:"error,omitempty"`
	IDs    []string `json:"ids,omitempty"`

	Terminal *struct{} `json:"terminal,omitempty"` // a descriptor follows, and later another Reply
}

// Names of the limit that fired, in Result.Limit and Kill.Limit.
const (
	LimitWall   = "wall"
	LimitCPU    = "cpu"
	LimitMemory = "memory"
	LimitStdout = "stdout"
	LimitStderr = "stderr"
)

// Result is what the program did.
type Result struct {
	Code       int    `json:"code"`         // exit code; meaningful when Signal is 0
	Signal     int    `json:"signal"`       // number of the signal that ended the main process, or 0
	Limit      string `json:"limit"`        // the limit that fired, or ""
	WallNS     int64  `json:"wall_ns"`      // from exec to the end of the main process, nanoseconds
	CPUNS      int64  `json:"cpu_ns"`       // user + system of all processes, nanoseconds
	MemoryPeak int64  `json:"memory_peak"`  // bytes
	MemoryMax  int64  `json:"memory_limit"` // bytes: the limit that was in force

	// Violations are the calls that the seccomp profile denied and does not expect, in the order in which each was first made. At most
	// MaxViolations; what did not fit is counted in a last one whose Syscall is OtherSyscalls.
	Violations []Violation `json:"violations,omitempty"`

	Meters []Meter `json:"meters,omitempty"` // with Job.Explain: of every limit that was in force but those of the output, which is the client's

	Noise *Noise `json:"noise,omitempty"` // with Job.Noise: what disturbed the job

	WorkspaceDropped bool `json:"workspace_dropped"` // with DropUnchanged: it held Files as they were given, and nothing else

	WorkspaceBytes int64 `json:"workspace_bytes"` // in the workspace after the job
	WorkspaceFiles int64 `json:"workspace_files"` // inodes in use there, the root included
	BuildBytes     int64 `json:"build_bytes"`     // in the build volume after the job

	PoolHit    bool  `json:"pool_hit"`    // a jail was ready when the job came, or its compiler's was being made ready
	Parked     bool  `json:"parked"`      // and its runtime was loaded
	CheckoutNS int64 `json:"checkout_ns"` // taking the jail and attaching volumes
	FilesNS    int64 `json:"files_ns"`    // from there to exec
	ExecAt     int64 `json:"exec_at"`     // CLOCK_MONOTONIC of this machine when exec began, nanoseconds; 0 if it never came to that
}

// MaxViolations bounds Result.Violations; OtherSyscalls is the Syscall of the last, when there were more.
const (
	MaxViolations = 20
	OtherSyscalls = "*"
)

// Violation is one kind of denied call.
type Violation struct {
	Syscall string `json:"syscall"`        // name; "unknown" for a number that has none
	Args    string `json:"args,omitempty"` // printable ASCII, at most 200 bytes; "" if nobody looked at them. Written by the program: never to be trusted
	Count   uint64 `json:"count"`
}

// Noise is what the kernel counted of the disturbances of one job, from its start to the end of its program.
type Noise struct {
	Throttled           int64 `json:"throttled"`            // periods of the scheduler in which the CPU quota held it back
	InvoluntarySwitches int64 `json:"involuntary_switches"` // times that a thread of it had a CPU taken away; of children those that were waited for
	MajorFaults         int64 `json:"major_faults"`         // times that it waited for a page from a disk; of children likewise
}

// Code classifies an Error.
type Code string

const (
	CodeInvalid         Code = "invalid"          // the request breaks the contract
	CodeUnknownTemplate Code = "unknown_template" // no such template
	CodeUnknownVolume   Code = "unknown_volume"   // a volume without New is not there (any more)
	CodeUnknownBuild    Code = "unknown_build"    // the same, and it is the one for /build
	CodeLost            Code = "lost"             // something killed the jail from outside; the program may have run in part
	CodeNotBegun        Code = "not_begun"        // the server is about to end, or could make no jail: worth another try in a moment
	CodeVolumeInUse     Code = "volume_in_use"    // another job has it and may write, or New found it
	CodeFile            Code = "file"             // Files[Index] cannot be placed: the workspace is in the way or full
	CodeExec            Code = "exec"             // argv[0] cannot be started
	CodeOverloaded      Code = "overloaded"       // no room for another jail or volume; try again
	CodeInternal        Code = "internal"         // see the server's log
)

// Error is what the server failed at. Message is meant for the operator's log, and for the caller when Code is CodeFile.
type Error struct {
	Code    Code   `json:"code"`
	Index   int    `json:"index,omitempty"` // of Files, with CodeFile; -1: none could be, the working directory is closed
	Message string `json:"message"`
}

func (e *Error) Error() string { return fmt.Sprintf("sandboxd: %s (%s)", e.Message, e.Code) }

// Errorf makes an Error.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Fds counts the descriptors that travel with the job.
func (j *Job) Fds() int {
	n := 2
	if j.Terminal != nil {
		n = 0
	}
	for _, has := range []bool{j.HasStdin, j.HasFiles, j.HasEnviron} {
		if has {
			n++
		}
	}
	return n
}
