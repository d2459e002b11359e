package wire

// StatusRequest says what of a Status is wanted that costs more than counting.
type StatusRequest struct {
	Jobs bool `json:"jobs,omitempty"` // Status.Running
}

// Status is a snapshot of the server.
type Status struct {
	Templates  []Template `json:"templates"`
	LiveJails  int        `json:"live_jails"`
	Jobs       int        `json:"jobs"`
	Volumes    int        `json:"volumes"`
	PoolHits   uint64     `json:"pool_hits"`
	PoolMisses uint64     `json:"pool_misses"`
	Parked     uint64     `json:"parked"` // hits whose runtime was loaded
	Reused     uint64     `json:"reused"` // hits whose compiler had served the same owner
	Built      uint64     `json:"built"`  // jails built since start
	Failed     uint64     `json:"failed"` // jails that could not be built
	Seccomp    *Seccomp   `json:"seccomp,omitempty"`

	Selftest *Selftest `json:"selftest,omitempty"` // nil: it is off

	UptimeMS   int64    `json:"uptime_ms"`
	MaxJails   int      `json:"max_jails"`
	Workspaces int      `json:"workspaces"`        // of Volumes: those that clients can ask for again, which are the sessions'
	Builds     int      `json:"builds"`            // and likewise, what compile jobs made. All other volumes are empty ones of jails, or end with their job
	PoolBytes  int64    `json:"pool_bytes"`        // memory of the jails that are ready or about to be
	PoolBudget int64    `json:"pool_budget"`       // how much that may be
	Memory     int64    `json:"memory"`            // bytes, of everything in our cgroup: jails and what waits in volumes that running jobs wrote
	Denials    []Denial `json:"denials,omitempty"` // since start, the most frequent first, at most MaxDenials

	Running []Running `json:"running,omitempty"` // if asked for: of Jobs, those that have run longest, at most MaxRunning
}

// MaxRunning bounds Status.Running.
const MaxRunning = 100

// Running is a job that runs.
type Running struct {
	Template string `json:"template"`
	Label    string `json:"label,omitempty"` // as the client gave it; never to be trusted
	AgeNS    int64  `json:"age_ns"`          // since it was asked for
	CPUNS    int64  `json:"cpu_ns"`          // of the job, -1: it waits for its jail, or has just ended
	Memory   int64  `json:"memory"`          // bytes in use, likewise
}

// MaxDenials bounds Status.Denials.
const MaxDenials = 100

// Denial counts the calls of one name that were denied to the programs of one language; Violation says which count.
type Denial struct {
	Language string `json:"language"` // folder of the templates
	Syscall  string `json:"syscall"`
	Count    uint64 `json:"count"`
}

// Seccomp is what the seccomp profiles do: those in force, and those on trial.
type Seccomp struct {
	InForce  string `json:"in_force"`          // digest of the profiles
	Loaded   string `json:"loaded"`            // when, for people: RFC 3339
	Reloads  uint64 `json:"reloads"`           // since start
	Failures uint64 `json:"failures"`          // reloads that were refused: what was in force before still is
	Failure  string `json:"failure,omitempty"` // why the last reload was refused; "" if it was not

	Candidate string  `json:"candidate,omitempty"` // digest of the profiles on trial; "" none
	Mode      string  `json:"mode,omitempty"`      // "shadow" or "canary"
	Share     float64 `json:"share,omitempty"`     // of the jails
	Tallies   []Tally `json:"tallies"`
}

// InForce is the Use of a Tally of profiles that are not on trial.
const InForce = "in force"

// Tally is what the jobs of one template did under one profile, since that came into use.
type Tally struct {
	Template string `json:"template"`
	Use      string `json:"use"` // InForce, or the Mode
	Jobs     uint64 `json:"jobs"`
	Failed   uint64 `json:"failed"` // of these: ended by a signal or with another exit code than 0
	Killed   uint64 `json:"killed"` // of these: by SIGSYS
	Denied   uint64 `json:"denied"` // calls: all violations

	// Tried are the calls that the profile on trial denies, or in shadow would deny, and the one in force allows. The most frequent ones are
	// named, the others are in a last one whose Syscall is OtherSyscalls.
	Tried []Tried `json:"tried,omitempty"`
}

// Tried is one call.
type Tried struct {
	Syscall string `json:"syscall"`
	Args    string `json:"args,omitempty"` // of the first, as in Violation: written by the program, never to be trusted
	Count   uint64 `json:"count"`
	Jobs    uint64 `json:"jobs"` // that made it; 0: it was made while a runtime was loaded
}

// Template is one pool of jails.
type Template struct {
	Name  string `json:"name"`
	Ready int    `json:"ready"`
	Size  int    `json:"size"`  // jails it should hold, by recent demand
	Jobs  int    `json:"jobs"`  // running
	Built uint64 `json:"built"` // of its jails, since start
	Bytes int64  `json:"bytes"` // memory of one of its ready jails; 0: not known
}
