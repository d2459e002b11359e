package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestStream(t *testing.T) {
	const begin = "event: stdout\ndata: {\"text\":\"one\\n\"}\n\n: the program runs\n\n"
	for _, tt := range []struct{ name, body, want string }{
		{"all", "event: compile\ndata: {\"status\":\"OK\"}\n\n" + begin + "event: stderr\ndata: {\"text\":\"\ufffd\",\"text_base64\":\"/w==\"}\n\n" +
			"event: test\ndata: {\"index\":1,\"test\":{\"verdict\":\"WA\",\"run\":{}}}\n\nevent: later\ndata: {}\n\n" +
			"event: exit\ndata: {\"code\":3,\"signal\":null,\"status\":\"RE\"}\n\nevent: result\ndata: {\"run\":{\"status\":\"RE\"},\"tests\":[{\"verdict\":\"WA\"}]}\n\n",
			`compile OK; stdout "one\n"; stderr "\xff"; test 1 WA; later; exit 3; result RE 1`},
		{"error", begin + "event: error\ndata: {\"error\":{\"code\":\"interrupted\",\"message\":\"gone\"}}\n\n", `stdout "one\n"; interrupted true`},
		{"cut off", begin, `stdout "one\n"; unexpected EOF`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Accept") != "text/event-stream" {
					t.Errorf("Accept %q", r.Header.Get("Accept"))
				}
				_, _ = io.WriteString(w, tt.body)
			})
			var got []string
			for e, err := range c.Stream(context.Background(), &Request{Language: "c"}) {
				text := e.Name
				var refused *Error
				switch {
				case errors.As(err, &refused):
					text = fmt.Sprint(refused.Code, " ", MayHaveRun(err))
				case errors.Is(err, io.ErrUnexpectedEOF):
					text = "unexpected EOF"
				case err != nil:
					t.Fatal(err)
				case e.Output != nil:
					text += fmt.Sprintf(" %q", e.Output)
				case e.Compile != nil:
					text += " " + string(e.Compile.Status)
				case e.Test != nil:
					text += fmt.Sprint(" ", e.Index, " ", e.Test.Verdict)
				case e.Exit != nil:
					text += fmt.Sprint(" ", *e.Exit.Code)
				case e.Result != nil:
					text += fmt.Sprint(" ", e.Result.Run.Status, " ", len(e.Result.Tests))
				}
				got = append(got, text)
			}
			if strings.Join(got, "; ") != tt.want {
				t.Errorf("got  %s\nwant %s", strings.Join(got, "; "), tt.want)
			}
		})
	}
}
