package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// peer is another sandbox that Debian packages: the command line that runs a command in it.
type peer struct {
	name  string // of its program
	setup func(b *bare, dir string, argv []string) error
	argv  func(b *bare, dir string, argv []string) []string
	note  string
}

var peers = []peer{
	{name: "bwrap", argv: bwrap, note: "bwrap: all namespaces, the same image read-only; no limits, no filter"},
	{name: "crun", setup: ociBundle, argv: oci("crun"), note: "crun, runc: a bundle with the same image read-only, own user namespace, " +
		"no capabilities, limits of memory and processes; no filter"},
	{name: "runc", setup: ociBundle, argv: oci("runc")},
	{name: "firejail", setup: ownedByRoot, argv: firejail, note: "firejail: Debian's configuration forbids a chroot, so it runs the host's own programs, whose versions " +
		"may differ; no network, its default filter"},
}

func bwrap(b *bare, dir string, argv []string) []string {
	return append([]string{"bwrap", "--unshare-all", "--die-with-parent", "--ro-bind", b.rootfs, "/", "--proc", "/proc", "--dev", "/dev",
		"--tmpfs", "/tmp", "--bind", dir, "/home/user", "--chdir", "/home/user", "--uid", "1000", "--gid", "1000", "--cap-drop", "ALL", "--"}, argv...)
}

func firejail(_ *bare, dir string, argv []string) []string {
	return append([]string{"firejail", "--quiet", "--noprofile", "--net=none", "--private-dev", "--seccomp", "--private=" + dir, "--private-cwd", "--"}, argv...)
}

// ownedByRoot is what firejail wants of a private folder when root calls it.
func ownedByRoot(_ *bare, dir string, _ []string) error { return os.Chown(dir, 0, 0) }

func oci(name string) func(*bare, string, []string) []string {
	return func(_ *bare, dir string, _ []string) []string {
		return []string{name, "run", "--bundle", dir, fmt.Sprintf("runtools-bench-%d", fresh())}
	}
}

// ociBundle writes the config.json of a bundle, as a careful caller of crun or runc would.
func ociBundle(b *bare, dir string, argv []string) error {
	config, err := json.Marshal(ociConfig(b, dir, argv))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "config.json"), config, 0o644)
}

type object = map[string]any

func ociConfig(b *bare, dir string, argv []string) object {
	ids := []object{{"containerID": 0, "hostID": bareUID, "size": 1}}
	return object{
		"ociVersion": "1.0.2",
		"root":       object{"path": b.rootfs, "readonly": true},
		"hostname":   "sandbox",
		"process": object{"args": argv, "cwd": "/home/user", "env": bareEnv, "user": object{"uid": 0, "gid": 0}, "noNewPrivileges": true,
			"rlimits": []object{{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024}}},
		"mounts": []object{
			{"destination": "/proc", "type": "proc", "source": "proc"},
			{"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": []string{"nosuid", "mode=755", "size=64k"}},
			{"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": []string{"nosuid", "nodev", "mode=1777"}},
			{"destination": "/home/user", "type": "bind", "source": dir, "options": []string{"bind", "rw"}},
		},
		"linux": object{
			"namespaces":  []object{{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}, {"type": "user"}},
			"uidMappings": ids, "gidMappings": ids,
			"resources": object{"memory": object{"limit": 512 << 20}, "pids": object{"limit": 64}},
		},
	}
}

// run starts the peer and waits for its end.
func (p *peer) run(b *bare, dir string, argv []string) (string, time.Duration, error) {
	words := p.argv(b, dir, argv)
	start := time.Now()
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	took := time.Since(start)
	if err != nil {
		return "", 0, fmt.Errorf("%w: %s", err, strings.Join(strings.Fields(string(out)), " "))
	}
	return string(out), took, nil
}

// benchPeers runs hellos in what else there is, in turn with bare and with us.
func benchPeers(ctx context.Context, b *bench) ([]table, error) {
	t := table{
		Title:   "Hello in other sandboxes, in turn: ms",
		Columns: []column{{"p50", "p50"}, {"p99", "p99"}, {"ratio", "p50 to bare"}},
		Notes:   []string{"51 runs of each in turn. Ours is a whole request over HTTP; the others are one command, as a server would start it."},
	}
	for _, name := range []string{"bash", "python"} {
		p, err := find(name)
		if err != nil {
			return nil, err
		}
		rows, notes, err := peerRows(ctx, b, p)
		if err != nil {
			return nil, err
		}
		t.Rows, t.Notes = append(t.Rows, rows...), append(t.Notes, notes...)
	}
	for _, peer := range peers {
		if peer.note != "" {
			t.Notes = append(t.Notes, peer.note+".")
		}
	}
	return []table{t}, nil
}

// contender is one of those who run in turn.
type contender struct {
	name string
	run  func() (time.Duration, error)
}

func peerRows(ctx context.Context, b *bench, p *program) (rows []row, notes []string, err error) {
	nonce := fresh()
	all := []contender{
		{"bare", func() (time.Duration, error) { return p.runBare(b.bare, "peers", nonce) }},
		{"runtools", func() (time.Duration, error) {
			a, err := p.runHTTP(b.parked, nonce)
			if err != nil {
				return 0, err
			}
			return a.took, nil
		}},
	}
	for i := range peers {
		c, err := prepare(b, &peers[i], p, nonce)
		if err != nil {
			notes = append(notes, fmt.Sprintf("%s, %s: left out: %v", peers[i].name, p.name, err))
			continue
		}
		all = append(all, c)
	}
	times := map[string][]time.Duration{}
	for range 51 {
		for _, c := range all {
			if err := b.quiet(ctx); err != nil {
				return nil, nil, err
			}
			took, err := c.run()
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %w", c.name, err)
			}
			times[c.name] = append(times[c.name], took)
		}
	}
	bare := summarize(times["bare"]).P50
	for _, c := range all {
		q := summarize(times[c.name])
		rows = append(rows, row{Name: p.name + ", " + c.name, Values: map[string]float64{"p50": q.P50, "p99": q.P99, "ratio": q.P50 / bare}})
	}
	return rows, notes, nil
}

// prepare runs the program in the peer once, to see that it works on this machine.
func prepare(b *bench, peer *peer, p *program, nonce int64) (c contender, err error) {
	if _, err := exec.LookPath(peer.name); err != nil {
		return c, errors.New("not installed")
	}
	folder := "peer-" + peer.name
	if err := b.bare.write(folder, p.file, withNonce(p.code, nonce)); err != nil {
		return c, err
	}
	dir := filepath.Join(b.bare.root, "home/user", folder)
	argv := strings.Fields(p.bare)
	argv[0] = "/usr/bin/" + argv[0]
	if _, err := os.Stat(argv[0]); errors.Is(err, fs.ErrNotExist) && peer.name == "firejail" {
		return c, fmt.Errorf("the host has no %s", argv[0])
	}
	if peer.setup != nil {
		if err := peer.setup(b.bare, dir, argv); err != nil {
			return c, err
		}
	}
	run := func() (time.Duration, error) {
		out, took, err := peer.run(b.bare, dir, argv)
		if err != nil {
			return 0, err
		}
		return took, p.check(nonce, out)
	}
	_, err = run()
	return contender{peer.name, run}, err
}
