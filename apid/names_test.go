package main

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/runtools/runtools/pkg/lang"
	"github.com/runtools/runtools/pkg/wire"
)

// deep is a name of many parts, of which no other number's has any.
func deep(i, parts int) string { return strings.Repeat(fmt.Sprintf("%03d/", i), parts-1) + "f" }

func deepFiles(n, parts int) (list []any) {
	for i := range n {
		list = append(list, map[string]any{"name": deep(i, parts), "content": ""})
	}
	return list
}

func TestNames(t *testing.T) {
	ts := newTestServer(t, nil)
	test := func(files ...any) []any { return []any{map[string]any{"files": files}} }
	file := func(name string) any { return map[string]any{"name": name, "content": "x"} }
	for name, c := range map[string]struct {
		fields map[string]any
		field  string // "": it is carried out
		says   string
	}{
		"deep":                          {with(python(), "files", []any{file(deep(1, wire.MaxParts))}), "", ""},
		"too deep":                      {with(python(), "files", []any{file("a"), file(deep(1, wire.MaxParts+1))}), "files[1].name", "has 65 parts, at most 64"},
		"much above few":                {with(python(), "files", deepFiles(20, 64)), "files", "folders above them"},
		"much above few, in a test":     {with(python(), "tests", test(deepFiles(20, 64)...)), "tests[0]", "folders above them"},
		"much above both together":      {with(python(), "files", deepFiles(5, 64), "tests", test(append(deepFiles(9, 64)[5:], deepFiles(13, 64)[9:]...)...)), "tests[0].files", "folders above them"},
		"the same above both":           {with(python(), "files", deepFiles(8, 60), "tests", test(deepFiles(8, 60)...)), "", ""},
		"long names of both":            {with(python(), "files", longFiles(0, 100), "tests", test(longFiles(100, 170)...)), "tests[0].files", "32768 bytes"},
		"the same long names":           {with(python(), "files", longFiles(0, 100), "tests", test(longFiles(0, 100)...)), "", ""},
		"many of both":                  {with(python(), "files", deepFiles(500, 1)[:1], "tests", test(shortFiles(999)...)), "tests[0].files", "1000 files"},
		"a folder of the request":       {with(python(), "files", []any{file("d/x/y")}, "tests", test(file("d/x"))), "tests[0].files", "folder"},
		"in a file of the request":      {with(python(), "files", []any{file("d/x")}, "tests", test(file("d/x/y"))), "tests[0].files", "folder"},
		"in place of one":               {with(python("read d/x"), "files", []any{file("d/x")}, "tests", test(file("d/x"), file("d/y"))), "", ""},
		"files of all tests":            {with(python(), "tests", manyTests(11, map[string]any{"files": shortFiles(1000)})), "tests", "10000 files"},
		"args of all tests":             {with(python(), "tests", manyTests(9, map[string]any{"args": make([]string, 8000)})), "tests", "64000 words"},
		"more args than a job can have": {with(python(), "args", make([]string, 8001)), "args", "8000 words"},
		"folders of all tests":          {with(python(), "tests", manyTests(200, map[string]any{"files": deepFiles(5, 64)})), "tests", "1048576 bytes"},
		"a variable too many":           {with(python(), "env", manyVariables(8001)), "env", "8000 variables"},
	} {
		if c.field == "" {
			ts.execute(c.fields)
		} else if r := ts.refused(c.fields, errInvalidField); r.Error.Field != c.field || !strings.Contains(r.Error.Message, c.says) {
			t.Errorf("%s: %s", name, r.Raw)
		}
	}
	// A file that is sent alone goes the same way.
	if r := ts.do("PUT", "/v1/sessions/s/files/"+deep(1, wire.MaxParts+1), "x"); r.Status != 400 || !strings.Contains(r.Raw, "path: has 65 parts") {
		t.Errorf("%s", r.Raw)
	}
}

func longFiles(from, to int) (list []any) {
	for i := from; i < to; i++ {
		list = append(list, map[string]any{"name": fmt.Sprintf("%0200d", i), "content": ""})
	}
	return list
}

func shortFiles(n int) (list []any) {
	for i := range n {
		list = append(list, map[string]any{"name": fmt.Sprint(i), "content": ""})
	}
	return list
}

func manyTests(n int, test map[string]any) (list []any) {
	for range n {
		list = append(list, test)
	}
	return list
}

// A folder that packets of pkg/jail have no room for is never let through: what is counted here is at least what its steps are there.
func TestFolderBytes(t *testing.T) {
	files := []requestFile{{name: "a/b/c"}, {name: "a/b/d"}, {name: "a/e/f"}, {name: "g"}}
	if got, want := folderBytes(files[:2], files[2:]), 3*folderStep+len("a")+len("a/b")+len("a/e"); got != want {
		t.Errorf("%d bytes, want %d", got, want)
	}
}

// What is done with a body before its request has queued is in proportion to the body: allocations stand for all work, as they can be counted.
func TestUnderstandingIsCheap(t *testing.T) {
	langs, err := lang.Load(fakeImage(t))
	if err != nil {
		t.Fatal(err)
	}
	limits := defaults().Limits
	many := func(n int, text string) string { return strings.TrimSuffix(strings.Repeat(text, n), ",") }
	numbered := func(n int, text string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, text, i)
		}
		return strings.TrimSuffix(b.String(), ",")
	}
	deepNames := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `{"name":"%s","content":""},`, deep(i, wire.MaxParts))
		}
		return strings.TrimSuffix(b.String(), ",")
	}
	for name, body := range map[string]string{
		"empty args":          `"args":[` + many(100_000, `"",`) + `]`,
		"empty patterns":      `"artifacts":[` + many(100_000, `"",`) + `]`,
		"empty variables":     `"env":{` + numbered(50_000, `"%d":"",`) + `}`,
		"args of tests":       `"tests":[` + many(50, `{"args":[`+many(4000, `"",`)+`]},`) + `]`,
		"tests":               `"tests":[` + many(1000, `{},`) + `]`,
		"files of tests":      `"tests":[` + many(30, `{"files":[`+numbered(999, `{"name":"%d","content":""},`)+`]},`) + `]`,
		"files beside tests":  `"files":[` + numbered(998, `{"name":"%d","content":""},`) + `],"tests":[` + many(200, `{"files":[{"name":"x","content":""}]},`) + `]`,
		"deep files":          `"files":[` + deepNames(120) + `]`,
		"deep files of tests": `"tests":[` + many(30, `{"files":[`+deepNames(120)+`]},`) + `]`,
		"a few deep files":    `"tests":[` + many(300, `{"files":[`+deepNames(5)+`]},`) + `]`,
		"one very deep file":  `"files":[{"name":"` + strings.Repeat("a/", 1999) + `f","content":""}]`,
		"a long number":       `"run_timeout":1` + many(1<<20, "0"),
		"a long name":         `"` + many(1<<20, "x") + `":1`,
	} {
		body = `{"language":"python","code":"",` + body + `}`
		most := uint64(8*len(body) + 2<<20)
		allocated, outcome := most+1, (*apiError)(nil)
		for try := 0; try < 3 && allocated > most; try++ { // other goroutines of this process allocate too
			buf := []byte(body)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			q, err := decodeRequest(buf)
			if err == nil {
				_, err = makePlan(q, langs, &limits)
			}
			runtime.ReadMemStats(&after)
			allocated, outcome = after.TotalAlloc-before.TotalAlloc, err
		}
		if allocated > most {
			t.Errorf("%s: %d bytes were allocated for a body of %d, want at most %d: %v", name, allocated, len(body), most, outcome)
		}
	}
}
