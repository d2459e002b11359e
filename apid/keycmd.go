package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// keyPrefix makes a key recognizable to people and to scanners of repositories.
const keyPrefix = "rt_live_"

// minImportedKey keeps out keys that could be guessed, in bytes.
const minImportedKey = 16

const keysUsage = `usage:
  apid keys create -name NAME [-concurrency N] [-operator] [-key KEY] [-file PATH]
  apid keys list [-file PATH]
  apid keys revoke [-file PATH] ID
`

// keysCommand is `apid keys`, which alone writes the key file: a server reads it. All that a server writes to disk is its journal (journal.go).
func keysCommand(args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		fmt.Fprint(stderr, keysUsage)
		return flag.ErrHelp
	}
	flags := flag.NewFlagSet("apid keys "+args[0], flag.ContinueOnError)
	flags.SetOutput(stderr)
	path := flags.String("file", defaults().Keys, "the key `file`")
	switch args[0] {
	case "create":
		name := flags.String("name", "", "what or whom the key is for")
		concurrency := flags.Int("concurrency", 0, "jobs that the key may run at one time; 0: the server's limit")
		operator := flags.Bool("operator", false, "the key may also see the metrics of the whole server, as the page /status shows them")
		given := flags.String("key", "", "take over this key instead of making one, - for standard input (at least 16 characters)")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		if *given == "-" {
			line, err := io.ReadAll(io.LimitReader(stdin, 4096))
			if err != nil {
				return err
			}
			*given = strings.TrimSpace(string(line))
		}
		return createKey(*path, key{Name: *name, Concurrency: *concurrency, Operator: *operator}, *given, stdout, stderr)
	case "list":
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		return listKeys(*path, stdout)
	case "revoke":
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		if flags.NArg() != 1 {
			fmt.Fprint(stderr, keysUsage)
			return flag.ErrHelp
		}
		return revokeKey(*path, flags.Arg(0))
	}
	fmt.Fprint(stderr, keysUsage)
	return fmt.Errorf("unknown command %q", args[0])
}

// createKey prints the new key on stdout, once and alone, so that a script can take it.
func createKey(path string, k key, given string, stdout, stderr io.Writer) error {
	switch {
	case k.Name == "":
		return errors.New("-name is missing")
	case k.Concurrency < 0:
		return fmt.Errorf("-concurrency: %d is negative", k.Concurrency)
	case given != "" && len(given) < minImportedKey:
		return fmt.Errorf("-key: has %d characters, want at least %d", len(given), minImportedKey)
	case strings.ContainsFunc(given, func(c rune) bool { return c <= ' ' || c > '~' || c == ',' }):
		// A comma ends a subprotocol, as which pages send their key: socketKey.
		return errors.New("-key: want printable ASCII without spaces and commas; have another key made where this one is from, or leave -key out")
	}
	token := given
	if token == "" {
		token = keyPrefix + rand.Text() // 130 bits
	}
	hash := sha256.Sum256([]byte(token))
	k.ID = "k_" + strings.ToLower(rand.Text()[:10])
	k.SHA256 = hex.EncodeToString(hash[:])
	k.Created = time.Now().UTC().Truncate(time.Second)
	err := editKeys(path, func(keys []*key) ([]*key, error) {
		for _, other := range keys {
			if other.SHA256 == k.SHA256 && other.Revoked == nil {
				k.ID = other.ID
				return nil, errUnchanged
			}
		}
		return append(keys, &k), nil
	})
	if errors.Is(err, errUnchanged) {
		fmt.Fprintf(stderr, "key %s is there already\n", k.ID)
		return nil
	}
	if err != nil {
		return err
	}
	how := "made; it is shown this once"
	if given != "" {
		how = "made of the one given"
	}
	fmt.Fprintf(stderr, "key %s %s\n", k.ID, how)
	fmt.Fprintln(stdout, token)
	return nil
}

func listKeys(path string, stdout io.Writer) error {
	keys, err := readKeys(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	table := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tNAME\tCREATED\tCONCURRENCY\tOPERATOR\tREVOKED")
	for _, k := range keys {
		concurrency, operator, revoked := "-", "-", "-"
		if k.Concurrency > 0 {
			concurrency = fmt.Sprint(k.Concurrency)
		}
		if k.Operator {
			operator = "yes"
		}
		if k.Revoked != nil {
			revoked = k.Revoked.Format(time.RFC3339)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Name, k.Created.Format(time.RFC3339), concurrency, operator, revoked)
	}
	return table.Flush()
}

func revokeKey(path, id string) error {
	return editKeys(path, func(keys []*key) ([]*key, error) {
		for _, k := range keys {
			if k.ID == id {
				now := time.Now().UTC().Truncate(time.Second)
				k.Revoked = &now
				return keys, nil
			}
		}
		return nil, fmt.Errorf("no key %q in %s", id, path)
	})
}

// errUnchanged tells editKeys that there is nothing to write.
var errUnchanged = errors.New("unchanged")

// editKeys rewrites the file in one step, so that a running server sees the old keys or the new ones and never half of them.
func editKeys(path string, edit func([]*key) ([]*key, error)) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close() // releases it; the file stays, since removing it would race with the next holder
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s.lock: %w", path, err)
	}
	keys, err := readKeys(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if keys, err = edit(keys); err != nil {
		return err
	}
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	for _, k := range keys {
		if err := enc.Encode(k); err != nil {
			return err
		}
	}
	return replaceFile(path, body.Bytes())
}

// replaceFile writes a file of mode 0640 beside the old one and renames it. The owner stays the old file's; the first one takes the
// folder's group, which is how root makes a file that apid's user can read.
func replaceFile(path string, body []byte) error {
	like, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		like, err = os.Stat(filepath.Dir(path))
	}
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".keys-*") // 0600 at birth
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // fails after the rename, as it should
	defer tmp.Close()
	if owner, ok := like.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
		uid := 0
		if !like.IsDir() {
			uid = int(owner.Uid)
		}
		if err := tmp.Chown(uid, int(owner.Gid)); err != nil {
			return err
		}
	}
	if err := tmp.Chmod(0o640); err != nil {
		return err
	}
	if _, err := tmp.Write(body); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
