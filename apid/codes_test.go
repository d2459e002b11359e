package main

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"testing"
)

// What callers are told of codes is the server's own list: in the document of the API, its OpenAPI description, and each SDK.
func TestEverybodyKnowsTheCodes(t *testing.T) {
	var sent []string
	for code := range maps.Keys(httpStatus) {
		if code != errGone {
			sent = append(sent, string(code))
		}
	}
	slices.Sort(sent)
	own := []string{"connection_failed", "timeout", "unexpected_answer"} // of the SDKs
	for name, list := range map[string]struct {
		file, part, item string // the part of the file, and an item in it
		own              []string
	}{
		"docs/api.md":                {"../docs/api.md", `(?ms)^## Errors$.*?^Requests of one key`, "(?m)^\\| `(\\w+)` \\| [45]", nil},
		"Go constants":               {"../pkg/client/codes.go", `(?s)const \(.*\)`, `= "(\w+)"`, nil},
		"TypeScript's ErrorCode":     {"../sdk/typescript/src/errors.ts", `(?s)export type ErrorCode =.*?;`, `"(\w+)"`, own},
		"TypeScript's documentation": {"../sdk/typescript/src/errors.ts", `(?s)\* \| code \|.*?\*/`, "`([a-z]+(?:_[a-z]+)*)`(?:, | \\| [45a|])", own},
		"Python's documentation":     {"../sdk/python/runtools/errors.py", `(?s)\| code \|.*?\n\n`, "`([a-z]+(?:_[a-z]+)*)`(?:, | \\| [45a|])", own},
	} {
		data, err := os.ReadFile(list.file)
		if err != nil {
			t.Fatal(err)
		}
		var found []string
		for _, m := range regexp.MustCompile(list.item).FindAllSubmatch(regexp.MustCompile(list.part).Find(data), -1) {
			found = append(found, string(m[1]))
		}
		slices.Sort(found)
		if want := slices.Sorted(slices.Values(slices.Concat(sent, list.own))); !slices.Equal(found, want) {
			t.Errorf("%s has\n%v, want\n%v", name, found, want)
		}
	}
	for _, list := range regexp.MustCompile(`(?s)"code": \{\s*"type": "string",\s*"enum": (\[.*?\])`).FindAllSubmatch(openAPIDocument, -1) {
		var found []string
		if err := json.Unmarshal(list[1], &found); err != nil {
			t.Fatal(err)
		}
		slices.Sort(found)
		if !slices.Equal(found, sent) {
			t.Errorf("openapi.json has\n%v, want\n%v", found, sent)
		}
	}
}
