package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/wire"
)

// sentinel has the digests that files of the image had when this sandboxd made its first self test. All jails map them from one page cache, and only a hole in the
// kernel lets a program write there: those that reach the pages of a file that is open for reading are a class of their own (Dirty Pipe,
// CVE-2022-0847; Copy Fail, CVE-2026-31431), and what they write, every later job of every key executes. This is no defence. It tells, at
// the next run of the self test, so that the node is taken out.
type sentinel struct {
	rootfs *os.File          // of the image that this sandboxd serves, whatever `make rootfs` has built since
	sums   map[string][]byte // by path in the image
}

// watched are files that whoever had such a hole would write to; others are the commands of the runtimes.
var watched = []string{"/bin/sh", "/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6"}

// imageCheck is check, or in the first run what newSentinel does: the worker of the self test begins with it, so that start does not wait.
func (st *selftest) imageCheck() wire.Check {
	c := wire.Check{Name: "image", About: "What all jails share of the image is what it was at the first self test.", Template: "all"}
	if st.sentinel != nil {
		c.Problem, c.Inconclusive = st.sentinel.check()
		return c
	}
	var err error
	if st.sentinel, err = newSentinel(st.rootfs, st.server.pools.all); err != nil {
		c.Problem, c.Inconclusive = err.Error(), true
	}
	return c
}

// newSentinel reads what is to be watched. A file that the image does not have is left out.
func newSentinel(rootfs *os.File, pools map[string]*pool) (*sentinel, error) {
	s := &sentinel{rootfs, map[string][]byte{}}
	files := slices.Clone(watched)
	for _, p := range pools {
		if parked := p.template.spec.Parked; parked != nil {
			files = append(files, parked.Argv[0])
		}
	}
	for _, name := range files {
		sum, err := s.digest(name)
		if err == nil {
			s.sums[name] = sum
		} else if !errors.Is(err, unix.ENOENT) {
			return nil, err
		}
	}
	return s, nil
}

// check reads them again, and says what is wrong, if it could tell.
func (s *sentinel) check() (problem string, inconclusive bool) {
	var changed []string
	for _, name := range slices.Sorted(maps.Keys(s.sums)) {
		sum, err := s.digest(name)
		switch {
		case err != nil:
			problem, inconclusive = err.Error(), true
		case !bytes.Equal(sum, s.sums[name]):
			changed = append(changed, name)
		}
	}
	if changed != nil {
		return fmt.Sprintf("%s changed: by a hole of the kernel, if not by somebody on this machine", strings.Join(changed, ", ")), false
	}
	return problem, inconclusive
}

// digest goes by a path of the image, as a jail would, links and all. Nobody but root writes there, and the files of a jail are elsewhere.
func (s *sentinel) digest(name string) ([]byte, error) {
	fd, err := unix.Openat2(int(s.rootfs.Fd()), name, &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
	if err != nil {
		return nil, fmt.Errorf("%s of the image: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return nil, fmt.Errorf("%s of the image: %w", name, err)
	}
	return h.Sum(nil), nil
}
