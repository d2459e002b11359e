package main

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"time"

	"github.com/pelletier/go-toml/v2"
	"golang.org/x/sys/unix"
)

// config is sandboxd.toml. Every key is optional; sandboxd.example.toml explains each and shows the default.
type config struct {
	Socket   string `toml:"socket"`
	User     string `toml:"user"`
	Image    string `toml:"image"`
	Profiles string `toml:"profiles"`
	Packages string `toml:"packages"`

	CgroupParent string  `toml:"cgroup_parent"`
	TotalWeight  uint64  `toml:"total_cpu_weight"`
	TotalMemory  int64   `toml:"total_memory"`
	CPUWeight    uint64  `toml:"cpu_weight"`
	CPUsPerJob   float64 `toml:"cpus_per_job"`
	PinCPUs      string  `toml:"pin_cpus"`
	MemoryBytes  int64   `toml:"memory_bytes"`

	FirstUID       uint32 `toml:"first_uid"`
	MaxJails       int    `toml:"max_jails"`
	MaxVolumes     int    `toml:"max_volumes"`
	MaxVolumeBytes int64  `toml:"max_volume_bytes"`
	WorkspaceBytes int64  `toml:"workspace_bytes"`
	WorkspaceFiles int64  `toml:"workspace_files"`
	BuildBytes     int64  `toml:"build_bytes"`
	BuildFiles     int64  `toml:"build_files"`

	Parked     bool  `toml:"parked"`
	PoolMemory int64 `toml:"pool_memory"`

	Pools map[string]poolBounds `toml:"pools"` // by template, "<language>/<template>"

	CompilerJobs int `toml:"compiler_jobs"`

	VolumeIdle duration `toml:"volume_idle"`
	Drain      duration `toml:"drain"`
	Networks   int      `toml:"networks"`

	SelftestEvery duration `toml:"selftest_every"`

	Seccomp seccompConfig `toml:"seccomp"`

	recorder *recorder // set by the command seccomp record
	unpooled bool      // no jail is kept ready; set by the command selftest
}

// seccompConfig is the table [seccomp]: profiles on trial.
type seccompConfig struct {
	Candidate string  `toml:"candidate"` // folder; "" none
	Mode      string  `toml:"mode"`      // modeShadow or modeCanary
	Share     float64 `toml:"share"`     // of the jails of each template
}

const (
	modeShadow = "shadow" // what the candidate would deny is counted
	modeCanary = "canary" // what it denies is denied
)

// duration reads "10m".
type duration time.Duration

func (d *duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = duration(parsed)
	return err
}

func defaultConfig() config {
	return config{
		Socket:   "/run/runtools/sandboxd.sock",
		User:     "runtools",
		Image:    "/var/lib/runtools/current",
		Profiles: "/usr/share/runtools/seccomp-profiles",

		CgroupParent: "runtools",
		TotalWeight:  1000,
		CPUWeight:    100,
		MemoryBytes:  512 << 20,

		FirstUID:       0x70000000,
		MaxJails:       1000,
		MaxVolumes:     200_000,
		WorkspaceBytes: 256 << 20,
		WorkspaceFiles: 65536,
		BuildBytes:     512 << 20,
		BuildFiles:     65536,

		Parked:     true,
		PoolMemory: 2 << 30,
		Pools:      map[string]poolBounds{},

		CompilerJobs: 1,

		VolumeIdle: duration(30 * time.Minute),
		Drain:      duration(10 * time.Second),
		Networks:   16,

		SelftestEvery: duration(time.Hour),

		Seccomp: seccompConfig{Mode: modeShadow, Share: 0.1},
	}
}

// loadConfig reads a file over the defaults; path "" means the defaults alone. An unknown key is an error that shows its line.
func loadConfig(path string) (config, error) {
	c := defaultConfig()
	if path == "" {
		return c, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return c, err
	}
	defer f.Close()
	dec := toml.NewDecoder(f)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		var strict *toml.StrictMissingError
		if errors.As(err, &strict) {
			return c, fmt.Errorf("%s: unknown key:\n%s", path, strict.String())
		}
		var where *toml.DecodeError
		if errors.As(err, &where) {
			return c, fmt.Errorf("%s:\n%s", path, where.String())
		}
		return c, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// validate names the key that is out of bounds.
func (c *config) validate() error {
	for _, f := range []struct {
		key      string
		value    int64
		min, max int64
	}{
		{"total_cpu_weight", int64(c.TotalWeight), 1, 10000},
		{"cpu_weight", int64(c.CPUWeight), 1, 10000},
		{"memory_bytes", c.MemoryBytes, 1 << 20, 1 << 50},
		{"total_memory", c.TotalMemory, 0, 1 << 50},
		// The ranges of all jails must end below 2^31: some programs keep uids in an int.
		{"max_jails", int64(c.MaxJails), 1, (1<<31 - int64(c.FirstUID)) / idsPerJail},
		{"max_volumes", int64(c.MaxVolumes), 1, 100_000_000},
		{"max_volume_bytes", c.MaxVolumeBytes, 0, 1 << 50},
		{"workspace_bytes", c.WorkspaceBytes, 4096, 1 << 50},
		{"workspace_files", c.WorkspaceFiles, 2, 1 << 40},
		{"build_bytes", c.BuildBytes, 4096, 1 << 50},
		{"build_files", c.BuildFiles, 2, 1 << 40},
		{"first_uid", int64(c.FirstUID), 65536, 1 << 31},
		{"pool_memory", c.PoolMemory, 0, 1 << 50},
		{"compiler_jobs", int64(c.CompilerJobs), 1, 1_000_000},
		{"networks", int64(c.Networks), 1, 10000},
	} {
		if f.value < f.min || f.value > f.max {
			return fmt.Errorf("%s is %d, must be %d to %d", f.key, f.value, f.min, f.max)
		}
	}
	for _, f := range []struct {
		key      string
		value    duration
		min, max time.Duration
	}{
		{"volume_idle", c.VolumeIdle, time.Second, 1000 * time.Hour},
		{"drain", c.Drain, 0, time.Hour},
	} {
		if value := time.Duration(f.value); value < f.min || value > f.max {
			return fmt.Errorf("%s is %v, must be %v to %v", f.key, value, f.min, f.max)
		}
	}
	if m := c.TotalMemory; m != 0 && m < c.MemoryBytes {
		return fmt.Errorf("total_memory is %d, must be 0, or memory_bytes, %d, at least", m, c.MemoryBytes)
	}
	if every := time.Duration(c.SelftestEvery); every != 0 && (every < time.Second || every > 1000*time.Hour) {
		return fmt.Errorf("selftest_every is %v, must be 0 for never, or %v to %v", every, time.Second, 1000*time.Hour)
	}
	for name, bounds := range c.Pools {
		if err := bounds.validate(name); err != nil {
			return err
		}
	}
	if _, err := parseCPUs(c.PinCPUs); err != nil {
		return err
	}
	if m := c.Seccomp.Mode; m != modeShadow && m != modeCanary {
		return fmt.Errorf("seccomp.mode is %q, must be %q or %q", m, modeShadow, modeCanary)
	}
	if s := c.Seccomp.Share; !(s > 0 && s <= 1) {
		return fmt.Errorf("seccomp.share is %g, must be above 0, and 1 at most; to end a trial, empty seccomp.candidate", s)
	}
	// The kernel takes no quota below 1 ms of its period of 100 ms.
	if q := c.CPUsPerJob; !(q == 0 || q >= 0.01 && q <= 4096) {
		return fmt.Errorf("cpus_per_job is %g, must be 0 or 0.01 to 4096", q)
	}
	return nil
}

// totalMemory is the most that all jobs may use together, and what they leave, bytes.
func (c *config) totalMemory() int64 {
	if c.TotalMemory != 0 {
		return c.TotalMemory
	}
	return machineMemory() / 8 * 7
}

// machineMemory is the machine's RAM, bytes.
func machineMemory() int64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		panic("sandboxd: internal error: sysinfo: " + err.Error()) // it has nothing to fail at
	}
	return int64(info.Totalram) * int64(info.Unit)
}

// lookupUser accepts a name or a number.
func lookupUser(name string) (uid, gid int, err error) {
	if n, err := strconv.Atoi(name); err == nil {
		return n, n, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return 0, 0, fmt.Errorf("user: %w: create it (useradd --system %s), or set user", err, name)
	}
	uid, _ = strconv.Atoi(u.Uid) // numeric on Unix: os/user
	gid, _ = strconv.Atoi(u.Gid)
	return uid, gid, nil
}
