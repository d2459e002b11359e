package jail

import (
	"fmt"
	"iter"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Modes of what is placed.
const (
	fileMode   = 0o644
	folderMode = 0o755
)

// placeFiles adds the steps that make each file and the folders above it. It stops where they no longer fit a packet: each folder costs the names of all
// above it, so that a few names that fit the packet they came in could have us hold a hundred times as much.
func placeFiles(p *plan, job *Job) error {
	made := map[string]bool{}
	var offset int64
	for i, f := range job.Files {
		for folder := range foldersAbove(f.Name) {
			if !made[folder] {
				made[folder] = true
				above, name := splitPath(folder)
				p.add(step{op: opFolder, s1: cstring(above), s2: cstring(name), a: folderMode, what: "mkdir " + folder, stage: StageFile, file: i + 1})
			}
		}
		above, name := splitPath(f.Name)
		p.add(step{op: opFile, fd: job.Contents, s1: cstring(above), s2: cstring(name), a: fileMode, b: uint64(offset), c: uint64(f.Size),
			what: "place " + f.Name, stage: StageFile, file: i + 1})
		offset += f.Size
		if p.size > maxPacket {
			return fmt.Errorf("%w: the steps of %d files of %d, at most %d bytes", ErrTooLarge, i+1, len(job.Files), maxPacket)
		}
	}
	return nil
}

// splitPath cuts "a/b/c" into "a/b" and "c"; the folder above "c" is ".".
func splitPath(name string) (above, last string) {
	if at := strings.LastIndexByte(name, '/'); at >= 0 {
		return name[:at], name[at+1:]
	}
	return ".", name
}

// foldersAbove yields "a" and "a/b" for "a/b/c".
func foldersAbove(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for at, c := range name {
			if c == '/' && !yield(name[:at]) {
				return
			}
		}
	}
}

// compareFiles adds the steps that compare the workspace with what placeFiles made. Every file and folder is looked at, and as many inodes
// are in use: so there is nothing else.
func compareFiles(p *plan, job *Job) {
	seen := map[string]bool{}
	look := func(name string, mode uint64, offset, size int64, contents *os.File) {
		if !seen[name] {
			seen[name] = true
			p.add(step{op: opSame, fd: contents, s1: cstring(name), a: mode, b: uint64(offset), c: uint64(size), what: "compare " + name})
		}
	}
	look(".", unix.S_IFDIR|folderMode, 0, 0, nil) // PID 1 is in WorkDir, and may look at nothing above it
	var offset int64
	for _, f := range job.Files {
		for folder := range foldersAbove(f.Name) {
			look(folder, unix.S_IFDIR|folderMode, 0, 0, nil)
		}
		look(f.Name, unix.S_IFREG|fileMode, offset, f.Size, job.Contents)
		offset += f.Size
	}
	p.add(step{op: opCount, a: uint64(len(seen)), b: replySame, s1: cstring("."), what: "count inodes"})
}
