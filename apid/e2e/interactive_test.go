package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// A program and its caller talk while it runs.

// dialogue is a WebSocket to a program.
type dialogue struct {
	t      *testing.T
	ws     *websocket.Conn
	ctx    context.Context
	output string // on both streams, as far as it was read and not awaited
	events []string
	result *answer
	failed *refusal
	closed websocket.StatusCode
}

// talk opens one and sends the request.
func talk(t *testing.T, q request) *dialogue {
	t.Helper()
	d := dial(t, "/v1/execute/ws", http.Header{"Authorization": {"Bearer " + api.key}}, nil)
	d.say(q)
	return d
}

func dial(t *testing.T, path string, header http.Header, protocols []string) *dialogue {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*hang)
	t.Cleanup(cancel)
	ws, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(api.url, "http")+path, &websocket.DialOptions{HTTPHeader: header, Subprotocols: protocols})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.CloseNow() })
	ws.SetReadLimit(-1)
	return &dialogue{t: t, ws: ws, ctx: ctx}
}

// say sends one message.
func (d *dialogue) say(message request) {
	d.t.Helper()
	body, err := json.Marshal(message)
	if err == nil {
		err = d.ws.Write(d.ctx, websocket.MessageText, body)
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *dialogue) input(data string) { d.t.Helper(); d.say(request{"type": "stdin", "data": data}) }

func (d *dialogue) signal(name string) {
	d.t.Helper()
	d.say(request{"type": "signal", "signal": name})
}

// read takes one event, and says whether there was one.
func (d *dialogue) read() bool {
	d.t.Helper()
	_, body, err := d.ws.Read(d.ctx)
	var end websocket.CloseError
	if errors.As(err, &end) {
		d.closed = end.Code
		return false
	}
	var e struct {
		Type string
		Data json.RawMessage
	}
	if err == nil {
		err = errors.Join(json.Unmarshal(body, &e), document.Value("Event", body))
	}
	if err != nil {
		d.t.Fatalf("%v after %v, output %q", err, d.events, d.output)
	}
	d.events = append(d.events, e.Type)
	switch e.Type {
	case "stdout", "stderr":
		var written struct{ Text string }
		err = json.Unmarshal(e.Data, &written)
		d.output += written.Text
	case "result":
		err = json.Unmarshal(e.Data, &d.result)
	case "error":
		var body struct{ Error *refusal }
		err = json.Unmarshal(e.Data, &body)
		d.failed = body.Error
	}
	if err != nil {
		d.t.Fatalf("%v in %s", err, body)
	}
	return true
}

// await reads until the program has written something.
func (d *dialogue) await(want string) {
	d.t.Helper()
	for {
		if _, after, found := strings.Cut(d.output, want); found {
			d.output = after
			return
		}
		if !d.read() {
			d.t.Fatalf("the program ended without %q: %q %v %v", want, d.output, d.result, d.failed)
		}
	}
}

// end reads to the end.
func (d *dialogue) end() *answer {
	d.t.Helper()
	for d.read() {
	}
	if d.closed != websocket.StatusNormalClosure {
		d.t.Errorf("closed with %d", d.closed)
	}
	if d.result == nil {
		d.t.Fatalf("no result: %v %+v", d.events, d.failed)
	}
	return d.result
}

// echoers answer each line before the next is there.
var echoers = map[string]string{
	"bash":       `while read -r line; do echo "got $line"; done; echo bye`,
	"python":     "import sys\nfor line in sys.stdin:\n    print('got', line.strip(), flush=True)\nprint('bye')",
	"javascript": "const lines = require('readline').createInterface({input: process.stdin})\nlines.on('line', l => console.log('got ' + l))\nlines.on('close', () => console.log('bye'))",
	"typescript": "import * as readline from 'readline'\nconst lines = readline.createInterface({input: process.stdin})\nlines.on('line', (l: string) => console.log('got ' + l))\nlines.on('close', () => console.log('bye'))",
	"ruby":       "$stdout.sync = true\nwhile line = gets\n  puts \"got #{line}\"\nend\nputs 'bye'",
	"c":          "#include <stdio.h>\nint main(void) { char l[99]; while (fgets(l, 99, stdin)) { printf(\"got %s\", l); fflush(stdout); } puts(\"bye\"); }",
	"java":       "public class Main { public static void main(String[] a) { var in = new java.util.Scanner(System.in); while (in.hasNextLine()) System.out.println(\"got \" + in.nextLine()); System.out.println(\"bye\"); } }",
	"csharp":     "using System; string l; while ((l = Console.ReadLine()) != null) Console.WriteLine(\"got \" + l); Console.WriteLine(\"bye\");",
	"go":         "package main\nimport (\"bufio\"; \"fmt\"; \"os\")\nfunc main() { in := bufio.NewScanner(os.Stdin); for in.Scan() { fmt.Println(\"got\", in.Text()) }; fmt.Println(\"bye\") }",
}

func TestInteractiveEcho(t *testing.T) {
	for language, code := range echoers {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			d := talk(t, program(language, code))
			for i := range 3 {
				d.input(fmt.Sprintf("line %d\n", i))
				d.await(fmt.Sprintf("got line %d\n", i))
			}
			d.say(request{"type": "stdin_close"})
			a := d.end()
			wantStdout(t, a, "got line 0\ngot line 1\ngot line 2\nbye\n")
			if last := d.events[len(d.events)-2:]; last[0] != "exit" || last[1] != "result" {
				t.Errorf("events %v", d.events)
			}
		})
	}
}

// A prompt without a newline is there before there is input.
func TestInteractivePrompt(t *testing.T) {
	d := talk(t, program("python", "name = input('name? ')\nprint('hello', name)"))
	d.await("name? ")
	d.say(request{"type": "stdin", "data": "QWRhCg==", "encoding": "base64"})
	wantStdout(t, d.end(), "name? hello Ada\n")
}

func TestInteractiveInputBeforeTheProgram(t *testing.T) {
	d := talk(t, program("bash", "cat").with(request{"stdin": "first "}))
	d.input("second")
	d.say(request{"type": "stdin_close"})
	wantStdout(t, d.end(), "first second")
}

func TestInteractiveSignals(t *testing.T) {
	// Python runs a handler between two of its own steps: a call that waits for good would keep it, if the signal came just before it.
	handler := "import os, select, signal\ndef caught(n, frame):\n    os.write(1, b'caught %s\\n' % signal.Signals(n).name.encode())\n" +
		"for n in (signal.SIGINT, signal.SIGUSR1, signal.SIGTERM): signal.signal(n, caught)\nprint('ready', flush=True)\nwhile not select.select([0], [], [], 0.1)[0]: pass\nprint('end')"
	t.Run("caught", func(t *testing.T) {
		d := talk(t, program("python", handler))
		d.await("ready")
		for _, name := range []string{"SIGINT", "SIGUSR1", "SIGTERM"} {
			d.signal(name)
			d.await("caught " + name)
		}
		d.say(request{"type": "stdin_close"})
		wantStatus(t, d.end(), "OK")
	})
	t.Run("behind input that is not read", func(t *testing.T) {
		d := talk(t, program("bash", "echo ready; exec sleep 1000"))
		d.await("ready")
		for range 8 {
			d.input(strings.Repeat("x", 1<<19))
		}
		d.signal("SIGINT")
		wantStatus(t, d.end(), "SG")
	})
	for name, program := range map[string]request{
		"SIGINT": program("python", "import time\nprint('ready', flush=True)\nwhile True: time.sleep(0.1)"), "SIGKILL": program("python", handler),
		"SIGTERM": program("bash", "echo ready; exec sleep 1000"), "SIGUSR2": program("c", "#include <stdio.h>\n#include <unistd.h>\nint main(void) { puts(\"ready\"); fflush(stdout); for (;;) pause(); }"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := talk(t, program)
			d.await("ready")
			d.signal(name)
			a := d.end()
			if a.Run.Status != "SG" || a.Run.Signal == nil || *a.Run.Signal != name {
				t.Errorf("%s", a)
			}
		})
	}
	t.Run("stopped and continued", func(t *testing.T) {
		d := talk(t, program("bash", "echo ready; while read -r l; do echo \"$l\"; done"))
		d.await("ready")
		d.signal("SIGSTOP")
		d.input("line\n")
		d.signal("SIGCONT")
		d.await("line")
		d.say(request{"type": "stdin_close"})
		wantStatus(t, d.end(), "OK")
	})
	// It waits until there is somebody to get it.
	t.Run("before the program", func(t *testing.T) {
		d := talk(t, program("c", "#include <unistd.h>\nint main(void) { for (;;) pause(); }"))
		d.signal("SIGTERM")
		if a := d.end(); a.Run.Signal == nil || *a.Run.Signal != "SIGTERM" {
			t.Errorf("%s", a)
		}
	})
}

func TestInteractiveRefusals(t *testing.T) {
	sleep := program("bash", "echo ready; sleep 1000")
	for name, c := range map[string]struct {
		first, second request
		code, field   string
	}{
		"no such language": {program("cobol", ""), nil, "unknown_language", "language"},
		"tests":            {sleep.with(request{"tests": []request{{"stdin": ""}}}), nil, "invalid_field", "tests"},
		"unknown type":     {sleep, request{"type": "hello"}, "invalid_field", "type"},
		"unknown field":    {sleep, request{"type": "stdin", "data": "", "x": 1}, "invalid_field", "x"},
		"without data":     {sleep, request{"type": "stdin"}, "invalid_field", "data"},
		"unknown signal":   {sleep, request{"type": "signal", "signal": "SIGSEGV"}, "invalid_field", "signal"},
		"too large":        {sleep, request{"type": "stdin", "data": strings.Repeat("x", 1<<20+1)}, "payload_too_large", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := talk(t, c.first)
			if c.second != nil {
				d.await("ready")
				d.say(c.second)
			}
			for d.read() {
			}
			if d.failed == nil || d.failed.Code != c.code || (d.failed.Field == nil) != (c.field == "") || c.field != "" && *d.failed.Field != c.field || d.closed != websocket.StatusNormalClosure {
				t.Errorf("%+v, closed with %d", d.failed, d.closed)
			}
		})
	}
}

func TestInteractiveHandshake(t *testing.T) {
	for name, c := range map[string]struct {
		header    http.Header
		protocols []string
		status    int
	}{
		"no key":                     {nil, nil, 401},
		"a wrong key":                {http.Header{"Authorization": {"Bearer x"}}, nil, 401},
		"a wrong key as subprotocol": {nil, []string{"runtools", "runtools.key.x"}, 401},
		"a key as subprotocol":       {http.Header{"Origin": {"https://elsewhere.example"}}, []string{"runtools", "runtools.key." + api.key}, 101},
	} {
		t.Run(name, func(t *testing.T) {
			ws, resp, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(api.url, "http")+"/v1/execute/ws",
				&websocket.DialOptions{HTTPHeader: c.header, Subprotocols: c.protocols})
			if resp == nil || resp.StatusCode != c.status {
				t.Fatalf("%v, %v", err, resp)
			}
			if err == nil {
				defer ws.CloseNow()
				if got := resp.Header.Get("Sec-WebSocket-Protocol"); got != "runtools" { // never the key
					t.Errorf("subprotocol %q", got)
				}
			}
		})
	}
	a, content, err := api.send(t.Context(), api.key, "GET", "/v1/execute/ws", nil)
	if err != nil || a.StatusCode != 426 || a.Header.Get("Upgrade") != "websocket" {
		t.Errorf("%v %d %s", err, a.StatusCode, content)
	}
}

func TestInteractiveHangUpEndsTheJob(t *testing.T) {
	for name, leave := range map[string]func(*dialogue){
		"close":   func(d *dialogue) { d.ws.Close(websocket.StatusNormalClosure, "") },
		"hang up": func(d *dialogue) { d.ws.CloseNow() },
		// The program does not read, so neither does apid.
		"hang up with input unread": func(d *dialogue) {
			ctx, cancel := context.WithTimeout(d.ctx, time.Second)
			defer cancel()
			big, _ := json.Marshal(request{"type": "stdin", "data": strings.Repeat("x", 1<<19)})
			for range 200 {
				if d.ws.Write(ctx, websocket.MessageText, big) != nil {
					break
				}
			}
			if ctx.Err() == nil {
				d.t.Error("100 MB of input were taken that the program does not read")
			}
			d.ws.CloseNow()
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := talk(t, program("bash", "echo ready; sleep 1000"))
			d.await("ready")
			leave(d)
			if err := api.waitMetric("runtools_jobs_running", 0); err != nil {
				t.Error(err)
			}
		})
	}
}

// A caller that does not read stops its program, as a terminal would; what was written is there when it reads on.
func TestInteractiveCallerThatDoesNotRead(t *testing.T) {
	const lines = 20_000
	d := talk(t, program("python", fmt.Sprintf("import sys\nfor i in range(%d): sys.stdout.write('%%01000d\\n' %% i)\nsys.stderr.write('done')", lines)).with(request{"output_limit": 30 << 20}))
	if err := api.waitMetric("runtools_jobs_running", 1); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second)
	if n, err := api.metric("runtools_jobs_running"); err != nil || n == 0 {
		t.Error("20 MB were written that nobody has read")
	}
	a := d.end()
	if n := strings.Count(a.Run.Stdout, "\n"); n != lines || a.Run.Stderr != "done" {
		t.Errorf("%d lines, %q", n, a.Run.Stderr)
	}
}

func TestInteractiveLimits(t *testing.T) {
	d := talk(t, program("bash", "read x").with(request{"run_timeout": 300}))
	wantStatus(t, d.end(), "TO")
	d = talk(t, program("bash", "yes").with(request{"output_limit": 1000}))
	wantStatus(t, d.end(), "OL")
}
