package jail

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A plan is the list of steps of one packet, with the descriptors they use and the words for their errors.
type plan struct {
	steps []step
	size  int // bytes of the packet, about
}

// step mirrors struct zygote_step; s1 and s2 are the bytes that its offsets will point to.
type step struct {
	op      uint32
	fd      *os.File
	a, b, c uint64
	s1, s2  []byte
	relayed []*os.File // with opRelay: the socket, and the descriptors of the packet in s1
	what    string     // "mount proc on /proc": the beginning of the error
	stage   Stage      // likewise
	file    int        // with StageFile: 1 + index of the job's file, else 0
}

func (p *plan) add(s step) {
	p.steps = append(p.steps, s)
	p.size += sizeofStep + len(s.s1) + len(s.s2)
}

// cstring ends s as C wants it. Callers have refused NUL bytes (pkg/wire for whatever a user sends).
func cstring(s string) []byte { return append([]byte(s), 0) }

func (p *plan) spawn(control *os.File, flags uint64) {
	p.add(step{op: opSpawn, fd: control, a: flags, what: "clone"})
}

func (p *plan) setns(ns *os.File, kind uint64) {
	p.add(step{op: opSetns, fd: ns, a: kind, what: "join network namespace"})
}

func (p *plan) setIDs(gid, uid uint64) {
	p.add(step{op: opSetIDs, a: gid, b: uid, what: fmt.Sprintf("become uid %d", uid)})
}

func (p *plan) effectiveUID(uid uint32) {
	p.add(step{op: opEUID, a: uint64(uid), what: fmt.Sprintf("take effective uid %d", uid)})
}

func (p *plan) caps(mask uint64) {
	p.add(step{op: opCaps, a: mask, what: "set capabilities"})
}

// restCaps gives the capabilities of mask up until p.caps takes them again.
func (p *plan) restCaps(mask uint64) {
	p.add(step{op: opCaps, b: mask, what: "rest capabilities"})
}

func (p *plan) filter(bpf []byte, flags uint64) {
	p.add(step{op: opFilter, a: uint64(len(bpf)), b: flags, s1: bpf, what: "load seccomp filter"})
}

func (p *plan) mount(kind, path string, flags uint64, options string) {
	// The options ride behind the path: zygote.h has two strings a step, and b is the offset of the third.
	p.add(step{op: opMount, a: flags, s1: cstring(kind), s2: append(cstring(path), cstring(options)...), b: uint64(len(path) + 1),
		what: "mount " + kind + " on " + path})
}

func (p *plan) attach(mount *os.File, path string) {
	p.add(step{op: opAttach, fd: mount, s1: cstring(path), what: "attach " + path})
}

func (p *plan) workDir() {
	p.add(step{op: opChdir, s1: cstring(WorkDir), what: "chdir " + WorkDir, stage: StageWorkDir})
}

// relay makes PID 1 send another plan to the runner whose control socket this is our end of.
func (p *plan) relay(to *control, other *plan) error {
	packet, files, err := other.encode()
	if err != nil {
		return err
	}
	p.add(step{op: opRelay, a: uint64(len(packet)), s1: packet, c: uint64(len(files)), relayed: append([]*os.File{to.file}, files...), what: "start the runner"})
	return nil
}

func (p *plan) simple(op uint32, arg, what string) {
	p.add(step{op: op, s1: cstring(arg), what: what})
}

// encode lays the plan out as zygote.h defines it.
func (p *plan) encode() (packet []byte, files []*os.File, err error) {
	offset := sizeofPacket + sizeofStep*len(p.steps)
	head := make([]byte, 0, offset)
	head = binary.NativeEndian.AppendUint32(head, uint32(len(p.steps)))
	head = binary.NativeEndian.AppendUint32(head, 0)
	data := make([]byte, 0, p.size)
	align := func() {
		for (offset+len(data))%8 != 0 {
			data = append(data, 0)
		}
	}
	index := map[*os.File]uint32{}
	for _, s := range p.steps {
		var fd uint32
		if s.fd != nil {
			var known bool
			if fd, known = index[s.fd]; !known {
				fd = uint32(len(files))
				index[s.fd] = fd
				files = append(files, s.fd)
			}
		}
		if len(s.relayed) > 0 {
			fd = uint32(len(files)) // one after the other, so they are not shared with other steps
			files = append(files, s.relayed...)
		}
		align() // struct sock_filter must be aligned
		s1 := offset + len(data)
		data = append(data, s.s1...)
		s2 := offset + len(data)
		data = append(data, s.s2...)
		b := s.b
		if s.op == opMount {
			b += uint64(s2)
		}
		head = binary.NativeEndian.AppendUint32(head, s.op)
		head = binary.NativeEndian.AppendUint32(head, fd)
		head = binary.NativeEndian.AppendUint64(head, s.a)
		head = binary.NativeEndian.AppendUint64(head, b)
		head = binary.NativeEndian.AppendUint64(head, s.c)
		head = binary.NativeEndian.AppendUint32(head, uint32(s1))
		head = binary.NativeEndian.AppendUint32(head, uint32(s2))
	}
	packet = append(head, data...)
	if len(packet) > maxPacket || len(files) > maxFds {
		return nil, nil, fmt.Errorf("%w: %d bytes and %d descriptors of steps, at most %d and %d", ErrTooLarge, len(packet), len(files), maxPacket, maxFds)
	}
	binary.NativeEndian.PutUint32(packet[4:], uint32(len(packet)))
	return packet, files, nil
}

// ErrTooLarge is a job whose file names, with every folder above a file, and words do not fit one packet together.
var ErrTooLarge = errors.New("too large")

// reply mirrors struct zygote_reply, and what of struct rusage may follow it.
type reply struct {
	index  uint32
	errno  unix.Errno
	pid    int32 // of who was spawned, in the PID namespace of who spawned it
	sender int32 // in our PID namespace, says the kernel; 0: the socket passes no credentials
	status unix.WaitStatus
	ns     uint64
	same   bool
	empty  bool

	switches, faults uint64
}

func decodeReply(b []byte) (reply, error) {
	if len(b) != sizeofReply && len(b) != sizeofReply+sizeofRusage {
		return reply{}, fmt.Errorf("reply of %d bytes, want %d or %d", len(b), sizeofReply, sizeofReply+sizeofRusage)
	}
	e := binary.NativeEndian
	r := reply{
		index:  e.Uint32(b),
		errno:  unix.Errno(e.Uint32(b[4:])),
		pid:    int32(e.Uint32(b[8:])),
		status: unix.WaitStatus(e.Uint32(b[12:])),
		ns:     e.Uint64(b[16:]),
		same:   e.Uint64(b[24:])&replySame != 0,
		empty:  e.Uint64(b[24:])&replyEmpty != 0,
	}
	if len(b) > sizeofReply {
		r.faults, r.switches = e.Uint64(b[offsetFaults:]), e.Uint64(b[offsetSwitches:])
	}
	return r, nil
}

// Stage is what a step is for, where it matters to the caller whose fault a failure is.
type Stage int

const (
	StageSetup   Stage = iota // whatever is none of the others
	StageFile                 // places StepError.File
	StageWorkDir              // goes to WorkDir, which an earlier job with the same workspace may have closed
	StageExec                 // starts the program
	StageWait                 // waits for the program, which may have begun
)

// StepError is a step that failed inside a jail.
type StepError struct {
	Step  string     // what was being done: "mount proc on /proc"; for people
	Stage Stage      // the same for programs
	File  int        // index of the job's file that was being placed, else -1
	Errno unix.Errno // why
}

func (e *StepError) Error() string { return "jail: " + e.Step + ": " + e.Errno.Error() }
func (e *StepError) Unwrap() error { return e.Errno }

// result turns a reply to this plan into an error.
func (p *plan) result(r reply) error {
	switch {
	case r.errno == 0:
		return nil
	case int(r.index) >= len(p.steps):
		return fmt.Errorf("jail: internal error: step %d of %d failed: %w", r.index, len(p.steps), r.errno)
	}
	s := p.steps[r.index]
	return &StepError{Step: s.what, Stage: s.stage, File: s.file - 1, Errno: r.errno}
}
