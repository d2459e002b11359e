package main

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// capture is what a program wrote to one stream.
type capture struct {
	limit int64
	data  []byte // at most limit bytes
	total int64  // bytes written, as far as they were read

	packing *compressor // if not nil, has them instead of data
}

func (c *capture) over() bool { return c.total > c.limit }

// pipeBuffer is the size of a pipe: more cannot be there to read.
const pipeBuffer = 64 << 10

var readBuffers = sync.Pool{New: func() any { return new([pipeBuffer]byte) }}

// readAll reads until every writer has closed its end, or the deadline of r. What is past the limit is read and dropped, so that the
// program meets the kill it has earned and not a full pipe; onOver is called once, when the first byte of it arrives. onData is told of what is kept.
func (c *capture) readAll(r *os.File, onOver func(), onData func([]byte)) error {
	buf := readBuffers.Get().(*[pipeBuffer]byte)
	used := 0
	defer func() {
		clear(buf[:used]) // one caller's output must not lie about in another's buffer
		readBuffers.Put(buf)
	}()
	for {
		n, err := r.Read(buf[:])
		used = max(used, n)
		if room := c.limit - c.total; room > 0 && n > 0 {
			kept := buf[:min(int64(n), room)]
			if c.packing != nil {
				c.packing.write(kept)
			} else {
				c.data = append(c.data, kept...)
			}
			onData(kept)
		}
		before := c.total
		c.total += int64(n)
		if before <= c.limit && c.over() {
			onOver()
		}
		if err == io.EOF || errors.Is(err, unix.EIO) { // EIO: nobody has the terminal any more
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// streams are the two pipes of a job.
type streams struct {
	stdout, stderr   capture
	readers, writers [2]*os.File
	done             sync.WaitGroup
	errs             [2]error
}

// openStreams makes the pipes and begins to read. onOver is told which stream went past the limit: 0 stdout, 1 stderr; onOutput, which may be
// nil, of all that is kept. packing, if not nil, has stdout.
func openStreams(limit int64, packing *compressor, onOver func(stream int), onOutput func(stream int, data []byte)) (*streams, error) {
	if onOutput == nil {
		onOutput = func(int, []byte) {}
	}
	s := &streams{stdout: capture{limit: limit, packing: packing}, stderr: capture{limit: limit}}
	for i := range s.readers {
		r, w, err := outputPipe()
		if err != nil {
			s.abort()
			return nil, err
		}
		s.readers[i], s.writers[i] = r, w
	}
	for i, c := range []*capture{&s.stdout, &s.stderr} {
		s.done.Go(func() {
			s.errs[i] = c.readAll(s.readers[i], func() { onOver(i) }, func(data []byte) { onOutput(i, data) })
		})
	}
	return s, nil
}

// eofGrace is how long after the end of a job its pipes may stay open. Everything in the jail is dead by then, and only a descriptor
// that sandboxd has not closed yet could hold them.
const eofGrace = 5 * time.Second

// finish waits until everything that was written has been read.
func (s *streams) finish() error {
	for i := range s.writers {
		s.writers[i].Close()
		s.readers[i].SetReadDeadline(time.Now().Add(eofGrace))
	}
	s.done.Wait()
	for i := range s.readers {
		s.readers[i].Close()
	}
	if s.errs[0] != nil {
		return s.errs[0]
	}
	return s.errs[1]
}

// abort gives up what was written.
func (s *streams) abort() {
	for i := range s.readers {
		if s.readers[i] != nil {
			s.writers[i].Close()
			s.readers[i].Close()
		}
	}
	s.done.Wait()
}
