package e2e

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"
)

// What goes in and comes out.

// noise are n bytes of every value, NUL included, that no text decoding survives; always the same.
func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// largeText is a line count and a final part without a newline, a little over 1 MB, so that any lost or doubled block shows.
func largeText(prefix string) string {
	var b strings.Builder
	for i := 0; b.Len() < 1_100_000; i++ {
		fmt.Fprintf(&b, "%s line %d\n", prefix, i)
	}
	return b.String() + "end"
}

func TestLargeOutputOnBothStreams(t *testing.T) {
	out, errOut := largeText("out"), largeText("err")
	files := []request{{"name": "out", "content": out}, {"name": "err", "content": errOut}}
	for language, code := range map[string]string{
		"bash":       "cat out & cat err >&2 & wait",
		"python":     "import sys\nsys.stdout.write(open('out').read())\nsys.stderr.write(open('err').read())",
		"javascript": "const fs = require('fs')\nprocess.stdout.write(fs.readFileSync('out'))\nprocess.stderr.write(fs.readFileSync('err'))",
		"typescript": "import * as fs from 'fs'\nprocess.stdout.write(fs.readFileSync('out'))\nprocess.stderr.write(fs.readFileSync('err'))",
		"ruby":       "$stdout.write File.read('out')\n$stderr.write File.read('err')",
		"go":         "package main\nimport \"os\"\nfunc main() {\n\ta, _ := os.ReadFile(\"out\")\n\tb, _ := os.ReadFile(\"err\")\n\tos.Stdout.Write(a)\n\tos.Stderr.Write(b)\n}",
	} {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			a := execute(t, program(language, code).with(request{"files": files}))
			wantStatus(t, a, "OK")
			if a.Run.Stdout != out || a.Run.Stderr != errOut {
				t.Errorf("%d and %d bytes, want %d and %d, the same ones", len(a.Run.Stdout), len(a.Run.Stderr), len(out), len(errOut))
			}
		})
	}
}

// copiers write what they read, byte for byte.
var copiers = map[string]string{
	"bash":       "cat",
	"python":     "import sys, shutil\nshutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)",
	"javascript": "process.stdin.pipe(process.stdout)",
	"typescript": "process.stdin.pipe(process.stdout)",
	"ruby":       "$stdin.binmode; $stdout.binmode\nIO.copy_stream($stdin, $stdout)",
	"c":          "#include <stdio.h>\nint main(void) { int c; while ((c = getchar()) != EOF) putchar(c); }",
	"go":         "package main\nimport (\"io\"; \"os\")\nfunc main() { io.Copy(os.Stdout, os.Stdin) }",
}

func TestStdinIsExact(t *testing.T) {
	for name, stdin := range map[string][]byte{
		"nothing": {}, "NUL": {0}, "no newline at the end": []byte("a\nb"), "CRLF": []byte("a\r\nb\r\n"), "5 MB": noise(5_000_000),
	} {
		for language, code := range copiers {
			t.Run(name+"/"+language, func(t *testing.T) {
				t.Parallel()
				a := execute(t, program(language, code).with(
					request{"stdin": base64.StdEncoding.EncodeToString(stdin), "stdin_encoding": "base64"}))
				wantStatus(t, a, "OK")
				if got := exact(t, a.Run.Stdout, a.Run.StdoutBase64); !bytes.Equal(got, stdin) {
					t.Errorf("%d bytes %.50q, want %d bytes %.50q", len(got), got, len(stdin), stdin)
				}
			})
		}
	}
}

func TestStdinUTF8(t *testing.T) {
	for _, stdin := range []string{"\x00\u00e4\u20ac\U0001F600\u2028 \\ \" \x7f", "\ufeffbom", "e\u0301"} {
		if got := output(t, program("bash", "cat").with(request{"stdin": stdin})); got != stdin {
			t.Errorf("%q, want %q", got, stdin)
		}
	}
}

// Without stdin there is an end of input at once, and a program that does not read a large stdin ends as usual.
func TestStdinNotSentOrNotRead(t *testing.T) {
	for language, c := range map[string]struct{ read, ignore string }{
		"bash":       {"wc -c", "echo done"},
		"python":     {"import sys; print(len(sys.stdin.read()))", "print('done')"},
		"javascript": {"console.log(require('fs').readFileSync(0).length)", "console.log('done')"},
		"ruby":       {"puts $stdin.read.size", "puts 'done'"},
	} {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			wantStdout(t, execute(t, program(language, c.read)), "0\n")
			wantStdout(t, execute(t, program(language, c.ignore).with(request{"stdin": strings.Repeat("x", 1_000_000)})), "done\n")
		})
	}
}

// Bytes that are not UTF-8 are shown as U+FFFD, and exactly beside it, on each stream by itself.
func TestOutputThatIsNotText(t *testing.T) {
	for language, code := range map[string]string{
		"bash":       `printf 'a\xff\xc3\0b'; echo plain >&2`,
		"python":     `import sys; sys.stdout.buffer.write(b"a\xff\xc3\0b"); print("plain", file=sys.stderr)`,
		"javascript": `process.stdout.write(Buffer.from([97, 255, 0xc3, 0, 98])); console.error("plain")`,
		"ruby":       `$stdout.write "a\xff\xc3\0b".b; warn "plain"`,
	} {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			a := execute(t, program(language, code))
			wantStdout(t, a, "a\ufffd\ufffd\x00b")
			if got := exact(t, a.Run.Stdout, a.Run.StdoutBase64); string(got) != "a\xff\xc3\x00b" {
				t.Errorf("exact stdout %q", got)
			}
			if a.Run.Stderr != "plain\n" || a.Run.StderrBase64 != nil {
				t.Errorf("stderr: %s", a)
			}
		})
	}
}

func TestOutputLimitIsExact(t *testing.T) {
	for written, status := range map[int]string{999: "OK", 1000: "OK", 1001: "OL"} {
		a := execute(t, program("bash", fmt.Sprintf("head -c %d /dev/zero", written)).with(request{"output_limit": 1000}))
		wantStatus(t, a, status)
		if n := len(exact(t, a.Run.Stdout, a.Run.StdoutBase64)); n != min(written, 1000) {
			t.Errorf("%d bytes of %d", n, written)
		}
	}
}

// Shells and scripts open their streams again by name.
func TestStreamsCanBeOpenedAgain(t *testing.T) {
	for language, code := range map[string]string{
		"bash": "echo out >/dev/stdout; echo err >/dev/stderr; cat /dev/stdin; echo fd >/proc/self/fd/1; " +
			"tee /dev/stderr <<<tee",
		"python": "open('/dev/stdout', 'w').write('out\\n')\nopen('/dev/stderr', 'w').write('err\\n')\nprint(open('/dev/stdin').read(), end='', flush=True)\n" +
			"open('/proc/self/fd/1', 'w').write('fd\\n'); open('/dev/stderr', 'a').write('tee\\n'); open('/dev/fd/1', 'a').write('tee\\n')",
		"ruby": "File.write('/dev/stdout', \"out\\n\"); File.write('/dev/stderr', \"err\\n\"); File.open('/dev/stdout', 'a') { |f| f.write File.read('/dev/stdin') }\n" +
			"File.write('/proc/self/fd/1', \"fd\\n\"); File.write('/dev/fd/2', \"tee\\n\"); File.write('/dev/fd/1', \"tee\\n\")",
	} {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			a := execute(t, program(language, code).with(request{"stdin": "in\n"}))
			if wantStdout(t, a, "out\nin\nfd\ntee\n"); a.Run.Stderr != "err\ntee\n" {
				t.Errorf("stderr %q", a.Run.Stderr)
			}
		})
	}
}

// A program has its three streams and nothing of ours. The descriptor that lists the folder is not counted.
func TestDescriptors(t *testing.T) {
	for language, code := range map[string]string{
		"bash": `for fd in /proc/self/fd/*; do [ -e "$fd" ] && echo "${fd##*/}"; done | sort -n | head -3; exec ls /proc/self/fd | wc -l`,
		"c":    descriptorsInC,
		"go":   "package main\nimport (\"fmt\"; \"syscall\")\nfunc main() {\n\tvar s syscall.Stat_t\n\tfor fd := range 1024 {\n\t\tif syscall.Fstat(fd, &s) == nil { fmt.Print(fd, \" \") }\n\t}\n}",
		"python": "import os\nfor fd in range(1024):\n try: os.fstat(fd); print(fd, end=' ')\n" +
			" except OSError: pass",
		"rust": "extern \"C\" { fn fcntl(fd: i32, cmd: i32) -> i32; }\nfn main() { for fd in 0..1024 { if unsafe { fcntl(fd, 1) } >= 0 { print!(\"{fd} \") } } }",
	} {
		want := "0 1 2 "
		if language == "bash" {
			want = "0\n1\n2\n4\n" // ls itself holds the fourth
		}
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			wantStdout(t, execute(t, program(language, code)), want)
		})
	}
	// These runtimes open descriptors of their own; none of them may be one that leads out of the jail or to our files.
	for language, code := range map[string]string{
		"javascript": "const fs = require('fs')\nfor (const fd of fs.readdirSync('/proc/self/fd')) try { console.log(fs.readlinkSync('/proc/self/fd/' + fd)) } catch {}",
		"ruby":       "Dir.children('/proc/self/fd').each { |fd| puts File.readlink('/proc/self/fd/' + fd) rescue nil }",
	} {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			pipes := 0
			for line := range strings.Lines(output(t, program(language, code))) {
				switch kind, _, _ := strings.Cut(strings.TrimSpace(line), ":"); {
				case kind == "pipe":
					pipes++
				case kind == "anon_inode" && !strings.Contains(line, "pid"), strings.HasPrefix(kind, "/proc/"), kind == "/dev/null":
				default:
					t.Errorf("descriptor of %s", line)
				}
			}
			if pipes < 2 {
				t.Errorf("%d pipes, want stdout and stderr at least", pipes)
			}
		})
	}
}

const descriptorsInC = `#include <stdio.h>
#include <fcntl.h>
int main(void) { for (int fd = 0; fd < 1024; fd++) if (fcntl(fd, F_GETFD) >= 0) printf("%d ", fd); }`

func TestFiles(t *testing.T) {
	binary := noise(100_000)
	sum := fmt.Sprintf("%x", sha256.Sum256(binary))
	for name, file := range map[string]struct {
		file request
		want string // sha256
	}{
		"base64":  {request{"name": "f", "content": base64.StdEncoding.EncodeToString(binary), "encoding": "base64"}, sum},
		"hex":     {request{"name": "f", "content": fmt.Sprintf("%x", binary), "encoding": "hex"}, sum},
		"utf8":    {request{"name": "f", "content": "\u00e4\x00\n", "encoding": "utf8"}, fmt.Sprintf("%x", sha256.Sum256([]byte("\u00e4\x00\n")))},
		"empty":   {request{"name": "f", "content": ""}, fmt.Sprintf("%x", sha256.Sum256(nil))},
		"nested":  {request{"name": "a/b c/\u00fc/-f", "content": "x"}, fmt.Sprintf("%x", sha256.Sum256([]byte("x")))},
		"longest": {request{"name": strings.Repeat("n", 255), "content": "x"}, fmt.Sprintf("%x", sha256.Sum256([]byte("x")))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := program("bash", `sha256sum <"$1" | cut -d' ' -f1`).with(request{"files": []request{file.file}, "args": []any{file.file["name"]}})
			wantStdout(t, execute(t, q), file.want+"\n")
		})
	}
}

// Files belong to the program: it may change, run and remove them, and they are plain files.
func TestFilesBelongToTheProgram(t *testing.T) {
	code := `stat -c '%U %G %h %F' sub/f sub . ; echo more >>sub/f; chmod +x sub/f; mv sub/f g; rm -r sub; cat g`
	q := program("bash", code).with(request{"files": []request{{"name": "sub/f", "content": "one\n"}}})
	wantStdout(t, execute(t, q), "user user 1 regular file\nuser user 2 directory\nuser user 3 directory\none\nmore\n")
}

func TestManyFiles(t *testing.T) {
	var files []request
	for i := range 200 {
		files = append(files, request{"name": fmt.Sprintf("d%d/f%d", i%7, i), "content": fmt.Sprint(i)})
	}
	wantStdout(t, execute(t, program("bash", `cat d*/f* | wc -c; ls d* | grep -c f`).with(request{"files": files})), "490\n200\n")
}

// Events come while the program runs: the first is there long before the end. How long, a busy machine may take from us.
func TestEventsComeWhileTheProgramRuns(t *testing.T) {
	for language, code := range map[string]string{
		"bash":   "echo one; sleep SECONDS; echo two",
		"python": "import time\nprint('one', flush=True)\ntime.sleep(SECONDS)\nprint('two')",
		"c":      "#include <stdio.h>\n#include <unistd.h>\nint main(void) { puts(\"one\"); fflush(stdout); sleep(SECONDS); puts(\"two\"); }",
	} {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			for seconds := 1; seconds < 30; seconds *= 4 {
				ahead := eventsOfOneAndTwo(t, program(language, strings.ReplaceAll(code, "SECONDS", fmt.Sprint(seconds))))
				if ahead > time.Duration(seconds)*time.Second/2 {
					return
				}
			}
			t.Error("the first event came when all was over")
		})
	}
}

// While nothing happens comments come, the first after ten seconds, and not with the second: until then the caller has no status.
func TestCommentsComeWhileNothingHappens(t *testing.T) {
	t.Parallel()
	events := askForEvents(t, program("bash", "sleep 16"))
	defer events.Close()
	all, err := io.ReadAll(events)
	if err != nil || !strings.HasPrefix(string(all), ": ") || !strings.Contains(string(all), "event: exit") {
		t.Errorf("want a comment first: %v %s", err, all)
	}
}

// askForEvents sends a request whose answer comes as events.
func askForEvents(t *testing.T, q request) io.ReadCloser {
	t.Helper()
	body, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	post, err := http.NewRequest(http.MethodPost, api.url+"/v1/execute", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	post.Header.Set("Authorization", "Bearer "+api.key)
	post.Header.Set("Content-Type", "application/json")
	post.Header.Set("Accept", "text/event-stream")
	a, err := clients.Do(post)
	if err != nil {
		t.Fatal(err)
	}
	return a.Body
}

// eventsOfOneAndTwo returns how long before the end the first output was there.
func eventsOfOneAndTwo(t *testing.T, q request) time.Duration {
	t.Helper()
	events := askForEvents(t, q)
	defer events.Close()
	var names, seen []string
	var first time.Time
	for lines := bufio.NewScanner(events); lines.Scan(); {
		if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			names = append(names, name)
		}
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok && names[len(names)-1] == "stdout" {
			if seen = append(seen, data); first.IsZero() {
				first = time.Now()
			}
		}
	}
	if got := strings.Join(seen, ""); got != `{"text":"one\n"}{"text":"two\n"}` || names[len(names)-1] != "result" {
		t.Fatalf("got %s in %v", got, names)
	}
	return time.Since(first)
}
