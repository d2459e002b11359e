// Package sdk holds no Go code: only the tests that use the SDKs of its folders, and pkg/client, as their callers do, against a
// server that `scripts/run` serves: packed, installed into an empty project, type-checked, run.
//
// It needs root, an image (`make rootfs`), node, npm and python3 of the host, and what `make sdk` installs. The host's, because the image has
// no npm, and because those of Debian 12, node 18 and Python 3.11, are nearly the oldest that the SDKs promise to work with.
package sdk

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	key = "rt_live_of_the_sdk_tests"
	// hang bounds every wait. It is long, because the machine may be busy.
	hang = 5 * time.Minute
)

var (
	repository string // its root
	url        string // of the server
)

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	stop, err := serve()
	if err != nil {
		fmt.Fprintf(os.Stderr, "sdk: %v\n", err)
		return 1
	}
	code := m.Run()
	if err := stop(); err != nil {
		fmt.Fprintf(os.Stderr, "sdk: stop the server: %v\n", err)
		return 1
	}
	return code
}

// serve starts a server of our own, beside one that may run on this machine: its name is that of its state folder.
func serve() (stop func() error, err error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("want root: the server makes namespaces and cgroups")
	}
	if repository, err = filepath.Abs(".."); err != nil {
		return nil, err
	}
	image := os.Getenv("RUNTOOLS_STATE")
	if image == "" {
		image = "/var/lib/runtools"
	}
	if image, err = filepath.EvalSymlinks(filepath.Join(image, "current")); err != nil {
		return nil, fmt.Errorf("no image: build one with `make rootfs`: %w", err)
	}
	if out, err := command(repository, "make", "--no-print-directory", "binaries").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("make binaries: %w\n%s", err, out)
	}
	state := filepath.Join(repository, "bin", "sdk-state")
	if err := os.MkdirAll(state, 0o755); err != nil {
		return nil, err
	}
	current := filepath.Join(state, "current")
	if err := os.Remove(current); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := os.Symlink(image, current); err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	url = "http://" + address
	server := command(repository, "scripts/run")
	server.Env = append(os.Environ(), "RUNTOOLS_STATE="+state, "RUNTOOLS_LISTEN="+address, "RUNTOOLS_DEV_KEY="+key)
	var log bytes.Buffer
	server.Stdout, server.Stderr = &log, &log
	// If the tests are killed the server ends as well.
	server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := server.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }()
	if err := waitReady(ended); err != nil {
		server.Process.Signal(syscall.SIGTERM)
		return nil, fmt.Errorf("%w\n%s", err, log.String())
	}
	return func() error {
		server.Process.Signal(syscall.SIGTERM)
		select {
		case err := <-ended:
			return err
		case <-time.After(hang):
			return errors.New("it does not end")
		}
	}, nil
}

// freeAddress is of a port that the kernel gives to no outgoing connection meanwhile (ip_local_port_range).
func freeAddress() (string, error) {
	for {
		l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", 10_000+rand.IntN(20_000)))
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return "", err
		}
		defer l.Close()
		return l.Addr().String(), nil
	}
}

func waitReady(ended chan error) error {
	for deadline := time.Now().Add(hang); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		select {
		case err := <-ended:
			return fmt.Errorf("the server ended: %w", err)
		default:
		}
		answer, err := http.Get(url + "/readyz")
		if err != nil {
			continue
		}
		answer.Body.Close()
		if answer.StatusCode == http.StatusOK {
			return nil
		}
	}
	return errors.New("the server is not ready")
}

func command(dir, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "RUNTOOLS_URL="+url, "RUNTOOLS_API_KEY="+key, "PYTHONPATH="+filepath.Join(repository, "sdk/python"),
		"PYTHONDONTWRITEBYTECODE=1")
	return cmd
}

// run runs a command to its success and returns its output.
func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := command(dir, name, args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	kill := time.AfterFunc(hang, func() { cmd.Process.Kill() })
	defer kill.Stop()
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %v: %v\n%s%s", name, args, err, out.String(), errOut.String())
	}
	return out.String()
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// blocks joins what stands in a document's blocks of code of one language: they are one program, in parts.
func blocks(t *testing.T, document, language string) string {
	t.Helper()
	var program strings.Builder
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(read(t, document), -1) {
		program.WriteString(m[1])
	}
	if program.Len() == 0 {
		t.Fatalf("%s has no examples", document)
	}
	return program.String()
}

func wantOutput(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("printed\n%s\nwant\n%s", got, want)
	}
}

// The references are what their generators write today.
func TestReferences(t *testing.T) {
	for document, generator := range map[string][]string{
		"typescript.md": {"node", "typescript/scripts/reference.mjs"},
		"python.md":     {"python3", "python/reference.py"},
	} {
		if run(t, ".", generator[0], generator[1]) != read(t, filepath.Join("../docs/sdk", document)) {
			t.Errorf("docs/sdk/%s is not what %s writes: run `make docs`", document, generator[1])
		}
	}
}
