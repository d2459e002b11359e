package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestEveryLanguageFolder(t *testing.T) {
	langs, err := loadLanguages(".")
	if err != nil {
		t.Fatal(err)
	}
	if len(langs) < 11 {
		t.Errorf("%d languages, want at least 11", len(langs))
	}
	for _, l := range langs {
		cases, err := loadSamples(l)
		if err != nil {
			t.Error(err)
		}
		wanted := sampleCases
		if l.Lang.Run.KeepEnv {
			wanted = append(slices.Clone(sampleCases), "keep-env")
		}
		for _, n := range wanted {
			c, ok := cases[n]
			if !ok {
				t.Errorf("%s: sample %s is missing", l.Folder, n)
			}
			for _, f := range c.Files {
				if _, err := os.Stat(filepath.Join(l.Dir, "samples", n, f)); err != nil {
					t.Error(err)
				}
			}
			if ok && c.Files[0] != l.Lang.Main {
				t.Errorf("%s/%s: the entry is %s, want %s", l.Folder, n, c.Files[0], l.Lang.Main)
			}
		}
	}
}

// A folder that is wrong must be refused when it is read, not when a job meets it.
func TestRefusedFolders(t *testing.T) {
	dir := copyLanguages(t)
	for _, tc := range []struct{ file, old, new, want string }{
		{"packages.json", `"wanted"`, `"wnted"`, "unknown field"},
		{"packages.json", `"sources": [{"apt": ["bash"]}]`, `"sources": []`, "sources: empty"},
		{"packages.json", `"apt": ["bash"]`, `"base": "trixie"`, "none of apt, npm and archive"},
		{"packages.json", `"bash"]`, `"bash; rm -rf /"]`, "not a package name"},
		{"packages.json", `(\\d+)`, `\\d+`, "no group"},
		{"packages.json", `"/bin/bash"`, `"bash"`, "absolute"},
		{"lang.json", `"main.toy"`, `"main.sh"`, "extensions"},
		{"lang.json", `"toy"`, `"Toy"`, "lower case"},
		{"lang.json", `"/bin/bash"`, `"bash"`, "absolute"},
		{"lang.json", `"{args}"`, `"x{args}"`, "stand alone"},
		{"lang.json", `"template": "run"`, `"template": "walk"`, "not in jail.json"},
		{"lang.json", `"extensions"`, `"extension"`, "unknown field"},
		{"lang.json", `["toylang"]`, `["python"]`, "already means"},
		{"jail.json", `"pids"`, `"pid"`, "unknown field"},
		{"packages.json", `"wanted": "1",`, `"wanted": "1", "needs": ["nothing"],`, "not another language folder"},
		{"packages.json", `"wanted": "1",`, `"wanted": "1", "needs": ["typescript"],`, "one level"},
	} {
		addToy(t, dir) // over the last one
		edit(t, filepath.Join(dir, "toy", tc.file), tc.old, tc.new)
		_, err := loadLanguages(dir)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s with %s: error %v, want one about %q", tc.file, tc.new, err, tc.want)
		}
	}
}

func TestAddSource(t *testing.T) {
	sources := map[string]archiveFrom{}
	if err := addSource(sources, "csharp=https://example.org/a,b.tar.gz,sha512="+strings.Repeat("0a", 64)); err != nil {
		t.Fatal(err)
	}
	if got := sources["csharp"].From; got != "https://example.org/a,b.tar.gz" {
		t.Errorf("from %q", got)
	}
	for _, bad := range []string{"csharp", "csharp=/a", "csharp=/a,md5=00", "csharp=/a,sha256=00"} {
		if addSource(sources, bad) == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// copyLanguages gives a copy of rootfs/ that a test may change.
func copyLanguages(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"base", "envkeep", "parked"} {
		if err := copyFiles(d, filepath.Join(dir, d)); err != nil {
			t.Fatal(err)
		}
	}
	langs, err := loadLanguages(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range langs {
		if err := copyFiles(l.Dir, filepath.Join(dir, l.Folder)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// addToy adds a language by adding one folder: its interpreter is a shell script among its files.
func addToy(t *testing.T, dir string) {
	t.Helper()
	for name, text := range map[string]string{
		"packages.json":           `{"wanted": "1", "sources": [{"apt": ["bash"]}], "version": {"argv": ["/bin/bash", "/usr/lib/runtools/toy/toy.sh", "--version"], "pattern": "toy (\\d+)"}}`,
		"lang.json":               `{"name": "toy", "aliases": ["toylang"], "extensions": [".toy"], "main": "main.toy", "run": {"template": "run", "argv": ["/bin/bash", "/usr/lib/runtools/toy/toy.sh", "{main}", "{args}"]}}`,
		"jail.json":               `{"templates": {"run": {"seccomp": "base", "pids": 64}}}`,
		"files/toy.sh":            "[ \"$1\" = --version ] && echo toy 7 && exit\nwhile read -r verb rest; do [ \"$verb\" = say ] && echo \"$rest\"; done <\"$1\"\ncat /usr/lib/runtools/toy/made\n",
		"steps.sh":                "echo made by steps >made\n",
		"samples/hello/main.toy":  "say hello\n",
		"samples/hello/case.json": `{"files": ["main.toy"], "want": {"status": "OK", "code": 0, "signal": null, "stdout": "hello\nmade by steps\n"}}`,
	} {
		p := filepath.Join(dir, "toy", name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func edit(t *testing.T, path, old, new string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(data), old) {
		t.Fatalf("%s: has no %q", path, old)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(data), old, new, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
}
