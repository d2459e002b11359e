package e2e

import (
	"fmt"
	"os"
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
		limits         request // of the compiler, so that the one which fires is the one which must, however fast or busy the machine is
		status         string
		why            string // the limit that fired, or a part of the compiler's words
	}{
		"c include":                 {"c", fmt.Sprintf("#include %q\nint main(void) {}", host), nil, "CE", host + ": No such file"},
		"rust include_str":          {"rust", fmt.Sprintf("fn main() { print!(\"{}\", include_str!(%q)) }", host), nil, "CE", "couldn't read `" + host + "`: No such file"},
		"go generate":               {"go", "package main\n\n//go:generate touch generated.go\nfunc main() { println() }", nil, "OK", ""},
		"c++ templates without end": {"cpp", "template <int N> struct F { static const int v = F<N + 1>::v; };\nint main() { return F<0>::v; }", nil, "CE", "template instantiation depth exceeds maximum of 900"},
		"c++ types of exponential size": {"cpp", `template <class A, class B> struct P { A a; B b; };
template <int N> struct T { typedef P<typename T<N - 1>::t, P<typename T<N - 1>::t, int>> t; };
template <> struct T<0> { typedef int t; };
int main() { T<60>::t x; return sizeof x; }`, request{"compile_timeout": 1000}, "TO", "compile_timeout"},
		"c++ constexpr without end": {"cpp", "constexpr int f(int n) { while (true) n++; return n; }\nstatic_assert(f(0));\nint main() {}", nil, "CE", "loop iteration count exceeds limit of 262144"},
		"c an object of 16 GiB":     {"c", "char a[16L << 30] = {1};\nint main(void) { return a[0]; }", nil, "CE", "File size limit exceeded"},
		"c macros":                  {"c", slowC, request{"compile_memory_limit": 128 << 20}, "ML", "compile_memory_limit"},
		"rust const without end":    {"rust", "#![allow(long_running_const_eval)]\nconst N: u64 = { let mut n = 0u64; while n < u64::MAX { n += 1; } n };\nfn main() { println!(\"{}\", N) }", request{"compile_timeout": 1000}, "TO", "compile_timeout"},
		"java a constant pool":      {"java", "public class Main { public static void main(String[] a) { int x = " + strings.Repeat("(", 20_000) + "1" + strings.Repeat(")", 20_000) + "; } }", nil, "CE", "java.lang.StackOverflowError"},
		"c# parentheses":            {"csharp", "var x = " + strings.Repeat("(", 20_000) + "1" + strings.Repeat(")", 20_000) + ";", request{"compile_timeout": 1000}, "TO", "compile_timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := execute(t, program(c.language, c.code).with(c.limits).with(request{"ephemeral": true}))
			status, why := a.Compile.Status, a.Compile.Stdout+a.Compile.Stderr
			if a.Compile.Limit != nil {
				why = a.Compile.Limit.Name
			}
			if status != c.status || !strings.Contains(why, c.why) || status == "OK" && (a.Run.Status != "OK" || a.Run.Stdout != "") {
				t.Errorf("%s, want %s and %q: %.3000s", status, c.status, c.why, a)
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
