package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// The examples of the specification, word for word where a test can hold them.

func TestSpecRequests(t *testing.T) {
	for name, c := range map[string]struct{ body, stdout string }{
		"code": {`{
  "language": "python",
  "code": "print(sum(range(1, 101)))"
}`, "5050\n"},
		"files, session, stdin, run_timeout": {`{
  "language": "python",
  "session_id": "abc-123-def",
  "files": [
    { "name": "main.py", "content": "from utils import add\nprint(add(1, 2))" },
    { "name": "utils.py", "content": "def add(a, b): return a + b" }
  ],
  "stdin": "optional input",
  "run_timeout": 300000
}`, "3\n"},
		"SDK": {`{"language": "python", "code": "print(\"Hello from RunTools!\")"}`, "Hello from RunTools!\n"},
		"examples section": {quoteCode("python", `import math
print(f"Pi = {math.pi:.10f}")
primes = [n for n in range(2, 50) if all(n % i != 0 for i in range(2, n))]
print(f"Primes under 50: {primes}")`),
			"Pi = 3.1415926536\nPrimes under 50: [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47]\n"},
		"CLI, code":  {`{"language": "python", "code": "print(42)"}`, "42\n"},
		"CLI, stdin": {`{"language": "python", "code": "print(input())", "stdin": "hello"}`, "hello\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantStdout(t, execute(t, c.body), c.stdout)
		})
	}
}

func quoteCode(language, code string) string {
	text, _ := json.Marshal(request{"language": language, "code": code})
	return string(text)
}

func TestSpecSession(t *testing.T) {
	first := execute(t, `{
  "language": "python",
  "code": "open(\"data.txt\", \"w\").write(\"hello\")"
}`)
	wantStatus(t, first, "OK")
	if first.SessionID == nil {
		t.Fatal("no session_id")
	}
	second := execute(t, fmt.Sprintf(`{
  "language": "python",
  "session_id": %q,
  "code": "print(open(\"data.txt\").read())"
}`, *first.SessionID))
	wantStdout(t, second, "hello\n")
}

// types says which JSON type a field has: string, number, null, object.
func types(fields map[string]any) map[string]string {
	names := map[string]string{}
	for field, value := range fields {
		switch value.(type) {
		case string:
			names[field] = "string"
		case float64:
			names[field] = "number"
		case nil:
			names[field] = "null"
		case map[string]any:
			names[field] = "object"
		default:
			names[field] = fmt.Sprintf("%T", value)
		}
	}
	return names
}

func wantTypes(t *testing.T, where string, got map[string]any, want string) {
	t.Helper()
	have := types(got)
	for field := range strings.FieldsSeq(want) {
		name, kind, _ := strings.Cut(field, ":")
		if have[name] != kind {
			t.Errorf("%s: %s is %q, want %s", where, name, have[name], kind)
		}
		delete(have, name)
	}
	for name := range have {
		t.Errorf("%s: nobody documented field %q", where, name)
	}
}

func TestSpecResponseShape(t *testing.T) {
	const top = "language:string version:string session_id:string run:object"
	const stage = "stdout:string stderr:string code:number signal:null time_ms:number cpu_time_ms:number memory_kb:number " +
		"status:string message:null limit:null"
	uuid := regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	for name, c := range map[string]struct{ language, code, stdout, top string }{
		"python": {"python", "print(sum(range(1, 101)))", "5050\n", top},
		"c": {"c", "#include <stdio.h>\nint main(void) { puts(\"Hello from C!\"); } // " + randomMarker(), "Hello from C!\n",
			top + " compile:object"}, // a program that was not compiled before
	} {
		t.Run(name, func(t *testing.T) {
			response, content, err := api.send(context.Background(), api.key, http.MethodPost, "/v1/execute", program(c.language, c.code))
			if err != nil {
				t.Fatal(err)
			}
			if response.StatusCode != 200 || response.Header.Get("Content-Type") != "application/json" {
				t.Fatalf("%s, %s: %s", response.Status, response.Header.Get("Content-Type"), content)
			}
			var fields map[string]any
			if err := json.Unmarshal(content, &fields); err != nil {
				t.Fatal(err)
			}
			wantTypes(t, "answer", fields, c.top)
			if id, _ := fields["session_id"].(string); !uuid.MatchString(id) {
				t.Errorf("session_id %q is no UUID", id)
			}
			run := fields["run"].(map[string]any)
			wantTypes(t, "run", run, stage)
			if run["stdout"] != c.stdout || run["code"] != 0.0 || run["status"] != "OK" {
				t.Errorf("run: %v", run)
			}
			wantFigures(t, run)
			if compile, ok := fields["compile"].(map[string]any); ok {
				wantTypes(t, "compile", compile, stage)
				wantFigures(t, compile)
				wantSilentCompile(t, compile["stderr"].(string), compile["time_ms"].(float64))
			}
			if response.Header.Get("X-Request-Id") == "" {
				t.Error("no X-Request-Id")
			}
			for phase := range strings.FieldsSeq("auth queue checkout files compile run collect") {
				if !regexp.MustCompile(`\b` + phase + `;dur=[0-9.]+`).MatchString(response.Header.Get("Server-Timing")) {
					t.Errorf("Server-Timing %q: no %s", response.Header.Get("Server-Timing"), phase)
				}
			}
		})
	}
}

// wantFigures checks that what was measured can be true.
func wantFigures(t *testing.T, stage map[string]any) {
	t.Helper()
	for _, name := range []string{"time_ms", "cpu_time_ms", "memory_kb"} {
		if v := stage[name].(float64); v <= 0 || v > 1e6 {
			t.Errorf("%s is %v", name, v)
		}
	}
}

// A compiler that succeeds in silence says `OK (0.085 sec real)`, and the figure is time_ms.
func wantSilentCompile(t *testing.T, stderr string, ms float64) {
	t.Helper()
	if !regexp.MustCompile(`^OK \([0-9]+\.[0-9]{3} sec real\)$`).MatchString(stderr) {
		t.Errorf("compile.stderr %q, want it like %q", stderr, "OK (0.085 sec real)")
	}
	if want := fmt.Sprintf("OK (%.3f sec real)", ms/1000); stderr != want {
		t.Errorf("compile.stderr %q does not fit time_ms %v", stderr, ms)
	}
}

func TestSilentCompilers(t *testing.T) {
	for language, code := range map[string]string{
		"c":    "int main(void) { return 0; }",
		"cpp":  "int main() {}",
		"go":   "package main\nfunc main() {}",
		"java": "class Main { public static void main(String[] a) {} }",
		"rust": "fn main() {}",
	} {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			a := execute(t, program(language, code))
			wantStdout(t, a, "")
			if a.Compile == nil {
				t.Fatal("no compile stage")
			}
			wantSilentCompile(t, a.Compile.Stderr, a.Compile.TimeMS)
		})
	}
}

// A compiler's warnings are shown and do not end up in the program's stderr.
func TestCompilerWarnings(t *testing.T) {
	for language, c := range map[string]struct{ code, warning string }{
		"c":    {"#warning look here\nint main(void) { return 0; }", "look here"},
		"cpp":  {"#warning look here\nint main() {}", "look here"},
		"rust": {"fn unused_one() {}\nfn main() {}", "unused_one"},
	} {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			a := execute(t, program(language, c.code))
			wantStdout(t, a, "")
			if !strings.Contains(a.Compile.Stderr, c.warning) || a.Compile.Status != "OK" || a.Run.Stderr != "" {
				t.Errorf("want the warning in compile.stderr alone: %s", a)
			}
		})
	}
}

func TestHealth(t *testing.T) {
	for _, path := range []string{"/healthz", "/readyz"} {
		response, content, err := api.send(context.Background(), "", http.MethodGet, path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if response.StatusCode != http.StatusOK {
			t.Errorf("%s without a key: %s: %s", path, response.Status, content)
		}
	}
}

// Piston's form of a request, in every language.
func TestPiston(t *testing.T) {
	for folder, language := range languages(t) {
		t.Run(folder, func(t *testing.T) {
			t.Parallel()
			code := strings.ReplaceAll(hellos[folder], "MARKER", "hello")
			response, content, err := api.send(t.Context(), api.key, "POST", "/api/v2/execute",
				request{"language": language, "version": "*", "files": []request{{"content": code}}, "run_timeout": 60000, "compile_timeout": 60000})
			if err != nil {
				t.Fatal(err)
			}
			var a struct {
				Run, Compile *struct {
					Stdout, Output string
					Code           *int
				}
			}
			if err := json.Unmarshal(content, &a); err != nil || response.StatusCode != 200 || a.Run == nil || a.Run.Stdout != "hello\n" || a.Run.Output != "hello\n" || *a.Run.Code != 0 {
				t.Errorf("%v %d %s", err, response.StatusCode, content)
			}
		})
	}
}
