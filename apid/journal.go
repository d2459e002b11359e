package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// journal is the table of sessions as the next apid finds it: a record for each request of a session, written before the answer, and one for
// the end of a session. A record holds all there is to know, so the last one of a session is the one that counts.
//
//	<folder>/7    a segment: records, one a line
//	<folder>/8    the one that is written to; the next apid begins another
//
// When there is twice as much as after the last rewrite, the living sessions are written once more, behind what requests write meanwhile, and
// the segments before that are removed. A crash at any moment leaves a line without its end at most.
//
// Nothing is synced: what must survive is the end of a process, not of the machine, where the workspaces end as well. So the folder is best
// on a filesystem in memory; records hold what callers put into environments and files, and nobody but us may read them.
//
// sessions.mu guards all of it.
type journal struct {
	log     *slog.Logger
	folder  *os.File // locked
	segment *os.File // nil: the next record begins another
	length  int64    // of it
	number  int      // of the segment
	first   int      // segment that is still there
	bytes   int64    // in all segments
	base    int64    // after the last rewrite
	failing bool
	stale   bool // something could not be written: worth a rewrite as soon as there is room
	closed  bool
}

// journalSlack is how much may be written before a rewrite is worth it, bytes.
const journalSlack = 8 << 20

// journalSegments is how many files there may be: each start of apid begins another.
const journalSegments = 16

// record is one session, or the end of one.
type record struct {
	Key      []byte        `json:"key"`
	Ended    bool          `json:"ended,omitempty"` // then the rest is not set
	Volume   []byte        `json:"volume,omitempty"`
	Owner    string        `json:"owner,omitempty"` // id of the API key
	At       time.Duration `json:"at,omitempty"`    // of the last use, since the machine's start
	Form     form          `json:"form,omitempty"`
	Size     int64         `json:"size,omitempty"` // bytes that it counts for
	Keep     bool          `json:"keep,omitempty"`
	Packable bool          `json:"packable,omitempty"`
	Leaves   int           `json:"leaves,omitempty"` // see leaves.go
	Stored   []byte        `json:"stored,omitempty"`
	Loan     []byte        `json:"loan,omitempty"`    // its volume; of formLent alone
	Env      []byte        `json:"environ,omitempty"` // the changes, a NUL between two, which none holds: written as base64, whose size no caller can choose
	OldEnv   []string      `json:"env,omitempty"`     // only read: what an apid before environ wrote
}

// openJournal takes the folder, making it if need be, and has every record in it replayed, in order.
func openJournal(folder string, log *slog.Logger, replay func(*record)) (*journal, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("sessions.state_dir: %w: make it, for apid's user, or set it to \"off\"", err)
	}
	f, err := os.Open(folder)
	if err != nil {
		return nil, fmt.Errorf("sessions.state_dir: %w", err)
	}
	j := &journal{log: log, folder: f}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("sessions.state_dir: lock %s: %w: another apid has it", folder, err), j.close())
	}
	if err := j.replay(replay); err != nil {
		return nil, errors.Join(fmt.Errorf("sessions.state_dir: %w", err), j.close())
	}
	return j, nil
}

func (j *journal) replay(each func(*record)) error {
	names, err := j.folder.Readdirnames(-1)
	if err != nil {
		return err
	}
	var numbers []int
	for _, name := range names {
		if n, err := strconv.Atoi(name); err == nil {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		if err := j.read(n, each); err != nil {
			return err
		}
	}
	if len(numbers) > 0 {
		j.first, j.number = numbers[0], numbers[len(numbers)-1]
	} else {
		j.first = 1
	}
	return nil
}

// read replays one segment. A line that cannot be read, as a full disk or a crash leaves it, is passed over.
func (j *journal) read(number int, each func(*record)) error {
	data, err := os.ReadFile(j.path(number))
	if err != nil {
		return err
	}
	j.bytes += int64(len(data))
	for line := range bytes.Lines(data) {
		var r record
		if err := json.Unmarshal(line, &r); err != nil || len(r.Key) != len(sessionKey{}) || !r.Ended && !r.valid() {
			j.log.Warn("a record of a session cannot be read and is passed over", "file", j.path(number), "bytes", len(line))
			continue
		}
		each(&r)
	}
	return nil
}

func (r *record) valid() bool {
	return len(r.Volume) == len(session{}.volume) && r.Form > formNone && r.Form < forms && (r.Form != formLent || len(r.Loan) == len(loan{}.volume))
}

// env is a session's changes again; nil if there are none.
func (r *record) env() []string {
	if len(r.Env) == 0 {
		return r.OldEnv
	}
	return strings.Split(string(r.Env), "\x00")
}

func (j *journal) path(number int) string {
	return filepath.Join(j.folder.Name(), strconv.Itoa(number))
}

// write adds a record. A failure is the operator's to see, not the caller's: the session goes on, and is lost only if apid is.
func (j *journal) write(r *record) bool {
	err := j.append(r)
	switch {
	case err != nil && !j.failing:
		j.log.Error("sessions are not recorded and would be lost with apid", "err", err)
	case err == nil && j.failing:
		j.log.Info("sessions are recorded again")
	}
	j.failing = err != nil
	j.stale = j.stale || j.failing
	return err == nil
}

func (j *journal) append(r *record) error {
	if j.closed {
		return os.ErrClosed
	}
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if j.segment == nil {
		if err := j.begin(); err != nil {
			return err
		}
	}
	line = append(line, '\n')
	if _, err := j.segment.Write(line); err != nil {
		// A part of the line may be there. While the disk is full each request comes here: none may leave a file behind.
		if cutErr := j.segment.Truncate(j.length); cutErr != nil {
			j.end()
		}
		return err
	}
	j.length += int64(len(line))
	j.bytes += int64(len(line))
	return nil
}

// begin begins a segment.
func (j *journal) begin() (err error) {
	j.end()
	j.number++
	j.segment, err = os.OpenFile(j.path(j.number), os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o600)
	j.length = 0
	return err
}

func (j *journal) end() {
	if j.segment != nil {
		j.segment.Close()
		j.segment = nil
		if j.length == 0 {
			os.Remove(j.path(j.number))
		}
	}
}

// overgrown says that a rewrite is worth it.
func (j *journal) overgrown() bool {
	return j.stale || j.bytes > 2*j.base+journalSlack || j.number-j.first >= journalSegments
}

// removeBefore ends a rewrite that began with that segment. The old ones go in order: what ends a session is always behind what it ends.
func (j *journal) removeBefore(number int) error {
	for ; j.first < number; j.first++ {
		if err := j.remove(j.first); err != nil {
			return err
		}
	}
	j.base, j.stale = j.bytes, false
	return nil
}

func (j *journal) remove(number int) error {
	info, err := os.Stat(j.path(number))
	if errors.Is(err, os.ErrNotExist) { // it could not be made
		return nil
	}
	if err == nil {
		err = os.Remove(j.path(number))
	}
	if err == nil {
		j.bytes -= info.Size()
	}
	return err
}

// close lets the next apid have the folder.
func (j *journal) close() error {
	j.closed = true
	j.end()
	return j.folder.Close()
}
