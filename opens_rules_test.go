package runtools

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// opens are the calls by which code of sandboxd, which is root, opens, asks for, mounts or changes something by its path: which a file has, and why nothing that
// foreign code could have placed is among them (CVE-2024-28185, CVE-2024-28189). A new one is a decision, and so is one in the place of another.
var opens = map[string]struct{ calls, reason string }{
	"pkg/cgroup/cgroup.go":        {"3 os.Open, 1 os.OpenFile, 1 os.ReadDir, 3 os.ReadFile, 1 os.Remove, 1 unix.Openat, 1 unix.Unlinkat", "cgroup files, which the kernel names"},
	"pkg/cgroup/details.go":       {"1 os.Open", "cgroup files, which the kernel names"},
	"pkg/cgroup/v1.go":            {"1 os.Stat, 1 unix.Mkdirat, 1 unix.Open, 1 unix.Openat, 1 unix.Stat", "cgroup files, which the kernel names"},
	"pkg/cgroup/v2.go":            {"1 os.Stat, 1 unix.Mkdirat, 1 unix.Open, 1 unix.Openat", "cgroup files, which the kernel names"},
	"pkg/jail/binary.go":          {"1 os.Open", "/proc/self/exe"},
	"pkg/jail/follow.go":          {"1 os.ReadFile", "/proc of a runner, by its number"},
	"pkg/jail/jail.go":            {"1 os.WriteFile", "/proc of a runner, by its number"},
	"pkg/jail/mount.go":           {"1 unix.Fsmount, 1 unix.MountSetattr, 1 unix.MoveMount, 1 unix.OpenTree", "image, mirror, devices and roots of volumes, by names of ours, the last part no link; else mounts without a path"},
	"pkg/jail/netns.go":           {"1 os.WriteFile", "/proc/sys"},
	"pkg/jail/scratch.go":         {"1 unix.Open, 1 unix.Openat2", "the root of a parked runner, and openat2 below it, through no link"},
	"pkg/jail/spawner.go":         {"1 os.Open, 1 os.OpenFile, 1 os.OpenRoot, 1 os.StartProcess, 1 unix.Openat", "/proc, /dev/null, and a descriptor of our own binary"},
	"pkg/jail/zygote.c":           {"1 SYS_move_mount, 1 SYS_openat2, 1 SYS_pivot_root, 3 chdir, 2 execve, 1 mkdir, 1 mkdirat, 3 mount, 3 open, 3 open_below, 4 open_resolving, 1 openat, 1 statfs, 2 umount2, 1 unlinkat", "before a job: a setting in /proc/sys, and the image's folders, which are read-only; with one: its workspace, below it and through no magic link, with the jail's own rights"},
	"pkg/seccomp/profile.go":      {"1 os.ReadFile", "the operator's folder of profiles"},
	"pkg/seccomp/use.go":          {"1 os.Lstat, 1 os.OpenFile, 1 os.ReadFile", "the folder of seccomp record, which the operator named, by names of languages"},
	"pkg/wire/conn.go":            {"1 net.DialUnix", "sandboxd's own socket, by those who ask it"},
	"sandboxd/advice.go":          {"1 os.ReadFile, 1 os.Stat", "/proc/sys"},
	"sandboxd/anchor.go":          {"1 os.Mkdir, 2 os.ReadDir, 1 unix.Lstat, 3 unix.Mount, 2 unix.Open, 1 unix.Rmdir, 1 unix.Stat, 3 unix.Unlink, 2 unix.Unmount", "sandboxd's own folder, 0700, beside the socket"},
	"sandboxd/check.go":           {"2 os.ReadFile, 5 os.Stat", "/sys, /proc, and what the operator named"},
	"sandboxd/check_cgroup.go":    {"2 os.ReadFile, 1 os.Stat", "/sys"},
	"sandboxd/config.go":          {"1 os.Open", "the operator's file"},
	"sandboxd/daemon.go":          {"1 filepath.EvalSymlinks, 1 net.ListenUnix, 1 os.Chmod, 1 os.Chown, 1 os.MkdirAll, 1 os.Remove, 1 unix.Open", "lock and socket, in the operator's folder, and the image"},
	"sandboxd/devices.go":         {"1 unix.Chmod, 2 unix.Mkdir, 1 unix.Mknod, 1 unix.Mount, 1 unix.Rmdir, 1 unix.Symlink, 1 unix.Unmount", "names of ours in a namespace that holds what sandboxd made alone"},
	"sandboxd/fill.go":            {"1 os.OpenFile", "the root of a volume, by a number of ours in a namespace that holds what sandboxd made alone, never a path in it"},
	"sandboxd/idle.go":            {"1 os.ReadFile", "/proc/uptime"},
	"sandboxd/main.go":            {"1 os.Stat", "the operator's folder of records"},
	"sandboxd/noise.go":           {"1 os.ReadDir, 2 os.ReadFile", "/proc of a runner, by numbers"},
	"sandboxd/overlay.go":         {"2 unix.Mkdir, 1 unix.Mount, 2 unix.Rmdir, 2 unix.Unmount", "names of ours in a namespace that holds the image and what sandboxd made alone"},
	"sandboxd/pin.go":             {"1 os.ReadDir", "/proc of a runner, by numbers"},
	"sandboxd/policy.go":          {"1 filepath.Glob", "the operator's folder of profiles"},
	"sandboxd/reload.go":          {"1 os.OpenFile", "/dev/null"},
	"sandboxd/seccomp_explain.go": {"1 filepath.Glob", "the operator's folder of profiles"},
	"sandboxd/selftest.go":        {"1 os.Open", "the image, which no jail can write to"},
	"sandboxd/sentinel.go":        {"1 os.Readlink, 1 unix.Openat2", "below the image, which no jail can write to, and the file of digests beside it; what a descriptor of ours is open at"},
	"sandboxd/template.go":        {"1 filepath.Glob, 1 os.ReadFile", "the image, which no jail can write to"},
	"sandboxd/terminal.go":        {"1 unix.Fsmount, 1 unix.Openat", "ptmx of a devpts of our own, below a descriptor, and a mount without a path"},
	"sandboxd/vault.go":           {"1 os.Open, 2 unix.Chdir, 1 unix.Mkdir, 2 unix.Mount, 1 unix.PivotRoot, 1 unix.Readlinkat, 2 unix.Rmdir, 1 unix.Symlinkat, 1 unix.Unlinkat, 2 unix.Unmount", "numbers of ours in a namespace that holds what sandboxd made alone; of a volume its root, never a path in it"},
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
	found := map[string]string{}
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
		count := map[string]int{}
		for _, name := range call.FindAllString(string(data), -1) {
			count[strings.TrimRight(name, "(,")]++
		}
		var calls []string
		for _, name := range slices.Sorted(maps.Keys(count)) {
			calls = append(calls, fmt.Sprint(count[name], " ", name))
		}
		if calls != nil {
			found[file] = strings.Join(calls, ", ")
		}
	}
	for file, calls := range found {
		if calls != opens[file].calls {
			t.Errorf("%s names things by their paths in %q, and argued for are %q: say here why what it names is nothing that foreign code could have placed", file, calls, opens[file].calls)
		}
	}
	for file := range opens {
		if found[file] == "" {
			t.Errorf("%s names nothing by a path any more", file)
		}
	}
}
