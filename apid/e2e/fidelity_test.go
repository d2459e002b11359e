package e2e

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/runtools/runtools/pkg/lang"
	"github.com/runtools/runtools/pkg/wire"
)

// leastPrograms is how many programs the corpus of a language has at least.
const leastPrograms = 25

// fidelity is a rootfs/<language>/fidelity/<name>.txtar, as docs/languages.md describes it.
type fidelity struct {
	name  string
	files []bareFile

	Args        []string
	Stdin       string
	StdinBase64 []byte `json:"stdin_base64"`
	Env         map[string]string
	Memory      int64 // of the run, bytes; 0: as if nothing was asked for
	Runs        int
	Cold        string            // why parked runners leave the program to the cold path
	Denied      map[string]string // system calls, names with spaces between -> why the program makes them, though the filter denies them
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
	cached         bool // no compiler ran
}

func (o outcome) equal(p outcome) bool {
	return o.Compile == p.Compile && o.Code == p.Code && o.Signal == p.Signal && bytes.Equal(o.Stdout, p.Stdout) && bytes.Equal(o.Stderr, p.Stderr)
}

// corpus is what the programs of one language are run with.
type corpus struct {
	runtime *lang.Runtime
	parks   map[string]bool // the language's templates -> ready jails of it hold a runtime
	cold    *stack          // whose ready jails hold none
	parked  *stack          // whose jails hold one
}

// Every program of the corpus sees the same, however it is started.
func TestFidelity(t *testing.T) {
	set, err := lang.Load(image)
	if err != nil {
		t.Fatal(err)
	}
	names, jails := languages(t), map[string]jailFile{}
	var again []string // languages whose compiler takes seconds of CPU to warm up, and may serve more than one job
	for folder := range names {
		var j jailFile
		readJSON(t, filepath.Join(image, "languages", folder, "jail.json"), &j)
		if jails[folder] = j; j.again() {
			again = append(again, folder)
		}
	}
	cold := startKnowing(t, nil, "cold", "", "parked = false")
	// One program in four gets a compiler that is new, the others one that must behave as if it were.
	kept := startKnowing(t, again, "again", "", "compiler_jobs = 4")
	for _, folder := range slices.Sorted(maps.Keys(names)) {
		runtime, err := set.Resolve(names[folder], "")
		if err != nil {
			t.Error(err)
			continue
		}
		c := &corpus{runtime: runtime, cold: cold, parked: api, parks: map[string]bool{}}
		if slices.Contains(again, folder) {
			c.parked = kept
		}
		for name, template := range jails[folder].Templates {
			c.parks[folder+"/"+name] = template.Parked != nil
		}
		t.Run(folder, c.test)
	}
}

// jailFile is the part of a jail.json that we look at.
type jailFile struct {
	Templates map[string]struct{ Parked *struct{ Again bool } }
}

func (j jailFile) again() bool {
	for _, template := range j.Templates {
		if template.Parked != nil && template.Parked.Again {
			return true
		}
	}
	return false
}

func (c *corpus) test(t *testing.T) {
	folder := c.runtime.Folder
	paths, err := filepath.Glob(filepath.Join(repository, "rootfs", folder, "fidelity", "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) < leastPrograms {
		t.Errorf("%d programs, want %d or more", len(paths), leastPrograms)
	}
	for _, name := range plainCompile[c.runtime.Name].only {
		if !slices.ContainsFunc(paths, func(path string) bool { return filepath.Base(path) == name+".txtar" }) {
			t.Errorf("no program %s, which the plain compiler should have", name)
		}
	}
	var ran, equal, excepted, parked atomic.Int32
	var retried sync.Map                   // name -> tries
	t.Run("programs", func(t *testing.T) { // returns when all have ended
		for _, path := range paths {
			t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
				t.Parallel()
				onRecord(t, path)
				ran.Add(1)
				f, err := readFidelity(path)
				if err != nil {
					t.Fatalf("%s: %v", path, err)
				}
				isParked, tries := c.compareUntilSure(t, f)
				if isParked {
					parked.Add(1)
				}
				if tries > 1 {
					retried.Store(f.name, tries)
				}
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
	fmt.Printf("fidelity: %-11s %3d programs, %3d equal, %2d with exceptions, %2d differ; %3d parked\n",
		folder, ran.Load(), equal.Load(), excepted.Load(), ran.Load()-equal.Load()-excepted.Load(), parked.Load())
	retried.Range(func(name, tries any) bool {
		fmt.Printf("fidelity: %s/%s differed, and was tried %d times\n", folder, name, tries)
		return true
	})
}

func readFidelity(path string) (*fidelity, error) {
	archive, err := txtar.ParseFile(path)
	if err != nil {
		return nil, err
	}
	f := &fidelity{name: strings.TrimSuffix(filepath.Base(path), ".txtar"), Runs: 1}
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
	for calls, why := range f.Denied {
		if calls == "" || why == "" {
			return nil, fmt.Errorf("case.json: denied %q: %q: want names of system calls and a reason", calls, why)
		}
	}
	if f.Stdin != "" {
		f.StdinBase64 = []byte(f.Stdin)
	}
	return f, nil
}

// again is how often in a row a program that differed must be equal then. On a busy machine two threads, or a program and its child, may each be
// first, which no runner decides, but rarely. A runner that shows in every other run fails three times in eight; one that always shows, always.
// The log names who was tried again.
const again = 2

func (c *corpus) compareUntilSure(t *testing.T, f *fidelity) (parked bool, tries int) {
	parked, differences := c.compare(t, f, 1)
	if len(differences) == 0 {
		return parked, 1
	}
	t.Logf("differs:\n%s", strings.Join(differences, "\n"))
	for try := 2; try <= 1+again; try++ {
		if _, differences := c.compare(t, f, try); len(differences) > 0 {
			for _, d := range differences {
				t.Error(d)
			}
			return parked, try
		}
	}
	return parked, 1 + again
}

// compare runs the program all ways, and tells whether parked was one: some languages have no runner for that.
func (c *corpus) compare(t *testing.T, f *fidelity, try int) (parked bool, differences []string) {
	note := func(more []string) { differences = append(differences, more...) }
	bare, err := runBare(c.bareRequest(f))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("bare:\n%s", showOutcomes(bare)) // with -v: what a new program really sees
	cold, _ := c.overHTTP(t, c.cold, f)
	note(compareOutcomes("bare", bare, "cold", cold, f.Except.Bare))
	if first := cold[0]; first.Compile && first.Code == 0 && first.Signal == "" {
		cached, _ := c.overHTTP(t, c.cold, f)
		if first.cached != (try > 1) || !cached[0].cached {
			t.Errorf("cached is %v and then %v", first.cached, cached[0].cached)
		}
		note(compareOutcomes("cold", cold, "cached", cached, nil))
	}
	if !slices.Contains(slices.Collect(maps.Values(c.parks)), true) {
		return false, differences
	}
	if parked := c.whenParked(t, f); !slices.EqualFunc(parked, bare, outcome.equal) { // there is nothing better to be equal to
		note(compareOutcomes("cold", cold, "parked", parked, f.Except.Parked))
	}
	return true, differences
}

// onlyOne keeps parked runs apart: sandboxd counts them, and does not say whose they were.
var onlyOne sync.Mutex

// whenParked runs the program until every job of it that could be was served by a runtime that had been loaded before.
func (c *corpus) whenParked(t *testing.T, f *fidelity) (outcomes []outcome) {
	onlyOne.Lock()
	defer onlyOne.Unlock()
	sandboxd := wire.Client{Path: c.parked.path("s.sock")}
	ctx, cancel := context.WithTimeout(context.Background(), 2*hang) // the wait below ends before
	defer cancel()
	status := func() *wire.Status {
		s, err := sandboxd.Status(ctx, &wire.StatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	err := eventually("a parked runner takes the program", func() error {
		before := status()
		for _, pool := range before.Templates {
			if c.parks[pool.Name] && pool.Ready == 0 {
				return fmt.Errorf("pool of %s is empty", pool.Name)
			}
		}
		var jobs int
		outcomes, jobs = c.overHTTP(t, c.parked, f)
		if got := status().Parked - before.Parked; f.Cold == "" && got < uint64(jobs) {
			return fmt.Errorf("%d of %d jobs were: say why in case.json, cold, if that is right", got, jobs)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return outcomes
}

func (c *corpus) bareRequest(f *fidelity) *bareRequest {
	root, in := filepath.Join(image, "rootfs"), lang.Inputs{Args: f.Args}
	for _, file := range f.files {
		in.Files = append(in.Files, file.Name)
	}
	q := &bareRequest{Root: root, Files: f.files, Runs: f.Runs}
	for _, s := range []*lang.Stage{c.runtime.Compile, c.runtime.Run} {
		if s == nil {
			continue
		}
		in.Memory = cmp.Or(s.Memory, 512<<20) // apid's default for a run
		if s == c.runtime.Run {
			in.Memory = cmp.Or(f.Memory, in.Memory)
		}
		env := c.runtime.ExpandEnv(s, in)
		maps.Copy(env, f.Env)
		command := bareStage{Argv: c.runtime.ExpandArgv(s, in)}
		if s == c.runtime.Compile {
			command.Argv = c.compileArgv(f, in)
		}
		for name, value := range env {
			command.Env = append(command.Env, name+"="+value)
		}
		slices.Sort(command.Env) // as apid orders them
		if s == c.runtime.Run {
			command.Stdin, command.Argv = f.StdinBase64, c.runArgv(f, in)
		}
		q.Commands = append(q.Commands, command)
	}
	return q
}

// compiledWell is what an answer shows in place of nothing.
var compiledWell = regexp.MustCompile(`^OK \([0-9.]+ sec real\)$`)

// overHTTP runs the program as callers do. jobs counts those for whose template a runtime is parked.
func (c *corpus) overHTTP(t *testing.T, s *stack, f *fidelity) (outcomes []outcome, jobs int) {
	var files []request
	for _, file := range f.files {
		if utf8.Valid(file.Content) {
			files = append(files, request{"name": file.Name, "content": string(file.Content)})
		} else {
			files = append(files, request{"name": file.Name, "content": base64.StdEncoding.EncodeToString(file.Content), "encoding": "base64"})
		}
	}
	q := request{"language": c.runtime.Name, "files": files}
	if len(f.StdinBase64) > 0 {
		q["stdin"], q["stdin_encoding"] = base64.StdEncoding.EncodeToString(f.StdinBase64), "base64"
	}
	if f.Args != nil {
		q["args"] = f.Args
	}
	if f.Env != nil {
		q["env"] = f.Env
	}
	if f.Memory > 0 {
		q["run_memory_limit"] = f.Memory
	}
	denied := map[string]bool{} // to the program, while it ran
	for range f.Runs {
		a := s.execute(t, s.key, q)
		for _, v := range a.Run.Violations {
			denied[v.Syscall] = true
		}
		q["session_id"] = *a.SessionID
		if a.Compile != nil {
			if len(a.Compile.Violations) > 0 {
				t.Errorf("the compiler is denied what no profile expects: %+v", a.Compile.Violations)
			}
			o := a.Compile.outcome(t)
			if o.Compile = true; compiledWell.Match(o.Stderr) {
				o.Stderr = nil
			}
			o.cached = a.Compile.Cached
			outcomes = append(outcomes, o)
			if c.parks[c.runtime.Compile.Template] && !o.cached {
				jobs++
			}
		}
		if a.Run.Status != "CE" {
			outcomes = append(outcomes, a.Run.outcome(t))
			if c.parks[c.runtime.Run.Template] {
				jobs++
			}
		}
	}
	s.deleteSession(t, s.key, q["session_id"].(string))
	f.wantDenied(t, denied)
	return outcomes, jobs
}

// wantDenied fails unless the program was denied what case.json lists, and nothing else. What a runtime tries on its own is no program's.
func (f *fidelity) wantDenied(t *testing.T, denied map[string]bool) {
	listed := map[string]bool{}
	for calls := range f.Denied {
		for call := range strings.FieldsSeq(calls) {
			listed[call] = true
		}
	}
	if os.Getenv("RUNTOOLS_RECORD") == "" && !maps.Equal(denied, listed) { // what is recorded is not told to callers
		t.Errorf("denied are %v, and case.json lists %v: list what the program itself asks for; what its runtime tries and does without is \"expected\" in the profile",
			slices.Sorted(maps.Keys(denied)), slices.Sorted(maps.Keys(listed)))
	}
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
func compareOutcomes(aWay string, a []outcome, bWay string, b []outcome, except map[string]string) (differences []string) {
	note := func(format string, args ...any) { differences = append(differences, fmt.Sprintf(format, args...)) }
	if len(a) != len(b) {
		note("%s: %d stages, %s: %d\n%s\n%s", aWay, len(a), bWay, len(b), showOutcomes(a), showOutcomes(b))
		return differences
	}
	needed := map[string]bool{}
	for i := range a {
		what := "run"
		if a[i].Compile {
			what = "compile"
		}
		if a[i].Code != b[i].Code || a[i].Signal != b[i].Signal {
			if needed["exit"] = true; except["exit"] == "" {
				note("%s: %s exits %d %s, %s %d %s\n%s\n%s", what, aWay, a[i].Code, a[i].Signal, bWay, b[i].Code, b[i].Signal, showOutcomes(a[i:i+1]), showOutcomes(b[i:i+1]))
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
				note("%s: %s differs%s", what, stream.name, difference(aWay, string(aRest), bWay, string(bRest)))
			}
		}
	}
	for line := range except {
		if !needed[line] {
			note("the exception %q is not needed (any more): %s and %s are equal there", line, aWay, bWay)
		}
	}
	return differences
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
