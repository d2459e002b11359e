package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// A host in trouble: what cannot be carried out is refused in words that a caller can act on, and all is well again when the trouble is
// over, without a restart.

// The disk of apid's records is full. Sessions go on; what could not be written is made up for.
func TestDiskFull(t *testing.T) {
	s := startOwn(t, "disk", "")
	if err := s.apid.terminate(); err != nil {
		t.Fatal(err)
	}
	state := s.path("state")
	if err := syscall.Mount("state", state, "tmpfs", 0, fmt.Sprintf("size=256k,nr_inodes=100,mode=700,uid=%d,gid=%d", apidUser, apidUser)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(state, syscall.MNT_DETACH) })
	if err := s.startApid(); err != nil {
		t.Fatal(err)
	}
	in := func(id, code string) *answer {
		t.Helper()
		return s.execute(t, s.key, program("bash", code).with(request{"session_id": id}))
	}
	in("changed", "echo 1 >f; export V=1")
	in("deleted", "echo 1 >f; export V=1")
	ballast := filepath.Join(state, "ballast")
	fill(t, ballast)
	for n := range 30 {
		wantStdout(t, in("changed", fmt.Sprintf("export V=%d; echo $V >f; echo $V", n)), fmt.Sprintln(n))
	}
	wantStdout(t, in("new", "echo x; export V=new; echo y >f"), "x\n")
	s.deleteSession(t, s.key, "deleted")
	if n := strings.Count(s.apid.log.String(), "sessions are not recorded"); n != 1 {
		t.Errorf("logged %d times that sessions are not recorded:\n%s", n, s.apid.log)
	}
	if files, err := os.ReadDir(state); err != nil || len(files) > 8 {
		t.Errorf("%d files of records: %v", len(files), err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := eventually("sessions are recorded again, all of them in a new segment", func() error {
		if !strings.Contains(s.apid.log.String(), "recorded again") {
			return errors.New("not yet")
		}
		if segments, err := os.ReadDir(state); err != nil || len(segments) != 1 || segments[0].Name() == "1" {
			return fmt.Errorf("segments %v, %v", segments, err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	again := func() {
		t.Helper()
		s.apid.command.Process.Kill()
		<-s.apid.done
		if err := s.startApid(); err != nil {
			t.Fatal(err)
		}
	}
	again()
	for id, want := range map[string]string{"changed": "29 29\n", "new": "y new\n", "deleted": "none none\n"} {
		wantStdout(t, in(id, `echo "$(cat f 2>/dev/null || echo none)" "${V-none}"`), want)
	}
	// No room for another file, and then a filesystem that cannot be written to: an apid that starts there gives every session back, and begins to record when it can.
	for trouble, begin := range map[string]func() (end func() error){
		"no more files": func() func() error { return exhaust(t, filepath.Join(state, "more")) },
		"read-only": func() func() error {
			s.apid.command.Process.Kill() // who has a file open to write to it keeps the filesystem writable
			<-s.apid.done
			if err := syscall.Mount("", state, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
				t.Fatal(err)
			}
			return func() error { return syscall.Mount("", state, "", syscall.MS_REMOUNT, "") }
		},
	} {
		end := begin()
		again()
		wantStdout(t, in("changed", `echo "$(cat f)" "$V"`), "29 29\n")
		wantStdout(t, in("changed", fmt.Sprintf("export T='%s'", trouble)), "")
		wantStdout(t, in(strings.ReplaceAll(trouble, " ", "-"), "echo x >f; export V=1"), "")
		if n := strings.Count(s.apid.log.String(), "sessions are not recorded"); n != 1 {
			t.Errorf("%s: logged %d times that sessions are not recorded:\n%s", trouble, n, s.apid.log)
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if err := eventually(trouble+": sessions are recorded again", func() error {
			if !strings.Contains(s.apid.log.String(), "recorded again") {
				return errors.New("not yet")
			}
			if segments, err := os.ReadDir(state); err != nil || len(segments) != 1 {
				return fmt.Errorf("segments %v, %v", segments, err)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		again()
		wantStdout(t, in("changed", `echo "$(cat f)" "$V" "$T"`), "29 29 "+trouble+"\n")
		wantStdout(t, in(strings.ReplaceAll(trouble, " ", "-"), `echo "$(cat f)" "$V"`), "x 1\n")
	}
}

// exhaust makes empty files, named by a number behind path, until there can be no more.
func exhaust(t *testing.T, path string) (undo func() error) {
	t.Helper()
	for n := 0; ; n++ {
		f, err := os.Create(fmt.Sprint(path, n))
		if errors.Is(err, syscall.ENOSPC) {
			return func() (err error) {
				for ; n > 0; n-- {
					err = errors.Join(err, os.Remove(fmt.Sprint(path, n-1)))
				}
				return err
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
}

// fill writes until there is no room.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 4096); ; {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// control is a file of one of the stack's cgroups, wherever the controller is.
func (s *stack) control(t *testing.T, controller, group, v1, v2 string) string {
	t.Helper()
	for _, path := range []string{filepath.Join("/sys/fs/cgroup", controller, s.cgroup, group, v1), filepath.Join("/sys/fs/cgroup", s.cgroup, group, v2)} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	t.Fatalf("no %s of %s", v1, s.cgroup)
	return ""
}

func setControl(t *testing.T, path, value string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(value), 0); err != nil {
		t.Fatal(err)
	}
}

// fork fails: there may be no more processes than there are. First jails cannot be made, then the daemons can have no threads.
func TestNoMoreProcesses(t *testing.T) {
	s := startOwn(t, "forks", "")
	now, err := os.ReadFile(s.control(t, "pids", "init", "pids.current", "pids.current"))
	if err != nil {
		t.Fatal(err)
	}
	processes, err := strconv.Atoi(strings.TrimSpace(string(now)))
	if err != nil {
		t.Fatal(err)
	}
	limit := s.control(t, "pids", "init", "pids.max", "pids.max")
	setControl(t, limit, fmt.Sprint(processes))
	refused := 0
	for range 200 { // ready jails are used up first, and each one that is destroyed lets another be made
		refused += s.carriedOutOrRefused(t, program("bash", "echo x").with(request{"ephemeral": true}))
		if refused > 2 {
			break
		}
		processes--
		setControl(t, limit, fmt.Sprint(processes))
	}
	if refused == 0 {
		t.Error("no request was refused: there was no trouble")
	}
	if !strings.Contains(s.sandboxd.log.String(), "clone") {
		t.Errorf("the log does not name the step:\n%s", s.sandboxd.errors())
	}
	setControl(t, limit, "max")
	s.wantWell(t)

	// Of the daemons themselves none can have another thread, which Go's runtime does not survive if it wants one.
	free := s.confineDaemons(t)
	var all sync.WaitGroup
	for range 60 {
		all.Go(func() {
			s.carriedOutOrRefused(t, program("bash", "echo x").with(request{"ephemeral": true, "stdin": strings.Repeat("x", 1<<20)}))
		})
	}
	all.Wait()
	free()
	s.wantWell(t)
}

// confineDaemons puts both daemons into a cgroup that may hold no more threads than they have.
func (s *stack) confineDaemons(t *testing.T) (free func()) {
	t.Helper()
	tree := "/sys/fs/cgroup/pids"
	if _, err := os.Stat(tree); err != nil {
		tree = "/sys/fs/cgroup"
	}
	folder := filepath.Join(tree, s.cgroup+"-daemons")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	homes := map[string]string{} // by process: where it came from
	for _, d := range []*daemon{s.sandboxd, s.apid} {
		pid := fmt.Sprint(d.command.Process.Pid)
		of, err := os.ReadFile("/proc/" + pid + "/cgroup")
		if err != nil {
			t.Fatal(err)
		}
		_, home, _ := strings.Cut(string(of), ":"+strings.TrimPrefix(strings.TrimPrefix(tree, "/sys/fs/cgroup"), "/")+":")
		home, _, _ = strings.Cut(home, "\n")
		homes[pid] = home
		setControl(t, filepath.Join(folder, "cgroup.procs"), pid)
	}
	now, err := os.ReadFile(filepath.Join(folder, "pids.current"))
	if err != nil {
		t.Fatal(err)
	}
	setControl(t, filepath.Join(folder, "pids.max"), strings.TrimSpace(string(now)))
	return func() {
		t.Helper()
		for pid, home := range homes {
			setControl(t, filepath.Join(tree, home, "cgroup.procs"), pid)
		}
		if err := os.Remove(folder); err != nil {
			t.Error(err)
		}
	}
}

// carriedOutOrRefused is 1 if the request was refused, in words for who may try again.
func (s *stack) carriedOutOrRefused(t *testing.T, q request) int {
	t.Helper()
	response, content, err := s.send(context.Background(), s.key, http.MethodPost, "/v1/execute", q)
	switch {
	case err != nil:
		t.Error(err)
	case response.StatusCode == http.StatusOK:
		return 0
	default:
		wantRefusal(t, response, content, http.StatusServiceUnavailable, "overloaded")
		if response.Header.Get("Retry-After") == "" {
			t.Errorf("no Retry-After: %s", content)
		}
	}
	return 1
}

// wantWell fails unless the service recovers by itself and nothing is left.
func (s *stack) wantWell(t *testing.T) {
	t.Helper()
	if err := eventually("programs run again", func() error {
		a, err := s.try(s.key, program("bash", "echo x"))
		if err == nil && a.Run.Stdout != "x\n" {
			err = fmt.Errorf("%s", a)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	wantStdout(t, s.execute(t, s.key, program("c", "#include <stdio.h>\nint main(void) { puts(\"x\"); }")), "x\n")
	if s.apid.ended() || s.sandboxd.ended() {
		t.Error("a daemon has ended")
	}
	s.wantQuiet(t)
}

// The cgroup around all jobs has no memory left: a program that stays within its own limit did nothing wrong, and its answer must not say so.
func TestNoMemory(t *testing.T) {
	const total = 8 << 30
	s := startKnowing(t, []string{"bash", "c", "python"}, "memory", "", fmt.Sprint("total_memory = ", total))
	current, err := os.ReadFile(s.control(t, "memory", "", "memory.usage_in_bytes", "memory.current"))
	if err != nil {
		t.Fatal(err)
	}
	used, err := strconv.Atoi(strings.TrimSpace(string(current)))
	if err != nil {
		t.Fatal(err)
	}
	limit := s.control(t, "memory", "", "memory.limit_in_bytes", "memory.max")
	if set, err := os.ReadFile(limit); err != nil || strings.TrimSpace(string(set)) != fmt.Sprint(total) {
		t.Errorf("all together may have %s bytes, %v; want %d", set, err, total)
	}
	setControl(t, limit, fmt.Sprint(used+100<<20))
	hungry := program("python", "x = []\nfor i in range(400): x.append(bytearray(b'x' * (1 << 20)))\nprint('x')").with(request{"run_memory_limit": 1 << 30, "ephemeral": true})
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			response, content, err := s.send(context.Background(), s.key, http.MethodPost, "/v1/execute", hungry)
			if err != nil {
				t.Error(err)
				return
			}
			if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
				t.Errorf("%s: %s", response.Status, content)
			}
		})
	}
	all.Wait()
	// The other limit is the program's own, as ever, and ends all of it, in a jail that has waited while there was no memory, too.
	a, err := s.try(s.key, program("python", "import os, time\nif os.fork() == 0: x = 'x' * (200 << 20)\ntime.sleep(1000)").with(
		request{"run_memory_limit": 32 << 20, "run_timeout": hang.Milliseconds()}))
	if err != nil || a.Run.Status != "ML" {
		t.Errorf("its own limit: %v %v", a, err)
	}
	if !strings.Contains(s.sandboxd.log.String(), "for want of memory on the host") {
		t.Errorf("the log does not tell:\n%s", s.sandboxd.errors())
	}
	setControl(t, limit, map[bool]string{true: "-1", false: "max"}[strings.HasSuffix(limit, "limit_in_bytes")])
	s.wantWell(t)
}
