package main

import (
	"bytes"
	"io"
	"maps"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestExecute(t *testing.T) {
	ts := newTestServer(t, nil)
	r := ts.execute(with(python("print hello", "warn oops", "args", "cat", "exit 3"), "args", []string{"a", "b c"}, "stdin", "in\x00put"))
	run := r.Run
	if run.Stdout != "hello\n[\"a\" \"b c\"]\nin\x00put" || run.Stderr != "oops\n" || *run.Code != 3 || run.Signal != nil || run.Status != "RE" {
		t.Errorf("run is %+v", run)
	}
	if r.Lang != "python" || r.Version != "3.13.5" || r.Session == nil || len(*r.Session) != 36 || r.Created || r.Compile != nil {
		t.Errorf("answer is %s", r.Raw)
	}
	if run.TimeMS <= 0 || run.CPUTimeMS != 1.235 || run.MemoryKB != 4096 || run.Limit != nil {
		t.Errorf("usage is %+v", run)
	}
	if got := r.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type is %q", got)
	}
	for _, phase := range []string{"auth", "queue", "checkout", "files", "compile", "run", "collect"} {
		if !strings.Contains(r.Header.Get("Server-Timing"), phase+";dur=") {
			t.Errorf("Server-Timing is %q, without %s", r.Header.Get("Server-Timing"), phase)
		}
	}
	if server := r.Header.Get("Server"); server != "" {
		t.Errorf("Server is %q", server)
	}
}

func TestCompile(t *testing.T) {
	ts := newTestServer(t, nil)
	c := func(lines ...string) map[string]any { return with(python(lines...), "language", "gcc") }

	r := ts.execute(c("print made"))
	if r.Compile == nil || !strings.HasPrefix(r.Compile.Stderr, "OK (0.0") || r.Compile.Status != "OK" || r.Run.Stdout != "made\n" {
		t.Errorf("a silent compiler: %s", r.Raw)
	}
	for _, job := range ts.fake.asked() {
		id := ts.keys.find([]byte(ts.key)).ID
		if want := id + " " + r.Header.Get("X-Request-Id"); job.Label != want || job.Account != id {
			t.Errorf("an operator is shown %q, want %q; it is on the account of %q", job.Label, want, job.Account)
		}
	}
	r = ts.execute(c("#compile warn careful", "print made"))
	if r.Compile.Stderr != "careful\n" || r.Run.Status != "OK" {
		t.Errorf("a warning: %s", r.Raw)
	}
	r = ts.execute(c("#compile warn main.c:1: no", "#compile exit 1", "print made"))
	if r.Compile.Status != "CE" || *r.Compile.Code != 1 || r.Run == nil || r.Run.Status != "CE" || r.Run.Stdout != "" ||
		r.Run.Stderr != "main.c:1: no\n" || *r.Run.Code != 1 || r.Run.TimeMS != 0 || r.Run.CPUTimeMS != 0 {
		t.Errorf("a failed compilation: %s", r.Raw)
	}
	r = ts.execute(c("#compile limit wall", "print made"))
	if r.Compile.Status != "TO" || r.Compile.Limit.Name != "compile_timeout" || r.Run.Status != "CE" {
		t.Errorf("a compiler that took too long: %s", r.Raw)
	}
	r = ts.execute(with(c("print one", "write f x"), "ephemeral", true))
	if r.Session != nil || r.Run.Stdout != "one\n" {
		t.Errorf("ephemeral: %s", r.Raw)
	}
	// The sessions changed nothing, and what failed is not kept.
	eventually(t, "only what was made is left", func() bool { return ts.fake.volumeCount() == 3 && ts.cache.counts().entries == 3 })
	ts.cache.expire(time.Now().Add(time.Hour))
	eventually(t, "the build volumes are forgotten", func() bool { return ts.fake.volumeCount() == 0 })
	if ts.fake.asked()[0].Limits.MemoryBytes != 256<<20 {
		t.Errorf("the compiler's memory is %d, not the language's default", ts.fake.asked()[0].Limits.MemoryBytes)
	}
}

func TestStatuses(t *testing.T) {
	ts := newTestServer(t, nil)
	for _, c := range []struct {
		program, status, signal, limit, message string
	}{
		{"print x", "OK", "", "", ""},
		{"exit 7", "RE", "", "", "exited with code 7"},
		{"signal 11", "SG", "SIGSEGV", "", "died of SIGSEGV"},
		{"signal 9", "SG", "SIGKILL", "", "died of SIGKILL, sent from inside the sandbox: no limit had fired"},
		{"signal 31", "SV", "SIGSYS", "", "killed by the syscall filter (SIGSYS)"},
		{"limit wall", "TO", "SIGKILL", "run_timeout", "wall time reached run_timeout 300000 ms"},
		{"limit cpu", "TO", "SIGKILL", "run_cpu_time", "CPU time 2 ms exceeded run_cpu_time 0 ms"},
		{"limit memory", "ML", "SIGKILL", "run_memory_limit", "memory reached run_memory_limit 536870912 bytes"},
		{"spew 100", "OL", "", "output_limit", "stdout 100 bytes exceeded output_limit 50 bytes"},
		{"spewerr 51", "EL", "", "output_limit", "stderr 51 bytes exceeded output_limit 50 bytes"},
	} {
		run := ts.execute(with(python(c.program), "output_limit", 50)).Run
		signal, limit, message := "", "", ""
		if run.Signal != nil {
			signal = *run.Signal
		}
		if run.Limit != nil {
			limit = run.Limit.Name
		}
		if run.Message != nil {
			message = *run.Message
		}
		// A kill may be quicker than the end of the program.
		if c.limit == "output_limit" {
			signal = ""
		}
		if run.Status != c.status || signal != c.signal || limit != c.limit || message != c.message {
			t.Errorf("%s: %s %s %s %q", c.program, run.Status, signal, limit, message)
		}
		if (run.Code == nil) != (run.Signal != nil) {
			t.Errorf("%s: code and signal are %v and %v", c.program, run.Code, run.Signal)
		}
	}
}

// What a stage was denied is in its answer and in the metrics; where nothing was there is no field.
func TestViolations(t *testing.T) {
	ts := newTestServer(t, nil)
	r := ts.execute(cc("#compile deny \"x\"", "deny NULL", "deny", "print x"))
	for name, want := range map[string]string{
		"compile": `"message":null,"violations":[{"syscall":"mount","args":"\"x\"","count":3},{"syscall":"*","count":1}],"limit":null}`,
		"run": `"message":null,"violations":[{"syscall":"mount","args":"NULL","count":3},{"syscall":"*","count":1},` +
			`{"syscall":"mount","count":3},{"syscall":"*","count":1}],"limit":null}`,
	} {
		if !strings.Contains(r.Raw, want) {
			t.Errorf("%s: %s, want %s", name, r.Raw, want)
		}
	}
	if r := ts.execute(python("print x")); strings.Contains(r.Raw, "violations") {
		t.Error(r.Raw)
	}
	families, err := ts.metrics.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "runtools_denied_syscalls_total" {
				got[m.GetLabel()[0].GetValue()+" "+m.GetLabel()[1].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	if want := map[string]float64{"c mount": 9, "c *": 3}; !maps.Equal(got, want) {
		t.Errorf("metrics: %v, want %v", got, want)
	}
}

func TestOutput(t *testing.T) {
	ts := newTestServer(t, nil)
	r := ts.execute(python("bytes 61 ff fe c3 a9 e2 82"))
	if r.Run.Stdout != "a\ufffd\ufffdé\ufffd\ufffd" || r.Run.StdoutBase64 == nil || *r.Run.StdoutBase64 != "Yf/+w6nigg==" {
		t.Errorf("not UTF-8: %s", r.Raw)
	}
	if r.Run.StderrBase64 != nil {
		t.Errorf("text with base64: %s", r.Raw)
	}
	r = ts.execute(python("spew 10485760", "spewerr 3000000"))
	if len(r.Run.Stdout) != 10<<20 || len(r.Run.Stderr) != 3000000 || r.Run.Status != "OK" {
		t.Errorf("%d and %d bytes, %s", len(r.Run.Stdout), len(r.Run.Stderr), r.Run.Status)
	}
	r = ts.execute(with(python("spew 1000000000"), "output_limit", 100_000))
	if len(r.Run.Stdout) != 100_000 || r.Run.Status != "OL" || r.Run.Limit.Used <= 100_000 {
		t.Errorf("%d bytes, %+v", len(r.Run.Stdout), r.Run.Limit)
	}
	r = ts.execute(python("print early", "linger"))
	if r.Run.Stdout != "early\nlate\n" {
		t.Errorf("output after the result: %q", r.Run.Stdout)
	}
	r = ts.execute(python("bytes 22 5c 08 0c 0a 0d 09 01 1f 7f"))
	if r.Run.Stdout != "\"\\\b\f\n\r\t\x01\x1f\x7f" {
		t.Errorf("escapes: %q", r.Run.Stdout)
	}
}

func TestSandboxErrors(t *testing.T) {
	ts := newTestServer(t, nil)
	files := []map[string]any{{"name": "main.py", "content": "print x"}, {"name": "refused", "content": ""}}
	if r := ts.refused(map[string]any{"language": "python", "files": files}, errInvalidField); r.Error.Field != "files[1].name" {
		t.Errorf("field is %q", r.Error.Field)
	}
	files[0]["name"] = "other.py"
	if r := ts.refused(map[string]any{"language": "python", "code": "", "files": files}, errInvalidField); r.Error.Field != "files[1].name" {
		t.Errorf("field is %q", r.Error.Field)
	}
	if r := ts.refused(python("fail overloaded"), errOverloaded); r.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	r := ts.refused(python("fail internal"), errInternal)
	if strings.Contains(r.Raw, "secret") || !strings.Contains(ts.log.String(), "secret detail") {
		t.Errorf("the caller sees %s, the log %s", r.Raw, ts.log.String())
	}
	if !strings.Contains(ts.log.String(), r.Error.RequestID) {
		t.Error("the log does not know the request id")
	}
	if n := ts.sessions.counts().sessions; n != 0 {
		t.Errorf("%d sessions of refused requests", n)
	}
	if err := os.Remove(ts.fake.path); err != nil {
		t.Fatal(err)
	}
	ts.refused(python("print x"), errOverloaded)
}

func TestHangUp(t *testing.T) {
	ts := newTestServer(t, nil)
	for _, c := range []struct {
		name   string
		hangUp func(*net.TCPConn)
	}{
		{"close", func(c *net.TCPConn) { c.Close() }},
		{"reset", func(c *net.TCPConn) { c.SetLinger(0); c.Close() }},
		{"half close", func(c *net.TCPConn) { c.CloseWrite() }},
	} {
		ts.fake.mu.Lock()
		before := ts.fake.killed
		ts.fake.mu.Unlock()
		conn, err := net.Dial("tcp", ts.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		body := encode(python("sleep 1h"))
		io.WriteString(conn, "POST /v1/execute HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+ts.key+
			"\r\nContent-Type: application/json\r\nContent-Length: "+strconv.Itoa(len(body))+"\r\n\r\n"+body)
		eventually(t, "the job runs", func() bool { running, _ := ts.queue.counts(); return running == 1 })
		time.Sleep(20 * time.Millisecond)
		c.hangUp(conn.(*net.TCPConn))
		eventually(t, c.name+" kills the job", func() bool {
			ts.fake.mu.Lock()
			defer ts.fake.mu.Unlock()
			return ts.fake.killed == before+1
		})
		eventually(t, "the slot is free", func() bool { running, _ := ts.queue.counts(); return running == 0 })
	}
	if n := ts.sessions.counts().sessions; n != 0 {
		t.Errorf("%d sessions whose ids nobody was told", n)
	}
}

// A second request that is already in the socket must neither be read by the watcher nor taken for a hang-up.
func TestPipelined(t *testing.T) {
	ts := newTestServer(t, nil)
	conn, err := net.Dial("tcp", ts.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var both strings.Builder
	for _, program := range []string{"sleep 50ms\nprint first", "print second"} {
		body := encode(python(program))
		both.WriteString("POST /v1/execute HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + ts.key +
			"\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
	}
	io.WriteString(conn, both.String())
	conn.SetReadDeadline(time.Now().Add(hang))
	var got []byte
	buf := make([]byte, 4096)
	for !bytes.Contains(got, []byte("second")) {
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatalf("%v after %s", err, got)
		}
		got = append(got, buf[:n]...)
	}
	if !bytes.Contains(got, []byte("first")) {
		t.Errorf("got %s", got)
	}
}
