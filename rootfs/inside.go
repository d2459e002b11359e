package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A box is one command run in a tree that is not the host's. It is this program again, started in new mount, pid, net, ipc and uts
// namespaces; it mounts what the box says, changes root, and runs the command as its child (a PID 1 would not die of its own signals).
// What it mounts goes with its namespace, so nothing is left behind however it ends.
type box struct {
	Root  string   `json:"root"`            // directory that becomes /
	Lower []string `json:"lower,omitempty"` // with Upper and Work: the overlay mounted on Root first
	Upper string   `json:"upper,omitempty"`
	Work  string   `json:"work,omitempty"`
	Binds []bind   `json:"binds,omitempty"`
	User  bool     `json:"user,omitempty"` // as uid 1000 on a read-only root; else as root on a writable one
	Dir   string   `json:"dir"`
	Env   []string `json:"env"`
	Argv  []string `json:"argv"`
}

type bind struct {
	Source   string `json:"source"`
	Target   string `json:"target"`
	ReadOnly bool   `json:"read_only,omitempty"`
}

// ended is how the command of a box ended.
type ended struct {
	Code    int           `json:"code"`
	Signal  string        `json:"signal,omitempty"`
	Wall    time.Duration `json:"wall"`
	Environ []byte        `json:"environ,omitempty"` // /tmp/.environ, as envkeep.so wrote it
	Error   string        `json:"error,omitempty"`   // of the box, not of the command
}

const (
	insideCommand = "inside"
	boxUser       = 1000
	// Longest a step or sample may take; the slowest, a Go std build on a loaded machine, needs two minutes.
	boxTimeout = 15 * time.Minute
)

// run runs the box and waits for it.
func (b box) run(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) (ended, error) {
	ctx, cancel := context.WithTimeout(ctx, boxTimeout)
	defer cancel()
	spec, err := json.Marshal(b)
	if err != nil {
		return ended{}, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return ended{}, err
	}
	defer r.Close()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", insideCommand, string(spec))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
	}
	err = cmd.Start()
	w.Close()
	if err != nil {
		return ended{}, fmt.Errorf("start a box: %w", err)
	}
	report, _ := io.ReadAll(r)
	err = cmd.Wait()
	var end ended
	if jsonErr := json.Unmarshal(report, &end); jsonErr != nil {
		return end, fmt.Errorf("box of %s: no report: %w", b.Argv[0], errors.Join(ctx.Err(), err))
	}
	if end.Error != "" {
		return end, errors.New(end.Error)
	}
	return end, nil
}

// strict stands before a script's first line. A script ends with the first command that fails, also one whose output another command reads, and
// says which: a test that fails, `[ a = b ]`, has no words of its own. It is for bash, because dash knows neither pipefail nor ERR.
const strict = `set -Eeuo pipefail; trap 'echo "line $LINENO: exit $?: $BASH_COMMAND" >&2' ERR; `

// script runs a shell script as root inside the box and shows its output only when it fails.
func (b box) script(ctx context.Context, name string, text []byte) error {
	b.Argv = []string{"/bin/bash", "-s"}
	b.Env = append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/tmp", "LC_ALL=C.UTF-8"}, b.Env...)
	var out bytes.Buffer
	end, err := b.run(ctx, io.MultiReader(strings.NewReader(strict), bytes.NewReader(text)), &out, &out)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if end.Code != 0 || end.Signal != "" {
		return fmt.Errorf("%s: exit %d %s:\n%s", name, end.Code, end.Signal, lastLines(out.String(), 30))
	}
	return nil
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// insideMain is the box's PID 1.
func insideMain(spec string) int {
	report := os.NewFile(3, "report")
	syscall.CloseOnExec(3)
	var b box
	var end ended
	err := json.Unmarshal([]byte(spec), &b)
	if err == nil {
		err = b.enter()
	}
	if err == nil {
		end, err = b.command()
	}
	if err != nil {
		end.Error = err.Error()
	}
	if err := json.NewEncoder(report).Encode(end); err != nil {
		return 1
	}
	return 0
}

// enter makes the box's tree and changes root into it.
func (b box) enter() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make / private: %w", err)
	}
	if err := unix.Sethostname([]byte("sandbox")); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	if b.Upper != "" {
		options := "lowerdir=" + strings.Join(b.Lower, ":") + ",upperdir=" + b.Upper + ",workdir=" + b.Work + ",index=off,metacopy=off,redirect_dir=off"
		if err := unix.Mount("overlay", b.Root, "overlay", 0, options); err != nil {
			return fmt.Errorf("mount overlay (%s): %w", options, err)
		}
	} else if err := bindMount(b.Root, b.Root, b.User); err != nil {
		return err
	}
	if err := b.mountSpecial(); err != nil {
		return err
	}
	for _, m := range b.Binds {
		if err := bindMount(m.Source, filepath.Join(b.Root, m.Target), m.ReadOnly); err != nil {
			return err
		}
	}
	if err := unix.Chroot(b.Root); err != nil {
		return fmt.Errorf("chroot %s: %w", b.Root, err)
	}
	return unix.Chdir("/")
}

func bindMount(source, target string, readOnly bool) error {
	if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s on %s: %w", source, target, err)
	}
	flags := uintptr(unix.MS_BIND | unix.MS_REMOUNT | unix.MS_NOSUID | unix.MS_NODEV)
	if readOnly {
		flags |= unix.MS_RDONLY
	}
	if err := unix.Mount("", target, "", flags, ""); err != nil {
		return fmt.Errorf("remount %s: %w", target, err)
	}
	return nil
}

// mountSpecial mounts what a jail has beside its image. None of it stays in the tree.
func (b box) mountSpecial() error {
	procOptions := ""
	if b.User {
		procOptions = "subset=pid"
	}
	mounts := []struct{ target, kind, options string }{
		{"/proc", "proc", procOptions},
		{"/dev", "tmpfs", "mode=755"},
		{"/tmp", "tmpfs", "mode=1777"},
	}
	if b.Upper != "" { // steps of a language may try what they make; nothing of it stays
		for _, d := range []string{"/run", "/build", "/home/user"} {
			mounts = append(mounts, struct{ target, kind, options string }{d, "tmpfs", "mode=755"})
		}
	}
	for _, m := range mounts {
		if err := unix.Mount(m.kind, filepath.Join(b.Root, m.target), m.kind, unix.MS_NOSUID, m.options); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	dev := filepath.Join(b.Root, "dev")
	for _, d := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		p := filepath.Join(dev, d)
		if err := os.WriteFile(p, nil, 0o666); err != nil {
			return err
		}
		if err := unix.Mount("/dev/"+d, p, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind /dev/%s: %w", d, err)
		}
	}
	for name, to := range map[string]string{"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"} {
		if err := os.Symlink(to, filepath.Join(dev, name)); err != nil {
			return err
		}
	}
	shm := filepath.Join(dev, "shm")
	if err := os.Mkdir(shm, 0o755); err != nil {
		return err
	}
	return unix.Mount("tmpfs", shm, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777")
}

// command runs the box's command in the entered tree.
func (b box) command() (ended, error) {
	if b.User {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return ended{}, fmt.Errorf("no_new_privs: %w", err)
		}
	}
	cmd := exec.Command(b.Argv[0], b.Argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env, cmd.Dir = b.Env, b.Dir
	if b.User {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: boxUser, Gid: boxUser}}
	}
	start := time.Now()
	err := cmd.Run()
	end := ended{Wall: time.Since(start)}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return end, fmt.Errorf("run %s: %w", b.Argv[0], err)
	}
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		end.Signal = unix.SignalName(status.Signal())
	} else {
		end.Code = status.ExitStatus()
	}
	end.Environ, _ = os.ReadFile("/tmp/.environ") // only there when the language keeps its environment
	return end, nil
}
