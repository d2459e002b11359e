package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// openAPI is the document as apid serves it.
type openAPI struct {
	schemas *jsonschema.Compiler
}

const documentURL = "http://runtools/openapi.json"

func readOpenAPI(t *testing.T) *openAPI {
	t.Helper()
	a, content, err := api.send(t.Context(), "", "GET", "/openapi.json", nil)
	if err != nil || a.StatusCode != 200 {
		t.Fatalf("%v %d", err, a.StatusCode)
	}
	var o struct {
		OpenAPI string
	}
	if err := json.Unmarshal(content, &o); err != nil || o.OpenAPI != "3.1.0" {
		t.Fatalf("%v, version %q", err, o.OpenAPI)
	}
	d := &openAPI{schemas: jsonschema.NewCompiler()}
	whole, err := jsonschema.UnmarshalJSON(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.schemas.AddResource(documentURL, whole); err != nil {
		t.Fatal(err)
	}
	return d
}

// pointer is the place of a response's schema in the document.
func pointer(path, method, status string) string {
	escape := strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace
	return fmt.Sprintf("%s#/paths/%s/%s/responses/%s/content/%s/schema", documentURL, escape(path), strings.ToLower(method), status, escape("application/json"))
}

func (d *openAPI) check(t *testing.T, schema string, content []byte) {
	t.Helper()
	s, err := d.schemas.Compile(schema)
	if err != nil {
		t.Errorf("%s: %v", schema, err)
		return
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(content))
	if err != nil {
		t.Errorf("%v in %.300s", err, content)
		return
	}
	if err := s.Validate(value); err != nil {
		t.Errorf("%v\nin %.600s", err, content)
	}
}

// What apid really answers, and is really sent, is what its document says.
func TestOpenAPI(t *testing.T) {
	d := readOpenAPI(t)
	requestSchema := documentURL + "#/components/schemas/ExecuteRequest"
	id := randomMarker()
	test := []request{{"stdin": "a", "expected_stdout": "a"}, {"stdin": "b", "expected_stdout": "c", "checker": "floats", "tolerance": 0.5}}
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
			if c.status == 200 {
				d.check(t, requestSchema, body)
			}
			a, content, err := api.send(t.Context(), api.key, "POST", "/v1/execute", string(body))
			if err != nil || a.StatusCode != c.status {
				t.Fatalf("%v %d %s", err, a.StatusCode, content)
			}
			d.check(t, pointer("/v1/execute", "POST", fmt.Sprint(c.status)), content)
		})
	}
	started, content, err := api.send(t.Context(), api.key, "POST", "/v1/executions", program("bash", "echo x"))
	if err != nil || started.StatusCode != 202 {
		t.Fatalf("%v %d %s", err, started.StatusCode, content)
	}
	d.check(t, pointer("/v1/executions", "POST", "202"), content)
	var execution struct{ ID string }
	if err := json.Unmarshal(content, &execution); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method, path, at, key string
		status                int
	}{
		{"GET", "/v1/execute/runtimes", "/v1/execute/runtimes", api.key, 200}, {"GET", "/v1/execute/runtimes", "/v1/execute/runtimes", "wrong", 401},
		{"POST", "/v1/execute", "/v1/execute", "", 401},
		{"GET", "/v1/executions/" + execution.ID + "?wait=60", "/v1/executions/{id}", api.key, 200}, {"GET", "/v1/executions/none", "/v1/executions/{id}", api.key, 404},
		{"GET", "/v1/executions/" + execution.ID + "?wait=x", "/v1/executions/{id}", api.key, 400},
		{"GET", "/v1/sessions/" + id, "/v1/sessions/{id}", api.key, 200}, {"GET", "/v1/sessions/none", "/v1/sessions/{id}", api.key, 404}, {"GET", "/v1/sessions/a%20b", "/v1/sessions/{id}", api.key, 400},
		{"GET", "/v1/sessions/" + id + "/files", "/v1/sessions/{id}/files", api.key, 200}, {"POST", "/v1/sessions/" + id + "/fork", "/v1/sessions/{id}/fork", api.key, 200},
		{"GET", "/v1/sessions/" + id + "/files/none", "/v1/sessions/{id}/files/{path}", api.key, 404},
	} {
		a, content, err := api.send(t.Context(), c.key, c.method, c.path, nil)
		if err != nil || a.StatusCode != c.status {
			t.Errorf("%s %s: %v %d %s", c.method, c.path, err, a.StatusCode, content)
			continue
		}
		d.check(t, pointer(c.at, c.method, fmt.Sprint(c.status)), content)
	}
	if a, _, err := api.send(t.Context(), api.key, http.MethodPost, "/v1/execute", request{"language": "bash", "code": ":", "unknown": 1}); err != nil || a.StatusCode != 400 {
		t.Errorf("a field that the document does not have: %v %d", err, a.StatusCode)
	}
}
