//go:build testvm

package main

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runtools/runtools/pkg/lang"
)

// The guest of scripts/test-vm has cgroup v2 and neither compiler nor image. So these are attacks in C, compiled on the host by
// scripts/test-vm-attacks into the folder that $ATTACKS names, each program a file NAME-ROLE, and some in Bash, in an image of bash and busybox. $PARKED_BASH is the
// runner of Bash.

// inGuest are those whose outcome may depend on the version of cgroups (what bounds memory, processes and CPU time, and what
// kills) or on that of overlayfs; software emulation is slow. memory-tcp is not among them: v2 counts what v1 does not, and stops that program.
var inGuest = []string{
	"covert-fcntl", "covert-flock", "cpu-children", "cpu-setsid", "double-fork-storm", "fork-bomb-c", "kill-all", "kill-init", "kill-neighbour", "kill-parent",
	"memory-anonymous", "memory-catch", "memory-children", "memory-error-queues", "memory-memfd", "memory-page-tables", "memory-pipes", "memory-shm", "memory-stack",
	"memory-sysv", "memory-tmp", "memory-unix-sockets", "memory-workspace", "mountinfo", "stop-self", "stopped-stragglers", "straggler", "thread-bomb",
	"vfork-storm", "zombies",
}

// inParkedGuest are made in a jail where Bash was loaded before: the image's own runner, with the guest's Bash. Those in C are executed by it. The other runtimes
// have more files than the guest has memory for.
var inParkedGuest = []string{"bash-traps", "fork-bomb-bash", "kill-init", "memory-shm", "parked-bash", "parked-forged-stop"}

func TestCompiledAttacks(t *testing.T) {
	folder := os.Getenv("ATTACKS")
	programs, err := os.ReadDir(folder)
	if err != nil || len(programs) == 0 {
		t.Fatalf("no programs in $ATTACKS %q: run scripts/test-vm-attacks: %v", folder, err)
	}
	image := attackedImage(t, folder)
	// As sandboxd asks its operator to, on kernels whose network namespaces have no such setting of their own.
	if err := os.WriteFile("/proc/sys/net/core/tstamp_allow_data", []byte("0"), 0); err != nil {
		t.Fatal(err)
	}
	td := startDaemon(t, func(c *config) { c.Image, c.FirstUID = image, uint32(attackedUIDs) })
	attack := func(template string, names []string) func(t *testing.T) {
		return func(t *testing.T) {
			for _, name := range names {
				t.Run(name, func(t *testing.T) {
					a, err := readAttack(filepath.Join("testdata", "attack", name+".txtar"), planted{path: "/none"})
					if err != nil {
						t.Fatal(err)
					}
					a.parked = template == "bash/run"
					r := attackRun{td: td, t: t, a: a, compiled: "/attacks/", template: template}
					r.run()
				})
			}
		}
	}
	t.Run("cold", attack("c/run", inGuest))
	t.Run("parked", attack("bash/run", inParkedGuest))
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
	const runner = "/usr/lib/runtools/bash/parked.so"
	mustRun(t, "mkdir", "-p", filepath.Dir(root+runner))
	mustRun(t, "cp", os.Getenv("PARKED_BASH"), root+runner)
	parked := parkedSpec{Argv: []string{"/bin/bash"}, Env: maps.Clone(lang.BaseEnv)}
	parked.Env["LD_PRELOAD"] = runner
	for language, runtime := range map[string]*parkedSpec{"c": nil, "bash": &parked} {
		spec := defaultTemplate
		spec.Pool, spec.PoolMax, spec.Parked = 2, 2, runtime
		data, err := json.Marshal(map[string]any{"templates": map[string]any{"run": spec}})
		if err != nil {
			t.Fatal(err)
		}
		folder := filepath.Join(image, "languages", language)
		if err := errors.Join(os.MkdirAll(folder, 0o755), os.WriteFile(filepath.Join(folder, "jail.json"), data, 0o644)); err != nil {
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
