package e2e

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// echoes write MARKER, their arguments and what they read; they are compiled.
var echoes = map[string]string{
	"c": "#include <stdio.h>\nint main(int n, char **a) { char b[99]; printf(\"MARKER\"); for (int i = 1; i < n; i++) printf(\" %s\", a[i]); " +
		"if (fgets(b, 99, stdin)) printf(\" %s\", b); puts(\"\"); }",
	"cpp": "#include <iostream>\nint main(int n, char **a) { std::string s; std::cout << \"MARKER\"; for (int i = 1; i < n; i++) std::cout << ' ' << a[i]; " +
		"if (std::cin >> s) std::cout << ' ' << s; std::cout << '\\n'; }",
	"go": "package main\n\nimport (\"fmt\"; \"os\"; \"strings\")\n\nfunc main() {\n\tw := append([]string{\"MARKER\"}, os.Args[1:]...)\n\tvar s string\n" +
		"\tif n, _ := fmt.Scan(&s); n == 1 { w = append(w, s) }\n\tfmt.Println(strings.Join(w, \" \"))\n}",
	"rust": "fn main() { let mut w = vec![\"MARKER\".to_string()]; w.extend(std::env::args().skip(1)); let mut s = String::new(); " +
		"if std::io::stdin().read_line(&mut s).unwrap() > 0 { w.push(s.trim().to_string()) } println!(\"{}\", w.join(\" \")) }",
	"java": "import java.util.*;\nclass Main { public static void main(String[] a) { List<String> w = new ArrayList<>(List.of(\"MARKER\")); " +
		"w.addAll(List.of(a)); Scanner s = new Scanner(System.in); if (s.hasNext()) w.add(s.next()); System.out.println(new Other().join(w)); } }\n" +
		"class Other { String join(List<String> w) { return String.join(\" \", w); } }",
	"csharp": "using System; using System.Linq;\nvar w = new[] {\"MARKER\"}.Concat(args).ToList(); var s = Console.ReadLine(); if (s != null) w.Add(s); " +
		"Console.WriteLine(string.Join(\" \", w));",
}

func wantCached(t *testing.T, a *answer, want bool) {
	t.Helper()
	switch c := a.Compile; {
	case c == nil || c.Cached != want:
		t.Errorf("cached: want %v: %s", want, a)
	case want && (c.TimeMS != 0 || c.CPUTimeMS != 0 || c.MemoryKB != 0 || c.Status != "OK" || c.Code == nil || *c.Code != 0):
		t.Errorf("no compiler ran, so there is nothing to measure: %s", a)
	case !want && c.TimeMS == 0:
		t.Errorf("a compiler ran: %s", a)
	}
}

// The second time a program is not compiled, and all the rest is as it was the first time.
func TestCacheEveryLanguage(t *testing.T) {
	for language, code := range echoes {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			marker := randomMarker()
			q := program(language, strings.ReplaceAll(code, "MARKER", marker))
			first := execute(t, q)
			wantStdout(t, first, marker+"\n")
			if wantCached(t, first, false); !strings.HasPrefix(first.Compile.Stderr, "OK (") {
				t.Errorf("compile.stderr: %s", first)
			}
			second := execute(t, q.with(request{"args": []string{"a", "b"}, "stdin": "c\n", "run_timeout": 60_000, "session_id": randomMarker()}))
			if wantCached(t, second, true); strings.TrimSpace(second.Run.Stdout) != marker+" a b c" || second.Run.Stderr != "" {
				t.Errorf("from the cache: %s", second)
			}
			if second.Compile.Stderr != "OK (0.000 sec real)" {
				t.Errorf("compile.stderr: %s", second)
			}
			again := execute(t, q.with(request{"session_id": second.SessionID})) // the session holds that one file
			wantStdout(t, again, marker+"\n")
			wantCached(t, again, true)
			ephemeral := execute(t, q.with(request{"ephemeral": true, "args": []string{"x"}}))
			wantStdout(t, ephemeral, marker+" x\n")
			wantCached(t, ephemeral, true)
		})
	}
}

// What is not the same is compiled: another file, variable or limit of the compiler, and everything of another key.
func TestCacheMisses(t *testing.T) {
	marker := randomMarker()
	q := request{"language": "c", "files": []request{
		{"name": "main.c", "content": "#include <stdio.h>\n#include \"word.h\"\nint main(void) { puts(WORD); } // " + marker},
		{"name": "word.h", "content": "#define WORD \"one\""},
	}}
	for name, c := range map[string]struct {
		key  string
		more request
		want string
	}{
		"it":           {api.key, nil, "one\n"},
		"another key":  {api.otherKey, nil, "one\n"},
		"another file": {api.key, request{"files": []request{q["files"].([]request)[0], {"name": "word.h", "content": "#define WORD \"two\""}}}, "two\n"},
		"a variable":   {api.key, request{"env": request{"CPATH": "/usr/share"}}, "one\n"},
		"memory":       {api.key, request{"compile_memory_limit": 999 << 20}, "one\n"},
	} {
		for _, cached := range []bool{false, true} {
			a := api.execute(t, c.key, q.with(c.more))
			t.Log(name)
			wantStdout(t, a, c.want)
			wantCached(t, a, cached)
		}
	}
}

// Warnings are shown again, byte for byte; failures are not kept.
func TestCacheRepeatsWarnings(t *testing.T) {
	marker := randomMarker()
	for language, code := range map[string]string{
		"c":    "#warning MARKER\nint main(void) { return 0; }",
		"rust": "fn MARKER() {}\nfn main() {}",
	} {
		q := program(language, strings.ReplaceAll(code, "MARKER", marker))
		first, second := execute(t, q), execute(t, q)
		wantCached(t, first, false)
		if wantCached(t, second, true); !strings.Contains(first.Compile.Stderr, marker) || second.Compile.Stderr != first.Compile.Stderr || second.Run.Stderr != "" {
			t.Errorf("the warning, and as it was: %s\n%s", first, second)
		}
	}
	for range 2 {
		a := execute(t, program("c", "int main(void) { "+marker+" }"))
		wantStatus(t, a, "CE")
		if a.Compile.Cached {
			t.Errorf("a failure was kept: %s", a)
		}
	}
}

// A session that holds something else than the request's files neither uses nor makes an artifact, whether a program or an earlier request
// put it there. This is what a caller could poison others with, who share its key.
func TestCacheIsOutOfASessionsReach(t *testing.T) {
	code := "#include <stdio.h>\n#if __has_include(\"poison.h\")\n#include \"poison.h\"\n#else\n#define WORD \"clean\"\n#endif\n" +
		"int main(void) { puts(WORD); } // " + randomMarker()
	q := program("c", code)
	const poison = "#define WORD \"poisoned\"\n"
	written, run := session(t)
	wantStatus(t, run("bash", "printf '"+strings.TrimSpace(poison)+"\\n' >poison.h"), "OK")
	given := randomMarker()
	wantStatus(t, execute(t, request{"language": "bash", "session_id": given, "code": "true", "files": []request{{"name": "poison.h", "content": poison}}}), "OK")
	exported, run := session(t)
	wantStatus(t, run("bash", "mkdir /home/user/include; echo '"+strings.TrimSpace(poison)+"' >include/poison.h; export CPATH=/home/user/include"), "OK")
	wantPoisoned := func() {
		t.Helper()
		for how, id := range map[string]string{"written": written, "given": given, "exported": exported} {
			for range 2 {
				t.Log(how)
				a := execute(t, q.with(request{"session_id": id}))
				wantStdout(t, a, "poisoned\n")
				wantCached(t, a, false)
			}
		}
	}
	wantPoisoned()
	a := execute(t, q)
	wantStdout(t, a, "clean\n")
	wantCached(t, a, false)
	a = execute(t, q)
	wantStdout(t, a, "clean\n")
	wantCached(t, a, true)
	wantPoisoned()
	// A variable alone, in a workspace that holds nothing else, is part of the key. /tmp is new in every jail.
	for _, env := range []request{{"CPATH": "/tmp"}, {"LD_PRELOAD": "/home/user/main.c"}, {"TMPDIR": "/home/user"}, {"GCC_EXEC_PREFIX": "/nowhere/"}} {
		a, err := api.try(api.key, q.with(request{"env": env}))
		if err != nil || a.Compile == nil || a.Compile.Cached {
			t.Errorf("%v: %v %s", env, err, a)
		}
	}
	a = execute(t, q)
	wantStdout(t, a, "clean\n")
	wantCached(t, a, true)
}

// tamper tries everything that could change the program for the next one who runs it, and says what worked. Called with "look" it says what
// it consists of.
const tamper = `#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <unistd.h>
// MARKER
static const char secret[] = "untouched-MARKER";

static void worked(const char *what, long result)
{
	if (result >= 0)
		printf("WORKED: %s\n", what);
}

static int write_to(const char *path, int flags)
{
	int fd = open(path, flags);
	return fd < 0 ? -1 : (int)pwrite(fd, "X", 1, 0);
}

static void look(void)
{
	struct dirent *d;
	DIR *dir = opendir("/build");
	while ((d = readdir(dir))) {
		struct stat st;
		char path[300], byte;
		unsigned sum = 0;
		snprintf(path, sizeof path, "/build/%s", d->d_name);
		stat(path, &st);
		FILE *f = fopen(path, "r");
		while (f && S_ISREG(st.st_mode) && fread(&byte, 1, 1, f))
			sum = sum * 31 + (unsigned char)byte;
		printf("%s %o %ld %ld %d:%d links %ld mtime %ld.%09ld ctime %ld.%09ld sum %u xattr %zd\n", d->d_name, st.st_mode, (long)st.st_ino, (long)st.st_size,
			st.st_uid, st.st_gid, (long)st.st_nlink, st.st_mtim.tv_sec, st.st_mtim.tv_nsec, st.st_ctim.tv_sec, st.st_ctim.tv_nsec, sum, listxattr(path, 0, 0));
	}
	printf("%s\n", secret);
}

int main(int argc, char **argv)
{
	struct timespec times[2] = { { 1, 1 }, { 1, 1 } };
	int fd, p[2], flags = FS_IMMUTABLE_FL;
	loff_t at = 0;
	char byte = 'X', path[64], *map;

	if (argc > 1) {
		look();
		return 0;
	}
	worked("write /build/main", write_to("/build/main", O_WRONLY));
	worked("read and write", write_to("/build/main", O_RDWR));
	worked("truncating", write_to("/build/main", O_WRONLY | O_TRUNC));
	worked("append", write_to("/build/main", O_WRONLY | O_APPEND));
	worked("/proc/self/exe", write_to("/proc/self/exe", O_WRONLY));
	fd = open("/proc/self/exe", O_RDONLY);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	worked("reopened", write_to(path, O_RDWR));
	worked("a read-only descriptor", pwrite(fd, "X", 1, 0));
	worked("/proc/self/root", write_to("/proc/self/root/build/main", O_WRONLY));
	worked("truncate", truncate("/build/main", 0));
	worked("ftruncate", ftruncate(fd, 0));
	worked("fallocate", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096));
	worked("create", open("/build/new", O_CREAT | O_WRONLY, 0600));
	worked("tmpfile", open("/build", O_TMPFILE | O_RDWR, 0600));
	worked("mkdir", mkdir("/build/d", 0700));
	worked("symlink", symlink("/home/user/x", "/build/l"));
	worked("unlink", unlink("/build/main"));
	worked("rename away", rename("/build/main", "/home/user/main"));
	close(open("/home/user/mine", O_CREAT | O_WRONLY, 0700));
	worked("rename onto", rename("/home/user/mine", "/build/main"));
	worked("link", link("/build/main", "/home/user/link"));
	worked("link within", link("/build/main", "/build/link"));
	worked("linkat of a descriptor", linkat(fd, "", AT_FDCWD, "/home/user/link", AT_EMPTY_PATH));
	worked("linkat of /proc", linkat(AT_FDCWD, "/proc/self/exe", AT_FDCWD, "/home/user/link", AT_SYMLINK_FOLLOW));
	worked("the link", write_to("/home/user/link", O_WRONLY));
	worked("chmod", chmod("/build/main", 0777));
	worked("chmod the folder", chmod("/build", 0777));
	worked("fchmod", fchmod(fd, 0777));
	worked("chown", chown("/build/main", getuid(), getgid()));
	worked("utimes", utimensat(AT_FDCWD, "/build/main", times, 0));
	worked("futimens", futimens(fd, times));
	worked("utimes of the folder", utimensat(AT_FDCWD, "/build", times, 0));
	worked("setxattr", syscall(SYS_fsetxattr, fd, "user.x", "x", 1, 0));
	worked("flags", ioctl(fd, FS_IOC_SETFLAGS, &flags));
	worked("remount", mount(0, "/build", 0, MS_REMOUNT | MS_BIND, 0));
	worked("mount_setattr", syscall(442, AT_FDCWD, "/build", 0, "", 0));
	worked("unmount", umount2("/build", MNT_DETACH));
	if (mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED)
		worked("map to write", 0);
	map = mmap(0, 4096, PROT_READ, MAP_SHARED, fd, 0);
	worked("mprotect", mprotect(map, 4096, PROT_READ | PROT_WRITE));
	/* A process may write to its own text; the file must not get it. */
	int mem = open("/proc/self/mem", O_RDWR);
	pwrite(mem, "overwritten", 11, (off_t)secret);
	pwrite(mem, "X", 1, (off_t)map);
	madvise(map, 4096, MADV_REMOVE);
	/* CVE-2022-0847: a page of the file in a pipe. */
	if (pipe(p) == 0 && splice(fd, &at, p[1], 0, 1, 0) == 1)
		write(p[1], "dirty pipe", 10);
	worked("copy_file_range", copy_file_range(open("/home/user/main.c", O_RDONLY), 0, open("/build/main", O_WRONLY), 0, 1, 0));
	ioctl(fd, FICLONE, open("/home/user/main.c", O_RDONLY));
	(void)byte;
	look();
}
`

// A program has its build volume read-only, by whatever way it comes to it: the next one to run from it finds it as the compiler left it.
func TestCacheProgramsCannotChangeIt(t *testing.T) {
	marker := randomMarker()
	q := program("c", strings.ReplaceAll(tamper, "MARKER", marker))
	look := q.with(request{"args": []string{"look"}})
	first := execute(t, look)
	wantCached(t, first, false)
	if wantStatus(t, first, "OK"); !strings.Contains(first.Run.Stdout, "main ") || !strings.HasSuffix(first.Run.Stdout, "untouched-"+marker+"\n") {
		t.Fatalf("%s", first)
	}
	for range 3 {
		attack := execute(t, q)
		wantCached(t, attack, true)
		if strings.Contains(attack.Run.Stdout, "WORKED") || !strings.Contains(attack.Run.Stdout, "main ") {
			t.Errorf("it could: %s", attack)
		}
	}
	again := execute(t, look)
	if wantCached(t, again, true); again.Run.Stdout != first.Run.Stdout {
		t.Errorf("it is not what it was:\n%s\nbefore:\n%s", again.Run.Stdout, first.Run.Stdout)
	}
}

// Many at a time: whoever compiles and whoever waits, each gets its own answer, and one volume is left.
func TestCacheManyAtATime(t *testing.T) {
	s := startOwn(t, "cachemany", "")
	marker := randomMarker()
	q := program("c", strings.ReplaceAll(echoes["c"], "MARKER", marker))
	var all sync.WaitGroup
	var cached, compiled sync.Map
	for i := range 50 {
		all.Go(func() {
			word := fmt.Sprint("w", i)
			a, err := s.try(s.key, q.with(request{"args": []string{word}, "ephemeral": i%2 == 0}))
			if err != nil || a.Run.Status != "OK" || a.Run.Stdout != marker+" "+word+"\n" {
				t.Errorf("%s: %v %s", word, err, a)
				return
			}
			if a.Compile.Cached {
				cached.Store(i, true)
			} else {
				compiled.Store(i, true)
			}
		})
	}
	all.Wait()
	if n := count(&compiled); n != 1 {
		t.Errorf("it was compiled %d times, and found %d times", n, count(&cached))
	}
	s.wantVolumes(t, 1)
}

func count(m *sync.Map) (n int) {
	m.Range(func(any, any) bool { n++; return true })
	return n
}

// wantVolumes fails unless sandboxd comes to hold one volume for each ready jail and each artifact, and nothing else.
func (s *stack) wantVolumes(t *testing.T, most float64) {
	t.Helper()
	if err := eventually("volumes are forgotten", func() error {
		var figures [4]float64
		for i, name := range []string{"runtools_jails_live", "runtools_compile_cache_entries", "runtools_volumes", `runtools_session_workspaces\{form="mounted"\}`} {
			var err error
			if figures[i], err = s.metric(name); err != nil {
				return err
			}
		}
		if jails, entries, volumes, sessions := figures[0], figures[1], figures[2], figures[3]; volumes != jails+entries+sessions || entries > most {
			return fmt.Errorf("%v volumes for %v jails, %v sessions and %v artifacts, of which there may be %v", volumes, jails, sessions, entries, most)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// Artifacts are bounded; one that goes while a program runs from it stays for that program. Both daemons may be killed at any time.
func TestCacheBoundsAndCrashes(t *testing.T) {
	const most = 4
	s := startOwn(t, "cache", fmt.Sprintf("[cache]\nmax_entries = %d\n[sessions]\nidle = \"2s\"\n", most))
	c := func(n int) request {
		return program("c", fmt.Sprintf("#include <stdio.h>\nint main(void) { puts(\"%d\"); }", n))
	}
	marker := randomMarker()
	slow := program("c", "#include <stdio.h>\n#include <unistd.h>\nint main(int n, char **a) { if (n > 1) { puts(\"started again\"); return 0; } "+
		"sleep(4); execl(\"/build/main\", \"main\", \"again\", (char *)0); perror(\"exec\"); return 1; }").with(request{"env": request{"MARKER": marker}})
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			if a, err := s.try(s.key, slow); err != nil || a.Run.Stdout != "started again\n" {
				t.Errorf("while its artifact was dropped: %v %s", err, a)
			}
		})
	}
	waitStarted(t, marker)
	for i := range 10 {
		wantCached(t, s.execute(t, s.key, c(i)), false)
		wantCached(t, s.execute(t, s.key, c(i)), true)
	}
	if n, err := s.metric("runtools_compile_cache_entries"); err != nil || n != most/2 {
		t.Errorf("%v entries, want the share of a key, %d: %v", n, most/2, err)
	}
	wantCached(t, s.execute(t, s.key, c(0)), false) // it had gone
	wantCached(t, s.execute(t, s.key, c(9)), true)
	all.Wait()
	wantCached(t, s.execute(t, s.otherKey, c(9)), false)
	wantCached(t, s.execute(t, s.otherKey, c(9)), true)
	s.wantVolumes(t, most)

	s.sandboxd.command.Process.Signal(syscall.SIGKILL)
	<-s.sandboxd.done
	if err := s.startSandboxd(); err != nil {
		t.Fatal(err)
	}
	if err := s.waitReady(); err != nil {
		t.Fatal(err)
	}
	for i, cached := range []bool{false, false, true} { // lost; made and kept; found
		a := s.execute(t, s.key, c(9))
		t.Logf("after the crash, request %d", i)
		wantStdout(t, a, "9\n")
		wantCached(t, a, cached)
	}
	s.wantVolumes(t, 1) // the first that was lost told of the others

	s.apid.command.Process.Signal(syscall.SIGKILL)
	<-s.apid.done
	if err := s.startApid(); err != nil {
		t.Fatal(err)
	}
	a := s.execute(t, s.key, c(9))
	wantStdout(t, a, "9\n")
	wantCached(t, a, false)
	s.wantVolumes(t, 1)
}

func TestCacheExpiresAndTurnsOff(t *testing.T) {
	s := startOwn(t, "cacheage", "[cache]\nmax_age = \"3s\"\n")
	q := program("c", "int main(void) { return 0; }").with(request{"ephemeral": true})
	began := time.Now()
	wantCached(t, s.execute(t, s.key, q), false)
	if again := s.execute(t, s.key, q); time.Since(began) < 3*time.Second { // else it may have grown too old, on a busy machine
		wantCached(t, again, true)
		s.wantVolumes(t, 1)
	}
	time.Sleep(3 * time.Second)
	wantCached(t, s.execute(t, s.key, q), false)
	if err := s.waitMetric("runtools_compile_cache_entries", 0); err != nil {
		t.Error(err)
	}
	s.wantVolumes(t, 0)

	if err := os.WriteFile(s.path("apid.toml"), []byte("[cache]\nmax_bytes = 0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.apid.terminate(); err != nil {
		t.Fatal(err)
	}
	if err := s.startApid(); err != nil {
		t.Fatal(err)
	}
	wantCached(t, s.execute(t, s.key, q), false)
	wantCached(t, s.execute(t, s.key, q), false)
	s.wantVolumes(t, 0)
}
