package main

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/runtools/runtools/pkg/wire"
)

// jobInput is a job and the bytes that travel beside it.
type jobInput struct {
	job         *wire.Job
	stdin       []byte
	files       []requestFile // contents of job.Files
	keepEnviron bool
	outputLimit int64
	console     *console                      // if not nil, where stdin comes from
	packer      *packer                       // if not nil, compresses stdout as it comes, into jobOutput.packed
	onOutput    func(stream int, data []byte) // if not nil, told what the program writes, 0 stdout, 1 stderr: up to outputLimit, from two goroutines
}

// jobOutput is what a program did, as sandboxd and the pipes tell it.
type jobOutput struct {
	result         *wire.Result
	stdout, stderr capture
	packed         []byte        // stdout, if it was to be packed
	environ        []byte        // nil unless it was asked for and the program left one
	environSize    int64         // of what the program left, however much was read
	collect        time.Duration // from the result to the last byte
}

// runJob has sandboxd carry out one job.
func (s *server) runJob(ctx context.Context, in jobInput) (*jobOutput, error) {
	if in.job.Terminal != nil {
		return s.runTerminal(ctx, in)
	}
	kill := make(chan wire.Kill, 1)
	limits := [2]string{wire.LimitStdout, wire.LimitStderr}
	var packing *compressor
	if in.packer != nil {
		packing = in.packer.begin()
	}
	pipes, err := openStreams(in.outputLimit, packing, func(stream int) {
		select {
		case kill <- wire.Kill{Limit: limits[stream]}:
		default: // the other stream was first
		}
	}, in.onOutput)
	if err != nil {
		return nil, err
	}
	fds, environ, err := in.descriptors(pipes.writers[:])
	defer wire.CloseAll(fds[2:])
	if err != nil {
		pipes.abort()
		return nil, err
	}
	live := wire.Live{Kill: kill}
	if in.console != nil {
		in.job.Signals, live.Signals = true, in.console.signals
	}
	result, err := s.sandbox.RunLive(ctx, in.job, &live, fds...)
	if in.console != nil {
		in.console.jobEnded(err)
	}
	if err != nil {
		pipes.abort()
		return nil, err
	}
	ended := time.Now()
	if err := pipes.finish(); err != nil {
		// The answer has what was read. It is sandboxd that must not keep a pipe open.
		s.log.Error("output of a job did not end", "template", in.job.Template, "err", err)
	}
	out := &jobOutput{result: result, stdout: pipes.stdout, stderr: pipes.stderr}
	if packing != nil {
		out.packed = packing.end()
	}
	if environ != nil {
		if err := out.readEnviron(environ); err != nil {
			return nil, err
		}
	}
	out.collect = time.Since(ended)
	return out, nil
}

// descriptors makes what the flags of the job announce, in the order of the contract. The writers come first; the rest is the
// caller's to close, also when there is an error.
func (in *jobInput) descriptors(writers []*os.File) (fds []*os.File, environ *os.File, err error) {
	fds = append(fds, writers...)
	if in.job.HasStdin = (len(in.stdin) > 0 || in.console != nil) && in.job.Terminal == nil; in.job.HasStdin {
		f, err := in.openStdin()
		if err != nil {
			return fds, nil, err
		}
		fds = append(fds, f)
	}
	if in.job.HasFiles = len(in.files) > 0; in.job.HasFiles {
		contents := make([][]byte, len(in.files))
		for i := range in.files {
			contents[i] = in.files[i].content
		}
		f, err := readOnlyMemfd("files", contents...)
		if err != nil {
			return fds, nil, err
		}
		fds = append(fds, f)
	}
	if in.job.HasEnviron = in.keepEnviron; in.job.HasEnviron {
		if environ, err = emptyMemfd("environ"); err != nil {
			return fds, nil, err
		}
		fds = append(fds, environ)
	}
	return fds, environ, nil
}

func (in *jobInput) openStdin() (*os.File, error) {
	if in.console != nil {
		return in.console.open()
	}
	return readOnlyMemfd("stdin", in.stdin)
}

// readEnviron reads what foreign code left, up to a bound.
func (out *jobOutput) readEnviron(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	out.environSize = info.Size()
	if out.environSize == 0 || out.environSize > maxEnviron {
		return nil
	}
	// At an offset of our own: whoever wrote it has moved the one we share.
	out.environ, err = io.ReadAll(io.NewSectionReader(f, 0, maxEnviron))
	return err
}
