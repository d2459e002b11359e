package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// What requests may say, and how those that say something else are refused.

func TestRefusals(t *testing.T) {
	hello := program("bash", "echo x")
	files := func(names ...string) request {
		var fs []request
		for _, n := range names {
			fs = append(fs, request{"name": n, "content": "x"})
		}
		return hello.with(request{"files": fs})
	}
	for name, c := range map[string]struct {
		body  any
		code  string
		field string // "": none
		says  string // part of the message
	}{
		"not JSON":               {`{"language": "bash", `, "invalid_json", "", ""},
		"two documents":          {`{"language": "bash", "code": ""} {}`, "invalid_json", "", ""},
		"an array":               {`[]`, "invalid_json", "", ""},
		"empty body":             {``, "invalid_json", "", ""},
		"unknown language":       {program("cobol", ""), "unknown_language", "language", "python"},
		"no language":            {request{"code": "x"}, "invalid_field", "language", ""},
		"language a number":      {request{"language": 3, "code": "x"}, "invalid_field", "language", ""},
		"unknown version":        {program("python", "").with(request{"version": "2.7"}), "unknown_version", "version", "3."},
		"impossible range":       {program("python", "").with(request{"version": ">99 <100"}), "unknown_version", "version", "3."},
		"version is no range":    {program("python", "").with(request{"version": "newest please"}), "invalid_field", "version", "newest"},
		"neither code nor files": {request{"language": "bash"}, "invalid_field", "code", ""},
		"no files":               {request{"language": "bash", "files": []any{}}, "invalid_field", "", ""},
		"unknown field":          {hello.with(request{"runtimeout": 3}), "invalid_field", "runtimeout", ""},
		"case matters":           {hello.with(request{"Stdin": "x"}), "invalid_field", "Stdin", ""},
		"field twice":            {`{"language": "bash", "code": "a", "code": "b"}`, "invalid_field", "code", ""},
		"unknown file field":     {hello.with(request{"files": []request{{"name": "a", "content": "", "mode": 3}}}), "invalid_field", "files[0].mode", ""},
		"timeout too large":      {hello.with(request{"run_timeout": 300001}), "invalid_field", "run_timeout", "300000"},
		"timeout 0":              {hello.with(request{"run_timeout": 0}), "invalid_field", "run_timeout", "0"},
		"timeout negative":       {hello.with(request{"run_timeout": -5}), "invalid_field", "run_timeout", "-5"},
		"timeout a string":       {hello.with(request{"run_timeout": "5"}), "invalid_field", "run_timeout", ""},
		"timeout a fraction":     {hello.with(request{"run_timeout": 1000.5}), "invalid_field", "run_timeout", "1000.5"},
		"timeout huge":           {`{"language":"bash","code":"","run_timeout":99999999999999999999999}`, "invalid_field", "run_timeout", ""},
		"compile_timeout":        {hello.with(request{"compile_timeout": 60001}), "invalid_field", "compile_timeout", "60000"},
		"memory":                 {hello.with(request{"run_memory_limit": 1 << 50}), "invalid_field", "run_memory_limit", fmt.Sprint(1 << 50)},
		"output_limit":           {hello.with(request{"output_limit": -1}), "invalid_field", "output_limit", "-1"},
		"session_id":             {hello.with(request{"session_id": "a/b"}), "invalid_field", "session_id", ""},
		"session_id empty":       {hello.with(request{"session_id": ""}), "invalid_field", "session_id", ""},
		"session_id long":        {hello.with(request{"session_id": strings.Repeat("a", 129)}), "invalid_field", "session_id", "128"},
		"ephemeral, session":     {hello.with(request{"session_id": "a", "ephemeral": true}), "invalid_field", "ephemeral", "session_id"},
		"ephemeral a number":     {hello.with(request{"ephemeral": 1}), "invalid_field", "ephemeral", ""},
		"args not strings":       {hello.with(request{"args": []any{"a", 1}}), "invalid_field", "args[1]", ""},
		"args a string":          {hello.with(request{"args": "a b"}), "invalid_field", "args", ""},
		"arg with NUL":           {hello.with(request{"args": []string{"a\x00"}}), "invalid_field", "args[0]", "NUL"},
		"env a list":             {hello.with(request{"env": []string{"A=b"}}), "invalid_field", "env", ""},
		"env not strings":        {hello.with(request{"env": request{"A": 1}}), "invalid_field", "env.A", ""},
		"env name":               {hello.with(request{"env": request{"A=B": "c"}}), "invalid_field", "env", ""},
		"env too large":          {hello.with(request{"env": request{"A": strings.Repeat("x", 1<<20)}}), "invalid_field", "env", ""},
		"stdin not base64":       {hello.with(request{"stdin": "%%", "stdin_encoding": "base64"}), "invalid_field", "stdin", "base64"},
		"stdin hex":              {hello.with(request{"stdin": "00", "stdin_encoding": "hex"}), "invalid_field", "stdin_encoding", "base64"},
		"file not hex":           {hello.with(request{"files": []request{{"name": "a", "content": "0g", "encoding": "hex"}}}), "invalid_field", "files[0].content", "hex"},
		"file encoding":          {hello.with(request{"files": []request{{"name": "a", "content": "", "encoding": "latin1"}}}), "invalid_field", "files[0].encoding", "utf8"},
		"file without name":      {hello.with(request{"files": []request{{"content": ""}}}), "invalid_field", "files[0].name", ""},
		"file without content":   {hello.with(request{"files": []request{{"name": "a"}}}), "invalid_field", "files[0].content", ""},
		"absolute name":          {files("/etc/passwd"), "invalid_field", "files[0].name", "/etc/passwd"},
		"..":                     {files("ok", "a/../../b"), "invalid_field", "files[1].name", ".."},
		"empty part":             {files("a//b"), "invalid_field", "files[0].name", ""},
		"trailing slash":         {files("a/"), "invalid_field", "files[0].name", ""},
		"empty name":             {files(""), "invalid_field", "files[0].name", ""},
		"NUL in a name":          {files("a\x00b"), "invalid_field", "files[0].name", "NUL"},
		"part too long":          {files(strings.Repeat("n", 256)), "invalid_field", "files[0].name", "255"},
		"name twice":             {files("a", "b", "a"), "invalid_field", "files[2].name", `"a"`},
		"name of code":           {files("main.sh"), "invalid_field", "files[0].name", "main.sh"},
		"file and folder":        {files("a", "a/b"), "invalid_field", "files[1].name", `"a"`},
		"folder and file":        {files("a/b", "a"), "invalid_field", "files[1].name", `"a"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := refused(t, api.key, c.body, http.StatusBadRequest, c.code)
			if field := e.Field; c.field != "" && (field == nil || *field != c.field) {
				t.Errorf("field %s, want %s: %s", show(field), c.field, e.Message)
			}
			if !strings.Contains(e.Message, c.says) || !strings.Contains(e.Message, strings.Split(c.field, ".")[0]) {
				t.Errorf("message %q does not name %q and %q", e.Message, c.field, c.says)
			}
		})
	}
}

// An unknown language gets the list of the known ones, an unknown version what is installed.
func TestRefusalsListWhatThereIs(t *testing.T) {
	unknown := refused(t, api.key, program("cobol", ""), 400, "unknown_language")
	for _, r := range runtimes(t) {
		if !strings.Contains(unknown.Message, r.Language) {
			t.Errorf("%q does not list %s", unknown.Message, r.Language)
		}
		version := refused(t, api.key, program(r.Language, "").with(request{"version": "0.0.1"}), 400, "unknown_version")
		if !strings.Contains(version.Message, r.Version) {
			t.Errorf("%q does not list %s", version.Message, r.Version)
		}
	}
}

func TestHTTPRefusals(t *testing.T) {
	body := program("bash", "echo x")
	send := func(key, method, path string, body any) (*http.Response, []byte) {
		t.Helper()
		response, content, err := api.send(context.Background(), key, method, path, body)
		if err != nil {
			t.Fatal(err)
		}
		return response, content
	}
	for name, key := range map[string]string{"no key": "", "unknown key": "rt_live_unknown0unknown0unknown0", "part of a key": api.key[:len(api.key)-1], "longer": api.key + "x"} {
		for _, path := range []string{"/v1/execute", "/v1/execute/runtimes", "/v1/sessions/x"} {
			method := map[string]string{"/v1/execute": "POST", "/v1/execute/runtimes": "GET", "/v1/sessions/x": "DELETE"}[path]
			t.Run(name+path, func(t *testing.T) {
				response, content := send(key, method, path, body)
				wantRefusal(t, response, content, http.StatusUnauthorized, "unauthorized")
			})
		}
	}
	t.Run("no such path", func(t *testing.T) {
		response, content := send(api.key, "GET", "/v1/nothing", nil)
		wantRefusal(t, response, content, http.StatusNotFound, "not_found")
	})
	t.Run("method", func(t *testing.T) {
		response, content := send(api.key, "GET", "/v1/execute", nil)
		wantRefusal(t, response, content, http.StatusMethodNotAllowed, "method_not_allowed")
		if !strings.Contains(response.Header.Get("Allow"), "POST") {
			t.Errorf("Allow: %q", response.Header.Get("Allow"))
		}
	})
	t.Run("media type", func(t *testing.T) {
		q, _ := http.NewRequest("POST", api.url+"/v1/execute", strings.NewReader("language=bash"))
		q.Header.Set("Authorization", "Bearer "+api.key)
		q.Header.Set("Content-Type", "text/plain")
		response, err := clients.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusUnsupportedMediaType {
			t.Errorf("%s", response.Status)
		}
	})
}

// A caller that is refused while it still sends its body must be able to read why: the connection may not be reset under it.
func TestRefusalOfALargeBodyArrives(t *testing.T) {
	large := program("bash", "").with(request{"stdin": strings.Repeat("x", 66<<20)})
	for name, c := range map[string]struct {
		key    string
		status int
		code   string
	}{"413": {api.key, http.StatusRequestEntityTooLarge, "payload_too_large"}, "401": {"rt_live_unknown0unknown0unknown0", http.StatusUnauthorized, "unauthorized"}} {
		t.Run(name, func(t *testing.T) {
			for range 10 {
				response, content, err := api.send(context.Background(), c.key, "POST", "/v1/execute", large)
				if err != nil {
					t.Fatal(err)
				}
				wantRefusal(t, response, content, c.status, c.code)
			}
		})
	}
}

func TestArgsAndEnv(t *testing.T) {
	args := []string{"", "a b", "'\"$HOME`", "\n", "-n", "--", "\u00e4\U0001F600", strings.Repeat("x", 50_000)}
	env := request{"EMPTY": "", "WITH_NEWLINE": "a\nb=c", "UNICODE_\u00e4": "\u20ac", "lower": "$HOME", "PATH": "/usr/bin:/opt/x"}
	for language, code := range map[string]string{
		"python":     "import sys, os, json\nprint(json.dumps([sys.argv[1:], [os.environ.get(k) for k in sys.stdin.read().split()]], ensure_ascii=False), end='')",
		"javascript": "const keys = require('fs').readFileSync(0, 'utf8').split(' ')\nprocess.stdout.write(JSON.stringify([process.argv.slice(2), keys.map(k => process.env[k] ?? null)]))",
		"ruby":       "require 'json'\nprint JSON.generate([ARGV, $stdin.read.split.map { |k| ENV[k] }])",
		"go": "package main\nimport (\"encoding/json\"; \"io\"; \"os\"; \"strings\")\nfunc main() {\n\tin, _ := io.ReadAll(os.Stdin)\n\tvar vs []string\n" +
			"\tfor _, k := range strings.Fields(string(in)) { vs = append(vs, os.Getenv(k)) }\n\tb, _ := json.Marshal([]any{os.Args[1:], vs})\n\tos.Stdout.Write(b)\n}",
	} {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			names := []string{"EMPTY", "WITH_NEWLINE", "UNICODE_\u00e4", "lower", "PATH"}
			got := output(t, program(language, code).with(request{"args": args, "env": env, "stdin": strings.Join(names, " ")}))
			var both [2][]string
			if err := strict([]byte(got), &both); err != nil {
				t.Fatalf("%v in %.200s", err, got)
			}
			if !slices.Equal(both[0], args) {
				t.Errorf("args %.300q, want %.300q", both[0], args)
			}
			for i, name := range names {
				if both[1][i] != env[name] {
					t.Errorf("%s is %q, want %q", name, both[1][i], env[name])
				}
			}
		})
	}
}

// What we need to keep a program's environment must not show in it.
func TestEnvironmentHoldsNothingOfOurs(t *testing.T) {
	for language, code := range map[string]string{
		"bash":       "env -0 | tr '\\0' '\\n' | cut -d= -f1; env | grep -c LD_PRELOAD",
		"python":     "import os; print('\\n'.join(os.environ))",
		"javascript": "console.log(Object.keys(process.env).join('\\n'))",
		"ruby":       "puts ENV.keys",
		"c":          "#include <stdio.h>\nextern char **environ;\nint main(void) { for (char **e = environ; *e; e++) puts(*e); }",
		"go":         "package main\nimport (\"fmt\"; \"os\")\nfunc main() { for _, e := range os.Environ() { fmt.Println(e) } }",
	} {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			got := execute(t, program(language, code)).Run.Stdout
			known := strings.Fields("PATH HOME USER LOGNAME SHELL LANG TMPDIR PWD OLDPWD SHLVL _ GOROOT GOENV GOTOOLCHAIN 0 NODE_OPTIONS")
			for line := range strings.Lines(got) {
				if name, _, _ := strings.Cut(strings.TrimSpace(line), "="); !slices.Contains(known, name) {
					t.Errorf("variable %s", line)
				}
			}
		})
	}
}

func TestLanguageAndVersionSelection(t *testing.T) {
	for _, r := range runtimes(t) {
		t.Run(r.Language, func(t *testing.T) {
			t.Parallel()
			code := strings.ReplaceAll(hellos[r.Language], "MARKER", "x")
			parts := strings.SplitN(r.Version, ".", 3)
			selectors := []string{"*", "", parts[0], r.Version, ">=" + parts[0], "^" + r.Version, "<99"}
			if len(parts) > 1 {
				selectors = append(selectors, parts[0]+"."+parts[1], "~"+parts[0]+"."+parts[1], ">="+parts[0]+"."+parts[1]+" <99")
			}
			if slices.Contains(compiled, r.Language) { // one will do
				selectors = selectors[3:4]
			}
			for _, selector := range selectors {
				a := execute(t, program(r.Language, code).with(request{"version": selector}))
				wantStdout(t, a, "x\n")
				if a.Version != r.Version {
					t.Errorf("version %q for %q, want %q", a.Version, selector, r.Version)
				}
			}
			for _, name := range append(r.Aliases, strings.ToUpper(r.Language)) {
				if a := execute(t, program(name, code)); a.Language != r.Language || a.Run.Status != "OK" {
					t.Errorf("%s: %s", name, a)
				}
				if slices.Contains(compiled, r.Language) {
					break
				}
			}
		})
	}
}

// The names that the specification and other such services use.
func TestAliases(t *testing.T) {
	aliases := map[string][]string{}
	for _, r := range runtimes(t) {
		aliases[r.Language] = r.Aliases
	}
	for alias, language := range map[string]string{"py": "python", "js": "javascript", "node": "javascript", "ts": "typescript", "sh": "bash",
		"c++": "cpp", "rs": "rust", "rb": "ruby", "golang": "go", "cs": "csharp", "c#": "csharp"} {
		if !slices.Contains(aliases[language], alias) {
			t.Errorf("%s has no alias %s: %v", language, alias, aliases[language])
		}
	}
}

func TestUnicodeSource(t *testing.T) {
	for language, code := range map[string]string{
		"python": "größe = 'ä€😀'\nprint(größe)", "bash": "größe() { echo 'ä€😀'; }; größe", "ruby": "größe = 'ä€😀'\nputs größe",
		"javascript": "const größe = 'ä€😀'; console.log(größe)", "typescript": "const größe: string = 'ä€😀'; console.log(größe)",
		"c": "#include <stdio.h>\nint main(void) { puts(\"ä€😀\"); }", "go": "package main\nimport \"fmt\"\nfunc main() { größe := \"ä€😀\"; fmt.Println(größe) }",
		"rust":   "fn main() { let größe = \"ä€😀\"; println!(\"{größe}\") }",
		"java":   "public class Main { public static void main(String[] a) { String größe = \"ä€😀\"; System.out.println(größe); } }",
		"csharp": "var größe = \"ä€😀\"; System.Console.WriteLine(größe);",
	} {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			wantStdout(t, execute(t, program(language, code)), "ä€😀\n")
		})
	}
}

// The entry is code under the language's own name, or else the first file, whatever it is called.
func TestEntry(t *testing.T) {
	helper := request{"name": "lib/helper.py", "content": "def f(): return 'helped'"}
	for name, q := range map[string]request{
		"code beside files": program("python", "from lib.helper import f\nprint(f())").with(request{"files": []request{helper}}),
		"first file":        {"language": "python", "files": []request{{"name": "start.py", "content": "from lib.helper import f\nprint(f())"}, helper}},
		"nested first file": {"language": "python", "files": []request{{"name": "app/start.py", "content": "import sys; sys.path.insert(0, '.')\nfrom lib.helper import f\nprint(f())"}, helper}},
		"C": {"language": "c", "files": []request{{"name": "start.c", "content": "#include \"h/x.h\"\n#include <stdio.h>\nint main(void) { puts(f()); }"},
			{"name": "h/x.h", "content": "const char *f(void);"}, {"name": "h/x.c", "content": "#include \"x.h\"\nconst char *f(void) { return \"helped\"; }"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantStdout(t, execute(t, q), "helped\n")
		})
	}
}

// null is what many clients send for a field that they do not set.
func TestNullFields(t *testing.T) {
	wantStdout(t, execute(t, `{"language": "bash", "code": "echo x", "stdin": null, "session_id": null, "version": null, "files": null, "args": null,
		"env": null, "run_timeout": null, "ephemeral": null, "stdin_encoding": null}`), "x\n")
}
