package e2e

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// ask makes a request below a session.
func (s *stack) ask(t *testing.T, method, path, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	q, err := http.NewRequest(method, s.url+"/v1/sessions/"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Authorization", "Bearer "+s.key)
	for i := 0; i < len(headers); i += 2 {
		q.Header.Set(headers[i], headers[i+1])
	}
	a, err := clients.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	content, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return a, string(content)
}

// list is what the session holds, "type size path" a line.
func (s *stack) list(t *testing.T, session string) string {
	t.Helper()
	a, content := s.ask(t, "GET", session+"/files", "")
	var list struct {
		Files []struct {
			Path, Type, Mode string
			PathBase64       string `json:"path_base64"`
			Size             int64
			Modified         float64
		}
	}
	if err := json.Unmarshal([]byte(content), &list); err != nil || a.StatusCode != 200 {
		t.Fatalf("%d %v: %s", a.StatusCode, err, content)
	}
	var all strings.Builder
	for _, f := range list.Files {
		if f.Type == "folder" {
			f.Size = 0
		}
		fmt.Fprintf(&all, "%s %d %s\n", f.Type, f.Size, f.Path)
	}
	return all.String()
}

// Files are put, seen by programs, changed by them, listed, read, deleted; whatever form the workspace has at that moment.
func TestFilesOverHTTP(t *testing.T) {
	id := randomMarker()
	want := func(method, path, body string, status int, content string, headers ...string) *http.Response {
		t.Helper()
		a, got := api.ask(t, method, id+path, body, headers...)
		if a.StatusCode != status || content != "*" && got != content {
			t.Errorf("%s %s: %d %q, want %d %q", method, path, a.StatusCode, got, status, content)
		}
		return a
	}
	want("GET", "/files", "", 404, "*") // no such session
	raw := string(noise(100_000))
	want("PUT", "/files/data/raw.bin", raw, 204, "")
	want("PUT", "/files/a%20b.txt", "text", 204, "")
	if got := api.list(t, id); !strings.Contains(got, "folder 0 data\n") || !strings.Contains(got, "file 100000 data/raw.bin\n") || !strings.Contains(got, "file 4 a b.txt\n") {
		t.Errorf("got\n%s", got)
	}
	want("GET", "/files/data/raw.bin", "", 200, raw)
	want("PUT", "/files/empty", "", 204, "")
	want("GET", "/files/empty", "", 200, "")
	for _, c := range []struct{ path, asked, given, content string }{
		{"data/raw.bin", "bytes=10-19", "bytes 10-19/100000", raw[10:20]},
		{"data/raw.bin", "bytes=0-0", "bytes 0-0/100000", raw[:1]},
		{"data/raw.bin", "bytes=99990-", "bytes 99990-99999/100000", raw[99_990:]},
		{"data/raw.bin", "bytes=99990-200000", "bytes 99990-99999/100000", raw[99_990:]},
		{"data/raw.bin", "bytes=-10", "bytes 99990-99999/100000", raw[99_990:]},
		{"data/raw.bin", "bytes=-200000", "bytes 0-99999/100000", raw},
		{"data/raw.bin", "bytes=100000-", "bytes */100000", ""}, // 416
		{"data/raw.bin", "bytes=9223372036854775807-", "bytes */100000", ""},
		{"data/raw.bin", "bytes=-0", "bytes */100000", ""},
		{"empty", "bytes=0-", "bytes */0", ""},
		{"empty", "bytes=-1", "bytes */0", ""},
		{"data/raw.bin", "bytes=0-1,5-6", "", raw}, // several parts: the whole
		{"data/raw.bin", "bytes=5-1", "", raw},
		{"data/raw.bin", "items=0-1", "", raw},
	} {
		status := 206
		switch {
		case c.given == "":
			status = 200
		case c.content == "":
			status = 416
		}
		if a := want("GET", "/files/"+c.path, "", status, c.content, "Range", c.asked); a.Header.Get("Content-Range") != c.given {
			t.Errorf("%s: Content-Range %s, want %s", c.asked, a.Header.Get("Content-Range"), c.given)
		}
	}
	want("GET", "/files/data/raw.bin", "", 200, raw, "Range", "bytes=0-1", "If-Range", `"of another version"`)
	if a := want("HEAD", "/files/data/raw.bin", "", 200, ""); a.ContentLength != 100000 || a.Header.Get("Accept-Ranges") != "bytes" {
		t.Errorf("HEAD: %d bytes, %v", a.ContentLength, a.Header)
	}
	run := func(code string) string {
		t.Helper()
		a := execute(t, program("bash", code).with(request{"session_id": id}))
		wantStatus(t, a, "OK")
		return a.Run.Stdout
	}
	if got := run("cat 'a b.txt'; wc -c <data/raw.bin; echo new >made; ln -s /etc/passwd link; mkfifo fifo; printf x >$'bad\\xff'; mkdir -p -- -rf; export KEPT=1"); got != "text100000\n" {
		t.Errorf("the program saw %q", got)
	}
	want("GET", "/files/made", "", 200, "new\n")
	want("GET", "/files/none", "", 404, "*")
	want("GET", "/files/data", "", 404, "*") // a folder
	want("GET", "/files/fifo", "", 404, "*") // and nobody waits for it
	passwd, err := os.ReadFile(filepath.Join(image, "rootfs/etc/passwd"))
	if err != nil {
		t.Fatal(err)
	}
	want("GET", "/files/link", "", 200, string(passwd)) // what the program itself would read: the image's
	if got := api.list(t, id); !strings.Contains(got, "other 0 fifo\n") || !strings.Contains(got, "link 11 link\n") || !strings.Contains(got, "bad\ufffd") {
		t.Errorf("got\n%s", got)
	}
	want("PUT", "/files/made", "changed", 204, "")
	want("PUT", "/files/link", "own", 204, "") // replaces the link, and writes through none
	want("PUT", "/files/made/below", "x", 400, "*")
	want("PUT", "/files/%2e%2e%2fx", "x", 404, "*")
	want("DELETE", "/files/data", "", 204, "")
	want("DELETE", "/files/data", "", 404, "*")
	want("DELETE", "/files/-rf", "", 204, "")
	want("POST", "/files/made", "", 405, "*")
	if got := run("cat made link; ls data 2>&1; echo $KEPT"); got != "changedownls: cannot access 'data': No such file or directory\n1\n" {
		t.Errorf("the program saw %q", got)
	}
	a, content := api.ask(t, "GET", id, "")
	if a.StatusCode != 200 || !strings.Contains(content, `"session_id":"`+id+`"`) || !strings.Contains(content, `"busy":false`) {
		t.Errorf("%d %s", a.StatusCode, content)
	}
	names := map[string]string{}
	_, archive := api.ask(t, "GET", id+"/archive", "")
	for r := tar.NewReader(bytes.NewReader([]byte(archive))); ; {
		h, err := r.Next()
		if err != nil {
			break
		}
		content, _ := io.ReadAll(r)
		names[h.Name] = string(content) + "!"
	}
	if names["./made"] != "changed!" || names["./link"] != "own!" || names["./fifo"] != "!" || names["./data/raw.bin"] != "" {
		t.Errorf("the archive has %v", names)
	}
	want("DELETE", "", "", 204, "")
	want("GET", "/files", "", 404, "*")
}

// Copies begin as the session is, and go their own ways.
func TestFork(t *testing.T) {
	first := execute(t, program("bash", "echo shared >f; export KEPT=1"))
	for i, id := range append(api.fork(t, *first.SessionID, 3), *first.SessionID) {
		got := execute(t, program("bash", fmt.Sprintf("cat f; echo $KEPT; echo %d >f", i)).with(request{"session_id": id}))
		wantStdout(t, got, "shared\n1\n")
	}
	// Of a session whose files were only given, too, and with the key's own sessions alone.
	given := execute(t, program("python", "print(1)"))
	wantStdout(t, execute(t, program("bash", "ls").with(request{"session_id": api.fork(t, *given.SessionID, 1)[0]})), "main.py\nmain.sh\n")
	for body, status := range map[string]int{`{"count": 0}`: 400, `{"count": 101}`: 400, `{"n": 1}`: 400, `[`: 400} {
		if a, content := api.ask(t, "POST", *given.SessionID+"/fork", body); a.StatusCode != status {
			t.Errorf("%s: %d %s", body, a.StatusCode, content)
		}
	}
	if a, _ := api.ask(t, "POST", randomMarker()+"/fork", ""); a.StatusCode != 404 {
		t.Errorf("no such session: %d", a.StatusCode)
	}
}

// fork returns the names of the copies.
func (s *stack) fork(t *testing.T, session string, count int) []string {
	t.Helper()
	a, content := s.ask(t, "POST", session+"/fork", fmt.Sprintf(`{"count": %d}`, count))
	var forked struct {
		SessionIDs []string `json:"session_ids"`
	}
	if err := json.Unmarshal([]byte(content), &forked); err != nil || a.StatusCode != 200 || len(forked.SessionIDs) != count {
		t.Fatalf("%d %v: %s", a.StatusCode, err, content)
	}
	return forked.SessionIDs
}

// A large session is shared with its copies until they are used; then each has all of it, to the last detail, and nobody sees what another does.
func TestForkOfLargeSession(t *testing.T) {
	const describe = `find . -mindepth 1 ! -name main.sh -printf '%p %y %m %T@ %n %s %b %l\n' | sort; md5sum large | cut -c 1-32; echo $KEPT`
	first := execute(t, program("bash", `head -c 34000000 /dev/zero >large; head -c 100000 /dev/urandom >>large
mkdir -p d/e; echo 1 >d/a; ln d/a d/b; ln -s d/a link; ln -s /nowhere dangling; mkfifo fifo; mknod device c 0 0; truncate -s 300M hole; mkdir $'bad\xff'; chmod 6755 d/a; touch -d @12345.678901234 d/a
python3 -c "import socket; socket.socket(socket.AF_UNIX).bind('sock')"; chmod 555 d/e; export KEPT=1; `+describe))
	wantStatus(t, first, "OK")
	name := *first.SessionID
	if a, content := api.ask(t, "GET", name+"/archive", ""); a.StatusCode != 413 || !strings.Contains(content, "one by one") {
		t.Errorf("a tar of it: %d %.200s", a.StatusCode, content)
	}
	copies := append(api.fork(t, name, 2), api.fork(t, name, 1)...) // the second of what is lent already
	for i, id := range []string{copies[0], name, copies[1]} {
		got := execute(t, program("bash", describe+fmt.Sprintf("; echo %d >d/a; rm large; mkdir new", i)).with(request{"session_id": id}))
		wantStdout(t, got, first.Run.Stdout)
	}
	api.deleteSession(t, api.key, name)
	if _, got := api.ask(t, "GET", copies[2]+"/files/d/a", ""); got != "1\n" {
		t.Errorf("the last one has %q", got)
	}
	if _, got := api.ask(t, "GET", copies[1]+"/files/d/b", ""); got != "2\n" {
		t.Errorf("the third has %q", got)
	}
	secret := execute(t, program("bash", "head -c 100000 /dev/zero >large; chmod 0 large"))
	if a, content := api.ask(t, "POST", *secret.SessionID+"/fork", ""); a.StatusCode != 400 || !strings.Contains(content, `\"./large\" cannot be read`) {
		t.Errorf("%d %s", a.StatusCode, content)
	}
	deep := execute(t, program("python", "import os\nopen('large', 'wb').write(bytes(100000))\nfor i in range(20): os.mkdir('n' * 250); os.chdir('n' * 250)"))
	wantStatus(t, deep, "OK")
	if a, content := api.ask(t, "POST", *deep.SessionID+"/fork", ""); a.StatusCode != 400 || !strings.Contains(content, "path is too long") {
		t.Errorf("%d %s", a.StatusCode, content)
	}
	// Small enough to be packed; but no tar could make it again.
	small := execute(t, program("python", "import os\nfor i in range(30): os.mkdir('n' * 200); os.chdir('n' * 200)\nopen('f', 'w').write('1')"))
	wantStatus(t, small, "OK")
	if a, content := api.ask(t, "POST", *small.SessionID+"/fork", ""); a.StatusCode != 400 || !strings.Contains(content, "path is too long") {
		t.Errorf("%d %s", a.StatusCode, content)
	}
	wantStdout(t, execute(t, program("python", "import os\nfor i in range(30): os.chdir('n' * 200)\nprint(os.listdir())").with(request{"session_id": *small.SessionID})), "['f']\n")
	for _, id := range append(copies, *secret.SessionID, *deep.SessionID, *small.SessionID) {
		api.deleteSession(t, api.key, id)
	}
}

// Another key has no such session.
func TestFilesAreTheKeysOwn(t *testing.T) {
	mine := execute(t, program("bash", "echo secret >f"))
	for _, q := range []struct{ method, path string }{
		{"GET", ""}, {"GET", "/files"}, {"GET", "/files/f"}, {"GET", "/archive"}, {"POST", "/fork"}, {"DELETE", "/files/f"}, {"DELETE", ""},
	} {
		a, content, err := api.send(t.Context(), api.otherKey, q.method, "/v1/sessions/"+*mine.SessionID+q.path, nil)
		if err != nil || a.StatusCode != 404 || strings.Contains(string(content), "secret") {
			t.Errorf("%s %s: %v %d %s", q.method, q.path, err, a.StatusCode, content)
		}
	}
	if _, got := api.ask(t, "GET", *mine.SessionID+"/files/f", ""); got != "secret\n" {
		t.Errorf("got %q", got)
	}
}
