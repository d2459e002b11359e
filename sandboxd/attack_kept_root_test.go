package main

import (
	"context"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/runtools/runtools/pkg/lang"
	"github.com/runtools/runtools/pkg/wire"
)

// Compilers that are kept: another key's program never meets them, and the next one of their own key's finds them as it would find a new one, or not at all.

// keptSources are what alice compiles, a class that WORD stands for, and what bob does, who names it.
var keptSources = map[string][2]string{
	"java":   {`public class Main { public static void main(String[] a) { } } class Secret { String s = "WORD"; }`, `public class Main { Secret word; }`},
	"csharp": {`System.Console.WriteLine("WORD"); class Secret { }`, `Secret word = null;`},
}

// controls are compiled after each attack, with words of the compiler's and something that it makes.
var controls = map[string]string{
	"java": `public class Main { public static void main(String[] a) { java.util.List l = new java.util.ArrayList(); l.add(Helper.x); System.out.println(l); } }
class Helper { static int x = 1; }`,
	"csharp": "#warning look here\nConsole.WriteLine(Helper.X); static class Helper { public static int X = 1; }",
}

// hard are attacks on kept compilers beside those of testdata/attack, compile-LANGUAGE-*: what the loader takes from the environment, and
// programs for which there is too little of something. Roslyn survives those, and makes an error of the program's of it.
var hard = map[string][]*attack{
	"java": {
		hardOn("java", "preload", controls["java"], "code 0\ncannot be preloaded", "LD_PRELOAD=/home/user/evil.so"),
		hardOn("java", "stack", `public class Main { int x = `+strings.Repeat("(", 9000)+"1"+strings.Repeat(")", 9000)+`; }`, "code 3\nStackOverflowError"),
		hardOn("java", "memory", doubled(30, `public class Main { static final String s0 = "0123456789";`, "static final String", "}"), "code 3\nOutOfMemoryError"),
	},
	"csharp": {
		hardOn("csharp", "preload", controls["csharp"], "code 0\ncannot be preloaded", "LD_PRELOAD=/home/user/evil.so"),
		hardOn("csharp", "stack", "var x = "+strings.Repeat("- ", 20_000)+"1;", "code 1\nerror CS8078"),
		hardOn("csharp", "memory", doubled(30, `const string s0 = "0";`, "const string", "System.Console.Write(s30);"), "limit memory\n"),
	},
}

func hardOn(language, what, source, compile string, env ...string) *attack {
	return &attack{
		probe:    probe{name: "kept-" + what, title: what, limits: defaultLimits},
		programs: map[string]program{"main": {language, source}}, files: map[string]string{"evil.so": "no library"}, env: env, compile: compile,
	}
}

// doubled is a program with a constant that is twice as long as the one before, and so on.
func doubled(times int, first, declare, last string) string {
	for i := range times {
		s := "s" + strconv.Itoa(i)
		first += "\n" + declare + " s" + strconv.Itoa(i+1) + " = " + s + " + " + s + ";"
	}
	return first + "\n" + last
}

// attackKept makes every attack on the compiler of one language that is kept.
func attackKept(t *testing.T, td *testDaemon, languages *lang.Set, planted planted, language string, attacks []*attack) {
	newRun := func(t *testing.T, a *attack) *attackRun {
		return &attackRun{td: td, t: t, a: a, languages: languages, planted: planted}
	}
	newRun(t, nil).attackOtherKeys(language)
	fresh := newRun(t, hardOn(language, "control", controls[language], "")).compileAs("")
	for _, a := range slices.Concat(attacks, hard[language]) {
		// Whatever the runtime reads in the environment sends it the cold way, and who ran out of something may have broken off anywhere.
		ends := len(a.env) > 0 || a.name == "kept-stack" || a.name == "kept-memory"
		t.Run(a.name, func(t *testing.T) { newRun(t, a).attackOwn(fresh.said, ends) })
	}
	pools := td.d.server.pools
	pools.destroyKept(pools.kept.giveUp(func(k *readyJail) bool { return strings.HasPrefix(k.template.name, language+"/") }))
}

// attackOtherKeys has two keys compile, one after the other: the first one's compiler is kept, and holds its source; the second never meets it.
func (r *attackRun) attackOtherKeys(language string) {
	word := "gnarled" + strconv.Itoa(os.Getpid()) + "otter"
	secret := strings.ReplaceAll(keptSources[language][0], "WORD", word)
	knows := func(slot int) (found bool) {
		for _, pid := range r.td.runnersOf(slot) {
			holds, _ := holds(pid, word)
			found = found || holds
		}
		return found
	}
	compile := func(owner, source, want string) (slot int) {
		c := r.compileKept(owner, hardOn(language, "other", source, ""))
		if c.got != want || strings.Contains(c.said, word) {
			r.t.Errorf("%s got %s", owner, c.said)
		}
		return c.kept[0].slot
	}
	if !knows(compile("alice", secret, "code 0\n")) {
		r.t.Error("alice's compiler does not hold her source: the search finds nothing")
	}
	if knows(compile("bob", keptSources[language][1], "code 1\n")) {
		r.t.Error("bob's compiler holds alice's source")
	}
	// Hers holds it, perhaps, and does not go by it.
	compile("alice", keptSources[language][1], "code 1\n")
}

// attackOwn attacks a compiler that has served its owner before. If it does not end by that, it serves him again, and else another does: what they make
// and say of the control program is what a new one does, fresh.
func (r *attackRun) attackOwn(fresh string, ends bool) {
	const owner = "mallory"
	attack, control := r.a, hardOn(r.a.programs["main"].language, "control", controls[r.a.programs["main"].language], "")
	for start := time.Now(); ; { // on a busy machine one may be dropped that was not to be
		before := r.compileKept(owner, control)
		r.a = attack
		c := r.compileAs(owner)
		r.judgeCompile(c.got, c.messages)
		if ends && len(c.kept) > 0 {
			r.t.Errorf("%s: its compiler is kept", attack.title)
		}
		after := r.compileKept(owner, control)
		for _, got := range []compiled{before, after} {
			if got.said != fresh {
				r.t.Errorf("%s: before and after a compiler says\n%s, and another to begin with\n%s", attack.title, got.said, fresh)
			}
		}
		if ends || slices.Equal(c.kept, before.kept) && slices.Equal(after.kept, before.kept) {
			return
		}
		if time.Since(start) > 3*hang {
			r.t.Fatalf("%s: no compiler is kept", attack.title)
		}
	}
}

// compiled is what a compile job came to.
type compiled struct {
	got      string // outcome
	messages string
	said     string       // all of it, and digests of what was made
	kept     []*readyJail // for the owner then
}

// compileKept is compileAs, until the jail is kept.
func (r *attackRun) compileKept(owner string, a *attack) compiled {
	r.t.Helper()
	for start := time.Now(); time.Since(start) < 3*hang; {
		r.a = a
		if c := r.compileAs(owner); len(c.kept) > 0 { // on a busy machine it may not be ready again in time, and is dropped
			return c
		}
	}
	r.t.Fatal("no compiler is kept for " + owner)
	return compiled{}
}

// compileAs has main compiled for an owner, by a compiler that is kept for him or another that is warm.
func (r *attackRun) compileAs(owner string) (c compiled) {
	r.t.Helper()
	job, _ := r.stages("main")
	pools, id := r.td.d.server.pools, "kept-"+r.a.programs["main"].language
	by := keptBy{pools.all[job.Template].template, owner}
	for start := time.Now(); len(pools.all[job.Template].ready) == 0; time.Sleep(5 * time.Millisecond) {
		if jails, _ := pools.kept.of(by); len(jails) > 0 {
			break
		}
		if time.Since(start) > 3*hang {
			r.t.Fatal("no compiler is warm")
		}
	}
	job.Owner, job.Build = owner, wire.Volume{ID: id, New: true}
	contents := memfile(r.t, job.contents)
	defer contents.Close()
	res := r.td.runJob(context.Background(), &job.Job, nil, contents)
	c.got, c.messages = outcome(res.Result, res.err), res.stdout+res.stderr
	r.wantNoSecret(c.messages)
	c.said = c.got + c.messages
	if c.got == "code 0\n" {
		made := &wire.Job{Template: "bash/run", Argv: []string{"/bin/bash", "-c", "sha256sum /build/*"}, Env: words(lang.BaseEnv), Limits: defaultLimits, Build: wire.Volume{ID: id}}
		sums := r.td.runJob(context.Background(), made, nil)
		if c.said += sums.stdout; sums.err != nil || sums.stdout == "" {
			r.t.Errorf("what was made: %v, %q", sums.err, sums.stderr)
		}
	}
	if err := r.td.client.Forget(context.Background(), id); err != nil {
		r.t.Fatal(err)
	}
	for start, lent := time.Now(), 1; lent > 0; time.Sleep(5 * time.Millisecond) {
		if c.kept, lent = pools.kept.of(by); time.Since(start) > hang {
			r.t.Fatal("a compiler's jail was not given back")
		}
	}
	return c
}

// of returns the jails that wait for an owner, and how many are out.
func (k *kept) of(by keptBy) (jails []*readyJail, lent int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range k.jails {
		if r.keptBy() == by {
			jails = append(jails, r)
		}
	}
	return jails, k.lent[by]
}
