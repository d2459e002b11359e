//go:build testvm

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The guest of scripts/test-vm has cgroup v2 and neither compiler nor image. So these are attacks in C, compiled on the host by
// scripts/test-vm-attacks into the folder that $ATTACKS names, each program a file NAME-ROLE, in an image of bash and busybox.

// inGuest are those whose outcome may depend on the version of cgroups (what bounds memory, processes and CPU time, and what
// kills) or on that of overlayfs; software emulation is slow. memory-tcp is not among them: v2 counts what v1 does not, and stops that program.
var inGuest = []string{
	"covert-fcntl", "covert-flock", "cpu-children", "cpu-setsid", "double-fork-storm", "fork-bomb-c", "kill-all", "kill-init", "kill-neighbour", "kill-parent",
	"memory-anonymous", "memory-catch", "memory-children", "memory-memfd", "memory-page-tables", "memory-pipes", "memory-shm", "memory-stack",
	"memory-sysv", "memory-tmp", "memory-unix-sockets", "memory-workspace", "mountinfo", "stop-self", "stopped-stragglers", "straggler", "thread-bomb",
	"vfork-storm", "zombies",
}

func TestCompiledAttacks(t *testing.T) {
	folder := os.Getenv("ATTACKS")
	programs, err := os.ReadDir(folder)
	if err != nil || len(programs) == 0 {
		t.Fatalf("no programs in $ATTACKS %q: run scripts/test-vm-attacks: %v", folder, err)
	}
	image := attackedImage(t, folder)
	td := startDaemon(t, func(c *config) { c.Image, c.FirstUID = image, uint32(attackedUIDs) })
	for _, name := range inGuest {
		t.Run(name, func(t *testing.T) {
			a, err := readAttack(filepath.Join("testdata", "attack", name+".txtar"))
			if err != nil {
				t.Fatal(err)
			}
			r := attackRun{td: td, t: t, a: a, compiled: "/attacks/"}
			r.run()
		})
	}
	td.wantSettled()
}

// attackedImage is an image of busybox, bash and the attacks, with the templates of the real image that they need.
func attackedImage(t *testing.T, attacks string) string {
	t.Helper()
	image := busyboxImage(t)
	root := filepath.Join(image, "rootfs")
	libraries, err := exec.Command("sh", "-c", "echo /bin/bash; find /lib /lib64 -name '*.so*' 2>/dev/null || true").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range strings.Fields(string(libraries)) {
		mustRun(t, "mkdir", "-p", filepath.Dir(filepath.Join(root, path)))
		mustRun(t, "cp", "-L", path, filepath.Join(root, path))
	}
	mustRun(t, "cp", "-r", attacks, filepath.Join(root, "attacks"))
	if err := os.WriteFile(filepath.Join(root, "etc/passwd"), []byte("root:x:0:0::/:/bin/sh\n"), 0o644); err != nil { // that attacks lock
		t.Fatal(err)
	}
	for _, language := range []string{"c", "bash"} {
		folder := filepath.Join(image, "languages", language)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "jail.json"), []byte(`{"templates":{"run":{"seccomp":"base","pids":64,"pool":2,"pool_max":2}}}`), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return image
}

func mustRun(t *testing.T, command ...string) {
	t.Helper()
	if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%q: %v: %s", command, err, out)
	}
}
