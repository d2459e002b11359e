package jail

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What the runtime polls wakes a thread whenever the other side reads, writes or closes. The runner does all of it on the way to the program's first instruction.
func TestRunnersSocketWakesNobody(t *testing.T) {
	b := newBench(t)
	b.toy(t)
	check := func(j *Jail) {
		t.Helper()
		for _, c := range []struct {
			control *control
			polled  int
		}{{j.init, 1}, {j.runner.control, 0}} {
			if n := polled(t, c.control.file); n != c.polled {
				t.Errorf("descriptor %d is polled %d times, want %d", c.control.file.Fd(), n, c.polled)
			}
		}
	}
	b.built = check
	b.run(t, "echo ran", nil).want(t, "ran\n")
	check(b.loaded(t))
}

// polled counts in how many epoll instances of ours a file is.
func polled(t *testing.T, f *os.File) (n int) {
	t.Helper()
	infos, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	target := regexp.MustCompile(fmt.Sprintf(`(?m)^tfd: +%d `, f.Fd()))
	seen := false
	for _, path := range infos {
		if to, _ := os.Readlink(path); to != "anon_inode:[eventpoll]" {
			continue
		}
		info, err := os.ReadFile(strings.Replace(path, "/fd/", "/fdinfo/", 1))
		if err != nil {
			t.Fatal(err)
		}
		seen = true
		n += len(target.FindAll(info, -1))
	}
	if !seen {
		t.Fatal("the runtime has no epoll instance")
	}
	return n
}
