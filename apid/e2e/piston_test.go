package e2e

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// converse sends messages to Piston's interface, each when a message with the text before it has come, and returns all that came and the end.
func converse(t *testing.T, first request, more ...any) (messages string, end websocket.CloseError) {
	t.Helper()
	d := dial(t, "/api/v2/connect", http.Header{"Authorization": {api.key}}, nil) // Piston's clients send the bare key
	d.say(first)
	for {
		_, body, err := d.ws.Read(d.ctx)
		if errors.As(err, &end) {
			return messages, end
		}
		if err == nil {
			err = document.Value("PistonReceived", body)
		}
		if err != nil {
			t.Fatalf("%v after %s", err, messages)
		}
		messages += string(body) + "\n"
		if len(more) > 0 && strings.Contains(messages, more[0].(string)) {
			d.say(more[1].(request))
			more = more[2:]
		}
	}
}

func TestPistonConnect(t *testing.T) {
	initial := func(language, code string) request {
		return request{"type": "init", "language": language, "version": "*", "files": []request{{"content": code}}, "compile_memory_limit": -1}
	}
	const ready = `{"type":"stage","stage":"run"}` + "\n" + `{"type":"data","stream":"stdout","data":"ready\n"}` + "\n"
	input := request{"type": "data", "stream": "stdin", "data": "Ada\n"}
	begins := func(name string) string {
		for _, r := range runtimes(t) {
			if r.Language == name {
				return `{"type":"runtime","language":"` + name + `","version":"` + r.Version + `"}` + "\n"
			}
		}
		t.Fatalf("no %s", name)
		return ""
	}
	for name, c := range map[string]struct {
		first request
		more  []any
		want  string
		code  websocket.StatusCode
	}{
		"input": {initial("python", "name = input('name? ')\nprint(name)"), []any{"name? ", input},
			begins("python") + `{"type":"stage","stage":"run"}
{"type":"data","stream":"stdout","data":"name? "}
{"type":"data","stream":"stdout","data":"Ada\n"}
{"type":"exit","stage":"run","code":0,"signal":null}
`, 4999},
		"compiled": {initial("c", "#include <stdio.h>\nint main(void) { fputs(\"x\", stderr); return 3; }"), nil,
			begins("c") + `{"type":"stage","stage":"compile"}
{"type":"exit","stage":"compile","code":0,"signal":null}
{"type":"stage","stage":"run"}
{"type":"data","stream":"stderr","data":"x"}
{"type":"exit","stage":"run","code":3,"signal":null}
`, 4999},
		"signal": {initial("bash", "echo ready; exec sleep 1000"), []any{"ready", request{"type": "signal", "signal": "SIGTERM"}},
			begins("bash") + `{"type":"stage","stage":"run"}
{"type":"data","stream":"stdout","data":"ready\n"}
{"type":"exit","stage":"run","code":null,"signal":"SIGTERM"}
`, 4999},
		"not yet":        {input, nil, "", 4003},
		"no language":    {initial("cobol", ""), nil, `"type":"error"`, 4002},
		"again":          {initial("bash", "echo ready; sleep 1000"), []any{"ready", initial("bash", "")}, begins("bash") + ready, 4000},
		"another stream": {initial("bash", "echo ready; sleep 1000"), []any{"ready", request{"type": "data", "stream": "stdout", "data": ""}}, begins("bash") + ready, 4004},
		"odd signal":     {initial("bash", "echo ready; sleep 1000"), []any{"ready", request{"type": "signal", "signal": "SIGSEGV"}}, begins("bash") + ready, 4005},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			messages, end := converse(t, c.first, c.more...)
			if end.Code != c.code || messages != c.want && (!strings.HasPrefix(c.want, `"`) || !strings.Contains(messages, c.want)) {
				t.Errorf("closed with %d %q after\n%s", end.Code, end.Reason, messages)
			}
		})
	}
}
