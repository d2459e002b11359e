package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/client"
)

// addProgram reads the files of a program into req. Standard input has no name, so it becomes Code, for which the
// server knows the right one.
func addProgram(req *client.Request, paths []string, stdin io.Reader) error {
	if len(paths) > 0 && paths[0] == "-" {
		program, err := io.ReadAll(stdin)
		if err != nil {
			return fmt.Errorf("read program from standard input: %w", err)
		}
		if len(program) == 0 {
			return usagef("standard input holds no program")
		}
		if !utf8.Valid(program) {
			return usagef("the program on standard input is not UTF-8: put it into a file, which may hold any bytes")
		}
		req.Code = string(program)
		paths = paths[1:]
	}
	seen := make(map[string]string)
	for _, path := range paths {
		name, err := nameInSandbox(path, paths[0])
		if err != nil {
			return err
		}
		if other, twice := seen[name]; twice {
			return usagef("--file %s and --file %s would both be %s in the sandbox", other, path, name)
		}
		seen[name] = path
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		req.Files = append(req.Files, client.NewFile(name, content))
	}
	return nil
}

// nameInSandbox is the path as given where that is below the current directory, so that a program finds its parts where it
// does here. Paths that lead elsewhere are taken relative to the folder of the first file, or else by their last part.
func nameInSandbox(path, first string) (string, error) {
	if !utf8.ValidString(path) {
		return "", usagef("--file %q: the name is not UTF-8", path)
	}
	if filepath.IsLocal(path) {
		return filepath.ToSlash(filepath.Clean(path)), nil
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	base, err := filepath.Abs(filepath.Dir(first))
	if err != nil {
		return "", err
	}
	if rel, err := filepath.Rel(base, abs); err == nil && filepath.IsLocal(rel) {
		return filepath.ToSlash(rel), nil
	}
	return filepath.Base(abs), nil
}

// addStdin passes on our own standard input only when told to. Taking any pipe would hang wherever one is inherited and
// never closed (CI runners, editors), and would swallow the list in `while read f; do runtools ...; done < list`.
func addStdin(req *client.Request, text string, stdin io.Reader) error {
	if text != "-" {
		req.SetStdin([]byte(text))
		return nil
	}
	input, err := io.ReadAll(stdin)
	if err != nil {
		return fmt.Errorf("read standard input: %w", err)
	}
	req.SetStdin(input)
	return nil
}

// hintUnreadStdin is for those who expect a pipe to be passed on: when a program failed and input waits, it says how. It
// looks and does not read.
func hintUnreadStdin(stdin *os.File, stderr io.Writer) {
	info, err := stdin.Stat()
	if err != nil {
		return
	}
	waiting := info.Mode().IsRegular() && info.Size() > 0
	if info.Mode()&os.ModeNamedPipe != 0 {
		fds := []unix.PollFd{{Fd: int32(stdin.Fd()), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		waiting = err == nil && n > 0 && fds[0].Revents&unix.POLLIN != 0
	}
	if waiting {
		fmt.Fprintln(stderr, "runtools: standard input was not passed on; add --stdin - if the program was to read it")
	}
}

// millis is a flag: a duration ("1m30s") or a number of milliseconds.
type millis int64

func (m *millis) Type() string { return "duration" }

func (m *millis) String() string {
	if *m == 0 {
		return ""
	}
	return (time.Duration(*m) * time.Millisecond).String()
}

func (m *millis) Set(s string) error {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		d, err := time.ParseDuration(s)
		if err != nil {
			return fmt.Errorf("want a duration such as 5s or 1m30s, or a number of milliseconds")
		}
		if n = d.Milliseconds(); time.Duration(n)*time.Millisecond != d {
			return fmt.Errorf("parts of a millisecond are not possible")
		}
	}
	if n <= 0 {
		return fmt.Errorf("must be above 0")
	}
	*m = millis(n)
	return nil
}

// byteSize is a flag: a number of bytes, or one with a suffix that is a power of 1024.
type byteSize int64

func (b *byteSize) Type() string { return "size" }

func (b *byteSize) String() string {
	if *b == 0 {
		return ""
	}
	return strconv.FormatInt(int64(*b), 10)
}

func (b *byteSize) Set(s string) error {
	number := strings.ToUpper(s)
	for _, end := range []string{"IB", "B"} { // 256MiB and 256MB are what 256M is
		number = strings.TrimSuffix(number, end)
	}
	shift := 0
	if i := strings.IndexByte("KMGT", last(number)); i >= 0 {
		shift = 10 * (i + 1)
		number = number[:len(number)-1]
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return fmt.Errorf("want bytes, or a number with K, M or G such as 256M")
	}
	if n <= 0 || n > math.MaxInt64>>shift {
		return fmt.Errorf("out of range")
	}
	*b = byteSize(n << shift)
	return nil
}

// last returns the last byte of s, 0 for an empty one.
func last(s string) byte {
	if s == "" {
		return 0
	}
	return s[len(s)-1]
}
