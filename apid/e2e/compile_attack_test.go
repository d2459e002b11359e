package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// Compilers read what their users name. They run in jails, so what they can name is the image, the request's files and nothing else, they run none of
// it, and what they take is bounded. Each attack is followed by a compile that knows nothing of it. Most attacks of the first two kinds are in
// sandboxd/testdata/attack, compile-*; here are three of them, by way of apid, and those that meet a limit of a request.
func TestCompilersUnderAttack(t *testing.T) {
	secret := strings.TrimPrefix(daemonSecret, "PLANTED_IN_DAEMONS=")
	file, err := os.CreateTemp("", "rt-e2e-planted-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(file.Name()) })
	if _, err := file.WriteString(secret); err != nil {
		t.Fatal(err)
	}
	if err := file.Chmod(0o644); err != nil {
		t.Fatal(err)
	}
	host := file.Name()

	for name, c := range map[string]struct {
		language, code string
		want           []string // statuses
		stdout         string   // if it is OK
	}{
		"c include":                 {"c", fmt.Sprintf("#include %q\nint main(void) {}", host), []string{"CE"}, ""},
		"rust include_str":          {"rust", fmt.Sprintf("fn main() { print!(\"{}\", include_str!(%q)) }", host), []string{"CE"}, ""},
		"go generate":               {"go", "package main\n\n//go:generate touch generated.go\nfunc main() { println() }", []string{"OK"}, ""},
		"c++ templates without end": {"cpp", "template <int N> struct F { static const int v = F<N + 1>::v; };\nint main() { return F<0>::v; }", []string{"CE"}, ""},
		"c++ types of exponential size": {"cpp", `template <class A, class B> struct P { A a; B b; };
template <int N> struct T { typedef P<typename T<N - 1>::t, P<typename T<N - 1>::t, int>> t; };
template <> struct T<0> { typedef int t; };
int main() { T<60>::t x; return sizeof x; }`, []string{"CE", "TO", "ML"}, ""},
		"c++ constexpr without end": {"cpp", "constexpr int f(int n) { while (true) n++; return n; }\nstatic_assert(f(0));\nint main() {}", []string{"CE", "TO"}, ""},
		"c an object of 16 GiB":     {"c", "char a[16L << 30] = {1};\nint main(void) { return a[0]; }", []string{"CE", "TO", "ML"}, ""},
		"c macros":                  {"c", slowC, []string{"CE", "TO", "ML"}, ""},
		"rust const without end":    {"rust", "const N: u64 = { let mut n = 0u64; while n < u64::MAX { n += 1; } n };\nfn main() { println!(\"{}\", N) }", []string{"CE", "TO"}, ""},
		"java a constant pool":      {"java", "public class Main { public static void main(String[] a) { int x = " + strings.Repeat("(", 20_000) + "1" + strings.Repeat(")", 20_000) + "; } }", []string{"CE", "OK", "TO"}, ""},
		"c# parentheses":            {"csharp", "var x = " + strings.Repeat("(", 20_000) + "1" + strings.Repeat(")", 20_000) + ";", []string{"CE", "OK", "TO"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := program(c.language, c.code)
			if slices.Contains(c.want, "TO") { // the others come to their end, also on a busy machine
				q["compile_timeout"] = 5000
			}
			a := execute(t, q.with(request{"ephemeral": true}))
			status := a.Run.Status
			if a.Compile != nil && a.Compile.Status != "OK" {
				status = a.Compile.Status
			}
			if !slices.Contains(c.want, status) || status == "OK" && a.Run.Stdout != c.stdout {
				t.Errorf("%s, want one of %s and %q: %s", status, c.want, c.stdout, a)
			}
			if strings.Contains(a.String(), secret) {
				t.Error("the answer has the secret")
			}
			if got := output(t, program(c.language, strings.ReplaceAll(hellos[c.language], "MARKER", "next"))); got != "next\n" {
				t.Errorf("the next program wrote %q", got)
			}
		})
	}
}
