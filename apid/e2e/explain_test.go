package e2e

import (
	"crypto/rand"
	"slices"
	"testing"

	"github.com/runtools/runtools/pkg/client"
)

// slowC takes gcc many seconds: macros of 8 to the power of 8 words.
const slowC = `#define A(x) x x x x x x x x
#define B(x) A(A(x))
#define C(x) B(B(x))
int main(void) { return 0 C(C(+1)); }`

// Each limit that fires is told in its own row of the table, and in no other. What the operator alone sets as well.
func TestExplain(t *testing.T) {
	for name, c := range map[string]struct {
		language, code string
		limits         request
		fired, setBy   string
		stage          string // "compile"; else run
	}{
		"none":    {language: "bash", code: ":"},
		"wall":    {"bash", "sleep 1000", request{"run_timeout": 100}, "wall_time", "run_timeout", ""},
		"cpu":     {"bash", "while :; do :; done", request{"run_cpu_time": 100}, "cpu_time", "run_cpu_time", ""},
		"memory":  {"bash", "a=xxxxxxxx; while :; do a=$a$a; done", request{"run_memory_limit": 20 << 20}, "memory", "run_memory_limit", ""},
		"stdout":  {"bash", "while :; do echo more; done", request{"output_limit": 1000}, "stdout", "output_limit", ""},
		"stderr":  {"bash", "while :; do echo more >&2; done", request{"output_limit": 1000}, "stderr", "output_limit", ""},
		"compile": {"c", slowC, request{"compile_timeout": 100}, "wall_time", "compile_timeout", "compile"},
		"processes": {"python", "import os\ntry:\n  while os.fork(): pass\n  else: import time; time.sleep(1000)\nexcept BlockingIOError: pass",
			nil, "processes", "", ""},
		"file size": {"bash", "exec truncate -s 300M file", nil, "file_size", "", ""},
		"tmp":       {"bash", "head -c 200000000 /dev/zero >/tmp/a; head -c 100000000 /dev/zero >/tmp/b", nil, "tmp_bytes", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := execute(t, program(c.language, c.code).with(c.limits).with(request{"explain": true, "ephemeral": true}))
			s := &a.Run
			if c.stage == "compile" {
				if a.Compile.Status != "TO" {
					t.Fatalf("the compiler was not stopped: %s", a)
				}
				if s.Limits != nil {
					t.Errorf("limits of a program that never ran: %+v", s.Limits)
				}
				s = a.Compile
			}
			var fired []string
			for _, l := range s.Limits {
				if l.Fired == nil || !*l.Fired {
					continue
				}
				fired = append(fired, l.Name)
				setBy := ""
				if l.SetBy != nil {
					setBy = *l.SetBy
				}
				if setBy != c.setBy {
					t.Errorf("%s is set by %q, want %q", l.Name, setBy, c.setBy)
				}
				// The table and the field limit agree.
				if s.Limit != nil && (s.Limit.Name != setBy || int64(s.Limit.Limit) != *l.Limit || int64(s.Limit.Used) != *l.Peak) {
					t.Errorf("limit %+v, the table says %d of %d", *s.Limit, *l.Peak, *l.Limit)
				}
			}
			if want := []string{c.fired}; c.fired != "" && !slices.Equal(fired, want) || c.fired == "" && fired != nil {
				t.Errorf("fired: %v, want %q: %s", fired, c.fired, a)
			}
			if len(s.Limits) < 20 {
				t.Errorf("%d rows", len(s.Limits))
			}
		})
	}
}

// Who does not ask gets no table; who does gets it with every form of the answer, and none of what did not run.
func TestExplainEverywhere(t *testing.T) {
	unique := "\n// " + rand.Text() // compiled before by nobody
	hello := program("c", hellos["c"]+unique).with(request{"ephemeral": true})
	if a := execute(t, hello); a.Run.Limits != nil || a.Compile.Limits != nil {
		t.Errorf("a table that nobody asked for: %s", a)
	}
	a := execute(t, hello.with(request{"explain": true}))
	if !a.Compile.Cached || a.Compile.Limits != nil || a.Run.Limits == nil {
		t.Errorf("want a table of the run, and none of a compilation that was found: %s", a)
	}
	a = execute(t, program("bash", "read n; echo $n").with(request{"explain": true, "tests": []request{{"stdin": "1\n"}, {"stdin": "2\n"}}}))
	for _, each := range a.Tests {
		if each.Run.Limits == nil {
			t.Errorf("a test without its table: %s", a)
		}
	}
	c, err := client.New(api.url, api.key)
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range c.Stream(t.Context(), &client.Request{Language: "c", Code: hellos["c"] + unique + " events", Explain: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Compile != nil && e.Compile.Limits == nil || e.Result != nil && (e.Result.Compile.Limits == nil || e.Result.Run.Limits == nil) {
			t.Errorf("event %s without a table", e.Name)
		}
	}
	asked := program("bash", ":").with(request{"explain": true})
	later := api.async(t, api.key, "POST", "", asked, 202)
	for name, a := range map[string]*answer{
		"an execution":   api.async(t, api.key, "GET", "/"+later.ID+"?wait=60", nil, 200).Result,
		"a dialogue":     talk(t, asked).end(),
		"a repeated run": execute(t, asked.with(request{"repeat": 5})),
	} {
		if a == nil || a.Run.Limits == nil {
			t.Errorf("%s without its table: %s", name, a)
		}
	}
	refused(t, api.key, program("bash", ":").with(request{"explain": "yes"}), 400, "invalid_field")
}
