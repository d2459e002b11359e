package main

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/wire"
)

// FuzzSortFiles gives jobs descriptors of every kind. What a program gets as its streams is a pipe or a plain file, each in the place that the job names.
func FuzzSortFiles(f *testing.F) {
	f.Add(byte(0), "pp")
	f.Add(byte(7), "ppfff")
	f.Add(byte(8), "")
	f.Add(byte(1), "pps")
	f.Add(byte(0), "dp")
	kinds := map[rune]func() (int, error){
		'p': func() (int, error) {
			var pair [2]int
			err := unix.Pipe2(pair[:], unix.O_CLOEXEC)
			unix.Close(pair[1])
			return pair[0], err
		},
		'f': func() (int, error) { return unix.MemfdCreate("f", unix.MFD_CLOEXEC) },
		'd': func() (int, error) { return unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0) },
		'D': func() (int, error) { return unix.Open("/", unix.O_DIRECTORY|unix.O_CLOEXEC, 0) },
		'n': func() (int, error) { return unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0) },
		's': func() (int, error) { return unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0) },
		'e': func() (int, error) { return unix.Eventfd(0, unix.EFD_CLOEXEC) },
	}
	f.Fuzz(func(t *testing.T, flags byte, sent string) {
		job := &wire.Job{HasStdin: flags&1 != 0, HasFiles: flags&2 != 0, HasEnviron: flags&4 != 0}
		if flags&8 != 0 {
			job.Terminal = &wire.Terminal{Cols: 80, Rows: 24}
		}
		var files []*os.File
		for _, kind := range sent {
			if open := kinds[kind]; open != nil && len(files) < wire.MaxFds {
				fd, err := open()
				if err != nil {
					t.Fatal(err)
				}
				files = append(files, os.NewFile(uintptr(fd), string(kind)))
			}
		}
		defer wire.CloseAll(files)
		got, err := sortFiles(job, files)
		if err != nil {
			wantCode(t, err, wire.CodeInvalid) // it breaks the contract
			return
		}
		if len(files) != job.Fds() || (got.stdin != nil) != job.HasStdin || (got.contents != nil) != job.HasFiles || (got.environ != nil) != job.HasEnviron || (got.stdout != nil) != (job.Terminal == nil) {
			t.Fatalf("%+v gets %+v of %d", job, got, len(files))
		}
		used := map[*os.File]bool{}
		for _, file := range []*os.File{got.stdout, got.stderr, got.stdin, got.contents, got.environ} {
			if file != nil && used[file] {
				t.Fatalf("%s is used twice", file.Name())
			}
			used[file] = true
		}
		for _, stream := range []*os.File{got.stdout, got.stderr, got.stdin} {
			if stream != nil && stream.Name() != "p" && stream.Name() != "f" {
				t.Fatalf("the program gets a descriptor of kind %s", stream.Name())
			}
		}
	})
}

// What fails with us is tried again. A client that is told that its job breaks the contract takes us for another version, and its operator for one who has to act.
func TestDescriptorsThatCannotBeAsked(t *testing.T) {
	var files []*os.File
	for range 2 {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		files = append(files, w)
	}
	defer files[0].Close()
	files[1].Close()
	_, err := sortFiles(&wire.Job{}, files)
	wantCode(t, err, wire.CodeNotBegun)
}
