package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// key is one line of the key file. The key itself is not in it: a key is at least 128 random bits, so nobody finds it by trying, and a
// plain SHA-256 hides it as well as a slow hash would, at a microsecond a request.
type key struct {
	ID          string     `json:"id"`
	Name        string     `json:"name"`
	SHA256      string     `json:"sha256"`
	Created     time.Time  `json:"created"`
	Concurrency int        `json:"concurrency,omitempty"` // jobs at one time; 0: the server's limit
	Operator    bool       `json:"operator,omitempty"`    // may see what concerns all keys: GET /v1/metrics
	Revoked     *time.Time `json:"revoked,omitempty"`

	hash [sha256.Size]byte
}

// keyring holds the valid keys of a file and follows its changes.
type keyring struct {
	path string
	log  *slog.Logger

	checked atomic.Int64 // when the file was last looked at, ns since epoch
	reading sync.Mutex
	current atomic.Pointer[keySet]
}

// keySet is the file as it was once.
type keySet struct {
	version fileVersion
	byHash  map[[sha256.Size]byte]*key
	err     error // why the file could not be read; byHash is then what it held before
}

// fileVersion changes when a file does. A replaced file has another inode, whatever its times say.
type fileVersion struct {
	inode uint64
	size  int64
	mtime time.Time
}

// keyCheckInterval bounds both the cost of following the file and how long a revoked key still works.
const keyCheckInterval = time.Second

func newKeyring(path string, log *slog.Logger) *keyring {
	k := &keyring{path: path, log: log}
	k.current.Store(&keySet{})
	k.refresh()
	return k
}

// find returns the valid key that the token is, or nil.
func (k *keyring) find(token []byte) *key {
	if time.Since(epoch)-time.Duration(k.checked.Load()) > keyCheckInterval {
		k.refresh()
	}
	hash := sha256.Sum256(token)
	found := k.current.Load().byHash[hash]
	// The map has compared hashes, not keys, and time tells at most something of a hash; this makes it nothing.
	if found == nil || subtle.ConstantTimeCompare(found.hash[:], hash[:]) != 1 {
		return nil
	}
	return found
}

// count is the number of valid keys.
func (k *keyring) count() int { return len(k.current.Load().byHash) }

// refresh reads the file if it is not the one that was read last. While it cannot be read the keys stay what they were, except that a
// file that is gone holds none.
func (k *keyring) refresh() {
	if !k.reading.TryLock() {
		return // somebody else is at it
	}
	defer k.reading.Unlock()
	k.checked.Store(int64(time.Since(epoch)))
	old := k.current.Load()
	version, err := versionOf(k.path)
	if errors.Is(err, fs.ErrNotExist) {
		k.current.Store(&keySet{})
		return
	}
	if err == nil && version == old.version {
		return
	}
	var keys []*key
	if err == nil {
		keys, err = readKeys(k.path)
	}
	if err != nil {
		if old.err == nil || old.version != version {
			k.log.Error("read the keys; those read before stay in force", "err", err)
		}
		k.current.Store(&keySet{version: version, byHash: old.byHash, err: err})
		return
	}
	set := &keySet{version: version, byHash: map[[sha256.Size]byte]*key{}}
	for _, key := range keys {
		if key.Revoked == nil {
			set.byHash[key.hash] = key
		}
	}
	k.current.Store(set)
	k.log.Info("read the keys", "file", k.path, "valid", len(set.byHash))
}

func versionOf(path string) (fileVersion, error) {
	info, err := os.Stat(path)
	if err != nil {
		return fileVersion{}, err
	}
	version := fileVersion{size: info.Size(), mtime: info.ModTime()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		version.inode = st.Ino
	}
	return version, nil
}

// readKeys reads a key file: one JSON object a line.
func readKeys(path string) ([]*key, error) {
	body, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var keys []*key
	lines := bufio.NewScanner(bytes.NewReader(body))
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		k, err := parseKey(lines.Bytes())
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", path, n, err)
		}
		keys = append(keys, k)
	}
	return keys, lines.Err()
}

func parseKey(line []byte) (*key, error) {
	var k key
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&k); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("data after the object: a key has a line of its own") // else it would be a key that nobody can use, and no word of it
	}
	hash, err := hex.DecodeString(k.SHA256)
	switch {
	case err != nil || len(hash) != sha256.Size:
		return nil, errors.New("sha256: want 64 hexadecimal digits")
	case k.ID == "":
		return nil, errors.New("id: is missing")
	case k.Concurrency < 0:
		return nil, fmt.Errorf("concurrency: %d is negative", k.Concurrency)
	}
	copy(k.hash[:], hash)
	return &k, nil
}
