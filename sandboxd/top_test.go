package main

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/runtools/runtools/pkg/wire"
)

func TestPicture(t *testing.T) {
	now := &wire.Status{
		Templates: []wire.Template{{Name: "python/run", Ready: 3, Size: 4, Jobs: 2, Built: 1000, Bytes: 9 << 20}, {Name: "c/run", Ready: 4, Size: 4, Built: 20}},
		LiveJails: 9, MaxJails: 1000, Jobs: 2, Volumes: 12, Workspaces: 3, Builds: 2, PoolHits: 990, PoolMisses: 10, Parked: 500, Reused: 1, Built: 1020, Failed: 1,
		UptimeMS: 100_400, PoolBytes: 27 << 20, PoolBudget: 2 << 30, Memory: 1536 << 10,
		Denials:  []wire.Denial{{Language: "python", Syscall: "chroot", Count: 50}, {Language: "bash", Syscall: "unshare", Count: 3}},
		Selftest: &wire.Selftest{Passed: true, Runs: 1, AgoMS: 90_000},
		Running: []wire.Running{
			{Template: "python/run", Label: "k_4fze2x7abc 0b1e\x1b[2J\u202e", AgeNS: 12_340_000_000, CPUNS: 11_900_000_000, Memory: 84 << 20},
			{Template: "python/run\x1b[2J", AgeNS: 60_000_000, CPUNS: -1, Memory: -1},
		},
	}
	before := &wire.Status{PoolHits: 970, PoolMisses: 10, Built: 1000, UptimeMS: 98_400, Denials: []wire.Denial{{Language: "python", Syscall: "chroot", Count: 45}},
		Templates: []wire.Template{{Name: "c/run", Built: 20}, {Name: "python/run", Built: 980}}}
	const whole = `sandboxd, up 1m40s: 2 jobs running, 9 of 1000 jails, memory 1.5 MiB
self test  passed 1m30s ago
rates      this second: 10.0 jobs/s, 10.0 jails/s built
jobs       1000 since start; 99.0 % found a jail ready, 50.0 % a runtime loaded, 0.1 % a warm compiler
volumes    12: 3 of sessions, 2 of compiled programs, 7 of jails alone
jails      1020 built since start, 1 could not be; those that are ready take 27.0 MiB of 2.0 GiB

POOL                      READY TARGET   JOBS  BUILT/S     A JAIL
c/run                         4      4      0      0.0          -
python/run                    3      4      2     10.0    9.0 MiB

RUNNING                        AGE       CPU     MEMORY  FOR
python/run                  12.3 s    11.9 s   84.0 MiB  k_4fze2x7abc 0b1e?[2J?
python/run?[2J               0.1 s         -          -  -

DENIED TO                SYSTEM CALL                   COUNT    PER S
python                   chroot                           50      2.5
bash                     unshare                           3      1.5
`
	if got := picture(now, before, nil); got != whole {
		t.Errorf("got\n%s\nwant\n%s", got, whole)
	}
	failed := &wire.Selftest{Runs: 1, Failed: []string{"memory in c/run: x"}}
	for name, c := range map[string]struct {
		now, before *wire.Status
		err         error
		want        string
	}{
		"the first":          {now, nil, nil, "since start: 10.0 jobs/s, 10.2 jails/s"},
		"another daemon":     {&wire.Status{UptimeMS: 1000, PoolHits: 3}, now, nil, "since start: 3.0 jobs/s"},
		"nothing yet":        {&wire.Status{}, nil, nil, "0.0 % found a jail ready"},
		"no answer":          {nil, now, errors.New("gone"), "no answer: gone\n"},
		"test pending":       {&wire.Status{Selftest: &wire.Selftest{}}, nil, nil, "not yet passed"},
		"test failed":        {&wire.Status{Selftest: failed}, nil, nil, "FAILED: this node is not ready: memory in c/run: x\n"},
		"more than are told": {&wire.Status{Jobs: 3, Running: make([]wire.Running, 1)}, nil, nil, "\nand 2 more\n"},
		"test stuck":         {&wire.Status{Selftest: &wire.Selftest{Runs: 1, Stuck: "no room"}}, nil, nil, "STUCK: this node is not ready: no room\n"},
		"test turned off":    {&wire.Status{}, nil, nil, "self test  off\n"},
	} {
		if got := picture(c.now, c.before, c.err); !strings.Contains(got, c.want) {
			t.Errorf("%s: no %q in\n%s", name, c.want, got)
		}
	}
}

// What names no template of ours is refused before it is among the jobs that run, which anyone who may ask is shown: a server that begins no job
// still tells the mistake.
func TestUnknownTemplateIsNotBegun(t *testing.T) {
	ln, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		uc, err := ln.AcceptUnix()
		if err != nil {
			return
		}
		conn := wire.NewConn(uc)
		defer conn.Close()
		var req wire.Request
		files, err := conn.Recv(&req)
		defer wire.CloseAll(files)
		if err == nil && req.Job != nil {
			(&server{pools: &pools{}, draining: true}).handleJob(conn, req.Job, files)
		}
	}()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	defer write.Close()
	client := wire.Client{Path: ln.Addr().String()}
	_, err = client.Run(t.Context(), &wire.Job{Template: "\x1b[2J", Argv: []string{"/bin/true"}}, nil, write, write)
	if refused := (*wire.Error)(nil); !errors.As(err, &refused) || refused.Code != wire.CodeUnknownTemplate {
		t.Errorf("got %v, want an error of code %s", err, wire.CodeUnknownTemplate)
	}
}

func TestCrop(t *testing.T) {
	for _, c := range []struct {
		width, height int
		want          string
	}{
		{0, 0, "abc\nde\nf\n"}, {80, 24, "abc\nde\nf"}, {2, 24, "ab\nde\nf"}, {80, 3, "abc\nde\nf"}, {80, 2, "abc\n... and 2 lines more"}, {3, 1, "..."},
	} {
		if got := crop("abc\nde\nf\n", c.width, c.height); got != c.want {
			t.Errorf("%d x %d: %q, want %q", c.width, c.height, got, c.want)
		}
	}
}
