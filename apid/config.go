package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
	"golang.org/x/sys/unix"
)

// config is what apid.example.toml describes. A field that the file does not set keeps its default.
type config struct {
	Listen         string `toml:"listen"`
	MetricsListen  string `toml:"metrics_listen"`
	SandboxdSocket string `toml:"sandboxd_socket"`
	Image          string `toml:"image"`
	Keys           string `toml:"keys"`
	Playground     bool   `toml:"playground"`

	Log      logConfig     `toml:"log"`
	HTTP     httpConfig    `toml:"http"`
	Queue    queueConfig   `toml:"queue"`
	Sessions sessionConfig `toml:"sessions"`
	Cache    cacheConfig   `toml:"cache"`
	Limits   limitsConfig  `toml:"limits"`

	Artifacts artifactsConfig `toml:"artifacts"`
	Repeat    repeatConfig    `toml:"repeat"`

	Executions executionsConfig `toml:"executions"`
	Webhooks   webhooksConfig   `toml:"webhooks"`
}

// executionsConfig bounds the requests whose results wait to be asked for.
type executionsConfig struct {
	Keep           duration `toml:"keep"`
	MaxPerKey      int      `toml:"max_per_key"`
	MaxBytes       int64    `toml:"max_bytes"`
	MaxBytesPerKey int64    `toml:"max_bytes_per_key"`
}

// repeatConfig bounds the runs of one request.
type repeatConfig struct {
	MaxRuns int      `toml:"max_runs"`
	MaxTime duration `toml:"max_time"`
}

// artifactsConfig bounds the files that come back with an answer.
type artifactsConfig struct {
	MaxFiles int   `toml:"max_files"`
	MaxBytes int64 `toml:"max_bytes"`
}

type logConfig struct {
	Format string `toml:"format"`
	Level  string `toml:"level"`
}

type httpConfig struct {
	MaxBodyBytes   int64    `toml:"max_body_bytes"`
	MaxBodiesBytes int64    `toml:"max_bodies_bytes"`
	MaxUnreadBytes int64    `toml:"max_unread_bytes"`
	MaxConnections int      `toml:"max_connections"`
	HeaderTimeout  duration `toml:"header_timeout"`
	ReadTimeout    duration `toml:"read_timeout"`
	WriteTimeout   duration `toml:"write_timeout"`
	IdleTimeout    duration `toml:"idle_timeout"`
	Drain          duration `toml:"drain"`
}

type queueConfig struct {
	MaxJobs   int `toml:"max_jobs"`
	Newcomers int `toml:"newcomers"`
	Depth     int `toml:"depth"`
	PerKey    int `toml:"per_key"`
}

type sessionConfig struct {
	Idle           duration `toml:"idle"`
	Max            int      `toml:"max"`
	MaxPerKey      int      `toml:"max_per_key"`
	MaxBytes       int64    `toml:"max_bytes"`
	MaxBytesPerKey int64    `toml:"max_bytes_per_key"`
	MaxMounted     int      `toml:"max_mounted"`
	StateDir       string   `toml:"state_dir"`
}

type cacheConfig struct {
	MaxBytes       int64    `toml:"max_bytes"`
	MaxBytesPerKey int64    `toml:"max_bytes_per_key"`
	MaxEntries     int      `toml:"max_entries"`
	MaxAge         duration `toml:"max_age"`
}

type limitsConfig struct {
	RunTimeout         bound `toml:"run_timeout"`
	CompileTimeout     bound `toml:"compile_timeout"`
	RunCPUTime         bound `toml:"run_cpu_time"`
	CompileCPUTime     bound `toml:"compile_cpu_time"`
	RunMemoryLimit     bound `toml:"run_memory_limit"`
	CompileMemoryLimit bound `toml:"compile_memory_limit"`
	OutputLimit        bound `toml:"output_limit"`
}

// bound is a limit of jobs: what a request that does not name it gets, and the most it may ask for.
type bound struct {
	Default int64 `toml:"default"`
	Max     int64 `toml:"max"`
}

// duration is a time.Duration written as "10m".
type duration time.Duration

func (d *duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = duration(v)
	return err
}

// defaults are the settings of a server without a file. Zero figures that depend on the machine are filled in by complete.
func defaults() config {
	return config{
		Listen:         "127.0.0.1:8080",
		MetricsListen:  "127.0.0.1:8081",
		SandboxdSocket: "/run/runtools/sandboxd.sock",
		Image:          "/var/lib/runtools/current",
		Keys:           "/etc/runtools/keys",
		Playground:     true,
		Log:            logConfig{Format: "text", Level: "info"},
		HTTP: httpConfig{
			MaxBodyBytes:   64 << 20,
			MaxBodiesBytes: 1 << 30,
			MaxUnreadBytes: 512 << 20,
			MaxConnections: 8192,
			HeaderTimeout:  duration(10 * time.Second),
			ReadTimeout:    duration(60 * time.Second),
			WriteTimeout:   duration(60 * time.Second),
			IdleTimeout:    duration(2 * time.Minute),
			Drain:          duration(30 * time.Second),
		},
		Queue: queueConfig{Newcomers: 16, Depth: 256, PerKey: 64},
		Sessions: sessionConfig{
			Idle:       duration(10 * time.Minute),
			Max:        100_000,
			MaxPerKey:  50_000,
			MaxMounted: 500,
			StateDir:   "/run/runtools-apid",
		},
		Cache: cacheConfig{MaxBytes: 256 << 20, MaxEntries: 256, MaxAge: duration(10 * time.Minute)},
		Limits: limitsConfig{
			RunTimeout:         bound{300_000, 300_000},
			CompileTimeout:     bound{60_000, 60_000},
			RunCPUTime:         bound{0, 3_600_000},
			CompileCPUTime:     bound{0, 3_600_000},
			RunMemoryLimit:     bound{512 << 20, 2 << 30},
			CompileMemoryLimit: bound{1 << 30, 2 << 30},
			OutputLimit:        bound{10 << 20, 32 << 20},
		},
		Executions: executionsConfig{Keep: duration(10 * time.Minute), MaxPerKey: 1000, MaxBytes: 512 << 20, MaxBytesPerKey: 64 << 20},
		Webhooks:   webhooksConfig{Allow: []string{}, Attempts: 6, Backoff: duration(time.Second), Timeout: duration(15 * time.Second), PerKey: 4},
		Repeat:     repeatConfig{MaxRuns: 100, MaxTime: duration(5 * time.Minute)},
		Artifacts:  artifactsConfig{MaxFiles: 100, MaxBytes: 8 << 20},
	}
}

// loadConfig reads a file over the defaults; "" means the defaults alone. Keys that nobody would read are refused with their line.
func loadConfig(path string) (*config, error) {
	cfg := defaults()
	if path == "" {
		return &cfg, nil
	}
	body, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	dec := toml.NewDecoder(bytes.NewReader(body)).DisallowUnknownFields()
	if err := dec.Decode(&cfg); err != nil {
		return nil, fmt.Errorf("%s: %w", path, explainTOML(err))
	}
	return &cfg, nil
}

// explainTOML puts the line first: the library's own text leaves it out or buries it in a picture.
func explainTOML(err error) error {
	var unknown *toml.StrictMissingError
	if errors.As(err, &unknown) && len(unknown.Errors) > 0 {
		first := unknown.Errors[0]
		line, _ := first.Position()
		return fmt.Errorf("line %d: unknown key %q", line, strings.Join(first.Key(), "."))
	}
	var bad *toml.DecodeError
	if errors.As(err, &bad) {
		line, _ := bad.Position()
		return fmt.Errorf("line %d: %s", line, bad.Error())
	}
	return err
}

// complete fills in what depends on the machine and refuses settings that contradict each other.
func (c *config) complete() error {
	if c.Queue.MaxJobs == 0 {
		c.Queue.MaxJobs = max(4, 4*runtime.NumCPU())
	}
	if c.Sessions.MaxBytes == 0 {
		c.Sessions.MaxBytes = physicalMemory() / 4
	}
	if c.Sessions.MaxBytesPerKey == 0 {
		c.Sessions.MaxBytesPerKey = c.Sessions.MaxBytes / 2
	}
	if c.Cache.MaxBytesPerKey == 0 {
		c.Cache.MaxBytesPerKey = c.Cache.MaxBytes / 2
	}
	if err := c.checkFigures(); err != nil {
		return err
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		return fmt.Errorf("log.format: %q is neither text nor json", c.Log.Format)
	}
	if _, err := logLevel(c.Log.Level); err != nil {
		return fmt.Errorf("log.level: %w", err)
	}
	if err := c.Webhooks.check(); err != nil {
		return err
	}
	return c.Limits.check()
}

// checkFigures refuses figures that would stop the server from serving.
func (c *config) checkFigures() error {
	for _, f := range []struct {
		name  string
		value int64
		least int64
	}{
		{"http.max_body_bytes", c.HTTP.MaxBodyBytes, 1 << 10},
		{"http.max_unread_bytes", c.HTTP.MaxUnreadBytes, 1 << 20},
		{"http.max_connections", int64(c.HTTP.MaxConnections), 1},
		{"queue.max_jobs", int64(c.Queue.MaxJobs), 1},
		{"queue.newcomers", int64(c.Queue.Newcomers), 0},
		{"queue.depth", int64(c.Queue.Depth), 0},
		{"queue.per_key", int64(c.Queue.PerKey), 0},
		{"sessions.max", int64(c.Sessions.Max), 1},
		{"sessions.max_per_key", int64(c.Sessions.MaxPerKey), 1},
		{"sessions.max_bytes", c.Sessions.MaxBytes, 1},
		{"sessions.max_bytes_per_key", c.Sessions.MaxBytesPerKey, 1},
		{"sessions.max_mounted", int64(c.Sessions.MaxMounted), 0},
		{"cache.max_bytes", c.Cache.MaxBytes, 0},
		{"cache.max_bytes_per_key", c.Cache.MaxBytesPerKey, 0},
		{"cache.max_entries", int64(c.Cache.MaxEntries), 1},
		{"executions.max_per_key", int64(c.Executions.MaxPerKey), 1},
		{"executions.max_bytes_per_key", c.Executions.MaxBytesPerKey, 1},
		{"webhooks.attempts", int64(c.Webhooks.Attempts), 1},
		{"webhooks.per_key", int64(c.Webhooks.PerKey), 1},
		{"repeat.max_runs", int64(c.Repeat.MaxRuns), 1},
		{"artifacts.max_files", int64(c.Artifacts.MaxFiles), 1},
		{"artifacts.max_bytes", c.Artifacts.MaxBytes, 1},
	} {
		if f.value < f.least {
			return fmt.Errorf("%s: %d is below %d", f.name, f.value, f.least)
		}
	}
	for _, f := range []struct {
		whole string
		value int64
		part  string
		least int64
	}{
		{"http.max_bodies_bytes", c.HTTP.MaxBodiesBytes, "http.max_body_bytes", c.HTTP.MaxBodyBytes},
		{"executions.max_bytes", c.Executions.MaxBytes, "executions.max_bytes_per_key", c.Executions.MaxBytesPerKey},
	} {
		if f.value < f.least {
			return fmt.Errorf("%s: %d is below %s, which is %d: raise the one or lower the other", f.whole, f.value, f.part, f.least)
		}
	}
	for _, f := range []struct {
		name  string
		value duration
		least time.Duration
	}{
		{"http.header_timeout", c.HTTP.HeaderTimeout, time.Millisecond},
		{"http.read_timeout", c.HTTP.ReadTimeout, time.Millisecond},
		{"http.write_timeout", c.HTTP.WriteTimeout, time.Millisecond},
		{"http.idle_timeout", c.HTTP.IdleTimeout, time.Millisecond},
		{"http.drain", c.HTTP.Drain, 0},
		{"sessions.idle", c.Sessions.Idle, time.Millisecond},
		{"cache.max_age", c.Cache.MaxAge, time.Millisecond},
		{"executions.keep", c.Executions.Keep, time.Second},
		{"webhooks.backoff", c.Webhooks.Backoff, time.Millisecond},
		{"webhooks.timeout", c.Webhooks.Timeout, time.Millisecond},
		{"repeat.max_time", c.Repeat.MaxTime, time.Second},
	} {
		if value := time.Duration(f.value); value < f.least {
			return fmt.Errorf("%s: %v is below %v", f.name, value, f.least)
		}
	}
	return nil
}

// Least values that a request may ask for. Below minMemory not even the kernel's part of a process fits.
const (
	minTime   = 1       // ms
	minMemory = 1 << 20 // bytes
	minOutput = 1       // byte
)

func (l *limitsConfig) check() error {
	for _, f := range []struct {
		name  string
		bound bound
		least int64
	}{
		{"run_timeout", l.RunTimeout, minTime},
		{"compile_timeout", l.CompileTimeout, minTime},
		{"run_cpu_time", l.RunCPUTime, 0},
		{"compile_cpu_time", l.CompileCPUTime, 0},
		{"run_memory_limit", l.RunMemoryLimit, minMemory},
		{"compile_memory_limit", l.CompileMemoryLimit, minMemory},
		{"output_limit", l.OutputLimit, minOutput},
	} {
		if f.bound.Default < f.least || f.bound.Default > f.bound.Max {
			return fmt.Errorf("limits.%s: default %d is not between %d and max %d", f.name, f.bound.Default, f.least, f.bound.Max)
		}
	}
	return nil
}

// physicalMemory is the machine's memory in bytes.
func physicalMemory() int64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		panic("apid: internal error: sysinfo: " + err.Error()) // it has nothing to fail at
	}
	return int64(info.Totalram) * int64(info.Unit)
}
