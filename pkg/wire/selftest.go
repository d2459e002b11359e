package wire

// Selftest is what the server's last test of its own jails found. It is passed when every check was as it should be.
type Selftest struct {
	Passed bool     `json:"passed"`
	Runs   int      `json:"runs"`             // that told anything, since start
	AgoMS  int64    `json:"ago_ms"`           // end of the last of them, milliseconds; 0 if there was none
	Failed []string `json:"failed,omitempty"` // "memory in bash/run: got ...": at most MaxFailed, each at most 300 bytes
	Stuck  string   `json:"stuck,omitempty"`  // why it is not passed though nothing failed: runs tell nothing, for too long; at most 400 bytes
}

// MaxFailed bounds Selftest.Failed.
const MaxFailed = 20

// Check is one attack of the self test, run in one jail.
type Check struct {
	Name     string `json:"name"`
	About    string `json:"about"`    // one sentence: what holds
	Template string `json:"template"` // of the jail
	// Problem is what the attack achieved, or why it could not be run; "": it was held.
	Problem string `json:"problem,omitempty"`
	// Inconclusive says that Problem is no word on the sandbox: the machine is too busy, say.
	Inconclusive bool `json:"inconclusive,omitempty"`
}
