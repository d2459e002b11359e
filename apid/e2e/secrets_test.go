package e2e

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// searchers are programs of testdata/search, one in each language. Each reads two words from stdin, written backwards so that it does
// not find its own input, walks the folders that are its arguments, and reports the files that hold the words.
var searchers = map[string]string{
	"bash": "main.sh", "c": "main.c", "cpp": "main.cpp", "csharp": "Main.cs", "go": "main.go", "java": "Main.java", "javascript": "main.js",
	"python": "main.py", "ruby": "main.rb", "rust": "main.rs", "typescript": "main.ts",
}

// searched is everything but the image's programs, which were there before any secret: one search goes through these as well.
var searched = []string{"/home", "/tmp", "/dev", "/proc", "/root", "/run", "/var", "/etc", "/build", "/sys", "/mnt", "/srv", "/opt", "/boot", "/media"}

// TestPlantedSecrets plants one marker wherever it has no business to be seen from a jail, and searches for it from each language.
func TestPlantedSecrets(t *testing.T) {
	for language := range hellos {
		if searchers[language] == "" {
			t.Errorf("no searcher in %s", language)
		}
	}
	secret := strings.TrimPrefix(daemonSecret, "PLANTED_IN_DAEMONS=") // both daemons have had it in their environment from the start
	paths := plant(t, secret)
	for language := range searchers {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			search(t, language, secret, searched)
		})
	}
	t.Run("the whole image", func(t *testing.T) {
		t.Parallel()
		search(t, "c", secret, []string{"/"})
	})
	t.Run("by name", func(t *testing.T) {
		t.Parallel()
		code := `for path; do for root in "" /proc/1/root /proc/self/root /proc/1/cwd/../.. /proc/self/cwd/../../../..; do
	[ -e "$root$path" ] && echo "$root$path is there"
	cat "$root$path" 2>/dev/null
done; done; cat /proc/[0-9]*/environ 2>/dev/null | tr '\0' '\n' | grep PLANTED; ls -d /proc/[0-9]* | wc -l; true`
		// The shell, its ls and its wc, and nobody else's processes.
		got := output(t, program("bash", code).with(request{"args": paths}))
		if n := strings.TrimSpace(got); len(n) != 1 || n > "4" {
			t.Errorf("found %q", got)
		}
	})
}

// plant puts the secret on the host, into another session and into a running job, until the end of the test. It returns the files.
func plant(t *testing.T, secret string) (paths []string) {
	t.Helper()
	for _, folder := range []string{"/tmp", "/root", "/var/tmp", api.dir} {
		for name, mode := range map[string]os.FileMode{"private": 0o600, "public": 0o644} {
			path := filepath.Join(folder, "rt-e2e-planted-"+name+"-"+randomMarker())
			paths = append(paths, path)
			if err := os.WriteFile(path, []byte(secret), mode); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.Remove(path) })
		}
	}
	other := request{"session_id": randomMarker(), "env": request{"PLANTED": secret}, "args": []string{secret}, "stdin": secret,
		"files": []request{{"name": "planted", "content": secret}}}
	leave := `cp planted ~/.planted; cp planted /tmp/planted; cp planted /dev/shm/planted; echo "$PLANTED" >main.txt`
	wantStatus(t, api.execute(t, api.otherKey, program("bash", leave).with(other)), "OK")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		api.send(ctx, api.otherKey, http.MethodPost, "/v1/execute", program("bash", leave+"; sleep 1000").with(other))
	}()
	t.Cleanup(func() { cancel(); <-done })
	waitStarted(t, "PLANTED="+secret)
	return paths
}

// search must find what was put into its own workspace, or it is no search; and nothing else.
func search(t *testing.T, language, secret string, folders []string) {
	t.Helper()
	source, err := os.ReadFile(filepath.Join("testdata", "search", searchers[language]))
	if err != nil {
		t.Fatal(err)
	}
	own := randomMarker()
	a := execute(t, program(language, string(source)).with(request{
		"stdin": backwards(secret) + "\n" + backwards(own) + "\n", "args": folders, "files": []request{{"name": "deep/er/own", "content": "..." + own + "..."}},
	}))
	wantStdout(t, a, "own\n")
}

func backwards(s string) string {
	b := []byte(s)
	slices.Reverse(b)
	return string(b)
}
