package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// Requests made at random of what the document allows, and each of them spoiled in one place: what the schema takes is not refused as invalid, and
// what it refuses is refused, under the name of the field.
func TestOpenAPIRequestsAtRandom(t *testing.T) {
	ts := newTestServer(t, func(c *config) { c.Webhooks.Allow = []string{"hooks.example.com"} })
	understand := func(route string, q map[string]any) *apiError {
		body := encode(q)
		c := &call{route: route}
		if route == "/v1/execute/ws" {
			_, err := ts.beginInteractive(c, []byte(body))
			return err
		}
		_, err := ts.understand(c, []byte(body))
		return err
	}
	for route, schema := range map[string]string{"/v1/execute": "ExecuteRequest", pathExecutions: "StartRequest", "/v1/execute/ws": "InteractiveRequest"} {
		r := rand.New(rand.NewPCG(1, uint64(len(route))))
		for i := range 300 {
			q := randomRequest(r, route)
			if err := document.Value(schema, []byte(encode(q))); err != nil {
				t.Fatalf("%d: the schema of %s: %v\nin %s", i, route, err, encode(q))
			}
			if err := understand(route, q); err != nil {
				t.Fatalf("%d: %s refuses what its schema takes: %v\nin %s", i, route, err, encode(q))
			}
			field := spoil(r, q)
			if document.Value(schema, []byte(encode(q))) == nil {
				t.Fatalf("%d: the schema of %s takes a bad %s\nin %s", i, route, field, encode(q))
			}
			if err := understand(route, q); err == nil || err.code != errInvalidField || err.field != field || !strings.Contains(err.message, field) {
				t.Fatalf("%d: %s: %v, want a refusal of %s\nin %s", i, route, err, field, encode(q))
			}
		}
	}
}

// randomRequest is one that goes with a route. Fields that cannot stand beside each other are left out; the files' names are all different.
func randomRequest(r *rand.Rand, route string) map[string]any {
	q := map[string]any{"language": pick(r, "python", "py", "C", "gcc")}
	if r.IntN(3) > 0 {
		q["code"] = randomText(r)
	}
	if q["code"] == nil || r.IntN(2) == 0 {
		q["files"] = randomFiles(r, 1)
	}
	interactive := route == "/v1/execute/ws"
	optional := map[string]func() any{
		"version": func() any { return pick(r, "*", ">=3", "^3 || ^14") }, "args": func() any { return []any{randomText(r), ""} },
		"env":     func() any { return map[string]any{"A": randomText(r), "b c": ""} },
		"explain": func() any { return r.IntN(2) == 0 }, "ephemeral": func() any { return false },
		"run_timeout": func() any { return 1 + r.IntN(3000) }, "compile_timeout": func() any { return 1 + r.IntN(60000) },
		"run_cpu_time": func() any { return 1 + r.IntN(3600000) }, "compile_cpu_time": func() any { return 1 + r.IntN(3600000) },
		"run_memory_limit": func() any { return 1<<20 + r.IntN(1<<31-1<<20) }, "compile_memory_limit": func() any { return 1<<20 + r.IntN(1<<31-1<<20) },
		"output_limit": func() any { return 1 + r.IntN(1<<20) },
	}
	switch kind := r.IntN(4); {
	case kind == 0 && !interactive:
		q["tests"] = []any{map[string]any{"stdin": "eA==", "stdin_encoding": "base64", "args": []any{"a"}, "checker": pick(r, "exact", "tokens", "floats"), "tolerance": r.Float64()},
			map[string]any{"files": randomFiles(r, 0), "expected_stdout": randomText(r)}}
		q["stop_on_failure"] = r.IntN(2) == 0
	case kind == 1 && !interactive:
		q["repeat"] = 1 + r.IntN(100)
	default:
		optional["stdin"] = func() any { return randomText(r) }
		optional["session_id"] = func() any { return fmt.Sprintf("s.%d_-", r.IntN(1000)) }
		optional["artifacts"] = func() any { return []any{pick(r, "*.png", "out/**", "..a/?")} }
	}
	if route == pathExecutions {
		optional["webhook"] = func() any {
			return map[string]any{"url": "https://hooks.example.com/run", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
		}
	}
	if interactive {
		optional["pty"] = func() any { return map[string]any{"cols": 1 + r.IntN(1000), "rows": 1 + r.IntN(1000)} }
	}
	for _, name := range slices.Sorted(maps.Keys(optional)) {
		if r.IntN(2) == 0 {
			q[name] = optional[name]()
		}
	}
	return q
}

func randomFiles(r *rand.Rand, least int) []any {
	files := []any{}
	for i := range least + r.IntN(3) {
		name := fmt.Sprintf("%s%d", pick(r, "a", ".b", "..c", "d/e", "ü "), i)
		files = append(files, map[string]any{"name": name, "content": pick(r, "", "0aFF"), "encoding": pick(r, "utf8", "hex", "base64")})
	}
	return files
}

func randomText(r *rand.Rand) string { return pick(r, "", "x", "é\n\t\"\\", "😀\u2028", "{}") }

func pick(r *rand.Rand, from ...string) string { return from[r.IntN(len(from))] }

// spoil makes one place of a request wrong and returns its name.
func spoil(r *rand.Rand, q map[string]any) string {
	names := slices.Sorted(maps.Keys(q))
	name := names[r.IntN(len(names))]
	list, fraction := []any{map[string]any{}}, json.Number("1.5") // what no field is
	switch value := q[name].(type) {
	case map[string]any:
		inner := slices.Sorted(maps.Keys(value))[0]
		value[inner] = list
		return name + "." + inner
	case []any:
		if len(value) == 0 {
			break
		}
		i := r.IntN(len(value))
		if object, ok := value[i].(map[string]any); ok {
			if r.IntN(2) == 0 {
				object["unknown"] = 1
				return fmt.Sprintf("%s[%d].unknown", name, i)
			}
			inner := slices.Sorted(maps.Keys(object))[0]
			object[inner] = map[string]any{}
			return fmt.Sprintf("%s[%d].%s", name, i, inner)
		}
		value[i] = fraction
		return fmt.Sprintf("%s[%d]", name, i)
	case int:
		if r.IntN(2) == 0 {
			q[name] = -value
			return name
		}
	}
	if r.IntN(4) == 0 {
		q["unknown"] = true
		return "unknown"
	}
	q[name] = list
	return name
}
