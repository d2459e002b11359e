package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func files(pairs ...string) []map[string]any {
	list := []map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, map[string]any{"name": pairs[i], "content": pairs[i+1]})
	}
	return list
}

func manyVariables(n int) map[string]any {
	env := map[string]any{}
	for i := range n {
		env[fmt.Sprint("V", i)] = ""
	}
	return env
}

// Every rule about every field: what is sent over a request that is right otherwise, and how it is refused.
func TestRefusals(t *testing.T) {
	ts := newTestServer(t, func(c *config) { c.Limits.OutputLimit = bound{1 << 20, 2 << 20} })
	many := files()
	for i := range 1001 {
		many = append(many, map[string]any{"name": fmt.Sprint(i), "content": ""})
	}
	for _, c := range []struct {
		name  string
		set   map[string]any // over {"language": "python", "code": ""}; nil takes away
		code  errCode
		field string
		says  []string
	}{
		{"no language", map[string]any{"language": nil}, errInvalidField, "language", []string{"c, python"}},
		{"language of a wrong type", map[string]any{"language": 3}, errInvalidField, "language", []string{"want a string, got a number"}},
		{"unknown language", map[string]any{"language": "cobol"}, errUnknownLanguage, "language", []string{`"cobol"`, "c, python"}},
		{"language by a slip", map[string]any{"language": "Pyhton"}, errUnknownLanguage, "language", []string{`"Pyhton"; did you mean python?`}},
		{"language missing from the image", map[string]any{"language": "rb"}, errUnknownLanguage, "language", []string{"no source had ruby"}},
		{"unknown version", map[string]any{"version": "2"}, errUnknownVersion, "version", []string{`"2"`, "3.13.5, 3.11.2"}},
		{"bad version", map[string]any{"version": "newest"}, errInvalidField, "version", []string{`"newest"`}},
		{"version of a wrong type", map[string]any{"version": 3.12}, errInvalidField, "version", []string{"want a string"}},
		{"neither code nor files", map[string]any{"code": nil}, errInvalidField, "code", []string{"either code or files"}},
		{"no files", map[string]any{"code": nil, "files": []any{}}, errInvalidField, "code", nil},
		{"code of a wrong type", map[string]any{"code": []any{}}, errInvalidField, "code", []string{"got an array"}},
		{"files of a wrong type", map[string]any{"files": map[string]any{}}, errInvalidField, "files", []string{"want an array, got an object"}},
		{"file of a wrong type", map[string]any{"files": []any{"x"}}, errInvalidField, "files[0]", nil},
		{"file without a name", map[string]any{"files": []any{map[string]any{"content": ""}}}, errInvalidField, "files[0].name", []string{"missing"}},
		{"file with a name of null", map[string]any{"files": []any{map[string]any{"name": nil, "content": ""}}}, errInvalidField, "files[0].name", []string{"missing"}},
		{"file with null in it", map[string]any{"files": []any{map[string]any{"name": "a", "content": nil}}}, errInvalidField, "files[0].content", []string{"missing"}},
		{"file without content", map[string]any{"files": []any{map[string]any{"name": "a"}}}, errInvalidField, "files[0].content", []string{"missing"}},
		{"unknown field of a file", map[string]any{"files": []any{map[string]any{"name": "a", "content": "", "mode": 1}}}, errInvalidField, "files[0].mode", nil},
		{"unknown encoding", map[string]any{"files": []any{map[string]any{"name": "a", "content": "", "encoding": "gzip"}}}, errInvalidField, "files[0].encoding", []string{`"gzip"`, "utf8, base64, hex"}},
		{"bad base64", map[string]any{"files": []any{map[string]any{"name": "a", "content": "a", "encoding": "base64"}}}, errInvalidField, "files[0].content", []string{"base64"}},
		{"bad hex", map[string]any{"files": []any{map[string]any{"name": "a", "content": "0g", "encoding": "hex"}}}, errInvalidField, "files[0].content", []string{"hex"}},
		{"code and a file of its name", map[string]any{"files": files("a", "", "main.py", "")}, errInvalidField, "files[1].name", []string{"code", "give it another, or leave out code"}},
		{"empty name", map[string]any{"files": files("", "")}, errInvalidField, "files[0].name", []string{"empty"}},
		{"absolute name", map[string]any{"files": files("/etc/passwd", "")}, errInvalidField, "files[0].name", []string{"absolute"}},
		{"parent", map[string]any{"files": files("a/../../b", "")}, errInvalidField, "files[0].name", []string{`".."`}},
		{"dot", map[string]any{"files": files("./b", "")}, errInvalidField, "files[0].name", nil},
		{"empty part", map[string]any{"files": files("a//b", "")}, errInvalidField, "files[0].name", nil},
		{"trailing slash", map[string]any{"files": files("a/", "")}, errInvalidField, "files[0].name", nil},
		{"NUL in a name", map[string]any{"files": files("a\x00b", "")}, errInvalidField, "files[0].name", []string{"NUL"}},
		{"long part", map[string]any{"files": files(strings.Repeat("a", 256), "")}, errInvalidField, "files[0].name", []string{"256", "255"}},
		{"same name twice", map[string]any{"files": files("a", "", "b", "", "a", "")}, errInvalidField, "files[2].name", []string{"twice"}},
		{"file in a file", map[string]any{"files": files("a", "", "a/b", "")}, errInvalidField, "files[1].name", []string{"already a file"}},
		{"folder of a file", map[string]any{"files": files("a/b/c", "", "a/b", "")}, errInvalidField, "files[1].name", []string{"folder"}},
		{"too many files", map[string]any{"files": many}, errInvalidField, "files", []string{"1000"}},
		{"too many files with code", map[string]any{"files": many[:1000]}, errInvalidField, "files", []string{"1000"}},
		{"long names", map[string]any{"files": longNames()}, errInvalidField, "files", []string{"32768"}},
		{"stdin of a wrong type", map[string]any{"stdin": 1}, errInvalidField, "stdin", nil},
		{"stdin in hex", map[string]any{"stdin": "00", "stdin_encoding": "hex"}, errInvalidField, "stdin_encoding", []string{"utf8, base64"}},
		{"stdin not base64", map[string]any{"stdin": "?", "stdin_encoding": "base64"}, errInvalidField, "stdin", []string{"not base64: want the standard alphabet (+ and /), padded with ="}},
		{"args of a wrong type", map[string]any{"args": "a"}, errInvalidField, "args", nil},
		{"arg of a wrong type", map[string]any{"args": []any{"a", 1}}, errInvalidField, "args[1]", nil},
		{"NUL in an arg", map[string]any{"args": []any{"a\x00"}}, errInvalidField, "args[0]", []string{"NUL"}},
		{"large args", map[string]any{"args": []any{strings.Repeat("a", 96<<10)}}, errInvalidField, "args", []string{"98304"}},
		{"too many args", map[string]any{"args": make([]string, 8000)}, errInvalidField, "args", []string{"8000"}},
		{"args that JSON swells", map[string]any{"args": []any{strings.Repeat("\x01", 90<<10)}}, errInvalidField, "args", []string{"JSON"}},
		{"env of a wrong type", map[string]any{"env": []any{}}, errInvalidField, "env", nil},
		{"variable of a wrong type", map[string]any{"env": map[string]any{"A": 1}}, errInvalidField, "env.A", nil},
		{"variable without a name", map[string]any{"env": map[string]any{"": "1"}}, errInvalidField, "env", nil},
		{"variable with =", map[string]any{"env": map[string]any{"A=B": "1"}}, errInvalidField, "env", []string{`"A=B"`}},
		{"NUL in a value", map[string]any{"env": map[string]any{"A": "\x00"}}, errInvalidField, "env.A", []string{"NUL"}},
		{"many variables", map[string]any{"env": manyVariables(4001)}, errInvalidField, "env", []string{"4001", "4000"}},
		{"large env", map[string]any{"env": map[string]any{"A": strings.Repeat("a", 65<<10)}}, errInvalidField, "env", []string{"65536"}},
		{"empty session id", map[string]any{"session_id": ""}, errInvalidField, "session_id", nil},
		{"long session id", map[string]any{"session_id": strings.Repeat("a", 129)}, errInvalidField, "session_id", []string{"129", "128"}},
		{"session id of odd letters", map[string]any{"session_id": "a/b"}, errInvalidField, "session_id", []string{`"a/b"`}},
		{"session id that no address can have", map[string]any{"session_id": ".."}, errInvalidField, "session_id", []string{`".."`, "another name"}},
		{"session id of a wrong type", map[string]any{"session_id": 7}, errInvalidField, "session_id", nil},
		{"ephemeral session", map[string]any{"session_id": "a", "ephemeral": true}, errInvalidField, "ephemeral", nil},
		{"ephemeral of a wrong type", map[string]any{"ephemeral": "yes"}, errInvalidField, "ephemeral", nil},
		{"no run time", map[string]any{"run_timeout": 0}, errInvalidField, "run_timeout", []string{"0 is", "1 to 300000"}},
		{"long run time", map[string]any{"run_timeout": 300001}, errInvalidField, "run_timeout", []string{"300001", "300000"}},
		{"half a millisecond", map[string]any{"run_timeout": 1.5}, errInvalidField, "run_timeout", []string{"1.5"}},
		{"huge run time", map[string]any{"run_timeout": json.Number("1e300")}, errInvalidField, "run_timeout", []string{"run_timeout: so large a number is out of range, want 1 to 300000"}},
		{"run time below all", map[string]any{"run_timeout": json.Number("-1e400")}, errInvalidField, "run_timeout", []string{"so low a number", "1 to 300000"}},
		{"run time of a wrong type", map[string]any{"run_timeout": "1000"}, errInvalidField, "run_timeout", []string{"want a whole number, got a string"}},
		{"negative compile time", map[string]any{"compile_timeout": -1}, errInvalidField, "compile_timeout", []string{"-1", "60000"}},
		{"run CPU time", map[string]any{"run_cpu_time": 3600001}, errInvalidField, "run_cpu_time", []string{"3600000"}},
		{"compile CPU time", map[string]any{"compile_cpu_time": 0}, errInvalidField, "compile_cpu_time", nil},
		{"little memory", map[string]any{"run_memory_limit": 1<<20 - 1}, errInvalidField, "run_memory_limit", []string{"1048576"}},
		{"Piston's unlimited memory", map[string]any{"compile_memory_limit": -1}, errInvalidField, "compile_memory_limit", []string{"-1"}},
		{"much output", map[string]any{"output_limit": 2<<20 + 1}, errInvalidField, "output_limit", []string{"2097152"}},
		{"unknown field", map[string]any{"run_time": 1}, errInvalidField, "run_time", []string{"run_timeout"}},
		{"field in capitals", map[string]any{"Language": "c"}, errInvalidField, "Language", nil},
	} {
		body := with(map[string]any{"language": "python", "code": ""})
		for name, value := range c.set {
			if body[name] = value; value == nil {
				delete(body, name)
			}
		}
		r := ts.do("POST", "/v1/execute", encode(body))
		if r.Error == nil || r.Error.Code != string(c.code) || r.Error.Field != c.field || r.Status != httpStatus[c.code] {
			t.Errorf("%s: status %d, want %s of %q: %s", c.name, r.Status, c.code, c.field, r.Raw)
			continue
		}
		for _, text := range c.says {
			if !strings.Contains(r.Error.Message, text) {
				t.Errorf("%s: %q does not say %q", c.name, r.Error.Message, text)
			}
		}
		if len(r.Error.Message) > 1000 {
			t.Errorf("%s: a message of %d bytes", c.name, len(r.Error.Message))
		}
	}
	if len(ts.fake.asked()) != 0 {
		t.Errorf("%d jobs of refused requests", len(ts.fake.asked()))
	}
	if n := ts.sessions.counts().sessions; n != 0 {
		t.Errorf("%d sessions of refused requests", n)
	}
}

func longNames() []map[string]any {
	list := files()
	for i := range 40 {
		list = append(list, files(fmt.Sprintf("%0255d/%0255d/%0255d/%0255d", i, i, i, i), "")...)
	}
	return list
}

func TestAccepted(t *testing.T) {
	ts := newTestServer(t, nil)
	for _, c := range []struct {
		name string
		body string
		want string
	}{
		{"alias in capitals", `{"language": "PY", "code": "print x"}`, "x\n"},
		{"nulls", `{"language": "py", "version": null, "code": "print x", "files": null, "stdin": null, "args": null, "env": null,
			"session_id": null, "ephemeral": null, "run_timeout": null, "stdin_encoding": null}`, "x\n"},
		{"empty code", `{"language": "py", "code": ""}`, ""},
		{"first file is the entry", `{"language": "py", "files": [{"name": "a/b.py", "content": "print b"}, {"name": "main.py", "content": "print m"}]}`, "b\n"},
		{"code before files", `{"language": "py", "files": [{"name": "a.py", "content": "print a"}], "code": "read a.py"}`, "print a\n"},
		{"hex", `{"language": "py", "files": [{"name": "a.py", "content": "7072696e742068", "encoding": "hex"}]}`, "h\n"},
		{"base64", `{"language": "py", "files": [{"name": "a.py", "content": "cHJpbnQgYg==", "encoding": "base64"}]}`, "b\n"},
		{"stdin in base64", `{"language": "py", "code": "cat", "stdin": "AAH/", "stdin_encoding": "base64"}`, "\x00\x01\ufffd"},
		{"no stdin", `{"language": "py", "code": "cat"}`, ""},
		{"escapes", `{"language": "py", "code": "print \u00e9\ud83d\ude00\t\/\"\\"}`, "é😀\t/\"\\\n"},
		{"numbers in other dress", `{"language": "py", "code": "", "run_timeout": 3e3, "output_limit": 10.0}`, ""},
		{"version prefix", `{"language": "py", "version": "3.11", "code": "print x"}`, "x\n"},
	} {
		r := ts.do("POST", "/v1/execute", c.body)
		if r.Status != 200 || r.Run.Stdout != c.want {
			t.Errorf("%s: %d %s", c.name, r.Status, r.Raw)
		}
	}
	if r := ts.do("POST", "/v1/execute", `{"language":"py","version":">=3.11 <3.13","code":""}`); r.Version != "3.11.2" {
		t.Errorf("a range found %s", r.Version)
	}
}

func TestBadJSON(t *testing.T) {
	ts := newTestServer(t, nil)
	for _, body := range []string{
		``, ` `, `[]`, `null`, `"x"`, `{`, `{"language"}`, `{"language":}`, `{"language":"py",}`, `{"language":"py" "code":""}`,
		`{"language":"py"}x`, `{"language":"py"}{}`, `{'language':'py'}`, `{"language":"p` + "\n" + `y"}`, `{"code":"\ud800"}`, `{"code":"\ud800\u0041"}`,
		`{"code":"\udc00"}`, `{"code":"\x"}`, `{"code":"\u12g4"}`, "{\"code\":\"\xff\"}", `{"run_timeout":01}`, `{"run_timeout":1.}`, `{"run_timeout":+1}`,
		`{"run_timeout":-}`, `{"run_timeout":1e}`, `{"run_timeout":NaN}`, `{"args":["a",]}`, `{"args":[,]}`, `{"ephemeral":tru}`, `{"code":"abc`, `{"code":"abc\`,
		"\ufeff{}", strings.Repeat(`{"files":[`, 100_000),
	} {
		r := ts.do("POST", "/v1/execute", body)
		// The last opens an array where an object is wanted, which is a matter of types.
		if r.Status != 400 || r.Error == nil || r.Error.Code != string(errInvalidJSON) && !strings.HasPrefix(body, `{"files":[`) {
			t.Errorf("%.40q: %d %s", body, r.Status, r.Raw)
		}
	}
	for body, says := range map[string]string{
		`{"language":"py","code":print(1)}`: "byte 24: code: want a string", `{"run_timeout":NaN}`: "run_timeout: want a whole number", `{"run_timeout":-Infinity}`: "run_timeout: want a digit",
		`{"files":[{"content":`: "files[0].content: the body ends where a string is wanted", "\ufeff{}": "byte order mark", "{\"code\":\"\xff\"}": "base64",
	} {
		if r := ts.do("POST", "/v1/execute", body); r.Error == nil || !strings.Contains(r.Error.Message, says) {
			t.Errorf("%s: want %s: %s", body, says, r.Raw)
		}
	}
	for body, field := range map[string]string{
		`{"code":"a","code":"b"}`:                          "code",
		`{"env":{"A":"1","A":"2"}}`:                        "env.A",
		`{"files":[{"name":"a","name":"b","content":""}]}`: "files[0].name",
	} {
		r := ts.do("POST", "/v1/execute", body)
		if r.Error == nil || r.Error.Field != field || !strings.Contains(r.Error.Message, "twice") {
			t.Errorf("%s: %s", body, r.Raw)
		}
	}
}

func TestHTTP(t *testing.T) {
	ts := newTestServer(t, func(c *config) { c.HTTP.MaxBodyBytes = 20_000; c.HTTP.MaxBodiesBytes = 50_000 })
	good := encode(python("print x"))
	for _, c := range []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		header, value            string
	}{
		{"no key", "POST", "/v1/execute", good, []string{"Authorization", ""}, 401, "Www-Authenticate", "Bearer"},
		{"wrong key", "POST", "/v1/execute", good, []string{"Authorization", "Bearer rt_live_no"}, 401, "Www-Authenticate", "Bearer"},
		{"wrong scheme", "POST", "/v1/execute", good, []string{"Authorization", "Basic " + ts.key}, 401, "", ""},
		{"scheme in capitals", "POST", "/v1/execute", good, []string{"Authorization", "BEARER " + ts.key}, 200, "", ""},
		{"GET", "GET", "/v1/execute", "", nil, 405, "Allow", "POST, OPTIONS"},
		{"HEAD", "HEAD", "/v1/execute", "", nil, 405, "Allow", "POST, OPTIONS"},
		{"POST to runtimes", "POST", "/v1/execute/runtimes", "", nil, 405, "Allow", "GET, HEAD, OPTIONS"},
		{"OPTIONS", "OPTIONS", "/v1/execute", "", nil, 204, "Allow", "POST, OPTIONS"},
		{"unknown path", "GET", "/v2", "", nil, 404, "Content-Type", "application/json"},
		{"nowhere", "GET", "/nowhere", "", nil, 404, "", ""},
		{"key after spaces", "POST", "/v1/execute", good, []string{"Authorization", "Bearer   " + ts.key}, 200, "", ""},
		{"curl's type", "POST", "/v1/execute", good, []string{"Content-Type", "application/x-www-form-urlencoded"}, 200, "", ""},
		{"no type", "POST", "/v1/execute", good, []string{"Content-Type", ""}, 200, "", ""},
		{"form", "POST", "/v1/execute", "language=python", []string{"Content-Type", "application/x-www-form-urlencoded"}, 400, "", ""},
		{"text", "POST", "/v1/execute", good, []string{"Content-Type", "text/plain"}, 415, "", ""},
		{"multipart", "POST", "/v1/execute", good, []string{"Content-Type", "multipart/form-data; boundary=x"}, 415, "", ""},
		{"charset", "POST", "/v1/execute", good, []string{"Content-Type", "application/json; charset=UTF-8"}, 200, "", ""},
		{"other charset", "POST", "/v1/execute", good, []string{"Content-Type", "application/json; charset=latin1"}, 415, "", ""},
		{"compressed", "POST", "/v1/execute", good, []string{"Content-Encoding", "gzip"}, 415, "", ""},
		{"too large", "POST", "/v1/execute", `{"code":"` + strings.Repeat("x", 20_000) + `"}`, nil, 413, "", ""},
		{"runtimes without a key", "GET", "/v1/execute/runtimes", "", []string{"Authorization", ""}, 401, "", ""},
		{"health without a key", "GET", "/healthz", "", []string{"Authorization", ""}, 200, "", ""},
		{"health by HEAD", "HEAD", "/healthz", "", nil, 200, "", ""},
		{"ready without a key", "GET", "/readyz", "", []string{"Authorization", ""}, 200, "", ""},
		{"own request id", "GET", "/healthz", "", []string{"X-Request-Id", "trace-1"}, 200, "X-Request-Id", "trace-1"},
		{"no such session", "DELETE", "/v1/sessions/abc", "", nil, 404, "", ""},
		{"odd session", "DELETE", "/v1/sessions/a%20b", "", nil, 400, "", ""},
		{"no session", "DELETE", "/v1/sessions/", "", nil, 404, "", ""},
	} {
		r := ts.do(c.method, c.path, c.body, c.headers...)
		if r.Status != c.status || c.header != "" && r.Header.Get(c.header) != c.value {
			t.Errorf("%s: %d %v %s", c.name, r.Status, r.Header, r.Raw)
		}
		if r.Header.Get("X-Request-Id") == "" {
			t.Errorf("%s: no X-Request-Id", c.name)
		}
		if r.Status >= 400 && c.method != "HEAD" && (r.Error == nil || r.Error.RequestID != r.Header.Get("X-Request-Id")) {
			t.Errorf("%s: %s", c.name, r.Raw)
		}
	}
	for _, header := range []string{"", "Bearer ", "Basic eDp5", ts.key} { // as it stands: people read it
		if r := ts.do("POST", "/v1/execute", good, "Authorization", header); !strings.Contains(r.Raw, "want the header Authorization: Bearer <key>") {
			t.Errorf("%q: %s", header, r.Raw)
		}
	}
	if r := ts.do("GET", "/healthz", "", "X-Request-Id", "bad id\tx"); r.Header.Get("X-Request-Id") == "bad id\tx" {
		t.Error("an odd request id was taken over")
	}
	want := `[{"language":"c","version":"14.2.0","aliases":["gcc"],"compiled":true},` +
		`{"language":"python","version":"3.13.5","aliases":["py","python3"],"compiled":false},` +
		`{"language":"python","version":"3.11.2","aliases":["py"],"compiled":false}]` + "\n"
	if r := ts.do("GET", "/v1/execute/runtimes", ""); r.Raw != want {
		t.Errorf("runtimes are %s", r.Raw)
	}
}

// Bodies whose length is not known beforehand, and ones that are refused before they are sent.
func TestBodies(t *testing.T) {
	ts := newTestServer(t, func(c *config) { c.HTTP.MaxBodyBytes = 200_000; c.HTTP.MaxBodiesBytes = 500_000 })
	send := func(body string, length int64, headers ...string) (int, string) {
		t.Helper()
		req, err := http.NewRequest("POST", "http://"+ts.addr+"/v1/execute", io.NopCloser(strings.NewReader(body)))
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = length
		req.Header.Set("Authorization", "Bearer "+ts.key)
		req.Header.Set("Content-Type", "application/json")
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		client := &http.Client{Transport: &http.Transport{ExpectContinueTimeout: 10 * time.Second}}
		defer client.CloseIdleConnections()
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		answer, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(answer)
	}
	for _, size := range []int{10, 32_000, 33_000, 66_000, 199_000} {
		body := encode(with(python("print "+strings.Repeat("x", size)), "ephemeral", true))
		for _, length := range []int64{-1, int64(len(body))} {
			if status, answer := send(body, length); status != 200 || !strings.Contains(answer, strings.Repeat("x", size)) {
				t.Errorf("%d bytes, length %d: %d", size, length, status)
			}
		}
	}
	large := encode(python("print " + strings.Repeat("x", 200_000)))
	for _, length := range []int64{-1, int64(len(large))} {
		if status, answer := send(large, length); status != 413 || !strings.Contains(answer, "payload_too_large") {
			t.Errorf("length %d: %d %s", length, status, answer)
		}
	}
	if status, answer := send(large, int64(len(large)), "Expect", "100-continue"); status != 413 || !strings.Contains(answer, "payload_too_large") {
		t.Errorf("100-continue: %d %s", status, answer)
	}
	if status, answer := send(large, int64(len(large)), "Expect", "100-continue", "Authorization", "Bearer x"); status != 401 || !strings.Contains(answer, "unauthorized") {
		t.Errorf("100-continue without a key: %d %s", status, answer)
	}
	good := encode(python("print x"))
	if status, _ := send(good, int64(len(good)), "Expect", "100-continue"); status != 200 {
		t.Errorf("100-continue: %d", status)
	}
	for _, other := range []string{"a", "b"} {
		if err := ts.bodies.reserve(other, 245_000); err != nil {
			t.Error(err)
		}
	}
	if status, answer := send(encode(python("print "+strings.Repeat("x", 50_000))), -1); status != 503 {
		t.Errorf("no memory: %d %s", status, answer)
	}
	if status, answer := send(good, int64(len(good))); status != 200 {
		t.Errorf("others hold all the memory, and a small body was refused: %d %s", status, answer)
	}
	ts.bodies.giveBack("a", 245_000)
	mine := ts.keys.find([]byte(ts.key)).ID
	if err := ts.bodies.reserve(mine, 240_000); err != nil {
		t.Error(err)
	}
	if status, answer := send(encode(python("print "+strings.Repeat("x", 50_000))), -1); status != 429 {
		t.Errorf("the key has its share: %d %s", status, answer)
	}
	ts.bodies.giveBack(mine, 240_000)
	ts.bodies.giveBack("b", 245_000)
	if ts.bodies.held() != 0 || len(ts.bodies.byKey) != 0 {
		t.Errorf("still held: %v", ts.bodies.byKey)
	}
}

// The decoder must not fall over, and what it accepts must mean what encoding/json says it means.
func FuzzDecodeRequest(f *testing.F) {
	for _, seed := range []string{
		`{"language":"py","code":"print(\"\u00e9\")"}`,
		`{"files":[{"name":"a","content":"\ud83d\ude00","encoding":"utf8"}],"args":["x"],"env":{"A":"b"},"run_timeout":1e3}`,
		`{"stdin":"AA==","stdin_encoding":"base64","ephemeral":true,"session_id":null}`,
		`{"code":"\`, `{"code":"\u`, `{"run_timeout":-0.0e+9}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var std struct {
			Language, Version *string
			Code, Stdin       *string
			Args              []string
			Env               map[string]string
			StdinEncoding     string `json:"stdin_encoding"`
		}
		stdErr := json.Unmarshal(body, &std) // first: decoding is done in place
		q, err := decodeRequest(body)
		if err != nil {
			if n := len(err.body("")); n > mostRefusal {
				t.Fatalf("refused in %d bytes", n)
			}
			return
		}
		if stdErr != nil {
			t.Fatalf("accepted what encoding/json does not: %v", stdErr)
		}
		same := func(what, got string, want *string) {
			if want != nil && got != *want || want == nil && got != "" {
				t.Fatalf("%s is %q", what, got)
			}
		}
		same("language", q.language, std.Language)
		same("version", q.version, std.Version)
		same("code", string(q.code), std.Code)
		if std.StdinEncoding == "" || std.StdinEncoding == "utf8" {
			same("stdin", string(q.stdin), std.Stdin)
		}
		if fmt.Sprint(q.args) != fmt.Sprint(std.Args) || fmt.Sprint(q.env) != fmt.Sprint(std.Env) {
			t.Fatalf("args %q, env %q", q.args, q.env)
		}
	})
}
