package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/runtools/runtools/pkg/wire"
)

// Packing turns a small, idle workspace into a compressed tar in our memory, and its volume is forgotten.
//
// The workspace is foreign code's. Only tar looks at it, as the jail's user in a jail like that of any program, and nobody but such a tar
// ever reads what it wrote: to us it is bytes, of a number that is bounded, that we never parse. A program that makes tar fail, or write
// nonsense, spoils its own session.
type packer struct {
	packs, failures, unpacks atomic.Uint64

	writers sync.Pool // of *s2.Writer
}

// What is packed, and at what expense.
const (
	packBytes  = 64 << 10  // in use in the workspace
	packInodes = 64        // of it
	packedTar  = 256 << 10 // before compression: for each inode 1.5 KiB of headers, or more where names are long
	tarWall    = 10 * time.Second
	packRetry  = 20 * time.Millisecond // while all job slots are taken
	packPause  = time.Second           // after sandboxd failed us
	packTime   = 2 * tarWall           // of the whole of it

	overcrowded = 2 // times max_mounted: from then on requests pack, too
)

// packTar writes what a later program could tell from the original: modes, times to the nanosecond, links of both kinds, FIFOs, holes,
// and names of any bytes. What it cannot write, like a socket or a file that its owner may not read, it complains of. Access times would
// cost a header each and are not worth it; a FIFO of two names comes back as two.
var packTar = []string{"/usr/bin/tar", "--create", "--file=-", "--format=posix", "--pax-option=delete=atime,delete=ctime", "--numeric-owner",
	"--sparse", "--sort=name", "--blocking-factor=1", "."}

// archiveTar is the same in records that fill a pipe, each one write: what a caller gets may be large. It has up to 64 KiB of padding.
var archiveTar = append(slices.Clone(packTar[:len(packTar)-2]), "--blocking-factor=128", ".")

// packSessions packs while too many workspaces are mounted, one at a time, until ctx ends.
func (s *server) packSessions(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.sessions.crowded:
		}
		for more := true; more; {
			var wait time.Duration
			if wait, more = s.packNext(ctx); wait > 0 {
				select {
				case <-ctx.Done():
					return
				case <-time.After(wait):
				}
			}
		}
	}
}

// packNext packs one session in a job slot that nobody else wants. It says how long to wait before the next, and whether there may be one.
func (s *server) packNext(ctx context.Context) (wait time.Duration, more bool) {
	leave, ok := s.queue.trySpare()
	if !ok {
		return packRetry, true
	}
	defer leave()
	return s.packIdlest(ctx)
}

// giveUp ends a request's place in the queue. Where packSessions does not keep up because no slot is ever free, the request's own slot
// packs one session more, after its answer: so callers who make sessions faster than they can be packed are slowed down, and nobody else.
func (s *server) giveUp(t *ticket) {
	if !t.hasSlot() || !s.sessions.overcrowded() {
		t.leave()
		return
	}
	go func() {
		defer t.leave()
		ctx, cancel := context.WithTimeout(context.Background(), packTime)
		defer cancel()
		s.packIdlest(ctx)
	}()
}

// packIdlest packs one session; its caller has a job slot.
func (s *server) packIdlest(ctx context.Context) (wait time.Duration, more bool) {
	session := s.sessions.acquireIdlest()
	if session == nil {
		return 0, false
	}
	defer s.sessions.release(session)
	out, err := s.tarOf(ctx, session)
	if err != nil {
		wait = packPause
	} else if err = notWhole(out); err == nil {
		s.sessions.packed(session, out.packed)
		s.packer.packs.Add(1)
		return 0, true
	}
	s.sessions.unpacked(session, out == nil && passing(err))
	s.packer.failures.Add(1)
	s.log.Debug("a workspace is not packed", "err", err)
	return wait, true
}

// passing says that an error of runJob is not the session's doing: sandboxd is away, or another version for a moment, or has no room. It has none, too, while
// all volumes hold max_volume_bytes: were sessions given up then, they would stay mounted when there is room again.
func passing(err error) bool {
	var theirs *wire.Error
	if !errors.As(err, &theirs) {
		return true
	}
	return theirs.Code == wire.CodeNotBegun || theirs.Code == wire.CodeOverloaded || theirs.Code == wire.CodeInvalid
}

func (s *server) tarOf(ctx context.Context, session *session) (*jobOutput, error) {
	in, err := s.toolJob("apid pack", tarWall, packedTar, packTar...)
	if err != nil {
		return nil, err
	}
	in.job.Workspace = wire.Volume{ID: volumeName(session.volume)}
	in.packer = &s.packer
	return s.runJob(ctx, in)
}

// notWhole is why an archive cannot stand for the workspace. tar mentions some things that it leaves out and still exits with 0.
func notWhole(out *jobOutput) error {
	switch err := out.toolError(); {
	case err != nil:
		return err
	case out.stdout.over():
		return fmt.Errorf("the archive has more than %d bytes", packedTar)
	case len(out.packed) > packBytes: // names of many links: it would count for more than now
		return fmt.Errorf("the archive has %d bytes compressed", len(out.packed))
	case out.stderr.total > 0:
		return fmt.Errorf("tar said %q", out.stderr.data)
	}
	archive, err := decompress(out.packed)
	if err == nil && hasLongPath(archive) {
		err = fmt.Errorf("a path has %d bytes or more, and could not be made again", longPath)
	}
	return err
}

// longPath is from how many bytes on a path, with ./ before it, is one that our tools cannot open: PATH_MAX is 4096, and /build may stand before it.
// A program that makes folders below each other, and goes into each, can make one.
const longPath = 4000

// hasLongPath looks for such paths in an archive: tar writes them, and could not make them again. Each has a record "4021 path=./..." with its own length
// (pax(1)). A file that holds such a text passes for one, and its session stays mounted, which is never wrong.
func hasLongPath(archive []byte) bool {
	mark := []byte(" path=")
	for {
		at := bytes.Index(archive, mark)
		if at < 0 {
			return false
		}
		digits := at
		for digits > 0 && at-digits < 9 && '0' <= archive[digits-1] && archive[digits-1] <= '9' {
			digits--
		}
		if n, err := strconv.Atoi(string(archive[digits:at])); err == nil && n-(at-digits)-len(mark)-len("\n") >= longPath {
			return true
		}
		archive = archive[at+len(mark):]
	}
}

// compressor compresses an archive while it is made, so that the tar is never in memory as a whole. S2 takes a third to a ninth of the time of
// flate's quickest, and 370 bytes where that takes 300 for three small files.
type compressor struct {
	packer *packer
	packed bytes.Buffer
	writer *s2.Writer
}

func (p *packer) begin() *compressor {
	z := &compressor{packer: p}
	if z.writer, _ = p.writers.Get().(*s2.Writer); z.writer == nil {
		z.writer = s2.NewWriter(nil, s2.WriterConcurrency(1), s2.WriterBlockSize(pipeBuffer))
	}
	z.writer.Reset(&z.packed)
	return z
}

func (z *compressor) write(data []byte) { z.writer.Write(data) } // to a Buffer, which takes everything

// end makes an allocation of just the size of what it returns. Nothing may be written after it.
func (z *compressor) end() []byte {
	z.writer.Close()
	z.writer.Reset(io.Discard) // the pool must not keep what it wrote
	z.packer.writers.Put(z.writer)
	return bytes.Clone(z.packed.Bytes())
}

// decompress reads what a compressor wrote.
func decompress(packed []byte) ([]byte, error) {
	return io.ReadAll(s2.NewReader(bytes.NewReader(packed), s2.ReaderMaxBlockSize(pipeBuffer)))
}
