package runtools

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// opens are the calls by which code of sandboxd, which is root, opens, asks for, mounts or changes something by its path: how many a file has, and why nothing that
// foreign code could have placed is among them (CVE-2024-28185, CVE-2024-28189). A new one is a decision.
var opens = map[string]struct {
	calls  int
	reason string
}{
	"pkg/cgroup/cgroup.go":        {11, "cgroup files, which the kernel names"},
	"pkg/cgroup/details.go":       {1, "cgroup files, which the kernel names"},
	"pkg/cgroup/v1.go":            {5, "cgroup files, which the kernel names"},
	"pkg/cgroup/v2.go":            {4, "cgroup files, which the kernel names"},
	"pkg/jail/binary.go":          {1, "/proc/self/exe"},
	"pkg/jail/jail.go":            {1, "/proc of a runner, by its number"},
	"pkg/jail/mount.go":           {4, "image, mirror, devices and roots of volumes, by names of ours, the last part no link; else mounts without a path"},
	"pkg/jail/netns.go":           {1, "/proc/sys"},
	"pkg/jail/scratch.go":         {2, "the root of a parked runner, and openat2 below it, through no link"},
	"pkg/jail/spawner.go":         {5, "/proc, /dev/null, and a descriptor of our own binary"},
	"pkg/jail/zygote.c":           {27, "before a job: the image's folders, which are read-only; with one: its workspace, below it and through no magic link, with the jail's own rights"},
	"pkg/seccomp/profile.go":      {1, "the operator's folder of profiles"},
	"pkg/seccomp/use.go":          {3, "the folder of seccomp record, which the operator named, by names of languages"},
	"pkg/wire/conn.go":            {1, "sandboxd's own socket, by those who ask it"},
	"sandboxd/advice.go":          {2, "/proc/sys"},
	"sandboxd/anchor.go":          {16, "sandboxd's own folder, 0700, beside the socket"},
	"sandboxd/check.go":           {7, "/sys, /proc, and what the operator named"},
	"sandboxd/check_cgroup.go":    {3, "/sys"},
	"sandboxd/config.go":          {1, "the operator's file"},
	"sandboxd/daemon.go":          {7, "lock and socket, in the operator's folder, and the image"},
	"sandboxd/devices.go":         {8, "names of ours in a namespace that holds what sandboxd made alone"},
	"sandboxd/fill.go":            {1, "the root of a volume, by a number of ours in a namespace that holds what sandboxd made alone, never a path in it"},
	"sandboxd/main.go":            {1, "the operator's folder of records"},
	"sandboxd/noise.go":           {3, "/proc of a runner, by numbers"},
	"sandboxd/overlay.go":         {7, "names of ours in a namespace that holds the image and what sandboxd made alone"},
	"sandboxd/pin.go":             {1, "/proc of a runner, by numbers"},
	"sandboxd/policy.go":          {1, "the operator's folder of profiles"},
	"sandboxd/reload.go":          {1, "/dev/null"},
	"sandboxd/seccomp_explain.go": {1, "the operator's folder of profiles"},
	"sandboxd/selftest.go":        {1, "the image, which no jail can write to"},
	"sandboxd/sentinel.go":        {2, "below the image, which no jail can write to, and the file of digests beside it; what a descriptor of ours is open at"},
	"sandboxd/template.go":        {2, "the image, which no jail can write to"},
	"sandboxd/terminal.go":        {2, "ptmx of a devpts of our own, below a descriptor, and a mount without a path"},
	"sandboxd/vault.go":           {14, "numbers of ours in a namespace that holds what sandboxd made alone; of a volume its root, never a path in it"},
}

// opening are calls that take a path: of os, of unix, and of those that call them for us.
var opening = regexp.MustCompile(`\bos\.(Open|OpenFile|OpenRoot|OpenInRoot|DirFS|CopyFS|ReadFile|WriteFile|ReadDir|Create|CreateTemp|Remove|RemoveAll|Rename|Mkdir|MkdirAll|` +
	`MkdirTemp|Chmod|Chown|Lchown|Chtimes|Truncate|Stat|Lstat|Readlink|Link|Symlink|Chdir|StartProcess)\(|` +
	`\bunix\.(Open|Openat|Openat2|OpenTree|Creat|Mount|MountSetattr|MoveMount|Fsmount|Unmount|PivotRoot|Chroot|Chdir|Stat|Lstat|Fstatat|Statx|Statfs|Access|Faccessat2?|` +
	`Mkdir|Mkdirat|Mknod|Mknodat|Mkfifo|Mkfifoat|Unlink|Unlinkat|Rmdir|Rename|Renameat|Renameat2|Link|Linkat|Symlink|Symlinkat|Readlink|Readlinkat|` +
	`Chmod|Fchmodat|Chown|Lchown|Fchownat|Truncate|Utimes|UtimesNano|UtimesNanoAt|L?[GS]etxattr|L?[Ll]istxattr|L?[Rr]emovexattr|Exec|InotifyAddWatch|NameToHandleAt|OpenByHandleAt)\(|` +
	`\bfilepath\.(Glob|Walk|WalkDir|EvalSymlinks)\(|\bfs\.(Glob|ReadDir|ReadFile|WalkDir)\(|\bnet\.(Dial|Listen)\w*\(`)

// openingC are those of zygote.c, also its own that end in one.
var openingC = regexp.MustCompile(`\b(f?open|openat|open_resolving|open_below|creat|opendir|l?stat|fstatat|statx|statfs|access|faccessat|mkdir|mkdirat|mknod|mknodat|mkfifo|` +
	`unlink|unlinkat|rmdir|rename|renameat2?|link|linkat|symlink|symlinkat|readlink|readlinkat|chmod|fchmodat|l?chown|fchownat|truncate|utimensat|mount|umount2?|chdir|chroot|` +
	`execve?|execveat|SYS_openat2|SYS_move_mount|SYS_open_tree|SYS_pivot_root|SYS_execveat)[(,]`)

var commentC = regexp.MustCompile(`(?s)/\*.*?\*/`)

func TestOpensByPath(t *testing.T) {
	found := map[string]int{}
	var code []string // of all packages that sandboxd is made of
	for _, path := range goList(t, "-deps", "./sandboxd") {
		if folder, ours := strings.CutPrefix(path, module); ours {
			code = append(code, ":(glob)"+folder+"/*.go", ":(glob)"+folder+"/*.c")
		}
	}
	for _, file := range tracked(t, code...) {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		call := opening
		if strings.HasSuffix(file, ".c") {
			call, data = openingC, commentC.ReplaceAll(data, nil)
		}
		if n := len(call.FindAll(data, -1)); n > 0 {
			found[file] = n
		}
	}
	for file, n := range found {
		if n != opens[file].calls {
			t.Errorf("%s names %d things by their paths, and %d are argued for: say here why what it names is nothing that foreign code could have placed", file, n, opens[file].calls)
		}
	}
	for file := range opens {
		if found[file] == 0 {
			t.Errorf("%s names nothing by a path any more", file)
		}
	}
}
