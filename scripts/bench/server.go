package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/runtools/runtools/pkg/wire"
)

const (
	benchKey = "rt_live_benchmark_of_this_machine_only"
	apidUID  = 65533 // nobody else's: apid runs as it
)

// server is a pair of daemons of our own.
type server struct {
	pair
	dir      string
	addr     string
	cgroup   string // of the jails
	daemons  string // cgroup of sandboxd and the spawner, so that their CPU can be told
	sandboxd *exec.Cmd
	apid     *exec.Cmd
	client   *fasthttp.HostClient
	wire     *wire.Client
}

// pair says how a pair of daemons differs from another.
type pair struct {
	name     string
	bin      string // folder of the binaries
	image    string
	settings string // lines of sandboxd.toml
	firstUID uint32
}

func startServer(ctx context.Context, p pair) (s *server, err error) {
	dir, err := os.MkdirTemp("", "runtools-bench-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := listener.Addr().String()
	listener.Close()
	name := fmt.Sprintf("runtools-bench-%d-%s", os.Getpid(), p.name)
	s = &server{
		pair: p, dir: dir, addr: addr, cgroup: name, daemons: name + "-daemons",
		client: &fasthttp.HostClient{Addr: addr, MaxConns: 4096, ReadTimeout: 5 * time.Minute},
		wire:   &wire.Client{Path: filepath.Join(dir, "sandboxd.sock")},
	}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	keys := filepath.Join(dir, "keys")
	create := exec.Command(filepath.Join(p.bin, "apid"), "keys", "create", "-name", "bench", "-key", benchKey, "-file", keys)
	if out, err := create.CombinedOutput(); err != nil {
		return s, fmt.Errorf("make key: %w: %s", err, out)
	}
	if err := os.Chmod(keys, 0o644); err != nil {
		return s, err
	}
	sessions := filepath.Join(dir, "sessions")
	if err := errors.Join(os.Mkdir(sessions, 0o700), os.Chown(sessions, apidUID, apidUID)); err != nil {
		return s, err
	}
	image := filepath.Join(dir, "image")
	if err := extendImage(p.image, image); err != nil {
		return s, err
	}
	if err := s.startSandboxd(ctx, image); err != nil {
		return s, err
	}
	config := filepath.Join(dir, "apid.toml")
	if err := os.WriteFile(config, []byte(apidSettings), 0o644); err != nil {
		return s, err
	}
	if s.apid, err = s.start(apidUID, "apid", "-config", config, "-listen", addr, "-metrics", "off", "-socket", s.wire.Path, "-image", p.image,
		"-keys", keys, "-state", sessions); err != nil {
		return s, err
	}
	ready := func() bool {
		code, _, err := fasthttp.Get(nil, "http://"+addr+"/readyz")
		return err == nil && code == 200
	}
	if err := waitFor(ctx, ready); err != nil {
		return s, fmt.Errorf("apid %s did not start: %w: %s", s.name, err, s.lastWords("apid"))
	}
	return s, nil
}

// apidSettings: sections make more sessions, and have more requests waiting, than one key may by default.
const apidSettings = `[log]
level = "warn"
[queue]
depth = 4096
per_key = 4096
[sessions]
max = 200000
max_per_key = 200000
`

// emptyPool is a template of bench's own that never has a jail ready: each of its jobs is a miss.
const emptyPool = "bench/empty"

// extendImage makes a folder that is the image with emptyPool added.
func extendImage(image, to string) error {
	image, err := filepath.EvalSymlinks(image)
	if err != nil {
		return err
	}
	languages := filepath.Join(to, "languages")
	if err := os.MkdirAll(filepath.Join(languages, "bench"), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(languages, "bench/jail.json"), []byte(`{"templates": {"empty": {"seccomp": "base", "pool": 0}}}`), 0o644); err != nil {
		return err
	}
	folders, err := filepath.Glob(filepath.Join(image, "languages/*"))
	if err != nil {
		return err
	}
	for _, folder := range folders {
		if err := os.Symlink(folder, filepath.Join(languages, filepath.Base(folder))); err != nil {
			return err
		}
	}
	for _, name := range []string{"rootfs", "image.json"} {
		if err := os.Symlink(filepath.Join(image, name), filepath.Join(to, name)); err != nil {
			return err
		}
	}
	return nil
}

// startSandboxd starts it in a cgroup of its own.
func (s *server) startSandboxd(ctx context.Context, image string) (err error) {
	config := filepath.Join(s.dir, "sandboxd.toml")
	if err := os.WriteFile(config, []byte(s.settings), 0o644); err != nil {
		return err
	}
	_, usage := cpuTrees()
	group := filepath.Join(usage, s.daemons)
	if err := os.Mkdir(group, 0o755); err != nil {
		return err
	}
	if s.sandboxd, err = s.start(0, "sandboxd", "-config", config, "-socket", s.wire.Path, "-image", image, "-profiles", "seccomp-profiles",
		"-cgroup-parent", s.cgroup, "-user", fmt.Sprint(apidUID), "-first-uid", fmt.Sprint(s.firstUID)); err != nil {
		return err
	}
	if err := moveTo(group, s.sandboxd.Process.Pid); err != nil {
		return err
	}
	if err := waitFor(ctx, func() bool { _, err := s.wire.Status(ctx, &wire.StatusRequest{}); return err == nil }); err != nil {
		return fmt.Errorf("sandboxd %s did not start: %w: %s", s.name, err, s.lastWords("sandboxd"))
	}
	return nil
}

// lastWords are the end of a daemon's log.
func (s *server) lastWords(name string) string {
	data, err := os.ReadFile(s.log(name))
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-500):])
}

func (s *server) log(name string) string { return filepath.Join(s.dir, name+".log") }

func (s *server) start(uid uint32, name string, args ...string) (*exec.Cmd, error) {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	log, err := os.Create(s.log(name))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stderr = log
	if uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	shares, _ := cpuTrees()
	return cmd, moveTo(shares, cmd.Process.Pid) // not in ours: where make run would have it
}

func waitFor(ctx context.Context, ok func() bool) error {
	for range 600 {
		if ok() {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return fmt.Errorf("not ready after 30 s")
}

func (s *server) stop() {
	for _, cmd := range []*exec.Cmd{s.apid, s.sandboxd} {
		if cmd == nil {
			continue
		}
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			fmt.Fprintf(os.Stderr, "bench: %s: %v\n", cmd.Path, err)
		}
	}
	if out, err := exec.Command(filepath.Join(s.pair.bin, "sandboxd"), "forget", "-socket", s.wire.Path).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "bench: sandboxd forget: %v: %s\n", err, out)
	}
	_, usage := cpuTrees()
	if err := removeGroup(filepath.Join(usage, s.daemons)); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	os.RemoveAll(s.dir)
}

// stage is one stage of an answer.
type stage struct {
	Stdout    string  `json:"stdout"`
	Stderr    string  `json:"stderr"`
	Status    string  `json:"status"`
	TimeMS    float64 `json:"time_ms"`
	CPUTimeMS float64 `json:"cpu_time_ms"`
	Cached    bool    `json:"cached"`
}

// answer is what a section needs of an API answer.
type answer struct {
	SessionID string                    `json:"session_id"`
	Compile   *stage                    `json:"compile"`
	Run       stage                     `json:"run"`
	Error     *struct{ Message string } `json:"error"`

	took   time.Duration
	timing string // the header Server-Timing
}

// cpu is what both stages used, as the answer says.
func (a *answer) cpu() time.Duration {
	ms := a.Run.CPUTimeMS
	if a.Compile != nil && !a.Compile.Cached {
		ms += a.Compile.CPUTimeMS
	}
	return time.Duration(ms * float64(time.Millisecond))
}

// execute sends one request over a kept-alive connection.
func (s *server) execute(body any) (*answer, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	req.SetRequestURI("http://" + s.addr + "/v1/execute")
	req.Header.SetMethod("POST")
	req.Header.SetContentType("application/json")
	req.Header.Set("Authorization", "Bearer "+benchKey)
	req.SetBody(data)
	var a answer
	start := time.Now()
	err = s.client.Do(req, resp)
	a.took = time.Since(start)
	if err != nil {
		return nil, err
	}
	a.timing = string(resp.Header.Peek("Server-Timing"))
	if err := json.Unmarshal(resp.Body(), &a); err != nil {
		return nil, fmt.Errorf("status %d: %w", resp.StatusCode(), err)
	}
	if a.Error != nil {
		return nil, fmt.Errorf("status %d: %s", resp.StatusCode(), a.Error.Message)
	}
	return &a, nil
}
