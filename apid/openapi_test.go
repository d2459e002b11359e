package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// openapiSchema compiles the schema at a place of the document.
func openapiSchema(t *testing.T, place string) *jsonschema.Schema {
	t.Helper()
	whole, err := jsonschema.UnmarshalJSON(bytes.NewReader(openAPIDocument))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("http://runtools/openapi.json", whole); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("http://runtools/openapi.json#" + place)
	if err != nil {
		t.Fatalf("%s: %v", place, err)
	}
	return schema
}

// Each example of openapi.json is what the schema beside it says. That real answers are is tested in e2e.
func TestOpenAPIExamples(t *testing.T) {
	var whole any
	if err := json.Unmarshal(openAPIDocument, &whole); err != nil {
		t.Fatal(err)
	}
	checked := 0
	var walk func(value any, place string)
	walk = func(value any, place string) {
		switch value := value.(type) {
		case []any:
			for i, element := range value {
				walk(element, fmt.Sprint(place, "/", i))
			}
		case map[string]any:
			examples, _ := value["examples"].([]any)
			for _, example := range examples {
				checked++
				if err := openapiSchema(t, place).Validate(example); err != nil {
					t.Errorf("%s: %v", place, err)
				}
			}
			for name, element := range value {
				walk(element, place+"/"+strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(name))
			}
		}
	}
	if walk(whole, ""); checked == 0 {
		t.Error("there are no examples")
	}
}

// The bodies that docs/api.md sends are requests by the schema, and as we decode them.
func TestRequestsOfTheDocs(t *testing.T) {
	docs, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	schema := openapiSchema(t, "/components/schemas/ExecuteRequest")
	bodies := regexp.MustCompile(`(?s)-d '(\{\s*"language".*?\})'`).FindAllSubmatch(docs, -1)
	if len(bodies) < 8 {
		t.Errorf("%d requests were found", len(bodies))
	}
	for _, m := range bodies {
		body := string(m[1])
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(body))
		if err != nil {
			t.Errorf("%v in %s", err, body)
			continue
		}
		if err := schema.Validate(value); err != nil {
			t.Errorf("%v in %s", err, body)
		}
		if _, err := decodeRequest([]byte(body)); err != nil {
			t.Errorf("%s in %s", err.message, body)
		}
	}
}
