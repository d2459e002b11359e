package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// Files that apids of before wrote are read by this one, or an upgrade would lose sessions and keys. What stands in testdata/older is never changed: who
// changes a format adds a file to it.

// older is a session as it must be found.
type older struct {
	session
	at    time.Duration // of its last use, since the machine's start; 0: now
	files string        // what its notes.txt holds, where we hold it
	loan  string        // its volume
}

// Segment 1 is by an apid that wrote the wall clock's time (d9f8e57), 2 by one that had loans and environments as lists (94b982c), 3 by today's.
func TestJournalOfOlderApids(t *testing.T) {
	folder := t.TempDir()
	if err := os.CopyFS(folder, os.DirFS("testdata/older/journal")); err != nil {
		t.Fatal(err)
	}
	table, _ := openTable(t, folder)
	bytes16 := func(b byte) (id [16]byte) { return [16]byte(bytes.Repeat([]byte{b}, 16)) }
	all := map[string]older{
		"first given":   {session: session{form: formGiven, size: 4000, keep: true, env: []string{"A=1", "GONE"}}, files: "given\n"},
		"first mounted": {session: session{form: formMounted, size: 500_001, packable: true, volume: bytes16(0x11)}},
		"first packed":  {session: session{form: formPacked, size: 5000, keep: true}, files: "packed\n"},
		"second copy":   {session: session{form: formLent, size: 500_006, keep: true, env: []string{"B=2\u2028\x01"}}, at: 10 * time.Second, loan: strings.Repeat("2f", 16)},
		"second lender": {session: session{form: formLent, size: 500_005, keep: true, env: []string{"B=2\u2028\x01"}}, at: 20 * time.Second, loan: strings.Repeat("2f", 16)},
		"not named":     {session: session{form: formMounted, size: 500_007, leaves: 1, volume: bytes16(0x31)}, at: 30 * time.Second},
		"used again": {session: session{form: formMounted, size: 900_000, keep: true, packable: true, leaves: 3, env: []string{"A=new", "C=3\n4"}, volume: bytes16(0x30)},
			at: 40 * time.Second},
		"packed": {session: session{form: formPacked, size: 5001, keep: true, env: []string{"D="}}, at: 50 * time.Second, files: "packed again\n"},
		"given":  {session: session{form: formGiven, size: 4001, keep: true}, at: 60 * time.Second, files: "given again\n"},
		"copy":   {session: session{form: formLent, size: 500_009, keep: true, leaves: 2, env: []string{"E=5"}}, at: 70 * time.Second, loan: strings.Repeat("3f", 16)},
		"lender": {session: session{form: formLent, size: 500_008, keep: true, leaves: 2, env: []string{"E=5"}}, at: 80 * time.Second, loan: strings.Repeat("3f", 16)},
	}
	ids := map[string]*owner{"k_older": {keyID: "k_older"}, "k_second": {keyID: "k_second"}}
	check := func(key, name string, want older) {
		id := keyOf(key, name)
		s := table.byID[id]
		if s == nil {
			t.Errorf("%s of %s is lost", name, key)
			return
		}
		found := older{session: contents(table)[id], files: notes(t, s)}
		if found.stored = nil; s.loan != nil {
			found.loan = volumeName(s.loan.volume)
		}
		// How long ago is told by two clocks, one read after the other: to ten seconds they agree.
		if found.at = (s.idle - time.Since(epoch) + sinceBoot()).Round(10 * time.Second); want.at == 0 {
			want.at = sinceBoot().Round(10 * time.Second)
		}
		if want.owner = ids[key]; !reflect.DeepEqual(found, want) {
			t.Errorf("%s is\n%+v\nwant\n%+v", name, found, want)
		}
	}
	for name, want := range all {
		check("k_older", name, want)
	}
	check("k_second", "given", older{session: session{form: formGiven, size: 4002, keep: true}, at: 90 * time.Second, files: "of another key\n"})
	if len(table.byID) != len(all)+1 {
		t.Errorf("%d sessions, want %d: one that had ended is there again", len(table.byID), len(all)+1)
	}
	var volumes []string
	for _, name := range []string{"11", "2f", "30", "31", "3f"} {
		volumes = append(volumes, strings.Repeat(name, 16))
	}
	if unclaimed, lost := table.compare(volumes); len(unclaimed) > 0 || lost > 0 {
		t.Errorf("with the volumes of before %d sessions are lost, and nobody has %q", lost, unclaimed)
	}
}

// notes is what the session's one file holds that we hold.
func notes(t *testing.T, s *session) string {
	t.Helper()
	switch s.form {
	case formGiven:
		files := decodeFiles(s.stored)
		if len(files) != 1 || files[0].name != "notes.txt" {
			t.Fatalf("files %+v", files)
		}
		return string(files[0].content)
	case formPacked:
		archive, err := decompress(s.stored)
		if err != nil {
			t.Fatal(err)
		}
		files := tar.NewReader(bytes.NewReader(archive))
		header, err := files.Next()
		if err != nil || header.Name != "./notes.txt" {
			t.Fatalf("%+v %v", header, err)
		}
		content, err := io.ReadAll(files)
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	return ""
}

// The last segment is as today's apid writes it, with each field that it may write: else the next version would be tested with another format than
// what is there then.
func TestOlderJournalHasTodaysFormat(t *testing.T) {
	content, err := os.ReadFile("testdata/older/journal/3")
	if err != nil {
		t.Fatal(err)
	}
	wantEachField(t, reflect.TypeFor[record](), content, "env") // which is only read
	for line := range bytes.Lines(content) {
		var r record
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		if again, _ := json.Marshal(&r); string(again)+"\n" != string(line) {
			t.Errorf("today a record is written as\n%s\nthe file has\n%s", again, line)
		}
	}
}

// wantEachField fails unless each field that a struct is written with is in the text.
func wantEachField(t *testing.T, of reflect.Type, text []byte, except ...string) {
	t.Helper()
	for i := range of.NumField() {
		name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
		if name != "" && !slices.Contains(except, name) && !bytes.Contains(text, []byte(`"`+name+`":`)) {
			t.Errorf("no %s of testdata/older has %q: add a file that does", of, name)
		}
	}
}

// The first line has what keys had from the start; the others have all fields of today's, and are what today's apid would write.
func TestKeysOfOlderApids(t *testing.T) {
	const path = "testdata/older/keys"
	keys, err := readKeys(path)
	if err != nil {
		t.Fatal(err)
	}
	revoked := time.Date(2026, 11, 27, 8, 0, 0, 0, time.UTC)
	created := time.Date(2026, 11, 25, 7, 30, 0, 0, time.UTC)
	want := []key{
		{ID: "k_first", Name: "first", Created: created},
		{ID: "k_limited", Name: "limited", Created: created, Concurrency: 4, Operator: true},
		{ID: "k_revoked", Name: "revoked", Created: created, Revoked: &revoked},
	}
	var found []key
	var lines []byte
	for _, k := range keys {
		line, _ := json.Marshal(k)
		lines = append(append(lines, line...), '\n')
		k.SHA256, k.hash = "", [32]byte{} // find is for these
		found = append(found, *k)
	}
	if !reflect.DeepEqual(found, want) {
		t.Errorf("found\n%+v\nwant\n%+v", found, want)
	}
	content, _ := os.ReadFile(path)
	wantEachField(t, reflect.TypeFor[key](), content)
	if !bytes.Equal(lines, content) {
		t.Errorf("today's apid would write\n%s\nthe file has\n%s", lines, content)
	}
	ring := newKeyring(path, slog.New(slog.DiscardHandler))
	var valid []string
	for _, token := range []string{"rt_live_FIRST", "rt_live_LIMITED", "rt_live_REVOKED"} {
		if k := ring.find([]byte(token)); k != nil {
			valid = append(valid, k.ID)
		}
	}
	if !slices.Equal(valid, []string{"k_first", "k_limited"}) {
		t.Errorf("valid keys: %q", valid)
	}
}
