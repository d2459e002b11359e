package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/lang"
	"github.com/runtools/runtools/pkg/wire"
)

// parallelAttacks run at a time: with the memory that each may use this is what a small machine can bear.
const parallelAttacks = 4

func TestAttacks(t *testing.T) {
	paths, err := filepath.Glob("testdata/attack/*.txtar")
	if err != nil || len(paths) < 100 { // what the project set itself
		t.Fatalf("%d attacks, %v; want a hundred at least", len(paths), err)
	}
	secret := plantSecret(t)
	var all, again []*attack
	for _, path := range paths {
		a, err := readAttack(path, secret)
		if err != nil {
			t.Error(err)
			continue
		}
		all = append(all, a)
		if a.mayBeParked() {
			again = append(again, a)
		}
	}
	t.Run("parked", func(t *testing.T) { attackAll(t, all, secret, true) })
	// What has no runner is the same twice.
	t.Run("cold", func(t *testing.T) { attackAll(t, again, secret, false) })
}

func readAttack(path string, p planted) (*attack, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseAttack(path, []byte(p.words().Replace(string(data))))
}

// mayBeParked tells whether a program of the attack may meet a runtime that was loaded before, and may not.
func (a *attack) mayBeParked() bool {
	for _, p := range a.programs {
		if !a.parked && !slices.Contains([]string{"c", "cpp", "go", "rust", "sh"}, p.language) {
			return true
		}
	}
	return false
}

func attackAll(t *testing.T, attacks []*attack, secret planted, parked bool) {
	header, err := os.ReadFile("testdata/attack/attack.h")
	if err != nil {
		t.Fatal(err)
	}
	td := startAttacked(t, parked, secret.socket)
	languages, err := lang.Load(realImage(t))
	if err != nil {
		t.Fatal(err)
	}
	image := fingerprint(t, td)
	stop := td.watchMemory()
	turns := make(chan struct{}, parallelAttacks)
	var first sync.Mutex // one at a time waits for more than one turn
	takeTurns := func(n int) (giveBack func()) {
		first.Lock()
		defer first.Unlock()
		for range n {
			turns <- struct{}{}
		}
		return func() {
			for range n {
				<-turns
			}
		}
	}
	t.Run("all", func(t *testing.T) {
		for _, a := range attacks {
			t.Run(a.name, func(t *testing.T) {
				t.Parallel()
				n := 1
				if a.alone {
					n = parallelAttacks
				}
				defer takeTurns(n)()
				r := attackRun{td: td, t: t, a: a, header: string(header), languages: languages, planted: secret}
				r.run()
			})
		}
		for language := range keptSources {
			if !parked {
				break
			}
			t.Run("kept compiler of "+language, func(t *testing.T) {
				t.Parallel()
				defer takeTurns(1)()
				attackKept(t, td, languages, secret, language, slices.DeleteFunc(slices.Clone(attacks), func(a *attack) bool { return !strings.HasPrefix(a.name, "compile-"+language+"-") }))
			})
		}
	})
	stop()
	td.wantSettled()
	if parked {
		td.wantRunnersClean(t, secret.secret)
	}
	if after := fingerprint(t, td); after != image {
		t.Error("the image changed")
	}
}

func realImage(t *testing.T) string {
	t.Helper()
	state := os.Getenv("RUNTOOLS_STATE")
	if state == "" {
		state = "/var/lib/runtools"
	}
	real, err := filepath.EvalSymlinks(filepath.Join(state, "current"))
	if err != nil {
		t.Fatalf("no image: build one with `make rootfs`: %v", err)
	}
	return real
}

// startAttacked starts a daemon on the real image with small pools, with or without parked runtimes, and a range of ids that no other daemon of the machine uses.
func startAttacked(t *testing.T, parked bool, socket string) *testDaemon {
	t.Helper()
	real := realImage(t)
	// The daemon reads templates from the folder that it is told, and follows the link to rootfs.
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(real, "rootfs"), filepath.Join(dir, "rootfs")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "image.json"), []byte(`{}`), 0o644); err != nil {
		t.Fatal(err)
	}
	languages, err := filepath.Glob(filepath.Join(real, "languages", "*", "jail.json"))
	if err != nil || len(languages) == 0 {
		t.Fatal("the image has no languages", err)
	}
	for _, path := range languages {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var file struct {
			Templates map[string]map[string]any `json:"templates"`
		}
		if err := json.Unmarshal(data, &file); err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(filepath.Dir(path))
		for _, spec := range file.Templates {
			switch {
			case name == "c" || name == "bash" || name == "python":
				spec["pool"] = parallelAttacks
			case parked && spec["parked"] != nil:
				spec["pool"] = 1
			default:
				spec["pool"] = 0
			}
		}
		if data, err = json.Marshal(file); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(dir, "languages", name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "languages", name, "jail.json"), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return startDaemon(t, func(c *config) {
		c.Image, c.FirstUID, c.Packages, c.Parked = dir, uint32(attackedUIDs), carelessPackages(t), parked
		c.Networks, c.CompilerJobs = 8, 8 // of jobs that have an owner: see attackKept
		c.Socket = socket
	})
}

// carelessPackages is a mirror that its operator has filled with what should not be there.
func carelessPackages(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	id, err := os.ReadFile("/usr/bin/id")
	if err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{"file": 0o666, "setuid": 0o755 | os.ModeSetuid | os.ModeSetgid} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, id, 0o755), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink("/proc/1/root/etc/shadow", filepath.Join(dir, "link")), os.Mkdir(filepath.Join(dir, "open"), 0o777), os.Chmod(filepath.Join(dir, "open"), 0o777), os.Chmod(dir, 0o777),
		unix.Mknod(filepath.Join(dir, "kmsg"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 11))), os.Chmod(filepath.Join(dir, "kmsg"), 0o666)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// attackedUIDs is far from the default first_uid and another for each run, so that processes of these jails are known by their uid: room
// for 128 jails in each of 128 ranges.
var attackedUIDs = 0x20000000 + os.Getpid()%128*128*idsPerJail

// fingerprint reads files of the image that are used by every jail.
func fingerprint(t *testing.T, td *testDaemon) (sum [sha256.Size]byte) {
	t.Helper()
	h := sha256.New()
	for _, name := range []string{"usr/bin/gcc-13", "usr/bin/bash", "usr/bin/python3.12", "usr/bin/python3", "etc/passwd", "etc/hosts",
		"usr/lib/x86_64-linux-gnu/libc.so.6"} {
		path := filepath.Join(td.config.Image, "rootfs", name)
		f, err := os.Open(path)
		if err != nil {
			continue // not in every base
		}
		st, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(h, name, st.ModTime().UnixNano(), st.Mode(), st.Size())
		if _, err := io.Copy(h, f); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	copy(sum[:], h.Sum(nil))
	return sum
}

// watchMemory fails the test if the machine itself comes near the end of its memory.
func (td *testDaemon) watchMemory() (stop func()) {
	available := func() int64 {
		data, err := os.ReadFile("/proc/meminfo")
		if err != nil {
			td.t.Error(err)
			return 0
		}
		for line := range strings.Lines(string(data)) {
			if fields := strings.Fields(line); fields[0] == "MemAvailable:" {
				kb, _ := strconv.ParseInt(fields[1], 10, 64)
				return kb << 10
			}
		}
		return 0
	}
	start := available()
	var lowest atomic.Int64
	lowest.Store(start)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			case <-time.After(50 * time.Millisecond):
				lowest.Store(min(lowest.Load(), available()))
			}
		}
	}()
	return func() {
		close(done)
		<-ended
		// Every job together may use this much. The rest is for others on the machine: other tests run beside these.
		allowed := parallelAttacks*2*(128<<20) + 2<<30 + start/2
		if used := start - lowest.Load(); used > allowed {
			td.t.Errorf("the machine's free memory fell by %d MiB", used>>20)
		}
	}
}

// wantSettled waits until nothing but the pools is left: jails, volumes, leaves of the cgroup tree, processes.
func (td *testDaemon) wantSettled() {
	td.t.Helper()
	var problem string
	for deadline := time.Now().Add(hang); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if problem = td.leftover(); problem == "" {
			return
		}
	}
	td.t.Error("left after all attacks: " + problem)
}

func (td *testDaemon) leftover() string {
	st, err := td.client.Status(context.Background(), &wire.StatusRequest{})
	if err != nil {
		return err.Error()
	}
	ready, processes := 0, 0 // of each parked jail PID 1 and a runner, or two where a program may follow
	for _, p := range st.Templates {
		if p.Ready != p.Size {
			return fmt.Sprintf("pool %s has %d of %d jails", p.Name, p.Ready, p.Size)
		}
		ready += p.Ready
		processes += 2 * p.Ready
		if td.d != nil && td.d.server.pools.all[p.Name].template.spec.Then != "" { // nil: another process, without such a template
			processes += p.Ready
		}
	}
	if st.Jobs != 0 || st.LiveJails != ready || st.Volumes != ready {
		return fmt.Sprintf("%+v, want %d jails and volumes", *st, ready)
	}
	leaves, _ := filepath.Glob("/sys/fs/cgroup/memory/" + td.config.CgroupParent + "/job-*")
	more, _ := filepath.Glob("/sys/fs/cgroup/" + td.config.CgroupParent + "/job-*")
	if n := len(leaves) + len(more); n != ready {
		return fmt.Sprintf("%d leaves of the cgroup tree, want %d", n, ready)
	}
	live, dead := td.jailProcesses()
	if live != processes || dead != 0 {
		return fmt.Sprintf("%d processes and %d zombies with uids of jails, want %d and none", live, dead, processes)
	}
	return ""
}

func (td *testDaemon) jailProcesses() (live, dead int) {
	statuses, _ := filepath.Glob("/proc/[0-9]*/status")
	for _, path := range statuses {
		data, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		_, after, _ := strings.Cut(string(data), "\nUid:\t")
		uid, _ := strconv.Atoi(strings.Fields(after + " 0")[0])
		if uid < attackedUIDs || uid >= attackedUIDs+td.config.MaxJails*idsPerJail {
			continue
		}
		if bytes.Contains(data, []byte("\nState:\tZ")) {
			dead++
		} else {
			live++
		}
	}
	return live, dead
}
