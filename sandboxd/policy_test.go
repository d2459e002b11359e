package main

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/runtools/runtools/pkg/wire"
)

// A share of the jails has the candidate, spread evenly, for each template by itself.
func TestPickIsAShare(t *testing.T) {
	for _, c := range []struct {
		share float64
		jails int
		want  int
	}{{1, 7, 7}, {0.5, 7, 3}, {0.1, 9, 0}, {0.1, 10, 1}, {0.1, 100, 10}, {0.01, 1000, 10}, {0.75, 4, 3}} {
		tm := &template{name: "toy/run"}
		inForce, onTrial := &variant{}, &variant{id: "x"}
		p := &policy{inForce: map[string]*variant{tm.name: inForce}, onTrial: map[string]*variant{tm.name: onTrial}, trial: seccompConfig{Share: c.share}}
		got := 0
		for range c.jails {
			if p.pick(tm) == onTrial {
				got++
			}
		}
		if got != c.want {
			t.Errorf("of %d jails %d are on trial with a share of %g, want %d", c.jails, got, c.share, c.want)
		}
		delete(p.onTrial, tm.name)
		if p.pick(tm) != inForce || !p.holds(tm, inForce) || p.holds(tm, onTrial) {
			t.Error("without a trial there is more than what is in force")
		}
	}
}

// Which file a template gets.
func TestFindProfile(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"base":   `{"why": "x", "syscalls": [{"why": "y", "names": ["read"]}]}`,
		"python": `{"why": "x", "extends": "base", "syscalls": [{"why": "y", "names": ["read"]}]}`,
		"ruby":   `{"why": "x", "syscalls": [{"why": "y", "names": ["read"]}]}`,
		"docker": `{"syscalls": [{"names": ["read"]}]}`,
		"go":     `{"why": "x", "extends": "docker", "syscalls": [{"why": "y", "names": ["read"]}]}`,
	} {
		writeFile(t, filepath.Join(dir, name+".json"), text)
	}
	for _, c := range []struct{ name, language, want string }{
		{"base", "c", "base"},
		{"base", "python", "python"},   // an addition to it
		{"base", "ruby", "ruby"},       // one that stands for itself
		{"docker", "ruby", "docker"},   // the template names one in particular
		{"base", "go", "base"},         // an addition to another
		{"docker", "go", "go"},         //
		{"base", "docker", "docker"},   // also Docker's
		{"missing", "c", "missing"},    // the caller finds out
		{"python", "ruby", "python"},   // whatever it is
		{"base", "python3", "base"},    //
		{"docker", "python", "docker"}, // not an addition to that
	} {
		if got, err := findProfile(dir, c.name, c.language); err != nil || got != filepath.Join(dir, c.want+".json") {
			t.Errorf("%s of %s: %s, %v, want %s", c.name, c.language, got, err, c.want)
		}
	}
}

func TestTrialReport(t *testing.T) {
	ruby := func(use string, jobs uint64, more func(*wire.Tally)) wire.Tally {
		r := wire.Tally{Template: "ruby/run", Use: use, Jobs: jobs, Failed: jobs / 10}
		if more != nil {
			more(&r)
		}
		return r
	}
	for name, c := range map[string]struct {
		mode    string
		tallies []wire.Tally
		want    string
	}{
		"none":    {"", nil, "nothing is on trial: set seccomp.candidate"},
		"same":    {modeShadow, []wire.Tally{ruby(wire.InForce, 5, nil)}, "the candidate changes nothing"},
		"early":   {modeShadow, []wire.Tally{ruby(modeShadow, 299, nil)}, "too early to say: 299 jobs of ruby/run, and -jobs asks for 300"},
		"one of":  {modeShadow, []wire.Tally{ruby(modeShadow, 900, nil), {Template: "java/run", Use: modeShadow}}, "too early to say: 0 jobs of java/run"},
		"safe":    {modeShadow, []wire.Tally{ruby(wire.InForce, 9000, nil), ruby(modeShadow, 900, nil)}, "fewer than one job in 300 would"},
		"killers": {modeShadow, []wire.Tally{ruby(modeShadow, 900, func(t *wire.Tally) { t.Killed = 1 })}, "safe to promote"}, // the profile in force killed
		"killed":  {modeCanary, []wire.Tally{ruby(modeCanary, 900, func(t *wire.Tally) { t.Killed = 1 })}, "not safe to promote: jobs were killed by SIGSYS"},
		"denies": {modeCanary, []wire.Tally{ruby(modeCanary, 900, func(t *wire.Tally) {
			t.Tried = []wire.Tried{{Syscall: "link", Args: `"a", "b"`, Count: 4, Jobs: 2}}
		})}, "not safe to promote: the candidate denies what jobs use: ruby/run link"},
	} {
		var out strings.Builder
		s := &wire.Seccomp{InForce: "aa", Mode: c.mode, Share: 0.1, Tallies: c.tallies}
		if c.mode != "" {
			s.Candidate = "bb"
		}
		got := ""
		err := trialReport(s, 300, &out)
		if err != nil {
			got = err.Error()
		}
		if safe := strings.HasPrefix(c.want, "fewer") || strings.HasPrefix(c.want, "safe"); !strings.Contains(out.String()+got, c.want) || (err == nil) != safe {
			t.Errorf("%s: %v\n%s", name, err, out.String())
		}
	}
}

// A status is one packet, whatever programs called with which arguments.
func TestStatusFitsAPacket(t *testing.T) {
	p := &policy{inForce: map[string]*variant{}, onTrial: map[string]*variant{}, trial: seccompConfig{Candidate: "x", Mode: modeShadow}}
	for i := range 30 {
		name := strings.Repeat("l", 20+i) + "/run"
		p.inForce[name], p.onTrial[name] = &variant{}, &variant{}
		for j := range 300 {
			p.onTrial[name].tally.try(strings.Repeat("s", 20)+string(rune('a'+j%26))+strings.Repeat("x", j/26), j%7 == 0, func() string { return strings.Repeat("<", 200) })
		}
	}
	s := p.status()
	named, calls := 0, uint64(0)
	for _, tally := range s.Tallies {
		for _, c := range tally.Tried {
			calls += c.Count
			if c.Syscall != wire.OtherSyscalls {
				named++
			}
		}
	}
	if named != maxTried || calls != 30*300 {
		t.Errorf("%d named and %d calls", named, calls)
	}
	wantPacket(t, &wire.Reply{Status: &wire.Status{Seccomp: s}})
}

func wantPacket(t *testing.T, reply *wire.Reply) {
	t.Helper()
	body, err := json.Marshal(reply)
	if err != nil {
		t.Fatal(err)
	}
	if len(body) > wire.MaxPacket {
		t.Errorf("%d bytes, a packet has %d", len(body), wire.MaxPacket)
	}
}

// What a reload does not take in is named, so that nobody believes that it holds.
func TestReloadNamesWhatItLeaves(t *testing.T) {
	before, now := defaultConfig(), defaultConfig()
	floor, same := int64(1), int64(1)
	before.Pools = map[string]poolBounds{"a/run": {Floor: &floor}}
	now.Pools = map[string]poolBounds{"a/run": {Floor: &same}}
	now.Profiles, now.Seccomp.Candidate, now.Drain, now.Parked = "/x", "/y", 0, false
	if got := changed(&before, &now); !slices.Equal(got, []string{"parked", "drain"}) {
		t.Errorf("got %v", got)
	}
	if same++; !slices.Contains(changed(&before, &now), "pools") {
		t.Error("other pools are not named")
	}
}
