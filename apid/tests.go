package main

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/runtools/runtools/pkg/wire"
)

// Verdicts of a test, as judges name them.
const (
	verdictAccepted    = "AC"
	verdictWrongAnswer = "WA"
)

// Bounds of the tests of one request. Their outputs are all in memory until the answer is sent.
const (
	maxTests            = 1000
	maxTestsFiles       = 10 * maxFiles // of all tests
	maxTestsWords       = 8 * maxWords  // of all tests' args
	maxTestsFolders     = 8 * maxFolders
	maxTestsOutput      = 64 << 20 // bytes: tests times output_limit
	defaultTestsOutput  = 64 << 10 // output_limit, unless the request has its own
	fieldStopOnFailure  = "stop_on_failure"
	fieldExpectedStdout = "expected_stdout"
)

// requestTest is one input of a program, and what is expected of it.
type requestTest struct {
	stdin    []byte
	args     []string // nil: the request's
	files    []requestFile
	expected []byte
	checker

	hasExpected bool
}

// testAnswer is one test as the caller sees it.
type testAnswer struct {
	verdict string
	run     stageAnswer
}

func (a *testAnswer) append(b []byte) []byte {
	b = append(b, `{"verdict":"`...)
	b = append(b, a.verdict...)
	b = append(b, `","run":`...)
	return append(a.run.append(b), '}')
}

// judge turns what a program did into a verdict.
func (t *requestTest) judge(ran *stageAnswer) string {
	switch ran.status {
	case statusOK:
		if t.hasExpected && !t.accepts(t.expected, ran.stdout) {
			return verdictWrongAnswer
		}
		return verdictAccepted
	case statusTimeout, statusMemory, statusStdout:
		return ran.status
	case statusStderr:
		return statusStdout
	default: // exit code, signal, filter
		return statusRuntimeError
	}
}

// runTests runs the program once for each test, each in a jail of its own that holds the request's files and the test's, as many at a time as
// the key's share of free slots allows. What the compile job left in its workspace is not there: only what it left in /build.
func (x *execution) runTests(ctx context.Context, build wire.Volume) *apiError {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &testRun{execution: x, build: build, results: make([]*testAnswer, len(x.plan.tests)), last: len(x.plan.tests), copies: x.plan.largestTest()}
	r.work(ctx)
	r.helpers.Wait()
	if r.failed != nil {
		return r.failed
	}
	for _, a := range r.results[:r.last] {
		x.tested = append(x.tested, *a)
	}
	x.ran = x.representative()
	return nil
}

// representative is the run of the first test that was not accepted, else of the last one.
func (x *execution) representative() stageAnswer {
	for i := range x.tested {
		if x.tested[i].verdict != verdictAccepted || i == len(x.tested)-1 {
			return x.tested[i].run
		}
	}
	return stageAnswer{}
}

// testRun is the tests of one request being run.
type testRun struct {
	*execution
	build   wire.Volume
	copies  int64 // bytes that a test takes in memory while it runs, at most
	helpers sync.WaitGroup

	mu      sync.Mutex
	next    int // to be started
	last    int // results that count: all, or up to the first that was not accepted
	results []*testAnswer
	failed  *apiError // ours; the first
}

// work takes one test after another, and has others help while slots are free.
func (r *testRun) work(ctx context.Context) {
	for {
		r.mu.Lock()
		i := r.next
		if i >= r.last || r.failed != nil {
			r.mu.Unlock()
			return
		}
		r.next++
		more := r.next < r.last
		r.mu.Unlock()
		if more {
			r.callHelper(ctx)
		}
		a, err := r.one(ctx, i)
		r.mu.Lock()
		switch {
		case err != nil && r.failed == nil:
			r.failed = err
		case err == nil:
			r.results[i] = a
			if a.verdict != verdictAccepted && r.plan.stopOnFailure {
				r.last = min(r.last, i+1)
			}
		}
		r.mu.Unlock()
	}
}

// callHelper has another test run beside those that do. What a program is given exists once more as long as it runs, in the kernel; so it does for any request,
// but tests have as many copies as run at a time. Those of helpers count as bodies do, and where there is no room for them there is no helper.
func (r *testRun) callHelper(ctx context.Context) {
	keyID := r.call.key.ID
	if r.bodies.reserve(keyID, r.copies) != nil {
		return
	}
	ticket, ok := r.queue.tryEnter(keyID, r.call.key.Concurrency)
	if !ok {
		r.bodies.giveBack(keyID, r.copies)
		return
	}
	r.helpers.Go(func() {
		defer r.bodies.giveBack(keyID, r.copies)
		defer ticket.leave()
		r.work(ctx)
	})
}

// largestTest is how many bytes one of the tests is given, at most.
func (p *plan) largestTest() (most int64) {
	for i := range p.tests {
		n := int64(len(p.tests[i].stdin))
		for _, f := range p.tests[i].files {
			n += int64(len(f.content))
		}
		most = max(most, n)
	}
	for _, f := range p.files {
		most += int64(len(f.content))
	}
	return most
}

// one runs one test.
func (r *testRun) one(ctx context.Context, i int) (*testAnswer, *apiError) {
	t := &r.plan.tests[i]
	p := *r.plan
	if t.args != nil {
		p.args = t.args
	}
	x := &execution{server: r.server, call: r.call, plan: &p, changes: r.changes}
	j, err := x.prepareStage(p.runtime.Run, &p.run)
	if err != nil {
		return nil, err.inTest(i)
	}
	j.stdin = t.stdin
	j.job.Build = r.build
	if !j.hasRoomFor(t.files) {
		return nil, invalidField(fieldIndex("tests", i), "arguments, environment and file names are too long together")
	}
	files, _ := layOver(p.files, t.files)
	j.own = p.files
	j.setFiles(files)
	out, failed := r.runJob(ctx, j.jobInput)
	if failed != nil {
		return nil, x.explain(ctx, failed).inTest(i)
	}
	a := &testAnswer{run: describe(j.limits, out)}
	a.run.diagnostics = x.plan.diagnose(a.run.stderr, false)
	a.verdict = t.judge(&a.run)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.call.timing.add(out)
	r.call.timing.run += time.Duration(out.result.WallNS)
	if r.events != nil {
		r.events.emitLater("test", func() []byte {
			return append(a.append(append(strconv.AppendInt([]byte(`{"index":`), int64(i), 10), `,"test":`...)), '}')
		})
	}
	return a, nil
}

// inTest names the test that a request was refused for.
func (e *apiError) inTest(i int) *apiError {
	if e.code == errInvalidField {
		named := *e
		named.field = fieldIndex("tests", i)
		named.message = named.field + ": " + e.message
		if strings.HasPrefix(e.field, "files[") { // of the test
			named.field += "." + e.field
			named.message = fieldIndex("tests", i) + "." + e.message
		}
		return &named
	}
	return e
}

func (q *request) readTests(r *jsonReader) *apiError {
	q.tests = []requestTest{}
	files, words := 0, 0
	return r.array("tests", func(i int) *apiError {
		if i >= maxTests {
			return invalidField("tests", "more than %d tests", maxTests)
		}
		t, err := readTest(r, fieldIndex("tests", i))
		q.tests = append(q.tests, t)
		if files += len(t.files); err == nil && files > maxTestsFiles {
			return invalidField("tests", "they have more than %d files together", maxTestsFiles)
		}
		if words += len(t.args); err == nil && words > maxTestsWords {
			return invalidField("tests", "their args are more than %d words together", maxTestsWords)
		}
		return err
	})
}

const knownTestFields = "stdin, stdin_encoding, args, files, " + fieldExpectedStdout + ", checker, tolerance"

func readTest(r *jsonReader, path string) (t requestTest, err *apiError) {
	var encoding string
	t.checker = checker{kind: checkTokens, tolerance: defaultTolerance}
	seen := map[string]bool{}
	err = r.object(path, func(name string) *apiError {
		if seen[name] {
			return invalidField(path+"."+shownField(name), "is given twice")
		}
		seen[name] = true
		if r.null() {
			return nil
		}
		return t.field(r, path, name, &encoding)
	})
	if err != nil {
		return t, err
	}
	t.stdin, err = decodeContent(path+".stdin", path+".stdin_encoding", t.stdin, encoding, "utf8", "base64")
	return t, err
}

// field reads one field of a test that is not null.
func (t *requestTest) field(r *jsonReader, path, name string, encoding *string) (err *apiError) {
	switch field := path + "." + name; name {
	case "stdin":
		t.stdin, err = r.text(field)
	case "stdin_encoding":
		err = r.stringInto(field, encoding)
	case "args":
		t.args, err = readArgs(r, field)
	case "files":
		t.files, err = readFiles(r, field)
	case fieldExpectedStdout:
		t.hasExpected = true
		t.expected, err = r.text(field)
	case "checker":
		err = t.readKind(r, field)
	case "tolerance":
		t.tolerance, err = r.float(field)
	default:
		err = invalidField(path+"."+shownField(name), "unknown field; known are %s", knownTestFields)
	}
	return err
}

func (t *requestTest) readKind(r *jsonReader, path string) *apiError {
	if err := r.stringInto(path, &t.kind); err != nil {
		return err
	}
	switch t.kind {
	case checkTokens, checkExact, checkFloats:
		return nil
	}
	return invalidField(path, "%s is unknown; known are %s, %s, %s", shown(t.kind), checkTokens, checkExact, checkFloats)
}

// setTests takes the tests over, and refuses what does not go with them. paths are those of the request's files.
func (p *plan) setTests(q *request, paths *pathSet) *apiError {
	switch {
	case q.tests == nil && q.stopOnFailure:
		return invalidField(fieldStopOnFailure, "is for a request with tests")
	case q.tests == nil:
		return nil
	case len(q.tests) == 0:
		return invalidField("tests", "is empty; leave it out to run the program once")
	case q.stdin != nil:
		return invalidField("stdin", "cannot stand beside tests, which have their own")
	case q.sessionID != "":
		return invalidField("session_id", "cannot stand beside tests: each has a workspace of its own")
	}
	p.tests, p.stopOnFailure, p.ephemeral = q.tests, q.stopOnFailure, true
	if q.outputLimit == nil {
		p.outputLimit = defaultTestsOutput
	}
	if p.outputLimit*int64(len(p.tests)) > maxTestsOutput {
		return invalidField("output_limit", "%d bytes for each of %d tests, at most %d together", p.outputLimit, len(p.tests), maxTestsOutput)
	}
	folders := 0
	for i := range p.tests {
		t := &p.tests[i]
		if len(t.files) == 0 {
			continue
		}
		own, err := checkNames(t.files, 0)
		if err != nil {
			return err.inTest(i)
		}
		if folders += own.folders; folders > maxTestsFolders {
			return invalidField("tests", "the folders above their files have more than %d bytes together, each counted with %d besides", maxTestsFolders, folderStep)
		}
		if problem := own.over(paths); problem != "" {
			return invalidField(fieldIndex("tests", i)+".files", "%s", problem)
		}
	}
	return nil
}
