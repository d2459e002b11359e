package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// languages are the folders of rootfs/ that define one, each with its name.
func languages(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(repository, "rootfs", "*", "lang.json"))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for _, path := range paths {
		folder := filepath.Dir(path)
		var definition struct{ Name string }
		readJSON(t, path, &definition)
		names[filepath.Base(folder)] = definition.Name
	}
	return names
}

func readJSON(t *testing.T, path string, to any) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, to); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// runtime is a row of GET /v1/execute/runtimes.
type runtime struct {
	Language string   `json:"language"`
	Version  string   `json:"version"`
	Aliases  []string `json:"aliases"`
	Compiled bool     `json:"compiled"`
}

func runtimes(t *testing.T) (rows []runtime) {
	t.Helper()
	response, content, err := api.send(context.Background(), api.key, http.MethodGet, "/v1/execute/runtimes", nil)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", response.Status, content)
	}
	if err := strict(content, &rows); err != nil {
		t.Fatalf("%v in %s", err, content)
	}
	return rows
}

// The languages of the specification, whether they are in rootfs/ or not.
var promised = []string{"bash", "c", "cpp", "csharp", "go", "java", "javascript", "python", "ruby", "rust", "typescript"}

var compiled = []string{"c", "cpp", "go", "java", "rust"} // C# may be compiled by its runner

func TestEveryLanguageIsInstalled(t *testing.T) {
	installed := map[string]runtime{}
	for _, r := range runtimes(t) {
		installed[r.Language] = r
		if r.Version == "" || r.Version == "*" || r.Aliases == nil {
			t.Errorf("row %+v: want a version and a list of aliases", r)
		}
	}
	wanted := slices.Clone(promised)
	for _, name := range languages(t) {
		wanted = append(wanted, name)
	}
	slices.Sort(wanted)
	for _, name := range slices.Compact(wanted) {
		if r, ok := installed[name]; !ok {
			t.Errorf("%s is not installed", name)
		} else if slices.Contains(compiled, name) && !r.Compiled {
			t.Errorf("%s: compiled is false", name)
		}
	}
}

// sample is samples/<case>/case.json, as docs/languages.md describes it.
type sample struct {
	Files []string
	Stdin string
	Args  []string
	Want  struct {
		Status         string
		Code           *int
		Signal         *string
		Stdout         *string
		StdoutBase64   *string  `json:"stdout_base64"`
		StdoutSHA256   *string  `json:"stdout_sha256"`
		StderrContains []string `json:"stderr_contains"`
	}
}

var everyLanguageHas = []string{"args", "big-output", "exit-code", "hello", "multi-file", "non-utf8-output", "signal-death", "stdin",
	"syntax-error", "uncaught-error", "unicode"}

func TestSamples(t *testing.T) {
	for folder, name := range languages(t) {
		t.Run(name, func(t *testing.T) {
			paths, err := filepath.Glob(filepath.Join(repository, "rootfs", folder, "samples", "*", "case.json"))
			if err != nil {
				t.Fatal(err)
			}
			var found []string
			for _, path := range paths {
				dir := filepath.Dir(path)
				found = append(found, filepath.Base(dir))
				t.Run(filepath.Base(dir), func(t *testing.T) {
					t.Parallel()
					onRecord(t, dir)
					runSample(t, name, dir)
				})
			}
			for _, wanted := range everyLanguageHas {
				if !slices.Contains(found, wanted) {
					t.Errorf("no sample %q", wanted)
				}
			}
		})
	}
}

func runSample(t *testing.T, language, dir string) {
	var s sample
	readJSON(t, filepath.Join(dir, "case.json"), &s)
	var files []request
	for _, name := range s.Files {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if utf8.Valid(content) {
			files = append(files, request{"name": name, "content": string(content)})
		} else {
			files = append(files, request{"name": name, "content": base64.StdEncoding.EncodeToString(content), "encoding": "base64"})
		}
	}
	q := request{"language": language, "files": files, "stdin": s.Stdin}
	if s.Args != nil {
		q["args"] = s.Args
	}
	a := execute(t, q)
	checkSample(t, &s, a)
	if s.Want.Status == "OK" && a.Compile != nil && (a.Compile.Status != "OK" || *a.Compile.Code != 0) {
		t.Errorf("compile: %s", a)
	}
}

func checkSample(t *testing.T, s *sample, a *answer) {
	got, want := &a.Run, &s.Want
	wantStatus(t, a, want.Status)
	// What a runtime or a compiler tries on its own and does without is listed as expected in its profile.
	if len(got.Violations) > 0 || a.Compile != nil && len(a.Compile.Violations) > 0 {
		t.Errorf("a denied call that no profile expects: %s", a)
	}
	// A compiler's code is its own affair, and no process ran.
	if want.Status != "CE" && (!same(got.Code, want.Code) || !same(got.Signal, want.Signal)) {
		t.Errorf("code and signal differ: %s", a)
	}
	stdout := exact(t, got.Stdout, got.StdoutBase64)
	sum := sha256.Sum256(stdout)
	switch {
	case want.Stdout != nil && string(stdout) != *want.Stdout:
		t.Errorf("stdout %.500q, want %.500q", stdout, *want.Stdout)
	case want.StdoutBase64 != nil && base64.StdEncoding.EncodeToString(stdout) != *want.StdoutBase64:
		t.Errorf("stdout %.500q, want base64 %.500s", stdout, *want.StdoutBase64)
	case want.StdoutSHA256 != nil && hex.EncodeToString(sum[:]) != *want.StdoutSHA256:
		t.Errorf("stdout of %d bytes has another sum than %s: %.100q", len(stdout), *want.StdoutSHA256, stdout)
	}
	for _, part := range want.StderrContains {
		if !strings.Contains(got.Stderr, part) {
			t.Errorf("stderr %q does not contain %q", got.Stderr, part)
		}
	}
	if want.StderrContains == nil && want.Status == "OK" && got.Stderr != "" {
		t.Errorf("stderr %q, want none", got.Stderr)
	}
}

func same[T comparable](a, b *T) bool {
	return (a == nil) == (b == nil) && (a == nil || *a == *b)
}
