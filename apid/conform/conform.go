// Package conform holds real answers of apid against its OpenAPI document, both ways: what was answered must be documented, and what is documented
// and never answered is told. Only tests import it.
package conform

import (
	"bytes"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// resource is the name under which the compiler of schemas knows the document.
const resource = "http://runtools/openapi.json"

// Document is one OpenAPI document. It may be used by many goroutines.
type Document struct {
	whole map[string]any

	mu       sync.Mutex
	compiler *jsonschema.Compiler
	answered map[string]bool // "GET /v1/metrics 403"
}

// Read takes a document apart and checks that it is one.
func Read(document []byte) (*Document, error) {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		return nil, err
	}
	d := &Document{compiler: jsonschema.NewCompiler(), answered: map[string]bool{}}
	if err := d.compiler.AddResource(resource, value); err != nil {
		return nil, err
	}
	if d.whole, _ = value.(map[string]any); d.whole["openapi"] != "3.1.0" {
		return nil, fmt.Errorf("this is not a document of OpenAPI 3.1.0")
	}
	return d, nil
}

// A name as a part of a JSON pointer (RFC 6901), and back.
var escape, unescape = strings.NewReplacer("~", "~0", "/", "~1"), strings.NewReplacer("~1", "/", "~0", "~")

// at follows the names of a JSON pointer, and the references on its way; place is where it ends.
func (d *Document) at(steps ...string) (place string, found map[string]any) {
	found = d.whole
	for _, step := range steps {
		next, _ := found[step].(map[string]any)
		place += "/" + escape.Replace(step)
		if ref, ok := next["$ref"].(string); ok {
			var names []string
			for _, name := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
				names = append(names, unescape.Replace(name))
			}
			place, next = d.at(names...)
		}
		found = next
	}
	return place, found
}

// Routes are the document's paths, each with its methods in the order of the alphabet.
func (d *Document) Routes() map[string][]string {
	routes := map[string][]string{}
	_, paths := d.at("paths")
	for path := range paths {
		_, item := d.at("paths", path)
		for _, name := range slices.Sorted(maps.Keys(item)) {
			if name != "parameters" {
				routes[path] = append(routes[path], strings.ToUpper(name))
			}
		}
	}
	return routes
}

// Documented are all answers that the document has, as Unanswered names them. Those of x-anyRequest have no operation: "any 404".
func (d *Document) Documented() (all []string) {
	for path, methods := range d.Routes() {
		for _, method := range methods {
			_, responses := d.at("paths", path, strings.ToLower(method), "responses")
			for status := range responses {
				all = append(all, method+" "+path+" "+status)
			}
		}
	}
	_, responses := d.at("x-anyRequest", "responses")
	for status := range responses {
		all = append(all, "any "+status)
	}
	slices.Sort(all)
	return all
}

// Unanswered are those that Answer has not seen, sorted.
func (d *Document) Unanswered() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.DeleteFunc(d.Documented(), func(answer string) bool { return d.answered[answer] })
}

// Find is the path of the document that an address belongs to; "" if it has none.
func (d *Document) Find(path string) string {
	best := ""
	for template := range d.Routes() {
		if matches(template, path) && (best == "" || strings.Count(template, "{") < strings.Count(best, "{")) {
			best = template
		}
	}
	return best
}

// matches knows that the path of a file has slashes.
func matches(template, path string) bool {
	want, got := strings.Split(template, "/"), strings.Split(path, "/")
	for i, part := range want {
		switch {
		case i >= len(got):
			return false
		case part == "{path}":
			return strings.Join(got[i:], "/") != ""
		case strings.HasPrefix(part, "{") && got[i] == "", !strings.HasPrefix(part, "{") && part != got[i]:
			return false
		}
	}
	return len(want) == len(got)
}

// Answer checks one real answer: its status, headers, media type and body. body is what came of it.
func (d *Document) Answer(method, address string, answer *http.Response, body []byte) error {
	u, err := url.Parse(address)
	if err != nil {
		return err
	}
	status := fmt.Sprint(answer.StatusCode)
	name, place := d.response(method, d.Find(u.Path), status)
	if place == nil {
		return fmt.Errorf("%s %s: status %s is not documented", method, u.Path, status)
	}
	d.mu.Lock()
	d.answered[name] = true
	d.mu.Unlock()
	if err := d.headers(place, answer.Header); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if method == http.MethodHead {
		return nil
	}
	if err := d.content(place, answer.Header, body); err != nil {
		return fmt.Errorf("%s: %w\nin %.600s", name, err, body)
	}
	return nil
}

// response finds what is documented of an operation's answer, or of an answer that any request may have.
func (d *Document) response(method, path, status string) (name string, place []string) {
	operation := method
	if operation == http.MethodHead {
		operation = http.MethodGet
	}
	place = []string{"paths", path, strings.ToLower(operation), "responses", status}
	if _, found := d.at(place...); found != nil {
		return operation + " " + path + " " + status, place
	}
	place = []string{"x-anyRequest", "responses", status}
	if _, found := d.at(place...); found != nil {
		return "any " + status, place
	}
	return "", nil
}

// unsaid are headers of HTTP itself, which OpenAPI leaves out.
var unsaid = []string{"Date", "Content-Length", "Content-Type", "Connection", "Transfer-Encoding"}

func (d *Document) headers(place []string, got http.Header) error {
	_, documented := d.at(append(place, "headers")...)
	for name := range got {
		if !slices.Contains(unsaid, name) && !slices.ContainsFunc(slices.Collect(maps.Keys(documented)), func(known string) bool { return strings.EqualFold(known, name) }) {
			return fmt.Errorf("the header %s: %s is not documented", name, got.Get(name))
		}
	}
	for name := range documented {
		at, header := d.at(append(place, "headers", name)...)
		switch values := got.Values(name); {
		case len(values) == 0 && header["required"] == true:
			return fmt.Errorf("the header %s is missing", name)
		case len(values) > 1:
			return fmt.Errorf("the header %s is there %d times", name, len(values))
		case len(values) == 1:
			if err := d.validate(at+"/schema", values[0]); err != nil {
				return fmt.Errorf("the header %s: %w", name, err)
			}
		}
	}
	return nil
}

func (d *Document) content(place []string, header http.Header, body []byte) error {
	_, content := d.at(append(place, "content")...)
	if content == nil {
		if len(body) > 0 {
			return fmt.Errorf("a body is not documented")
		}
		return nil
	}
	kind, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		return fmt.Errorf("Content-Type %q: %w", header.Get("Content-Type"), err)
	}
	at, media := d.at(append(place, "content", kind)...)
	switch {
	case media == nil:
		return fmt.Errorf("%s is not documented", kind)
	case kind == "application/json":
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
		if err != nil {
			return err
		}
		return d.validate(at+"/schema", value)
	case media["x-itemSchema"] != nil:
		return d.events(at+"/x-itemSchema", body)
	}
	return nil
}

// events checks each event of a stream, of which the last may not be whole.
func (d *Document) events(schema string, body []byte) error {
	blocks := strings.Split(string(body), "\n\n")
	for _, block := range blocks[:len(blocks)-1] {
		if strings.HasPrefix(block, ":") {
			continue
		}
		name, data, ok := strings.Cut(strings.TrimPrefix(block, "event: "), "\ndata: ")
		if !ok {
			return fmt.Errorf("this is no event: %q", block)
		}
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(data))
		if err != nil {
			return err
		}
		if err := d.validate(schema, map[string]any{"type": name, "data": value}); err != nil {
			return err
		}
	}
	return nil
}

// Value checks JSON against a schema of the document's components.
func (d *Document) Value(schema string, content []byte) error {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(content))
	if err != nil {
		return err
	}
	return d.validate("/components/schemas/"+schema, value)
}

// Request checks the JSON body of a request against what its operation takes.
func (d *Document) Request(method, path string, content []byte) error {
	at, _ := d.at("paths", d.Find(path), strings.ToLower(method), "requestBody", "content", "application/json")
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(content))
	if err != nil {
		return err
	}
	return d.validate(at+"/schema", value)
}

// Hook checks what was sent to somebody's webhook: the headers, whose names may be in small letters, and the body.
func (d *Document) Hook(name string, headers map[string]string, content []byte) error {
	place, hook := d.at("webhooks", name, "post")
	parameters, _ := hook["parameters"].([]any)
	for i, p := range parameters {
		header := p.(map[string]any)["name"].(string)
		if err := d.validate(fmt.Sprint(place, "/parameters/", i, "/schema"), headers[header]); err != nil {
			return fmt.Errorf("the header %s: %w", header, err)
		}
	}
	at, _ := d.at("webhooks", name, "post", "requestBody", "content", "application/json")
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(content))
	if err != nil {
		return err
	}
	return d.validate(at+"/schema", value)
}

// schema compiles the schema at a place of the document, a JSON pointer.
func (d *Document) schema(place string) (*jsonschema.Schema, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.compiler.Compile(resource + "#" + strings.NewReplacer("{", "%7B", "}", "%7D").Replace(place))
}

func (d *Document) validate(place string, value any) error {
	schema, err := d.schema(place)
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

// Examples checks each example of the document against the schema beside it, and returns how many there are.
func (d *Document) Examples() (checked int, err error) {
	var walk func(value any, place string) error
	walk = func(value any, place string) error {
		switch value := value.(type) {
		case []any:
			for i, element := range value {
				if err := walk(element, fmt.Sprint(place, "/", i)); err != nil {
					return err
				}
			}
		case map[string]any:
			examples, _ := value["examples"].([]any)
			for _, example := range examples {
				checked++
				if err := d.validate(place, example); err != nil {
					return fmt.Errorf("%s: %w", place, err)
				}
			}
			for name, element := range value {
				if err := walk(element, place+"/"+escape.Replace(name)); err != nil {
					return err
				}
			}
		}
		return nil
	}
	err = walk(d.whole, "")
	return checked, err
}
