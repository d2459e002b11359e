package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// A session of many requests keeps a memory cgroup for each that left a file (systemd PR 36827 has them pile up), and counts for them. When they are many
// its files are copied: they are the same then, to the nanosecond, and it counts for little again.
func TestSessionOfManyRequests(t *testing.T) {
	s := startOwn(t, "leaves", "")
	const tree = `find . -mindepth 1 ! -name main.sh -printf '%P %y %m %n %s %T@ %l\n' | sort; `
	execute := func(code string) string {
		return s.execute(t, s.key, program("bash", code).with(request{"session_id": "s"})).Run.Stdout
	}
	counted := func() (bytes int64) {
		_, content, err := s.send(t.Context(), s.key, "GET", "/v1/sessions/s", nil)
		info := struct{ Bytes int64 }{}
		if err := errors.Join(err, json.Unmarshal(content, &info)); err != nil {
			t.Fatal(err)
		}
		return info.Bytes
	}
	last := execute(`ln -s one link; mkfifo fifo; mkdir -m 700 d; echo x >d/one; ln d/one d/two; chmod 400 d/two; truncate -s 1M d/sparse
		touch -d @1.123456789 d/old; touch -d @2.5 d; ` + tree)
	var most int64
	for n := range 140 {
		found, left, _ := strings.Cut(execute(tree+fmt.Sprintf("echo ====; echo %d >f%d; ", n, n)+tree), "====\n")
		if found != last {
			t.Fatalf("request %d found\n%s\nthe one before left\n%s", n, found, last)
		}
		last = left
		most = max(most, counted())
	}
	if now := counted(); now > most/2 {
		t.Errorf("it counts for %d bytes, and for %d at most before", now, most)
	}
	if got := execute("stat -c %b d/sparse; cat f0 f139 d/two"); got != "0\n0\n139\nx\n" {
		t.Errorf("got %q", got)
	}
}
