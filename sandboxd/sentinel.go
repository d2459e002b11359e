package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/wire"
)

// sentinel compares files of the image with what they were when its builder sealed them. All jails map them from one page cache, and only a hole in the
// kernel lets a program write there: those that reach the pages of a file that is open for reading are a class of their own (Dirty Pipe,
// CVE-2022-0847; Copy Fail, CVE-2026-31431), and what they write, every later job of every key executes. This is no defence. It tells, at
// a later run of the self test, so that the node is taken out; also of what was written before this sandboxd started.
type sentinel struct {
	rootfs *os.File // of the image that this sandboxd serves, whatever `make rootfs` has built since
	always []string // paths in the image, as jails name them, that each run looks at
	next   int      // line of sumsFile that the next run goes on with
}

const (
	// sumsFile has a line of sha256sum for each file of rootfs. It lies beside rootfs, so no jail has it open, and the holes above do not reach it.
	sumsFile = "SHA256SUMS"
	// sentinelTurn is a turn of check, for which a quarter of a second of CPU is ample. It reads the last file whole; an image of 2 GB takes some thirty runs.
	sentinelTurn = 64 << 20
	// sentinelNames is how many changed files a run names.
	sentinelNames = 3
)

// watched are files that whoever had such a hole would write to; others are what the runtimes begin with.
var watched = []string{"/bin/sh", "/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6"}

// newSentinel begins anywhere: a sandboxd that is restarted each day comes to every file too, and nobody knows when.
func newSentinel(rootfs *os.File, pools map[string]*pool) *sentinel {
	always := map[string]bool{}
	for _, name := range watched {
		always[name] = true
	}
	for _, p := range pools {
		if parked := p.template.spec.Parked; parked != nil {
			always[parked.Argv[0]] = true
			for _, library := range strings.FieldsFunc(parked.Env["LD_PRELOAD"], func(r rune) bool { return r == ' ' || r == ':' }) {
				always[library] = true
			}
		}
	}
	return &sentinel{rootfs: rootfs, always: slices.Sorted(maps.Keys(always)), next: rand.Int()}
}

// imageCheck is check as one of the self test's.
func (st *selftest) imageCheck() wire.Check {
	c := wire.Check{Name: "image", About: "What all jails share of the image is what its builder sealed.", Template: "all"}
	c.Problem, c.Inconclusive = st.sentinel.check(sentinelTurn)
	return c
}

// check says what is wrong, if it could tell. turn is how much of the files that not each run looks at it reads, bytes.
func (s *sentinel) check(turn int64) (problem string, inconclusive bool) {
	names, sums, err := s.sealed()
	if err != nil {
		return err.Error(), true
	}
	var changed []string
	look := func(name string) (size int64, same bool) {
		sum, size, err := s.digest(name)
		if err != nil && !errors.Is(err, unix.ENOENT) {
			problem, inconclusive = err.Error(), true
		} else if err != nil || sum != sums[name] {
			changed = append(changed, "/"+name)
		} else {
			return size, true
		}
		return size, false
	}
	for _, name := range s.always {
		if real, err := s.real(name); err == nil {
			look(real)
		} else if !errors.Is(err, unix.ENOENT) { // not every image has all that is watched
			problem, inconclusive = err.Error(), true
		}
	}
	s.next %= len(names)
	at, stay := s.next, -1
	for i, read := 0, int64(0); i < len(names) && read < turn; i++ {
		size, same := look(names[at])
		if !same && stay < 0 {
			stay = at
		}
		read, at = read+size, (at+1)%len(names)
	}
	if s.next = at; stay >= 0 {
		s.next = stay // else the next run would look elsewhere, and put the node back
	}
	if changed == nil {
		return problem, inconclusive
	}
	slices.Sort(changed)
	changed = slices.Compact(changed)
	text := strings.Join(changed[:min(len(changed), sentinelNames)], ", ")
	if more := len(changed) - sentinelNames; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text + " changed: by a hole of the kernel, if not by somebody on this machine", false
}

// sealed reads what the builder wrote: names of files, through no link and from below the root, and their digests in hexadecimal.
func (s *sentinel) sealed() (names []string, sums map[string]string, err error) {
	const remedy = "run `make rootfs` (`mkrootfs build`); if the image was replaced since sandboxd started, restart it"
	f, err := s.open("../"+sumsFile, unix.RESOLVE_NO_SYMLINKS)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil, fmt.Errorf("the image has no %s, so that nobody can tell whether it is as it was built: %s", sumsFile, remedy)
	}
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, nil, fmt.Errorf("%s of the image: %w", sumsFile, err)
	}
	sums = map[string]string{}
	for line := range strings.Lines(string(data)) {
		sum, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if !ok || len(sum) != 2*sha256.Size {
			return nil, nil, fmt.Errorf("%s of the image: %.80q is not a line of sha256sum's", sumsFile, line)
		}
		names = append(names, name)
		sums[name] = sum
	}
	if len(names) == 0 {
		return nil, nil, fmt.Errorf("%s of the image is empty: remove it, and %s", sumsFile, remedy)
	}
	return names, sums, nil
}

// real is where a path of the image leads, links and all, as sumsFile names it. Nobody but root writes there, and the files of a jail are elsewhere.
func (s *sentinel) real(name string) (string, error) {
	f, err := s.open(name, unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_MAGICLINKS)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var paths [2]string
	for i, f := range []*os.File{s.rootfs, f} {
		if paths[i], err = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd())); err != nil {
			return "", err
		}
	}
	return filepath.Rel(paths[0], paths[1])
}

// digest is the one that a file of sumsFile has now.
func (s *sentinel) digest(name string) (sum string, size int64, err error) {
	f, err := s.open(name, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	if size, err = io.Copy(h, f); err != nil {
		return "", 0, fmt.Errorf("%s of the image: %w", name, err)
	}
	return hex.EncodeToString(h.Sum(nil)), size, nil
}

// open goes by a path from the root of the image.
func (s *sentinel) open(name string, resolve uint64) (*os.File, error) {
	fd, err := unix.Openat2(int(s.rootfs.Fd()), name, &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC, Resolve: resolve})
	if err != nil {
		return nil, fmt.Errorf("%s of the image: %w", strings.TrimPrefix(name, "../"), err)
	}
	return os.NewFile(uintptr(fd), name), nil
}
