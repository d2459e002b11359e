package main

import (
	"bytes"
	"context"
	"encoding/json"
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
	dir      string
	image    string
	addr     string
	cgroup   string
	sandboxd *exec.Cmd
	apid     *exec.Cmd
	client   *fasthttp.HostClient
	wire     *wire.Client
}

func startServer(ctx context.Context, image string) (s *server, err error) {
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
	s = &server{
		dir: dir, image: image, addr: addr, cgroup: fmt.Sprintf("runtools-bench-%d", os.Getpid()),
		client: &fasthttp.HostClient{Addr: addr, MaxConns: 64, ReadTimeout: time.Minute},
		wire:   &wire.Client{Path: filepath.Join(dir, "sandboxd.sock")},
	}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	keys := filepath.Join(dir, "keys")
	create := exec.Command("bin/apid", "keys", "create", "-name", "bench", "-key", benchKey, "-file", keys)
	if out, err := create.CombinedOutput(); err != nil {
		return s, fmt.Errorf("make key: %w: %s", err, out)
	}
	if err := os.Chmod(keys, 0o644); err != nil {
		return s, err
	}
	if s.sandboxd, err = s.start(0, "bin/sandboxd", "-socket", s.wire.Path, "-image", image, "-profiles", "seccomp-profiles",
		"-cgroup-parent", s.cgroup, "-user", fmt.Sprint(apidUID)); err != nil {
		return s, err
	}
	if err := waitFor(ctx, func() bool { _, err := s.wire.Status(ctx); return err == nil }); err != nil {
		return s, fmt.Errorf("sandboxd did not start, see %s: %w", s.log("sandboxd"), err)
	}
	config := filepath.Join(dir, "apid.toml")
	// The section sessions makes more than one key may have by default, at a rate no single caller would.
	if err := os.WriteFile(config, []byte("[log]\nlevel = \"warn\"\n[sessions]\nmax = 200000\nmax_per_key = 200000\n"), 0o644); err != nil {
		return s, err
	}
	if s.apid, err = s.start(apidUID, "bin/apid", "-config", config, "-listen", addr, "-metrics", "off", "-socket", s.wire.Path, "-image", image, "-keys", keys); err != nil {
		return s, err
	}
	ready := func() bool {
		code, _, err := fasthttp.Get(nil, "http://"+addr+"/readyz")
		return err == nil && code == 200
	}
	if err := waitFor(ctx, ready); err != nil {
		return s, fmt.Errorf("apid did not start, see %s: %w", s.log("apid"), err)
	}
	return s, nil
}

func (s *server) log(name string) string { return filepath.Join(s.dir, name+".log") }

func (s *server) start(uid uint32, path string, args ...string) (*exec.Cmd, error) {
	cmd := exec.Command(path, args...)
	log, err := os.Create(s.log(filepath.Base(path)))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stderr = log
	if uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	}
	return cmd, cmd.Start()
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
	os.RemoveAll(s.dir)
}

// answer is what a section needs of an API answer.
type answer struct {
	SessionID string `json:"session_id"`
	Run       struct {
		Stdout string `json:"stdout"`
		Stderr string `json:"stderr"`
		Status string `json:"status"`
	} `json:"run"`
	Error *struct{ Message string } `json:"error"`
}

// execute sends one request over a kept-alive connection.
func (s *server) execute(body any) (*answer, time.Duration, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return nil, 0, err
	}
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	req.SetRequestURI("http://" + s.addr + "/v1/execute")
	req.Header.SetMethod("POST")
	req.Header.SetContentType("application/json")
	req.Header.Set("Authorization", "Bearer "+benchKey)
	req.SetBody(data)
	start := time.Now()
	err = s.client.Do(req, resp)
	took := time.Since(start)
	if err != nil {
		return nil, 0, err
	}
	var a answer
	if err := json.NewDecoder(bytes.NewReader(resp.Body())).Decode(&a); err != nil {
		return nil, 0, fmt.Errorf("status %d: %w", resp.StatusCode(), err)
	}
	if a.Error != nil {
		return nil, 0, fmt.Errorf("status %d: %s", resp.StatusCode(), a.Error.Message)
	}
	return &a, took, nil
}
