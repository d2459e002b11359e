package e2e

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/runtools/runtools/pkg/lang"
)

// leastPrograms is how many programs the corpus of a language has at least.
const leastPrograms = 25

// fidelity is a rootfs/<language>/fidelity/<name>.txtar, as docs/languages.md describes it.
type fidelity struct {
	files []bareFile

	Args        []string
	Stdin       string
	StdinBase64 []byte `json:"stdin_base64"`
	Env         map[string]string
	Runs        int
	Cold        string // why parked runners leave the program to the cold path
	Except      struct {
		Bare, Parked map[string]string // beginning of a line, or "exit" -> why it differs
	}
}

// outcome is what one stage of a program did.
type outcome struct {
	Compile        bool
	Code           int
	Signal         string // "": it exited with Code
	Stdout, Stderr []byte
}

// Every program of the corpus sees the same, however it is started.
func TestFidelity(t *testing.T) {
	set, err := lang.Load(image)
	if err != nil {
		t.Fatal(err)
	}
	names := languages(t)
	for _, folder := range slices.Sorted(maps.Keys(names)) {
		runtime, err := set.Resolve(names[folder], "")
		if err != nil {
			t.Error(err)
			continue
		}
		t.Run(folder, func(t *testing.T) { testCorpus(t, folder, runtime) })
	}
}

func testCorpus(t *testing.T, folder string, runtime *lang.Runtime) {
	paths, err := filepath.Glob(filepath.Join(repository, "rootfs", folder, "fidelity", "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) < leastPrograms {
		t.Errorf("%d programs, want %d or more", len(paths), leastPrograms)
	}
	var equal, excepted atomic.Int32
	t.Run("programs", func(t *testing.T) { // returns when all have ended
		for _, path := range paths {
			name := strings.TrimSuffix(filepath.Base(path), ".txtar")
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f, err := readFidelity(path)
				if err != nil {
					t.Fatalf("%s: %v", path, err)
				}
				f.compare(t, runtime)
				switch {
				case t.Failed():
				case len(f.Except.Bare)+len(f.Except.Parked) > 0:
					excepted.Add(1)
				default:
					equal.Add(1)
				}
			})
		}
	})
	fmt.Printf("fidelity: %-11s %3d programs, %3d equal, %2d with exceptions, %2d differ\n",
		folder, len(paths), equal.Load(), excepted.Load(), len(paths)-int(equal.Load()+excepted.Load()))
}

func readFidelity(path string) (*fidelity, error) {
	archive, err := txtar.ParseFile(path)
	if err != nil {
		return nil, err
	}
	f := &fidelity{Runs: 1}
	if len(bytes.TrimSpace(archive.Comment)) == 0 {
		return nil, fmt.Errorf("no comment: say in the first line what is looked at")
	}
	for i, file := range archive.Files {
		if file.Name != "case.json" {
			f.files = append(f.files, bareFile{file.Name, file.Data})
			continue
		}
		if i != len(archive.Files)-1 {
			return nil, fmt.Errorf("case.json is not the last")
		}
		if err := strict(file.Data, f); err != nil {
			return nil, fmt.Errorf("case.json: %w", err)
		}
	}
	if len(f.files) == 0 {
		return nil, fmt.Errorf("no program")
	}
	for _, exceptions := range []map[string]string{f.Except.Bare, f.Except.Parked} {
		for line, why := range exceptions {
			if line == "" || why == "" {
				return nil, fmt.Errorf("case.json: except %q: %q: want the beginning of a line and a reason", line, why)
			}
		}
	}
	if f.Stdin != "" {
		f.StdinBase64 = []byte(f.Stdin)
	}
	return f, nil
}

// compare runs the program all three ways.
func (f *fidelity) compare(t *testing.T, runtime *lang.Runtime) {
	bare, err := runBare(f.bareRequest(runtime))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("bare:\n%s", showOutcomes(bare)) // with -v: what a new program really sees
	cold := f.overHTTP(t, api, runtime)
	compareOutcomes(t, "bare", bare, "cold", cold, f.Except.Bare)
}

func (f *fidelity) bareRequest(runtime *lang.Runtime) *bareRequest {
	root, in := filepath.Join(image, "rootfs"), lang.Inputs{Args: f.Args, Memory: 512 << 20}
	for _, file := range f.files {
		in.Files = append(in.Files, file.Name)
	}
	q := &bareRequest{Root: root, Files: f.files, Runs: f.Runs}
	for _, s := range []*lang.Stage{runtime.Compile, runtime.Run} {
		if s == nil {
			continue
		}
		if s.Memory > 0 {
			in.Memory = s.Memory
		}
		env := runtime.ExpandEnv(s, in)
		maps.Copy(env, f.Env)
		command := bareStage{Argv: runtime.ExpandArgv(s, in)}
		for _, name := range slices.Sorted(maps.Keys(env)) {
			command.Env = append(command.Env, name+"="+env[name])
		}
		slices.Sort(command.Env) // as apid orders them: "A=", "A-B"
		if s == runtime.Run {
			command.Stdin = f.StdinBase64
		}
		q.Commands = append(q.Commands, command)
	}
	return q
}

// compiledWell is what an answer shows in place of nothing.
var compiledWell = regexp.MustCompile(`^OK \([0-9.]+ sec real\)$`)

// overHTTP runs the program as callers do.
func (f *fidelity) overHTTP(t *testing.T, s *stack, runtime *lang.Runtime) (outcomes []outcome) {
	var files []request
	for _, file := range f.files {
		if utf8.Valid(file.Content) {
			files = append(files, request{"name": file.Name, "content": string(file.Content)})
		} else {
			files = append(files, request{"name": file.Name, "content": base64.StdEncoding.EncodeToString(file.Content), "encoding": "base64"})
		}
	}
	q := request{"language": runtime.Name, "files": files}
	if len(f.StdinBase64) > 0 {
		q["stdin"], q["stdin_encoding"] = base64.StdEncoding.EncodeToString(f.StdinBase64), "base64"
	}
	if f.Args != nil {
		q["args"] = f.Args
	}
	if f.Env != nil {
		q["env"] = f.Env
	}
	for range f.Runs {
		a := s.execute(t, s.key, q)
		q["session_id"] = *a.SessionID
		if a.Compile != nil {
			o := a.Compile.outcome(t)
			if o.Compile = true; compiledWell.Match(o.Stderr) {
				o.Stderr = nil
			}
			outcomes = append(outcomes, o)
		}
		if a.Run.Status != "CE" {
			outcomes = append(outcomes, a.Run.outcome(t))
		}
	}
	s.deleteSession(t, s.key, q["session_id"].(string))
	return outcomes
}

func (s *stage) outcome(t *testing.T) outcome {
	o := outcome{Stdout: exact(t, s.Stdout, s.StdoutBase64), Stderr: exact(t, s.Stderr, s.StderrBase64)}
	if s.Code != nil {
		o.Code = *s.Code
	}
	if s.Signal != nil {
		o.Signal = *s.Signal
	}
	if s.Limit != nil {
		t.Errorf("a limit fired: %s", *s.Message)
	}
	return o
}

// compareOutcomes fails unless two ways gave the same but for the exceptions, and the exceptions are needed.
func compareOutcomes(t *testing.T, aWay string, a []outcome, bWay string, b []outcome, except map[string]string) {
	t.Helper()
	if len(a) != len(b) {
		t.Errorf("%s: %d stages, %s: %d\n%s\n%s", aWay, len(a), bWay, len(b), showOutcomes(a), showOutcomes(b))
		return
	}
	needed := map[string]bool{}
	for i := range a {
		what := "run"
		if a[i].Compile {
			what = "compile"
		}
		if a[i].Code != b[i].Code || a[i].Signal != b[i].Signal {
			if needed["exit"] = true; except["exit"] == "" {
				t.Errorf("%s: %s exits %d %s, %s %d %s\n%s\n%s", what, aWay, a[i].Code, a[i].Signal, bWay, b[i].Code, b[i].Signal, showOutcomes(a[i:i+1]), showOutcomes(b[i:i+1]))
			}
		}
		for _, stream := range []struct {
			name string
			a, b []byte
		}{{"stdout", a[i].Stdout, b[i].Stdout}, {"stderr", a[i].Stderr, b[i].Stderr}} {
			aRest, bRest := stream.a, stream.b
			for line := range except {
				var aLines, bLines string
				aRest, aLines = without(aRest, line)
				bRest, bLines = without(bRest, line)
				needed[line] = needed[line] || aLines != bLines
			}
			if !bytes.Equal(aRest, bRest) {
				t.Errorf("%s: %s differs%s", what, stream.name, difference(aWay, string(aRest), bWay, string(bRest)))
			}
		}
	}
	for line := range except {
		if !needed[line] {
			t.Errorf("the exception %q is not needed (any more): %s and %s are equal there", line, aWay, bWay)
		}
	}
}

// without takes out the lines that begin with start.
func without(text []byte, start string) (rest []byte, lines string) {
	for line := range bytes.Lines(text) {
		if bytes.HasPrefix(line, []byte(start)) {
			lines += string(line)
		} else {
			rest = append(rest, line...)
		}
	}
	return rest, lines
}

// difference shows the lines around the first that differs.
func difference(aWay, a, bWay, b string) string {
	aLines, bLines := slices.Collect(strings.Lines(a)), slices.Collect(strings.Lines(b))
	first := 0
	for first < min(len(aLines), len(bLines)) && aLines[first] == bLines[first] {
		first++
	}
	var out strings.Builder
	for _, way := range []struct {
		name  string
		lines []string
	}{{aWay, aLines}, {bWay, bLines}} {
		fmt.Fprintf(&out, "\n%s, line %d of %d:", way.name, first+1, len(way.lines))
		for _, line := range way.lines[min(first, len(way.lines)):min(first+8, len(way.lines))] {
			fmt.Fprintf(&out, "\n\t%.300q", line)
		}
	}
	return out.String()
}

func showOutcomes(outcomes []outcome) string {
	text := ""
	for _, o := range outcomes {
		text += fmt.Sprintf("\t%d %s \n%.2000s\tstderr\n%.2000s", o.Code, o.Signal, o.Stdout, o.Stderr)
	}
	return text
}
