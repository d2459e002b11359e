package wire

import (
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// openFiles counts this process's descriptors.
func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// FuzzPacket sends the root daemon packets with descriptors beside them, in any number and any arrangement of control messages. What is not taken is closed.
func FuzzPacket(f *testing.F) {
	f.Add([]byte(`{"status":{}}`), []byte{0})
	f.Add([]byte(`{"status":{}}`), []byte{2, 3})
	f.Add([]byte(`{"x"`), []byte{5})
	f.Add([]byte(`{"status":{}}`), []byte{6})
	f.Add([]byte(`{"status":{}}`), []byte{21, 1})
	f.Add([]byte{}, []byte{253})
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		f.Fatal(err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		f.Fatal(err)
	}
	accepted := os.NewFile(uintptr(pair[1]), "accepted")
	fc, err := net.FileConn(accepted)
	if err != nil {
		f.Fatal(err)
	}
	accepted.Close()
	conn := NewConn(fc.(*net.UnixConn))
	f.Fuzz(func(t *testing.T, body, messages []byte) {
		var oob []byte
		sent := 0
		for _, number := range messages { // of descriptors in one control message; the kernel takes 253 together
			if number > 0 && sent+int(number) <= 253 {
				sent += int(number)
				fds := make([]int, number)
				for i := range fds {
					fds[i] = int(null.Fd())
				}
				oob = append(oob, unix.UnixRights(fds...)...)
			}
		}
		if len(body) > MaxPacket+1 {
			body = body[:MaxPacket+1]
		}
		if len(body) == 0 && len(oob) == 0 || unix.Sendmsg(pair[0], body, oob, nil, 0) != nil {
			return // nothing has come
		}
		before := openFiles(t)
		var r Request
		files, err := conn.Recv(&r)
		switch {
		case err != nil && files != nil:
			t.Fatalf("%d descriptors beside %v", len(files), err)
		case len(files) > MaxFds:
			t.Fatalf("%d descriptors are taken", len(files))
		case err == nil && len(files) != sent:
			t.Fatalf("%d descriptors came of %d", len(files), sent)
		}
		for _, file := range files {
			if flags, err := unix.FcntlInt(file.Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
				t.Fatalf("a program would inherit it: %v", err)
			}
		}
		CloseAll(files)
		if after := openFiles(t); after > before {
			t.Fatalf("%d descriptors are open, %d were", after, before)
		}
	})
}
