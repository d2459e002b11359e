package e2e

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/runtools/runtools/apid/conform"
)

// document is what all answers of these tests are held against: a client of theirs gets an error in place of one that openapi.json does not have.
var document *conform.Document

func readDocument() error {
	content, err := os.ReadFile(filepath.Join(repository, "apid/openapi.json"))
	if err != nil {
		return err
	}
	document, err = conform.Read(content)
	clients.Transport = &conform.Transport{Next: clients.Transport, Document: document}
	return err
}

// What apid really answers, and is really sent, is what its document says: every shape that results have, in one answer and by events. That each
// documented status is answered is tested in apid.
func TestOpenAPI(t *testing.T) {
	id := randomMarker()
	test := []request{{"stdin": "a", "expected_stdout": "a"}, {"stdin": "b", "expected_stdout": "c", "checker": "floats", "tolerance": 0.5}}
	seen := map[string]bool{}
	for name, c := range map[string]struct {
		body   request
		status int
	}{
		"all fields": {request{"language": "python", "version": "*", "code": "print(1)", "files": []request{{"name": "d/x", "content": "", "encoding": "hex"}}, "stdin": "", "stdin_encoding": "utf8",
			"args": []string{"a"}, "env": request{"A": "b"}, "session_id": id, "ephemeral": false, "run_timeout": 1000, "compile_timeout": 1000, "run_cpu_time": 1000, "compile_cpu_time": 1000,
			"run_memory_limit": 1 << 28, "compile_memory_limit": 1 << 28, "output_limit": 1000}, 200},
		"compiled":      {program("c", hellos["c"]), 200},
		"not compiled":  {program("c", "int"), 200},
		"diagnostics":   {program("rust", "fn main() { let x: i32 = \"\"; }"), 200},
		"signal":        {program("c", "#include <stdlib.h>\nint main(void) { abort(); }"), 200},
		"limit":         {program("bash", "sleep 100").with(request{"run_timeout": 50}), 200},
		"not text":      {program("bash", `printf '\xff'; printf '\xfe' >&2`), 200},
		"denied":        {program("python", "import ctypes; ctypes.CDLL(None).chroot(b'/tmp')"), 200},
		"ephemeral":     {program("bash", ":").with(request{"ephemeral": true}), 200},
		"tests":         {program("bash", "cat").with(request{"tests": test, "stop_on_failure": true}), 200},
		"explained":     {program("c", hellos["c"]).with(request{"explain": true}), 200},
		"artifacts":     {program("bash", "echo 1 >a; truncate -s 20M b").with(request{"artifacts": []string{"?"}}), 200},
		"repeat":        {program("bash", ":").with(request{"repeat": 3}), 200},
		"repeat, ci":    {program("bash", ":").with(request{"repeat": 6}), 200},
		"bad field":     {program("bash", ":").with(request{"run_timeout": 0}), 400},
		"bad language":  {program("cobol", ":"), 400},
		"bad file name": {program("bash", ":").with(request{"files": []request{{"name": "../x", "content": ""}}}), 400},
	} {
		t.Run(name, func(t *testing.T) {
			body, err := json.Marshal(c.body)
			if err != nil {
				t.Fatal(err)
			}
			if err := document.Request("POST", "/v1/execute", body); (err == nil) != (c.status == 200) && name != "bad language" {
				t.Errorf("the schema of requests: %v", err)
			}
			a, content, err := api.send(t.Context(), api.key, "POST", "/v1/execute", string(body))
			if err != nil || a.StatusCode != c.status {
				t.Fatalf("%v %d %s", err, a.StatusCode, content)
			}
			if c.status == 200 {
				for _, name := range events(t, c.body) {
					seen[name] = true
				}
			}
		})
	}
	if got := strings.Join(slices.Sorted(maps.Keys(seen)), " "); got != "compile exit result stderr stdout test" {
		t.Errorf("the events were %s", got)
	}
	started, content, err := api.send(t.Context(), api.key, "POST", "/v1/executions", program("bash", "echo x"))
	if err != nil || started.StatusCode != 202 {
		t.Fatalf("%v %d %s", err, started.StatusCode, content)
	}
	var execution struct{ ID string }
	if err := json.Unmarshal(content, &execution); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method, path, key string
		status            int
	}{
		{"GET", "/v1/execute/runtimes", api.key, 200}, {"GET", "/v1/executions/" + execution.ID + "?wait=60", api.key, 200}, {"GET", "/v1/sessions/" + id, api.key, 200},
		{"GET", "/v1/sessions/" + id + "/files", api.key, 200}, {"PUT", "/v1/sessions/" + id + "/files/d/y", api.key, 204}, {"GET", "/v1/sessions/" + id + "/files/d/x", api.key, 200},
		{"GET", "/v1/sessions/" + id + "/files/none", api.key, 404}, {"DELETE", "/v1/sessions/" + id + "/files/d", api.key, 204}, {"GET", "/v1/sessions/" + id + "/archive", api.key, 200},
		{"POST", "/v1/sessions/" + id + "/fork", api.key, 200}, {"DELETE", "/v1/sessions/" + id, api.key, 204}, {"GET", "/api/v2/runtimes", api.key, 200},
		{"GET", "/openapi.json", "", 200}, {"GET", "/healthz", "", 200}, {"GET", "/readyz", "", 200}, {"GET", "/", "", 200},
	} {
		a, content, err := api.send(t.Context(), c.key, c.method, c.path, nil)
		if err != nil || a.StatusCode != c.status {
			t.Errorf("%s %s: %v %d %s", c.method, c.path, err, a.StatusCode, content)
		}
	}
}

// events carries a request out and returns the names of the events.
func events(t *testing.T, q request) (names []string) {
	t.Helper()
	body, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	post, err := http.NewRequestWithContext(t.Context(), "POST", api.url+"/v1/execute", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	post.Header = http.Header{"Authorization": {"Bearer " + api.key}, "Content-Type": {"application/json"}, "Accept": {"text/event-stream"}}
	a, err := clients.Do(post)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	content, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(content)) {
		if name, ok := strings.CutPrefix(line, "event: "); ok {
			names = append(names, strings.TrimSpace(name))
		}
	}
	return names
}
