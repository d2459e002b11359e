package seccomp

import (
	"path/filepath"
	"strings"
	"testing"

	libseccomp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"
)

// memory is that of a caller: what lies at 0x1000, up to its end.
func memory(contents string) func(uint64, []byte) int {
	return func(address uint64, into []byte) int {
		if address < 0x1000 || address >= 0x1000+uint64(len(contents)) {
			return 0
		}
		return copy(into, contents[address-0x1000:])
	}
}

// What a profile on trial might deny is decoded: every call that a profile of ours allows.
func TestAllowedCallsHaveSignatures(t *testing.T) {
	paths, err := filepath.Glob("../../seccomp-profiles/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatal("no profiles", err)
	}
	for _, path := range paths {
		p, err := Read(path)
		if err != nil {
			t.Fatal(err)
		}
		for name := range p.Grants() {
			if _, ok := signatures[name]; !ok {
				t.Errorf("%s: %s has no signature", path, name)
			}
		}
	}
}

func TestDescribe(t *testing.T) {
	long := strings.Repeat("a", 100) + "\x00"
	for name, c := range map[string]struct {
		number int
		args   [6]uint64
		memory string
		want   string
	}{
		"path":                   {unix.SYS_CHROOT, [6]uint64{0x1000}, "/tmp\x00rest", `"/tmp"`},
		"path that is no text":   {unix.SYS_CHROOT, [6]uint64{0x1000}, "/\xff\n\"\x1b\x00", `"/\xff\n\"\x1b"`},
		"long path":              {unix.SYS_CHROOT, [6]uint64{0x1000}, long, `"` + long[:64] + `"...`},
		"path over two pages":    {unix.SYS_CHROOT, [6]uint64{0x1ffe}, strings.Repeat(".", 4094) + "/home\x00", `"/home"`},
		"path into the void":     {unix.SYS_CHROOT, [6]uint64{0x9000}, "", "EFAULT"},
		"path that ends nowhere": {unix.SYS_CHROOT, [6]uint64{0x1000}, "/tm", `"/tm"...`},
		"no path":                {unix.SYS_CHROOT, [6]uint64{}, "", "NULL"},
		"socket":                 {unix.SYS_SOCKET, [6]uint64{40, 1 | unix.SOCK_CLOEXEC, 0}, "", "AF_VSOCK, SOCK_STREAM, 0"},
		"socket of a number":     {unix.SYS_SOCKET, [6]uint64{45 | 7<<32, 9, 3}, "", "45, 9, 3"},
		"flags":                  {unix.SYS_UNSHARE, [6]uint64{unix.CLONE_NEWUSER | unix.CLONE_NEWNET | 1}, "", "CLONE_NEWUSER|CLONE_NEWNET|0x1"},
		"no flags":               {unix.SYS_UNSHARE, [6]uint64{}, "", "0x0"},
		"descriptor":             {unix.SYS_NAME_TO_HANDLE_AT, [6]uint64{1<<64 - 100, 0x1000, 1, 0, 16}, "x\x00", `AT_FDCWD, "x", &, NULL, 0x10`},
		"not in the table":       {unix.SYS_LOOKUP_DCOOKIE, [6]uint64{1, 2, 3, 4, 5, 6}, "", "0x1, 0x2, 0x3, 0x4, 0x5, 0x6"},
		"no name":                {5000, [6]uint64{1}, "", "number 5000, 0x1, 0x0, 0x0, 0x0, 0x0, 0x0"},
	} {
		call := &Call{number: libseccomp.ScmpSyscall(c.number), args: c.args}
		if got := call.describe(memory(c.memory)); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// Whatever a caller has in its registers and its memory, the text is short and printable.
func FuzzDescribe(f *testing.F) {
	f.Add(int32(unix.SYS_MOUNT), uint64(0x1000), uint64(0x1001), uint64(0x1fff), uint64(7), uint64(0x1003), "proc\x00\xff\x1b[31m\u202e")
	f.Add(int32(-1), uint64(1<<64-1), uint64(0), uint64(1<<63), uint64(40), uint64(3), "")
	f.Fuzz(func(t *testing.T, nr int32, a, b, c, d, e uint64, contents string) {
		call := &Call{number: libseccomp.ScmpSyscall(nr), args: [6]uint64{a, b, c, d, e, a}}
		text := call.describe(memory(contents))
		if len(text) > MaxText {
			t.Errorf("%d bytes", len(text))
		}
		for _, r := range text {
			if r < ' ' || r > '~' {
				t.Fatalf("%q holds %U", text, r)
			}
		}
	})
}
