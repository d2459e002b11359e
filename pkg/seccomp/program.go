package seccomp

import (
	"encoding/binary"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

const (
	instruction = 8    // bytes of a struct sock_filter: code uint16, jt and jf uint8, k uint32
	maxProgram  = 4096 // instructions: BPF_MAXINSNS
)

// verdict interprets a program, as far as libseccomp uses the machine, on a call of x86-64, as the kernel does: the action and its data.
func verdict(program []byte, number uint32, args [6]uint64) (uint32, error) {
	e := binary.NativeEndian
	data := e.AppendUint32(nil, number) // struct seccomp_data
	data = e.AppendUint32(data, unix.AUDIT_ARCH_X86_64)
	data = e.AppendUint64(data, 0) // where the call was made: libseccomp does not look
	for _, a := range args {
		data = e.AppendUint64(data, a)
	}
	var acc uint32
	for pc := 0; pc < len(program)/instruction; pc++ {
		ins := program[pc*instruction:]
		code, yes, no, k := e.Uint16(ins), int(ins[2]), int(ins[3]), e.Uint32(ins[4:])
		jump := func(cond bool) {
			if cond {
				pc += yes
			} else {
				pc += no
			}
		}
		switch code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			if k > uint32(len(data)-4) {
				return 0, fmt.Errorf("instruction %d: loads from %d", pc, k)
			}
			acc = e.Uint32(data[k:])
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			acc &= k
		case unix.BPF_JMP | unix.BPF_JA:
			pc += int(k)
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			jump(acc == k)
		case unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K:
			jump(acc > k)
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			jump(acc >= k)
		case unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			jump(acc&k != 0)
		case unix.BPF_RET | unix.BPF_K:
			return k, nil
		default:
			return 0, fmt.Errorf("instruction %d: unknown code %#x", pc, code)
		}
	}
	return 0, fmt.Errorf("no verdict after %d instructions", len(program)/instruction)
}

// follow makes one program of two: what the first allows is put to the second. Whatever else the first says is final, for the second is not
// reached then.
func follow(first, second []byte) ([]byte, error) {
	if n := (len(first) + len(second)) / instruction; n > maxProgram {
		return nil, fmt.Errorf("%d instructions in both programs, the kernel takes %d: shorten the profiles", n, maxProgram)
	}
	e := binary.NativeEndian
	both := slices.Clone(first)
	for at := 0; at < len(both); at += instruction {
		if e.Uint16(both[at:]) == unix.BPF_RET|unix.BPF_K && e.Uint32(both[at+4:]) == unix.SECCOMP_RET_ALLOW {
			e.PutUint16(both[at:], unix.BPF_JMP|unix.BPF_JA)
			e.PutUint32(both[at+4:], uint32((len(first)-at)/instruction-1))
		}
	}
	return append(both, second...), nil
}
