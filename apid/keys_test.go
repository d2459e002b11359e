package main

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKeysCommand(t *testing.T) {
	path := filepath.Join(t.TempDir(), "etc", "keys")
	keys := func(args ...string) (stdout, stderr string, err error) {
		var out, errs bytes.Buffer
		err = run(t.Context(), append([]string{"keys"}, args...), strings.NewReader("from-standard-input\n"), &out, &errs)
		return out.String(), errs.String(), err
	}
	token, note, err := keys("create", "-name", "ci", "-concurrency", "4", "-file", path)
	if err != nil || !strings.HasPrefix(token, "rt_live_") || len(strings.TrimSpace(token)) < len("rt_live_")+22 {
		t.Fatalf("%q %q %v", token, note, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%v %v", info, err)
	}
	if body, _ := os.ReadFile(path); bytes.Contains(body, []byte(strings.TrimSpace(token))) {
		t.Error("the key is in the file")
	}
	list, _, err := keys("list", "-file", path)
	if err != nil || !strings.Contains(list, "ci") || strings.Contains(list, strings.TrimSpace(token)) {
		t.Errorf("%s %v", list, err)
	}
	for _, again := range []bool{false, true} {
		out, note, err := keys("create", "-name", "dev", "-key", "a-development-key", "-file", path)
		if err != nil || again != strings.Contains(note, "there already") || again == (strings.TrimSpace(out) == "a-development-key") {
			t.Errorf("import: %q %q %v", out, note, err)
		}
	}
	if out, _, err := keys("create", "-name", "pipe", "-key", "-", "-file", path); err != nil || out != "from-standard-input\n" {
		t.Errorf("%q %v", out, err)
	}
	id := strings.Fields(strings.Split(list, "\n")[1])[0]
	if _, _, err := keys("revoke", "-file", path, id); err != nil {
		t.Error(err)
	}
	ring := newKeyring(path, slog.New(slog.DiscardHandler))
	if ring.find([]byte(strings.TrimSpace(token))) != nil || ring.find([]byte("a-development-key")) == nil || ring.find(nil) != nil {
		t.Error("the wrong keys are valid")
	}
	for _, args := range [][]string{
		{}, {"create", "-file", path}, {"create", "-name", "x", "-key", "short", "-file", path}, {"create", "-name", "x", "-key", "with a space inside", "-file", path},
		{"create", "-name", "x", "-key", "with-a,comma-inside", "-file", path},
		{"create", "-name", "x", "-concurrency", "-1", "-file", path}, {"revoke", "-file", path}, {"revoke", "-file", path, "k_none"}, {"destroy"},
	} {
		if _, _, err := keys(args...); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
}

// What stands behind a key on its line would be one that is never valid.
func TestKeyLines(t *testing.T) {
	const good = `{"id": "a", "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}`
	for line, want := range map[string]string{
		good:              "",
		good + " ":        "",
		good + good:       "data after the object",
		good + ", ":       "data after the object",
		`{"id": "a"}`:     "sha256",
		`{"id": "a", "x"`: "unexpected EOF",
	} {
		_, err := parseKey([]byte(line))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", line, err, want)
		}
	}
}

func TestKeysFollowTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	var log syncBuffer
	ring := newKeyring(path, slog.New(slog.NewTextHandler(&log, nil)))
	if ring.count() != 0 {
		t.Error("keys without a file")
	}
	add := func(token string) {
		if err := createKey(path, key{Name: "x", Concurrency: 2}, token, io.Discard, io.Discard); err != nil {
			t.Fatal(err)
		}
	}
	look := func() { ring.refresh() }
	add("first-key-of-all")
	look()
	if k := ring.find([]byte("first-key-of-all")); k == nil || k.Concurrency != 2 {
		t.Errorf("found %+v", k)
	}
	add("second-key-of-all")
	if ring.find([]byte("second-key-of-all")) != nil {
		t.Error("the file is read at every request")
	}
	ring.checked.Store(-int64(keyCheckInterval))
	if ring.find([]byte("second-key-of-all")) == nil {
		t.Error("the file is not followed")
	}
	os.WriteFile(path, []byte("{\"id\": 3}\n"), 0o640)
	look()
	look()
	if ring.find([]byte("first-key-of-all")) == nil || ring.current.Load().err == nil {
		t.Error("a broken file took the keys away")
	}
	if n := strings.Count(log.String(), "level=ERROR"); n != 1 || !strings.Contains(log.String(), "line 1") {
		t.Errorf("logged %d times: %s", n, log.String())
	}
	os.Remove(path)
	look()
	if ring.count() != 0 {
		t.Error("keys of a file that is gone")
	}
}
