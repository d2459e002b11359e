package lang

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// image writes an image folder.
func image(t testing.TB, files map[string]string) string {
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const (
	pythonJSON = `{"name": "python", "aliases": ["py"], "extensions": [".py"], "main": "main.py",
		"run": {"template": "run", "argv": ["/usr/bin/python3", "{main}", "{args}"], "keep_env": true}}`
	cJSON = `{"name": "c", "aliases": ["gcc"], "extensions": [".c"], "main": "main.c", "env": {"LC_ALL": "C.UTF-8", "MEM": "{memory_mb}m"},
		"compile": {"template": "compile", "argv": ["/usr/bin/gcc", "-o", "/build/main", "{sources}"], "memory": 1073741824, "env": {"TMP": "/tmp/{main}"}},
		"run": {"template": "run", "argv": ["/build/main", "{args}"]}}`
	rubyJSON = `{"name": "ruby", "aliases": ["rb"], "extensions": [".rb"], "main": "main.rb", "run": {"template": "run", "argv": ["/usr/bin/ruby", "{main}"]}}`
)

func loaded(t testing.TB) *Set {
	set, err := Load(image(t, map[string]string{
		"image.json": `{"digest": "abc", "base": {"any": "thing"}, "built": "today", "languages": {
			"py12": {"version": "3.12.10"}, "py9": {"version": "3.9.2"}, "py13": {"version": "Python 3.13.5 (main)"},
			"c": {"version": "14.2"}, "ruby": {"error": "no source; run the builder again"}, "zig": {"error": "never built"}}}`,
		"languages/py12/lang.json": pythonJSON, "languages/py9/lang.json": pythonJSON, "languages/py13/lang.json": pythonJSON,
		"languages/c/lang.json": cJSON, "languages/ruby/lang.json": rubyJSON,
	}))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestResolve(t *testing.T) {
	set := loaded(t)
	for _, c := range []struct{ name, selector, folder string }{
		{"python", "", "py13"}, {"PY", "*", "py13"}, {"py", "3", "py13"}, {"py", "3.12", "py12"}, {"py", "3.12.10", "py12"}, {"py", "v3.9", "py9"},
		{"py", ">=3.9 <3.13", "py12"}, {"py", ">=3.9, <3.12", "py9"}, {"py", "~3.12", "py12"}, {"py", "^3.9", "py13"}, {"py", "3.x", "py13"},
		{"py", "3.9.x || 3.12.x", "py12"}, {"py", "Python 3.13.5 (main)", "py13"}, {"gcc", "14", "c"}, {"C", "14.2.0", "c"}, {"c", " * ", "c"},
	} {
		r, err := set.Resolve(c.name, c.selector)
		if err != nil || r.Folder != c.folder {
			t.Errorf("%s %q: %v, %v, want %s", c.name, c.selector, r, err, c.folder)
		}
	}
	for _, c := range []struct {
		name, selector string
		as             any
		says           string
	}{
		{"cobol", "", new(*UnknownLanguageError), `unknown language "cobol"; known are c, python`},
		{"pyhton", "", new(*UnknownLanguageError), `unknown language "pyhton"; did you mean python? known are c, python`},
		{"Python ", "", new(*UnknownLanguageError), "did you mean python?"},
		{"gc", "", new(*UnknownLanguageError), `unknown language "gc"; known are`},       // too short to tell
		{"ruby2", "", new(*UnknownLanguageError), `unknown language "ruby2"; known are`}, // which is not installed
		{"py", "2", new(*UnknownVersionError), "installed: Python 3.13.5 (main), 3.12.10, 3.9.2"},
		{"py", "3.1", new(*UnknownVersionError), `"3.1"`},
		{"py", ">4", new(*UnknownVersionError), ">4"},
		{"c", "14.2.1", new(*UnknownVersionError), "14.2"},
		{"py", "newest", new(*SelectorError), "newest"},
		{"py", ">=", new(*SelectorError), ">="},
		{"py", "99999999999999999999", new(*SelectorError), "too large"},
		{"py", strings.Repeat("3 ", 200), new(*SelectorError), "400 bytes"},
		{"py", strings.Repeat(" ", 1<<20) + "2", new(*SelectorError), "1048577 bytes"},
		{strings.Repeat("x", 1<<20), "", new(*UnknownLanguageError), `"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx..."; known are c, python`},
		{"rb", "", new(*BrokenError), "no source; run the builder again"},
		{"zig", "*", new(*BrokenError), "never built"},
	} {
		_, err := set.Resolve(c.name, c.selector)
		if err == nil || !errors.As(err, c.as) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%.64s %.64q: %v", c.name, c.selector, err)
		}
	}
	if names := set.Names(); !reflect.DeepEqual(names, []string{"c", "python"}) {
		t.Errorf("names are %v", names)
	}
	if n, m := len(set.Installed()), len(set.Broken()); n != 4 || m != 2 {
		t.Errorf("%d installed, %d broken", n, m)
	}
	for file, want := range map[string]string{"a.py": "python", "dir.c/b.C": "c", "x.rb": "ruby", "py": "", "a.txt": ""} {
		if got := set.ByExtension(file); got != want {
			t.Errorf("%s is %q, want %q", file, got, want)
		}
	}
}

func TestExpand(t *testing.T) {
	set := loaded(t)
	c, _ := set.Resolve("c", "")
	in := Inputs{Args: []string{"{main}", ""}, Files: []string{"-main.c", "a.h", "lib/{memory}.c", "@b.c"}, Memory: 64 << 20}
	want := []string{"/usr/bin/gcc", "-o", "/build/main", "./-main.c", "lib/{memory}.c", "./@b.c"}
	if got := c.ExpandArgv(c.Compile, in); !reflect.DeepEqual(got, want) {
		t.Errorf("compile: %q", got)
	}
	if got := c.ExpandArgv(c.Run, in); !reflect.DeepEqual(got, []string{"/build/main", "{main}", ""}) {
		t.Errorf("run: %q", got)
	}
	env := c.ExpandEnv(c.Compile, in)
	if env["MEM"] != "64m" || env["TMP"] != "/tmp/./-main.c" || env["HOME"] != "/home/user" || env["LC_ALL"] != "C.UTF-8" {
		t.Errorf("env is %v", env)
	}
	if env = c.ExpandEnv(c.Run, in); env["TMP"] != "" {
		t.Errorf("the compiler's variables reach the program: %v", env)
	}
	py, _ := set.Resolve("python", "")
	in = Inputs{Files: []string{"{memory}.py"}}
	if got := py.ExpandArgv(py.Run, in); !reflect.DeepEqual(got, []string{"/usr/bin/python3", "{memory}.py"}) {
		t.Errorf("run: %q", got)
	}
	if py.Run.Template != "py13/run" || !py.Run.KeepEnv || py.Compile != nil || c.Compile.Memory != 1<<30 {
		t.Errorf("%+v %+v", py.Run, c.Compile)
	}
}

func TestLoadErrors(t *testing.T) {
	good := func(change ...string) map[string]string {
		files := map[string]string{
			"image.json":            `{"digest": "abc", "languages": {"c": {"version": "14.2"}, "py": {"version": "3.13"}}}`,
			"languages/c/lang.json": cJSON, "languages/py/lang.json": pythonJSON,
		}
		for i := 0; i < len(change); i += 3 {
			old := files[change[i]]
			if files[change[i]] = strings.Replace(old, change[i+1], change[i+2], 1); files[change[i]] == old {
				t.Fatalf("nothing to change: %q", change)
			}
		}
		return files
	}
	const py = "languages/py/lang.json"
	for _, c := range []struct {
		files map[string]string
		says  string
	}{
		{map[string]string{}, "image.json"},
		{good("image.json", `"digest"`, `"digst"`), `image.json: unknown field "digst"`},
		{good("image.json", `"3.13"`, `13`), "image.json: languages.version: want string, got number"},
		{good("image.json", `"3.13"`, `""`), "languages.py: want either version or error"},
		{good("image.json", `"3.13"`, `"unknown"`), `languages.py.version: "unknown" holds no number`},
		{good("image.json", `"py":`, `"rb":`), "has no entry for languages/py"},
		{good("image.json", `"languages": {`, `"languages": {"go": {"version": "1.24"},`), "languages/go/lang.json"},
		{good(py, `"main"`, `"mian"`), py + `: unknown field "mian"`},
		{good(py, `"python"`, `"Py thon"`), py + ": name:"},
		{good(py, `["py"]`, `["PY"]`), py + ": aliases[0]:"},
		{good(py, `["py"]`, `["c"]`), `"c" is already a name of c`},
		{good(py, `"python"`, `"gcc"`), `"gcc" is already a name of`},
		{good(py, `[".py"]`, `["py"]`), "extensions[0]:"},
		{good(py, `"main.py"`, `"../main.py"`), "main:"},
		{good(py, `"main.py"`, `""`), "main:"},
		{good(py, `"run":`, `"compile":`), "compile.keep_env:"},
		{good(py, `"run"`, `"Run/x"`), py + ": "},
		{good(py, `"template": "run"`, `"template": "a/b"`), "run.template:"},
		{good(py, `"/usr/bin/python3"`, `"python3"`), "run.argv: must begin with an absolute path"},
		{good(py, `{main}`, `{mian}`), `run.argv[1]: unknown placeholder {mian}`},
		{good(py, `{args}`, `x{args}`), `run.argv[2]: {args} must be a word of argv by itself`},
		{good(py, `{args}`, `\u0000`), "run.argv[2]: holds a NUL byte"},
		{good(py, `"keep_env": true`, `"keep_env": 1`), "run.keep_env: want bool, got number"},
		{good(py, `"keep_env": true`, `"memory": -1`), "run.memory: -1 is negative"},
		{good(py, `"keep_env": true`, `"env": {"A=": ""}`), "run.env:"},
		{good(py, `"keep_env": true`, `"env": {"A": "{sources}"}`), "run.env.A:"},
		{good(py, `"keep_env": true`, `"mirror": ["x"]`), "run.mirror: belongs to compile"},
		{good("languages/c/lang.json", `"memory": 1073741824`, `"mirror": [""]`), "compile.mirror: holds an empty word"},
		{good(py, `true}}`, `true}} x`), "data after the object"},
		{good(py, `true}}`, `true}`), "unexpected EOF"},
	} {
		_, err := Load(image(t, c.files))
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v\n  want %q", err, c.says)
		}
	}
	if _, err := Load(image(t, good())); err != nil {
		t.Error(err)
	}
}

// Whatever the file says, it is refused or can be carried out.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{pythonJSON, cJSON, rubyJSON, `{}`, `{"name":"a","main":"b","run":{"template":"r","argv":["/{main}"]}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := parse("folder", body)
		if err != nil {
			if r != nil {
				t.Error("a runtime and an error")
			}
			return
		}
		in := Inputs{Args: []string{"a"}, Files: []string{"main", "b.c"}, Memory: 1 << 20}
		for _, stage := range []*Stage{r.Compile, r.Run} {
			if stage == nil {
				continue
			}
			argv := r.ExpandArgv(stage, in)
			if len(argv) == 0 || !strings.HasPrefix(argv[0], "/") {
				t.Errorf("argv is %q", argv)
			}
			for _, w := range argv {
				if strings.Contains(w, "{main}") || strings.Contains(w, "{memory}") {
					t.Errorf("left unfilled: %q", w)
				}
			}
			r.ExpandEnv(stage, in)
		}
	})
}

// The files of this repository are what an image holds.
func TestRepositoryLanguages(t *testing.T) {
	paths, err := filepath.Glob("../../rootfs/*/lang.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no languages: %v", err)
	}
	for _, path := range paths {
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parse(filepath.Base(filepath.Dir(path)), body); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestSlips(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"python", "python", 0}, {"pyhton", "python", 1}, {"pyton", "python", 1}, {"pythonn", "python", 1}, {"qython", "python", 1}, {"ab", "ba", 1}, {"abc", "ca", 3}, {"kitten", "sitting", 3}} {
		if n := slips(c.a, c.b); n != c.want || slips(c.b, c.a) != n {
			t.Errorf("%q and %q: %d, want %d", c.a, c.b, n, c.want)
		}
	}
}
