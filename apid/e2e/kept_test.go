package e2e

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// keptPrograms are compiled one after the other by one compiler, which must say and make what a fresh one does.
var keptPrograms = map[string][]string{
	"java": {
		`public class Main { public static void main(String[] a) { System.out.println("one " + Helper.x); } } class Helper { static int x = 1; }`,
		`public class Main { public static void main(String[] a) { System.out.println("two " + Helper.x); } }`, // Helper was the last job's
		`public class Main { public static void main(String[] a) { System.out.println("three " + Helper.x); } } class Helper { static String x = "other"; }`,
		`public class Main { public static void main(String[] a) { int x = "no"; undefined(); } }`,
		`package p; public class Deep { public static void main(String[] a) { System.out.println(Deep.class); } }`,
		`import p.Deep; public class Main { public static void main(String[] a) { System.out.println(Deep.class); } }`,
		`public class Main { public static void main(String[] a) { System.out.println(String.join("-", java.util.List.of("a", "b"))); } } class String { static java.lang.String join(Object... o) { return "mine"; } }`,
		`public class Main { public static void main(String[] a) { System.out.println(String.join("-", java.util.List.of("a", "b"))); } }`,
		`public class Main { public static void main(java.util.List<String> a) { } void unused() { java.util.List l = new java.util.ArrayList(); l.add(1); } }`,
		`not java at all`,
		`record R(int a, String b) { public static void main(String[] x) { System.out.println(new R(1, "ü")); } }`,
	},
	"csharp": {
		`Console.WriteLine("one " + Helper.X); static class Helper { public static int X = 1; }`,
		`Console.WriteLine("two " + Helper.X);`,
		`Console.WriteLine("three " + Helper.X); static class Helper { public static string X = "other"; }`,
		`int x = "no"; Undefined();`,
		`namespace P { public class Deep { public static void Main() { Console.WriteLine(typeof(Deep)); } } }`,
		`Console.WriteLine(typeof(P.Deep));`,
		`using System.Text.RegularExpressions; Console.WriteLine(P.R().IsMatch("abc")); static partial class P { [GeneratedRegex("b+")] public static partial Regex R(); }`,
		`Console.WriteLine(P.R().IsMatch("abc")); static partial class P { public static partial System.Text.RegularExpressions.Regex R(); }`,
		`#warning look here` + "\n" + `#nullable enable` + "\n" + `string s = null; Console.WriteLine(s?.Length ?? 7);`,
		`not c# at all`,
		`record R(int A, string B) { static void Main() => Console.WriteLine(new R(1, "ü")); }`,
	},
}

// keptHeeds are variables that the compilers' runtimes read when they start.
var keptHeeds = map[string]string{"java": "JAVA_TOOL_OPTIONS=-Xnone", "csharp": "DOTNET_STARTUP_HOOKS=/none.dll"}

// A compiler that serves a key again gives the answers of one that is new, and nothing of a job is in the next.
func TestKeptCompilers(t *testing.T) {
	kept, err := startStackOf(slices.Collect(maps.Keys(keptPrograms)), "kept", "", "compiler_jobs = 8")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := kept.stop(); err != nil {
			t.Error(err)
		}
	})
	for language, sources := range keptPrograms {
		if err := kept.waitLoaded(language + "/compile"); err != nil {
			t.Fatal(err)
		}
		before := kept.reused(t)
		for i, source := range sources {
			q := program(language, source).with(request{"env": request{"A": fmt.Sprint(i)}}) // no variable of the compiler's
			got, want := kept.execute(t, kept.key, q), execute(t, q)
			for _, s := range []struct {
				name      string
				got, want *stage
			}{{"compile", got.Compile, want.Compile}, {"run", &got.Run, &want.Run}} {
				took := regexp.MustCompile(`^OK \([0-9.]+ sec real\)$`)
				if s.got.Stdout != s.want.Stdout || took.ReplaceAllString(s.got.Stderr, "OK") != took.ReplaceAllString(s.want.Stderr, "OK") || s.got.Status != s.want.Status || (s.got.Code == nil) != (s.want.Code == nil) || s.got.Code != nil && *s.got.Code != *s.want.Code {
					t.Errorf("%s, program %d, %s:\nkept: %s\nnew: %s", language, i, s.name, got, want)
				}
			}
		}
		// The first two of eight may have met a compiler that was not back yet.
		if n := kept.reused(t) - before; n < len(sources)/2 {
			t.Errorf("%s: %d of %d programs met a compiler that had served before", language, n, len(sources))
		}
		// One that the runtime reads is heeded: a new one does, and says that it cannot.
		name, value, _ := strings.Cut(keptHeeds[language], "=")
		if a := kept.execute(t, kept.key, program(language, sources[0]).with(request{"env": request{name: value}})); !strings.Contains(a.Compile.Stderr, value) {
			t.Errorf("%s: %s=%s is not heeded: %s", language, name, value, a)
		}
		// Another key's program never meets it.
		before = kept.reused(t)
		a := kept.execute(t, kept.otherKey, program(language, sources[1]))
		if a.Compile.Status != "CE" || kept.reused(t) != before {
			t.Errorf("%s: the other key's: %s", language, a)
		}
	}
	kept.wantNoneAfterTrick(t, "java", "JAVA_TOOL_OPTIONS", "-Dtrick=by_JAVA_TOOL_OPTIONS")
	kept.wantNoneAfterTrick(t, "csharp", "DOTNET_gcServer", "1")
}

// wantNoneAfterTrick runs programs with a variable that the compiler's runtime reads until no compiler is left that has served before: then there is none for the next
// program either, which finds nothing of the variable. What each of such variables, and whatever exhausts a compiler, does to one that is kept is in sandboxd/attack_kept_root_test.go.
func (s *stack) wantNoneAfterTrick(t *testing.T, language, variable, value string) {
	t.Helper()
	tries := 0
	run := func(want string, with request) (reused bool) {
		before := s.reused(t)
		tries++ // another program each time, so that it is compiled
		a := s.execute(t, s.key, program(language, tricked[language]+strings.Repeat("\n", tries)).with(with))
		if a.Run.Status != "OK" || a.Run.Stdout != want || a.Compile.Cached {
			t.Errorf("%s with %v: want %q, got %s", language, with, want, a)
		}
		return s.reused(t) != before
	}
	shown := "by " + variable + "\n"
	if language == "java" {
		shown = "by_" + variable + "\n"
	}
	for inARow := 0; inARow < 2; inARow++ { // one that is on its way back when we ask is there the next time
		if run(shown, request{"env": request{variable: value}}) {
			inARow = -1
		}
		if tries > 10 {
			t.Fatalf("a compiler that met %s serves again", variable)
		}
	}
	if run("MARKER\n", nil) {
		t.Errorf("a compiler that met %s served again", variable)
	}
}

// What a compile job of a session finds in its workspace was not all given by the request: no compiler is kept after it.
func TestKeptCompilersAreNotForSessions(t *testing.T) {
	const language = "java"
	kept, err := startStackOf([]string{language}, "kept", "", "compiler_jobs = 8")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := kept.stop(); err != nil {
			t.Error(err)
		}
	})
	if err := kept.waitLoaded(language + "/compile"); err != nil {
		t.Fatal(err)
	}
	writes := `import java.nio.file.*; public class Main { public static void main(String[] a) throws Exception { Files.writeString(Path.of("left"), "%d"); } }`
	for i := range 4 {
		a := kept.execute(t, kept.key, program(language, fmt.Sprintf(writes, i)).with(request{"session_id": "s"}))
		wantStatus(t, a, "OK")
	}
	// The first, which found nothing, may have had a compiler that was kept; the others had to have new ones.
	if n := kept.reused(t); n != 0 {
		t.Errorf("%d compile jobs of a session with files met a compiler that had served before", n)
	}
}

func (s *stack) reused(t *testing.T) int {
	t.Helper()
	n, err := s.metric("runtools_pool_reused_total")
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

// waitLoaded waits until a jail of the template, language/stage, is ready, with its runtime loaded.
func (s *stack) waitLoaded(template string) error {
	return eventually("a jail of "+template+" is ready", func() error {
		n, err := s.metric(`runtools_pool_ready\{template="` + template + `"\}`)
		if err == nil && n < 1 {
			err = fmt.Errorf("%v are", n)
		}
		return err
	})
}
