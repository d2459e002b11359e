//go:build testvm

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
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

// kill -9 of a sandboxd that is a process of its own, the program that $SANDBOXD names, on cgroup v2. TestRandomKills of apid/e2e is the large one, with
// apid, on the cgroups of the machine it runs on.

// killed is a sandboxd that is killed and started again. Of its testDaemon all is used that asks over the socket.
type killed struct {
	testDaemon
	command *exec.Cmd
	ended   chan error
}

// networksReady is how many network namespaces wait for a jail.
const networksReady = 2

// Killed at random moments while jobs run, by itself or by way of a process that it needs, it leaves nothing to the next, which finds each session.
func TestKills(t *testing.T) {
	k := newKilled(t)
	before := guest(t)
	k.serve()
	if r := k.run("echo 0 >n; echo kept >f", inWorkspace(wire.Volume{ID: "counter", New: true})); r.err != nil {
		t.Fatal(r.err)
	}
	stop := k.load()
	victims := []string{"sandboxd", "spawner", "PID 1", "sandboxd", "runner"}
	rand.Shuffle(len(victims), func(i, j int) { victims[i], victims[j] = victims[j], victims[i] })
	for _, victim := range victims {
		time.Sleep(time.Duration(rand.IntN(500)) * time.Millisecond)
		k.kill(victim)
		k.await("a job in a session after the kill of "+victim, func() error {
			r := k.run("cat f", inWorkspace(wire.Volume{ID: "counter"}))
			if r.err == nil && r.stdout != "kept\n" {
				t.Fatalf("after the kill of %s the session is not what it was: %q %+v", victim, r.stdout, r.Result)
			}
			return r.err // the session may be in use
		})
	}
	stop()
	if err := k.client.Forget(t.Context(), "counter"); err != nil {
		t.Error(err)
	}
	k.wantSettled()
	k.wantNetworks()
	k.end()
	var after []string
	k.await("nothing is left", func() error {
		if after = guest(t); !slices.Equal(after, before) {
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
	if err := errors.Join(
		os.WriteFile(filepath.Join(k.config.Image, "rootfs/bin/toy"), toy, 0o755),
		os.WriteFile(filepath.Join(k.config.Image, "languages/toy/jail.json"), fmt.Appendf(nil, `{"templates": {"run": %s}}`, parkedToy), 0o644),
		os.WriteFile(k.settings(), fmt.Appendf(nil, "networks = %d\nselftest_every = \"0\"\ndrain = \"1s\"\n", networksReady), 0o644),
	); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if k.command != nil {
			k.command.Process.Kill()
			<-k.ended
		}
	})
	return k
}

func (k *killed) settings() string { return filepath.Join(k.config.Image, "sandboxd.toml") }

// serve starts it, and waits until it answers.
func (k *killed) serve() {
	k.t.Helper()
	command := exec.Command(os.Getenv("SANDBOXD"), "-config", k.settings(), "-socket", k.config.Socket, "-user", "0", "-image", k.config.Image,
		"-profiles", "../seccomp-profiles", "-cgroup-parent", k.config.CgroupParent, "-first-uid", strconv.Itoa(attackedUIDs))
	command.Stdout, command.Stderr = k.t.Output(), k.t.Output()
	if err := command.Start(); err != nil {
		k.t.Fatalf("$SANDBOXD: %v", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	k.command, k.ended = command, ended
	k.await("sandboxd serves", func() error {
		_, err := k.client.Status(k.t.Context(), &wire.StatusRequest{})
		return err
	})
}

// end is SIGTERM, and what comes of it must be success.
func (k *killed) end() {
	k.t.Helper()
	k.command.Process.Signal(unix.SIGTERM)
	if err := <-k.ended; err != nil {
		k.t.Errorf("sandboxd after SIGTERM: %v", err)
	}
	k.command = nil
}

func (k *killed) kill(victim string) {
	k.t.Helper()
	if victim == "sandboxd" {
		k.command.Process.Kill()
	} else {
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
	case <-k.ended: // without its spawner it can make no jail, and says so by its end
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
	count, unknown := 0, 0 // what the session has counted to at least, and the jobs since then that were not answered
	caller("counter", func() bool {
		r := k.run("read v <n && v=$((v + 1)) && echo $v >new && mv new n && echo $v", inWorkspace(wire.Volume{ID: "counter"}))
		now, err := strconv.Atoi(strings.TrimSpace(r.stdout))
		if r.err != nil || r.Signal != 0 || err != nil && r.Code > 128 {
			unknown++
			return false
		}
		if err != nil || now <= count || now > count+unknown+1 {
			k.t.Errorf("the session had counted to %d, and %d jobs were not answered; now it says %q %+v", count, unknown, r.stdout, r.Result)
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

// guest is what is there in the whole machine, which nobody else uses: processes, mounts, cgroups, and files where daemons leave such.
func guest(t *testing.T) (all []string) {
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
			if err == nil && (kind != "cgroup" || d.IsDir()) && filepath.Ext(path) != ".lock" { // locks stay: daemon.lock
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
