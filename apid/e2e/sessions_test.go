package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// session makes a named session and returns a function that runs a program in it, which must be answered.
func session(t *testing.T) (name string, run func(language, code string) *answer) {
	t.Helper()
	name = randomMarker()
	return name, func(language, code string) *answer {
		t.Helper()
		return execute(t, program(language, code).with(request{"session_id": name}))
	}
}

func (s *stack) deleteSession(t *testing.T, key, name string) int {
	t.Helper()
	response, content, err := s.send(context.Background(), key, http.MethodDelete, "/v1/sessions/"+name, nil)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode >= 400 && response.StatusCode != http.StatusNotFound {
		t.Fatalf("%s: %s", response.Status, content)
	}
	return response.StatusCode
}

// metric reads one figure of apid's /metrics.
func (s *stack) metric(name string) (float64, error) {
	response, err := http.Get(s.metrics)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	found := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindSubmatch(text)
	if found == nil {
		return 0, fmt.Errorf("no metric %s", name)
	}
	return strconv.ParseFloat(string(found[1]), 64)
}

// metricSums adds each metric up over its labels. All values are of one moment.
func (s *stack) metricSums(names ...string) ([]int, error) {
	response, err := http.Get(s.metrics)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	sums := make([]int, len(names))
	for i, name := range names {
		for _, line := range regexp.MustCompile(`(?m)^`+name+`(?:\{.*\})? (\S+)$`).FindAllSubmatch(text, -1) {
			value, err := strconv.ParseFloat(string(line[1]), 64)
			if err != nil {
				return nil, err
			}
			sums[i] += int(value)
		}
	}
	return sums, nil
}

func (s *stack) waitMetric(name string, want float64) error {
	return eventually(name, func() error {
		got, err := s.metric(name)
		if err == nil && got != want {
			err = fmt.Errorf("%v, want %v", got, want)
		}
		return err
	})
}

func TestSessionFiles(t *testing.T) {
	name, run := session(t)
	first := run("python", "import os; os.makedirs('a/b'); open('a/b/data', 'w').write('kept'); open('/tmp/gone', 'w'); open('/dev/shm/gone', 'w')")
	wantStatus(t, first, "OK")
	if first.SessionID == nil || *first.SessionID != name || !first.SessionCreated {
		t.Errorf("want session_id %s and session_created: %s", name, first)
	}
	second := run("bash", "cat a/b/data; ls /tmp /dev/shm | grep gone; echo more >>a/b/data")
	wantStdout(t, second, "kept")
	if second.SessionCreated {
		t.Error("session_created for a session that was there")
	}
	wantStdout(t, run("c", "#include <stdio.h>\nint main(void) { char b[99] = {0}; fread(b, 1, 98, fopen(\"a/b/data\", \"r\")); fputs(b, stdout); }"), "keptmore\n")
	// What a compiler made does not clutter the workspace.
	wantStdout(t, run("bash", "ls -A | sort | tr '\\n' ' '; ls -A /build"), "a main.c main.py main.sh ")
}

func TestUnnamedSessions(t *testing.T) {
	a := execute(t, program("bash", "echo 1 >f"))
	b := execute(t, program("bash", "ls f"))
	if a.SessionID == nil || b.SessionID == nil || *a.SessionID == *b.SessionID || a.SessionCreated {
		t.Errorf("want two sessions: %s, %s", a, b)
	}
	wantStatus(t, b, "RE")
	wantStdout(t, execute(t, program("bash", "cat f").with(request{"session_id": *a.SessionID})), "1\n")
}

func TestEphemeral(t *testing.T) {
	before, err := api.metric("runtools_sessions")
	if err != nil {
		t.Fatal(err)
	}
	for language, code := range map[string]string{"bash": "echo x; echo 1 >f", "c": hellos["c"]} {
		a := execute(t, program(language, strings.ReplaceAll(code, "MARKER", "x")).with(request{"ephemeral": true}))
		if wantStdout(t, a, "x\n"); a.SessionID != nil {
			t.Errorf("session_id is %q, want null", *a.SessionID)
		}
	}
	if after, err := api.metric("runtools_sessions"); err != nil || after > before { // fewer when older ones have expired
		t.Errorf("%v sessions, before %v: %v", after, before, err)
	}
}

// setters leave a variable behind, change one and remove one.
var setters = map[string]string{
	"bash":       "export LEFT=\"a b\nc\" CHANGED=new; unset REMOVED; local_one=x",
	"python":     "import os; os.environ['LEFT'] = 'a b\\nc'; os.environ['CHANGED'] = 'new'; del os.environ['REMOVED']",
	"javascript": "process.env.LEFT = 'a b\\nc'; process.env.CHANGED = 'new'; delete process.env.REMOVED",
	"typescript": "process.env.LEFT = 'a b\\nc'; process.env.CHANGED = 'new'; delete process.env.REMOVED",
	"ruby":       "ENV['LEFT'] = \"a b\\nc\"; ENV['CHANGED'] = 'new'; ENV.delete('REMOVED')",
}

const showVariables = `echo "${LEFT-none}|${CHANGED-none}|${REMOVED-none}|${local_one-none}|${GIVEN-none}"`

func TestSessionEnvironment(t *testing.T) {
	for language, code := range setters {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			name, run := session(t)
			given := request{"CHANGED": "old", "REMOVED": "there", "GIVEN": "by request"}
			wantStatus(t, execute(t, program(language, code).with(request{"session_id": name, "env": given})), "OK")
			const want = "a b\nc|new|none|none|by request\n"
			wantStdout(t, run("bash", showVariables), want)
			// Other languages see it too, and running them changes nothing.
			wantStdout(t, run("python", "import os; print(os.environ['LEFT'], os.environ.get('REMOVED'))"), "a b\nc None\n")
			wantStdout(t, run("go", "package main\nimport (\"fmt\"; \"os\")\nfunc main() { fmt.Print(os.Getenv(\"CHANGED\")) }"), "new")
			wantStdout(t, run("bash", showVariables), want)
			// A request may set it again.
			again := execute(t, program("bash", showVariables).with(request{"session_id": name, "env": request{"LEFT": "2"}}))
			wantStdout(t, again, "2|new|none|none|by request\n")
		})
	}
}

// A program that did not end by itself leaves the environment as it was.
func TestEnvironmentAfterAnAbnormalEnd(t *testing.T) {
	for language, die := range map[string][2]string{
		"bash":       {"kill -9 $$", "sleep 1000"},
		"python":     {"os.kill(os.getpid(), 9)", "import time; time.sleep(1000)"},
		"javascript": {"process.kill(process.pid, 'SIGKILL')", "setInterval(() => 0, 1000)"},
		"ruby":       {"Process.kill(9, $$); sleep", "sleep"},
	} {
		for _, end := range die {
			t.Run(language+"/"+end, func(t *testing.T) {
				t.Parallel()
				name, run := session(t)
				wantStatus(t, execute(t, program("bash", "").with(request{"session_id": name, "env": request{"CHANGED": "old", "REMOVED": "there"}})), "OK")
				a := execute(t, program(language, setters[language]+"\n"+end).with(request{"session_id": name, "run_timeout": 1500}))
				if a.Run.Status != "SG" && a.Run.Status != "TO" {
					t.Fatalf("want a death: %s", a)
				}
				wantStdout(t, run("bash", showVariables), "none|old|there|none|none\n")
			})
		}
	}
}

// The file in which a program's last environment travels can be written by anybody. It must not block us, lead us elsewhere, or count
// when the program did not end by itself.
func TestForgedEnvironment(t *testing.T) {
	const list = "env | grep -v -e ^_= -e ^SHLVL= -e ^PWD= -e ^OLDPWD= | sort"
	want := output(t, program("bash", list).with(request{"env": request{"GIVEN": "kept"}}))
	for name, code := range map[string]string{
		"death":   "open('/tmp/.environ', 'wb').write(b'FORGED=1\\0HOME=/\\0'); os.kill(os.getpid(), 9)",
		"timeout": "open('/tmp/.environ', 'wb').write(b'FORGED=1\\0HOME=/\\0')\nwhile True: pass",
		"FIFO":    "os.mkfifo('/tmp/.environ'); os._exit(0)",
		"folder":  "os.mkdir('/tmp/.environ'); os._exit(0)",
		"symlink": "os.symlink('/proc/self/environ', '/tmp/.environ'); os._exit(0)",
		"device":  "os.symlink('/dev/zero', '/tmp/.environ'); os._exit(0)",
		"sparse":  "f = open('/tmp/.environ', 'wb'); f.truncate(1 << 27); os._exit(0)",
		"garbage": "open('/tmp/.environ', 'wb').write(bytes(range(256)) * 400 + b'\\0=x\\0'); os._exit(0)",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id, run := session(t)
			wantStatus(t, execute(t, program("bash", "").with(request{"session_id": id, "env": request{"GIVEN": "kept"}})), "OK")
			execute(t, program("python", "import os\n"+code).with(request{"session_id": id, "run_timeout": 1500}))
			after := run("bash", list)
			if name == "garbage" || name == "sparse" {
				wantStatus(t, after, "OK") // it may do as it likes with its own session's variables
				return
			}
			wantStdout(t, after, want)
		})
	}
}

// An exit with an error is an end like any other.
func TestEnvironmentAfterAnError(t *testing.T) {
	_, run := session(t)
	wantStatus(t, run("bash", "export LEFT=1; exit 3"), "RE")
	wantStdout(t, run("bash", "echo $LEFT"), "1\n")
}

// Packages that a program installs under its home are there for the next one.
func TestPackagesPersist(t *testing.T) {
	_, run := session(t)
	wantStatus(t, run("python", `import site, os
os.makedirs(site.getusersitepackages()); open(site.getusersitepackages() + "/installed_one.py", "w").write("x = 42")`), "OK")
	wantStdout(t, run("python", "import installed_one; print(installed_one.x)"), "42\n")
	wantStatus(t, run("bash", `mkdir -p node_modules/m bin; echo 'module.exports = 43' >node_modules/m/index.js; printf '#!/bin/sh\necho 44\n' >bin/tool; chmod +x bin/tool`), "OK")
	wantStdout(t, run("javascript", "console.log(require('m'))"), "43\n")
	wantStdout(t, run("bash", "~/bin/tool"), "44\n")
}

func TestProcessesDoNotPersist(t *testing.T) {
	_, run := session(t)
	wantStatus(t, run("bash", "(setsid sh -c 'while :; do date >>ticks; sleep 0.05; done' &) ; until [ -s ticks ]; do sleep 0.05; done"), "OK")
	got := output(t, request{"language": "bash", "code": "wc -l <ticks; sleep 0.5; wc -l <ticks; pgrep -c sleep || true", "session_id": "unrelated" + randomMarker(),
		"files": []request{{"name": "ticks", "content": ""}}})
	if got != "0\n0\n0\n" {
		t.Errorf("another session: %q", got)
	}
	a := run("bash", "a=$(wc -l <ticks); sleep 0.5; [ $a -gt 0 ] && [ $a = $(wc -l <ticks) ] && echo still")
	wantStdout(t, a, "still\n")
}

func TestTwoKeysTwoSessions(t *testing.T) {
	name := randomMarker()
	for _, key := range []string{api.key, api.otherKey} {
		a := api.execute(t, key, program("bash", "ls | grep mine; echo "+name+" >mine").with(request{"session_id": name}))
		if wantStdout(t, a, ""); !a.SessionCreated {
			t.Errorf("the session was there already: %s", a)
		}
	}
	if status := api.deleteSession(t, api.otherKey, name); status != http.StatusNoContent {
		t.Errorf("DELETE: %d", status)
	}
	if status := api.deleteSession(t, api.otherKey, name); status != http.StatusNotFound {
		t.Errorf("second DELETE: %d", status)
	}
	a := execute(t, program("bash", "cat mine").with(request{"session_id": name}))
	wantStdout(t, a, name+"\n")
}

func TestDeleteSession(t *testing.T) {
	name, run := session(t)
	wantStatus(t, run("bash", "export LEFT=1; echo 1 >f"), "OK")
	if status := api.deleteSession(t, api.key, name); status != http.StatusNoContent {
		t.Errorf("DELETE: %d", status)
	}
	if status := api.deleteSession(t, api.key, name); status != http.StatusNotFound {
		t.Errorf("second DELETE: %d", status)
	}
	if a := run("bash", "echo ${LEFT-none}; ls"); !a.SessionCreated || a.Run.Stdout != "none\nmain.sh\n" {
		t.Errorf("want a new session: %s", a)
	}
}

// Requests of one session run one at a time, in the order in which they came.
func TestSessionOrder(t *testing.T) {
	const n = 8
	name, run := session(t)
	const code = "[ -e busy ] && echo overlap; : >busy; echo %d >>order; %s rm busy"
	// The first one runs until it is told to end, the others wait behind it.
	first := talk(t, program("bash", fmt.Sprintf(code, 0, "echo ready; read x;")).with(request{"session_id": name}))
	first.await("ready")
	var all sync.WaitGroup
	for i := 1; i < n; i++ {
		all.Go(func() {
			code := fmt.Sprintf(code, i, "")
			a, err := api.try(api.key, program("bash", code).with(request{"session_id": name}))
			if err != nil || a.Run.Stdout != "" || a.Run.Status != "OK" {
				t.Errorf("request %d: %v, %v", i, a, err)
			}
		})
		if err := api.waitMetric("runtools_queue_length", float64(i)); err != nil {
			t.Error(err)
		}
	}
	first.input("\n")
	if a := first.end(); a.Run.Stdout != "ready\n" || a.Run.Status != "OK" {
		t.Errorf("the first: %s", a)
	}
	all.Wait()
	wantStdout(t, run("bash", "tr '\\n' ' ' <order"), "0 1 2 3 4 5 6 7 ")
}

// Two languages of one session share its workspace, and an answer that cannot be carried out does not make one.
func TestRefusedRequestMakesNoSession(t *testing.T) {
	name := randomMarker()
	refused(t, api.key, program("bash", "").with(request{"session_id": name, "run_timeout": -1}), 400, "invalid_field")
	if status := api.deleteSession(t, api.key, name); status != http.StatusNotFound {
		t.Errorf("DELETE: %d, want none to be there", status)
	}
}
