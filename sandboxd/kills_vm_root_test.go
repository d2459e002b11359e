//go:build testvm

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/wire"
)

// kill -9 of a sandboxd and an apid that are processes of their own, the programs that $SANDBOXD and $APID name, on cgroup v2. TestRandomKills of apid/e2e is
// the large one, on the cgroups of the machine it runs on.

// killed is a pair of daemons that are killed and started again. Of its testDaemon all is used that asks over the socket.
type killed struct {
	testDaemon
	sandboxd, apid process
	state, key     string // of apid: its folder, a key
}

// process is one of the two.
type process struct {
	command *exec.Cmd
	ended   chan error
}

// networksReady is how many network namespaces wait for a jail.
const networksReady = 2

// Killed at random moments while jobs run, by themselves or by way of a process that they need, they leave nothing to the next, which find each session.
func TestKills(t *testing.T) {
	k := newKilled(t)
	before := guest(t, k.state)
	k.serve()
	k.serveAPI()
	k.await("a first request", func() error {
		_, err := k.execute("witness", "echo kept >f", map[string]string{"V": "of witness"})
		return err
	})
	stop := k.load()
	victims := slices.Repeat([]string{"sandboxd", "apid", "spawner", "PID 1", "runner"}, 4)
	rand.Shuffle(len(victims), func(i, j int) { victims[i], victims[j] = victims[j], victims[i] })
	for _, victim := range victims {
		time.Sleep(time.Duration(rand.IntN(500)) * time.Millisecond)
		k.kill(victim)
		k.await("a request in a session after the kill of "+victim, func() error {
			stdout, err := k.execute("witness", `cat f; echo "$V"`, nil)
			if err == nil && stdout != "kept\nof witness\n" {
				t.Fatalf("after the kill of %s the session is not what it was: %q", victim, stdout)
			}
			return err
		})
	}
	stop()
	for _, id := range []string{"witness", "counter"} {
		k.await("the session "+id+" is deleted", func() error {
			_, err := k.ask(http.MethodDelete, "/v1/sessions/"+id, nil)
			return err
		})
	}
	k.end(&k.apid, "apid")
	k.wantSettled()
	k.wantNetworks()
	k.end(&k.sandboxd, "sandboxd")
	var after []string
	k.await("nothing is left", func() error {
		if after = guest(t, k.state); !slices.Equal(after, before) {
			return fmt.Errorf("there is\n%s\nwant\n%s", strings.Join(after, "\n"), strings.Join(before, "\n"))
		}
		return nil
	})
}

func newKilled(t *testing.T) *killed {
	t.Helper()
	toy, err := toyRuntime()
	if err != nil {
		t.Fatal(err)
	}
	k := &killed{}
	k.t, k.config = t, defaultConfig()
	k.config.Image, k.config.CgroupParent = busyboxImage(t), "runtools-kills"
	k.config.Socket = filepath.Join(t.TempDir(), "s.sock")
	k.client = &wire.Client{Path: k.config.Socket}
	k.state = t.TempDir()
	if err := errors.Join(
		os.WriteFile(filepath.Join(k.config.Image, "rootfs/bin/toy"), toy, 0o755),
		os.WriteFile(filepath.Join(k.config.Image, "image.json"), []byte(`{"digest": "test", "languages": {"toy": {"version": "1"}}}`), 0o644),
		os.WriteFile(filepath.Join(k.config.Image, "languages/toy/lang.json"), []byte(`{"name": "toy", "extensions": [".sh"], "main": "main.sh",
			"run": {"template": "run", "argv": ["/bin/sh", "{main}"]}}`), 0o644),
		os.WriteFile(filepath.Join(k.config.Image, "languages/toy/jail.json"), fmt.Appendf(nil, `{"templates": {"run": %s}}`, parkedToy), 0o644),
		os.WriteFile(k.settings(), fmt.Appendf(nil, "networks = %d\nselftest_every = \"0\"\ndrain = \"1s\"\n", networksReady), 0o644),
	); err != nil {
		t.Fatal(err)
	}
	key, err := exec.Command(os.Getenv("APID"), "keys", "create", "-name", "kills", "-file", k.keys()).Output()
	if err != nil {
		t.Fatalf("$APID keys create: %v", err)
	}
	k.key = strings.TrimSpace(string(key))
	t.Cleanup(func() {
		for _, p := range []*process{&k.apid, &k.sandboxd} {
			if p.command != nil {
				p.command.Process.Kill()
				<-p.ended
			}
		}
	})
	return k
}

func (k *killed) settings() string { return filepath.Join(k.config.Image, "sandboxd.toml") }

func (k *killed) keys() string { return filepath.Join(k.config.Image, "keys") }

// serve starts sandboxd, and waits until it answers.
func (k *killed) serve() {
	k.t.Helper()
	k.sandboxd = k.begin("SANDBOXD", "-config", k.settings(), "-socket", k.config.Socket, "-user", "0", "-image", k.config.Image,
		"-profiles", "../seccomp-profiles", "-cgroup-parent", k.config.CgroupParent, "-first-uid", strconv.Itoa(attackedUIDs))
	k.await("sandboxd serves", func() error {
		_, err := k.client.Status(k.t.Context(), &wire.StatusRequest{})
		return err
	})
}

// apidAddress is of a guest that nobody else uses.
const apidAddress = "127.0.0.1:8080"

func (k *killed) serveAPI() {
	k.t.Helper()
	k.apid = k.begin("APID", "-listen", apidAddress, "-metrics", "off", "-socket", k.config.Socket, "-image", k.config.Image, "-keys", k.keys(), "-state", k.state)
	k.await("apid serves", func() error {
		_, err := k.ask(http.MethodGet, "/healthz", nil)
		return err
	})
}

func (k *killed) begin(program string, args ...string) process {
	k.t.Helper()
	p := process{command: exec.Command(os.Getenv(program), args...), ended: make(chan error, 1)}
	p.command.Stdout, p.command.Stderr = k.t.Output(), k.t.Output()
	if err := p.command.Start(); err != nil {
		k.t.Fatalf("$%s: %v", program, err)
	}
	go func() { p.ended <- p.command.Wait() }()
	return p
}

// end is SIGTERM, and what comes of it must be success.
func (k *killed) end(p *process, name string) {
	k.t.Helper()
	p.command.Process.Signal(unix.SIGTERM)
	if err := <-p.ended; err != nil {
		k.t.Errorf("%s after SIGTERM: %v", name, err)
	}
	p.command = nil
}

// ask sends one request to apid. An answer that is no success is an error.
func (k *killed) ask(method, path string, body any) ([]byte, error) {
	content, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequest(method, "http://"+apidAddress+path, bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	request.Close = true
	request.Header.Set("Authorization", "Bearer "+k.key)
	request.Header.Set("Content-Type", "application/json")
	response, err := (&http.Client{Timeout: hang}).Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode >= 300 {
		err = fmt.Errorf("%s: %s", response.Status, answer)
	}
	return answer, err
}

// execute runs a program in a session, whose environment env becomes a part of.
func (k *killed) execute(session, code string, env map[string]string) (stdout string, err error) {
	answer, err := k.ask(http.MethodPost, "/v1/execute", map[string]any{"language": "toy", "code": code, "session_id": session, "env": env})
	if err != nil {
		return "", err
	}
	var ran struct {
		Run struct{ Status, Stdout string }
	}
	if err := json.Unmarshal(answer, &ran); err != nil {
		return "", err
	}
	if ran.Run.Status != "OK" { // we killed it
		return "", fmt.Errorf("the program ended as %s", answer)
	}
	return ran.Run.Stdout, nil
}

func (k *killed) kill(victim string) {
	k.t.Helper()
	switch victim {
	case "apid":
		k.apid.command.Process.Kill()
		<-k.apid.ended
		k.serveAPI()
		return
	case "sandboxd":
		k.sandboxd.command.Process.Kill()
	default:
		k.await("a "+victim+" is there and killed", func() error {
			pids := k.pids(victim)
			if len(pids) == 0 {
				return errors.New("there is none")
			}
			return unix.Kill(pids[rand.IntN(len(pids))], unix.SIGKILL)
		})
	}
	if victim != "sandboxd" && victim != "spawner" {
		return
	}
	select {
	case <-k.sandboxd.ended: // without its spawner it can make no jail, and says so by its end
	case <-time.After(hang):
		k.t.Fatal("sandboxd goes on without its " + victim)
	}
	// Nobody has to sweep processes: the kernel ends them.
	k.await("the jails end with sandboxd", func() error {
		if pids := append(append(k.pids("spawner"), k.pids("PID 1")...), k.pids("runner")...); len(pids) > 0 {
			return fmt.Errorf("processes %v are left", pids)
		}
		return nil
	})
	k.serve()
}

// pids are of one kind: the "spawner", every "PID 1", or the "runner" of every jail and what that started.
func (k *killed) pids(kind string) (pids []int) {
	folder := "init"
	if kind == "runner" {
		folder = "job-*"
	}
	files, _ := filepath.Glob(filepath.Join("/sys/fs/cgroup", k.config.CgroupParent, folder, "cgroup.procs"))
	for _, file := range files {
		content, _ := os.ReadFile(file) // the jail may have ended
		for word := range strings.FieldsSeq(string(content)) {
			status, _ := os.ReadFile("/proc/" + word + "/status")
			_, numbers, _ := strings.Cut(string(status), "\nNSpid:")
			numbers, _, _ = strings.Cut(numbers, "\n")
			depth := len(strings.Fields(numbers)) // 0: it has ended
			if pid, err := strconv.Atoi(word); err == nil && (depth == 1 && kind == "spawner" || depth > 1 && kind != "spawner") {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// load begins callers whose jobs may be cut off; what it returns ends it. An answer that came is right.
func (k *killed) load() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var callers sync.WaitGroup
	good := map[string]int{}
	var mu sync.Mutex
	caller := func(name string, once func() bool) {
		callers.Go(func() {
			for ctx.Err() == nil {
				if once() {
					mu.Lock()
					good[name]++
					mu.Unlock()
				} else {
					time.Sleep(100 * time.Millisecond)
				}
			}
		})
	}
	count, unknown := 0, 0 // what the session has counted to at least, and the requests since then that were not answered
	caller("counter", func() bool {
		stdout, err := k.execute("counter", "v=0; [ ! -e n ] || read v <n || exit 9; v=$((v + 1)); echo $v >new && mv new n && echo $v", nil)
		if err != nil {
			unknown++
			return false
		}
		now, err := strconv.Atoi(strings.TrimSpace(stdout))
		if err != nil || now <= count || now > count+unknown+1 {
			k.t.Errorf("the session had counted to %d, and %d requests were not answered; now it says %q", count, unknown, stdout)
		}
		count, unknown = now, 0
		return true
	})
	caller("stragglers", func() bool {
		return k.run("setsid sleep 1000 & trap '' TERM HUP; head -c 100000 /dev/zero >f; echo x", nil).stdout == "x\n"
	})
	caller("parked", func() bool { return k.run("", toyJob("exit", "7")).stdout == "buffered handler " })
	return func() {
		cancel()
		callers.Wait()
		k.t.Logf("carried out: %v", good)
		for _, name := range []string{"counter", "stragglers", "parked"} {
			if good[name] < 3 {
				k.t.Errorf("%s: only %d jobs were carried out", name, good[name])
			}
		}
	}
}

// wantNetworks fails if processes of the guest hold more network namespaces than its jails have, those that wait for one, the one that is being made, and the guest's.
func (k *killed) wantNetworks() {
	k.t.Helper()
	k.await("network namespaces are gone", func() error {
		st, err := k.client.Status(k.t.Context(), &wire.StatusRequest{})
		if err != nil {
			return err
		}
		held := map[string]bool{}
		places, _ := filepath.Glob("/proc/[0-9]*/task/*/ns/net")
		files, _ := filepath.Glob("/proc/[0-9]*/fd/*")
		for _, place := range append(places, files...) {
			if to, err := os.Readlink(place); err == nil && strings.HasPrefix(to, "net:[") {
				held[to] = true
			}
		}
		if most := st.LiveJails + networksReady + 2; len(held) < st.LiveJails || len(held) > most {
			return fmt.Errorf("%d network namespaces, of %d jails, at most %d are accounted for", len(held), st.LiveJails, most)
		}
		return nil
	})
}

// guest is what is there in the whole machine, which nobody else uses: processes, mounts, cgroups, and files where daemons leave such, but for the journal of apid.
func guest(t *testing.T, journal string) (all []string) {
	t.Helper()
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		name, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest) // from the state on
		if err != nil || len(fields) < 2 || fields[1] == "2" {
			continue // it has ended, or is the kernel's
		}
		_, name, _ = strings.Cut(name, "(")
		all = append(all, "process "+name)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		all = append(all, "mount "+fields[4]+" of "+fields[3])
	}
	for kind, root := range map[string]string{"cgroup": "/sys/fs/cgroup", "file": "/run", "temporary file": os.TempDir(), "shared memory": "/dev/shm"} {
		if err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && (kind != "cgroup" || d.IsDir()) && filepath.Ext(path) != ".lock" && filepath.Dir(path) != journal { // locks stay: daemon.lock
				all = append(all, kind+" "+path)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(all)
	return all
}

// await asks until there is no error.
func (k *killed) await(what string, check func() error) {
	k.t.Helper()
	var err error
	for start := time.Now(); time.Since(start) < hang; time.Sleep(50 * time.Millisecond) { // emulation is slow, and asking takes of it
		if err = check(); err == nil {
			return
		}
	}
	k.t.Fatalf("%s: not within %v: %v", what, hang, err)
}
