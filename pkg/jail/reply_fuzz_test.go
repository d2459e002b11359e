package jail

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// FuzzReply has a jail answer what it likes, descriptors beside it. What is taken has the size of a reply, and no more than one descriptor stays open.
func FuzzReply(f *testing.F) {
	f.Add(make([]byte, sizeofReply), uint8(1))
	f.Add(make([]byte, sizeofReply+sizeofRusage), uint8(0))
	f.Add(make([]byte, sizeofReply+1), uint8(1))
	f.Add([]byte{}, uint8(3))
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		f.Fatal(err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		f.Fatal(err)
	}
	c := &control{file: os.NewFile(uintptr(pair[1]), "control")}
	if err := c.passCredentials(); err != nil {
		f.Fatal(err)
	}
	count := func(t *testing.T) int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	f.Fuzz(func(t *testing.T, body []byte, descriptors uint8) {
		var oob []byte
		if descriptors %= 32; descriptors > 0 {
			fds := make([]int, descriptors)
			for i := range fds {
				fds[i] = int(null.Fd())
			}
			oob = unix.UnixRights(fds...)
		}
		if len(body) > 1<<16 || unix.Sendmsg(pair[0], body, oob, nil, 0) != nil {
			return
		}
		before := count(t)
		r, extra, err := c.receive()
		if whole := len(body) == sizeofReply || len(body) == sizeofReply+sizeofRusage; err == nil && !whole {
			t.Fatalf("%d bytes are a reply: %+v", len(body), r)
		}
		if err == nil && int(r.sender) != os.Getpid() {
			t.Fatalf("its sender is %d, whatever the kernel says", r.sender)
		}
		if extra != nil {
			extra.Close()
		}
		if after := count(t); after > before {
			t.Fatalf("%d descriptors are open, %d were", after, before)
		}
		(&plan{steps: make([]step, 3)}).result(r) // whatever step it names
	})
}
