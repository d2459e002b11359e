package sdk

import (
	"encoding/json"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// apiBlocks are the blocks of code of docs/api.md in the languages that the pattern says.
func apiBlocks(t *testing.T, languages string) (blocks []string) {
	t.Helper()
	for _, m := range regexp.MustCompile("(?ms)^```(?:"+languages+")\n(.*?)^```$").FindAllStringSubmatch(read(t, "../docs/api.md"), -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

// Each command line of docs/api.md is run as it stands, but those with something left out. What they show of an answer is what it has.
func TestCurlExamples(t *testing.T) {
	dir, ran := t.TempDir(), 0
	write(t, filepath.Join(dir, "data.csv"), "1\n2\n")
	answer := func(line string) string {
		ran++
		return run(t, dir, "bash", "-euc", "API=$RUNTOOLS_URL KEY=$RUNTOOLS_API_KEY; "+line)
	}
	for _, block := range apiBlocks(t, "sh") {
		if !strings.Contains(block, "...") {
			if out := answer(block); !strings.HasPrefix(out, `{"language":`) || strings.Contains(out, `"error":`) {
				t.Errorf("%s\n%s", block, out)
			}
		}
	}
	// A command goes on in lines that stand further in; a filter of jq's is a path to what is shown.
	command := regexp.MustCompile(`(?m)^\$ (.*\n(?:    .*\n)*)((?:[^$\n].*\n|\n)*)`)
	filtered := regexp.MustCompile(`(?s)^(.*) \| jq (-c )?\.(\S+)\s*$`)
	for _, block := range apiBlocks(t, "console") {
		if strings.Contains(block, "...-") || strings.Contains(block, "/5f0c1e0e-") {
			continue // ids that were given before
		}
		for _, m := range command.FindAllStringSubmatch(block, -1) {
			filter := filtered.FindStringSubmatch(m[1])
			if filter == nil {
				if out := answer(m[1]); strings.Contains(out, `"error":`) {
					t.Errorf("%s\n%s", m[1], out)
				}
				continue
			}
			var whole any
			if err := json.Unmarshal([]byte(answer(filter[1])), &whole); err != nil {
				t.Errorf("%s\n%v", m[1], err)
			}
			for _, name := range strings.Split(filter[3], ".") {
				fields, _ := whole.(map[string]any)
				whole = fields[name]
			}
			var shown any
			if err := json.Unmarshal([]byte(m[2]), &shown); err != nil || whole == nil {
				t.Errorf("%s\nshows %s, got %v", m[1], m[2], whole)
			} else if filter[2] != "" && !reflect.DeepEqual(shown, whole) { // without -c it is figures
				t.Errorf("%s\nshows %v, got %v", m[1], shown, whole)
			}
		}
	}
	if ran < 8 {
		t.Errorf("%d command lines were found", ran)
	}
}

// The conversations of docs/api.md with an interactive program.
func TestInteractiveExamples(t *testing.T) {
	dir := t.TempDir()
	one := func(language, with string) string {
		var found []string
		for _, block := range apiBlocks(t, language) {
			if strings.Contains(block, with) {
				found = append(found, block)
			}
		}
		if len(found) != 1 {
			t.Fatalf("docs/api.md has %d examples in %s with %s", len(found), language, with)
		}
		return found[0]
	}
	socket := one("js", "new WebSocket(")
	if !strings.Contains(socket, "ws://127.0.0.1:8080/") {
		t.Fatalf("not at our address:\n%s", socket)
	}
	socket = strings.Replace(socket, "ws://127.0.0.1:8080/", "ws"+strings.TrimPrefix(url, "http")+"/", 1)
	write(t, filepath.Join(dir, "socket.mjs"), "const key = process.env.RUNTOOLS_API_KEY;\n"+socket)
	out := run(t, dir, "node", "--import", filepath.Join(repository, "sdk/testdata/websocket.mjs"), "socket.mjs")
	wantOutput(t, strings.ReplaceAll(out, "\n", ""), "name? hello AdaOK") // in as many events as there were
	write(t, filepath.Join(dir, "interactive.py"), one("python", "interactive("))
	wantOutput(t, run(t, dir, "python3", "interactive.py"), "ready\ncaught\nOK\n")
}
