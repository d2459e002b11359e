package e2e

import (
	"strings"
	"testing"
)

// The place where programs find themselves: who they are, what works there, and that nothing is outside.

func TestIdentity(t *testing.T) {
	for name, c := range map[string]struct{ language, code, want string }{
		"ids":          {"bash", `id -un; id -u; id -g; id -G`, "user\n1000\n1000\n1000\n"},
		"passwd":       {"python", `import pwd, os; p = pwd.getpwuid(os.getuid()); print(p.pw_name, p.pw_dir)`, "user /home/user\n"},
		"environment":  {"bash", `echo $HOME $USER $LOGNAME $TMPDIR $LANG $SHELL; pwd`, "/home/user user user /tmp C.UTF-8 /bin/bash\n/home/user\n"},
		"host name":    {"bash", `hostname; getent ahostsv4 sandbox | head -1 | cut -d' ' -f1`, "sandbox\n127.0.0.1\n"},
		"host, Python": {"python", `import socket; print(socket.gethostname(), socket.gethostbyname("sandbox"), socket.gethostbyname("localhost"))`, "sandbox 127.0.0.1 127.0.0.1\n"},
		"expanduser":   {"python", `import os, tempfile; print(os.path.expanduser("~"), tempfile.gettempdir(), os.getcwd())`, "/home/user /tmp /home/user\n"},
		"home, Ruby":   {"ruby", `puts Dir.home, Dir.pwd, ENV["TMPDIR"]`, "/home/user\n/home/user\n/tmp\n"},
		"home, Node":   {"javascript", `const os = require("os"); console.log(os.homedir(), os.tmpdir(), os.hostname(), os.userInfo().username)`, "/home/user /tmp sandbox user\n"},
		"locale":       {"python", `import locale, sys; print(sys.getfilesystemencoding(), sys.stdout.encoding, locale.getpreferredencoding())`, "utf-8 utf-8 UTF-8\n"},
		"locale, Bash": {"bash", "x=\u00e4\u20ac; echo ${#x}; locale charmap", "2\nUTF-8\n"},
		"locale, Ruby": {"ruby", `puts Encoding.default_external, "ä€".length`, "UTF-8\n2\n"},
		"zone":         {"bash", `date +%Z; TZ=Europe/Berlin date -d @0 +%H:%M; TZ=America/New_York date -d @0 +%Z`, "UTC\n01:00\nEST\n"},
		"zone, Node":   {"javascript", `console.log(new Date(0).toLocaleString("de-DE", {timeZone: "Asia/Tokyo"}))`, "1.1.1970, 09:00:00\n"},
		"privileges": {"bash", `grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status | tr -d '\t' | sort | tr '\n' ' '`,
			"CapAmb:0000000000000000 CapBnd:0000000000000000 CapEff:0000000000000000 CapInh:0000000000000000 CapPrm:0000000000000000 NoNewPrivs:1 Seccomp:2 "},
		"umask":         {"bash", `umask; ulimit -c; ulimit -n`, "0022\n0\n1024\n"},
		"no terminal":   {"bash", `[ -t 0 ] || [ -t 1 ] || [ -t 2 ] || echo none; (: >/dev/tty) 2>/dev/null || echo none`, "none\nnone\n"},
		"main.sh, $0":   {"bash", `echo "$0 $BASH_SOURCE"`, "main.sh main.sh\n"},
		"main, Python":  {"python", `import sys; print(__name__, __file__.endswith("main.py"), sys.argv)`, "__main__ True ['main.py']\n"},
		"main, Node":    {"javascript", `console.log(require.main === module, __filename)`, "true /home/user/main.js\n"},
		"main, Ruby":    {"ruby", `puts __FILE__ == $0, $0`, "true\nmain.rb\n"},
		"dev":           {"bash", `head -c4 /dev/urandom | wc -c; echo x >/dev/null; head -c2 /dev/zero | wc -c; (echo x >/dev/full) 2>/dev/null || echo full; ls -ld /dev/shm | cut -c1-10`, "4\n2\nfull\ndrwxrwxrwt\n"},
		"scratch space": {"bash", `for d in /tmp /dev/shm ~; do head -c 3000000 /dev/zero >$d/f && wc -c <$d/f; done`, "3000000\n3000000\n3000000\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantStdout(t, execute(t, program(c.language, c.code)), c.want)
		})
	}
}

func TestRootIsReadOnly(t *testing.T) {
	got := output(t, program("bash", `for d in / /usr /usr/bin /etc /dev /proc /sys /home /build /var /var/tmp /opt /run; do
[ -e $d ] || continue
: 2>/dev/null >$d/planted && echo "$d/planted was made"
done
: 2>/dev/null >>/etc/passwd && echo passwd can be written
find / -xdev -perm /6000 2>/dev/null
find /dev /proc /sys -writable -type f 2>/dev/null | grep -v -e '^/proc/[0-9]*/' -e '^/proc/self' -e '^/proc/thread-self'
echo end`))
	if got != "end\n" {
		t.Errorf("outside the workspace: %s", got)
	}
}

func TestNetwork(t *testing.T) {
	server := `import socket, threading
for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
    server = socket.create_server((host, 0), family=family)
    def serve():
        peer, _ = server.accept()
        peer.sendall(peer.recv(100).upper()); peer.close()
    threading.Thread(target=serve).start()
    client = socket.create_connection(server.getsockname()[:2], timeout=30)
    client.sendall(b"hello"); print(client.recv(100).decode(), host)
a = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); a.bind(("127.0.0.1", 0))
a.sendto(b"udp", a.getsockname()); print(a.recv(10).decode())
`
	outside := `import socket
for family, host in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET, "10.0.2.2"), (socket.AF_INET, "169.254.169.254"), (socket.AF_INET6, "2001:db8::1")):
    for port in (53, 80):
        try:
            s = socket.socket(family, socket.SOCK_STREAM); s.settimeout(20); s.connect((host, port)); print("connected to", host, port)
        except OSError as e: print(type(e).__name__, e.errno)
try: socket.getaddrinfo("example.com", 80); print("resolved")
except socket.gaierror: print("not resolved")
for family in (socket.AF_NETLINK, socket.AF_PACKET, 40, 38, 21):
    try: socket.socket(family, socket.SOCK_DGRAM); print("family", family)
    except OSError: pass
try: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1); print("raw")
except OSError: pass`
	t.Run("loopback", func(t *testing.T) {
		wantStdout(t, execute(t, program("python", server)), "HELLO 127.0.0.1\nHELLO ::1\nudp\n")
	})
	t.Run("nothing outside", func(t *testing.T) {
		got := output(t, program("python", outside))
		if strings.Contains(got, "connected") || strings.Contains(got, "\nresolved") || strings.Contains(got, "family") || strings.Contains(got, "raw") ||
			strings.Count(got, "OSError 101") != 8 {
			t.Errorf("want ENETUNREACH everywhere and no other families: %s", got)
		}
	})
	t.Run("the host's loopback", func(t *testing.T) {
		// apid itself listens on the host's 127.0.0.1: a jail must not reach it.
		address := strings.Replace(strings.TrimPrefix(api.url, "http://"), ":", "/", 1)
		wantStdout(t, execute(t, program("bash", "(exec 3<>/dev/tcp/"+address+") 2>/dev/null && echo reached; echo end")), "end\n")
	})
	t.Run("Node", func(t *testing.T) {
		wantStdout(t, execute(t, program("javascript", `const http = require("http")
const s = http.createServer((q, a) => a.end("hi " + q.url)).listen(0, "localhost", async () => {
  console.log(await (await fetch("http://localhost:" + s.address().port + "/x")).text()); process.exit(0) })`)), "hi /x\n")
	})
	t.Run("several jails on one port", func(t *testing.T) {
		for range 3 {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				wantStdout(t, execute(t, program("ruby", `require "socket"; s = TCPServer.new("127.0.0.1", 8080); sleep 0.2; puts s.addr[1]`)), "8080\n")
			})
		}
	})
}

func TestPythonLibrary(t *testing.T) {
	for name, c := range map[string]struct{ code, want string }{
		"sqlite3": {`import sqlite3
for path in (":memory:", "file.db"):
    d = sqlite3.connect(path); d.execute("create table t (a)"); d.execute("insert into t values (42)"); d.commit(); print(d.execute("select a from t").fetchone())`, "(42,)\n(42,)\n"},
		"ssl":      {`import ssl; c = ssl.create_default_context(); print(len(c.get_ca_certs()) > 20)`, "True\n"},
		"zoneinfo": {`import zoneinfo, datetime; print(datetime.datetime(2024, 7, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Paris")).utcoffset())`, "2:00:00\n"},
		"ctypes":   {`import ctypes, ctypes.util; print(ctypes.CDLL(None).abs(-3), ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 5)())`, "3 5\n"},
		"multiprocessing": {`import multiprocessing as m
def square(x): return x * x
if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        with m.get_context(method).Pool(3) as p: print(method, p.map(square, range(5)))
    q = m.Queue(); q.put(1); print(q.get())
    v = m.Value("i", 7); print(v.value)`, "fork [0, 1, 4, 9, 16]\nspawn [0, 1, 4, 9, 16]\nforkserver [0, 1, 4, 9, 16]\n1\n7\n"},
		"shared memory": {`from multiprocessing import shared_memory
s = shared_memory.SharedMemory(create=True, size=100); s.buf[0] = 9; o = shared_memory.SharedMemory(s.name); print(o.buf[0]); s.close(); s.unlink()`, "9\n"},
		"subprocess": {`import subprocess, sys
print(subprocess.run(["tr", "a-z", "A-Z"], input=b"abc", capture_output=True).stdout)
print(subprocess.check_output([sys.executable, "-c", "print(1+1)"], text=True), end="")
print(subprocess.run("exit 3", shell=True).returncode)`, "b'ABC'\n2\n3\n"},
		"asyncio": {`import asyncio
async def main():
    p = await asyncio.create_subprocess_exec("echo", "child", stdout=asyncio.subprocess.PIPE)
    print((await p.communicate())[0], await asyncio.gather(asyncio.sleep(0.01, 1), asyncio.to_thread(lambda: 2)))
asyncio.run(main())`, "b'child\\n' [1, 2]\n"},
		"threading": {`import threading, concurrent.futures as f
l = threading.Lock(); n = 0
def add():
    global n
    for _ in range(1000):
        with l: n += 1
ts = [threading.Thread(target=add) for _ in range(8)]; [x.start() for x in ts]; [x.join() for x in ts]; print(n)
with f.ProcessPoolExecutor(2) as p: print(list(p.map(abs, (-1, -2))))`, "8000\n[1, 2]\n"},
		"others": {`import bz2, lzma, zlib, hashlib, uuid, secrets, decimal, json, csv, xml.etree.ElementTree, unicodedata, curses, readline, mmap, select, fcntl, resource, termios, pty, html, http.server, email, statistics, array, struct
print(len(uuid.uuid4().hex), hashlib.sha3_256(b"").hexdigest()[:8])`, "32 a7ffc6f8\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := execute(t, program("python", c.code))
			if wantStdout(t, a, c.want); a.Run.Stderr != "" {
				t.Errorf("stderr %q", a.Run.Stderr)
			}
		})
	}
}

func TestTypeScriptIsTheWholeLanguage(t *testing.T) {
	for name, c := range map[string]struct{ code, want string }{
		"enum":                 {"enum Color { Red, Green = 5, Blue }\nconsole.log(Color.Blue, Color[5])\nconst enum K { A = 'a' }\nconsole.log(K.A)", "6 Green\na\n"},
		"namespace":            {"namespace N { export namespace M { export const x = 1 } export function f(): number { return M.x + 1 } }\nconsole.log(N.f(), N.M.x)", "2 1\n"},
		"parameter properties": {"class P { constructor(public readonly x: number, private y = 2) {} sum() { return this.x + this.y } }\nconsole.log(new P(1).sum(), new P(4).x)", "3 4\n"},
		"decorators": {`function log(value: Function, context: ClassMethodDecoratorContext) {
  return function (this: any, ...args: any[]) { console.log("call", String(context.name)); return (value as any).apply(this, args) } }
class D { @log greet(n: string) { return "hi " + n } }
console.log(new D().greet("x"))`, "call greet\nhi x\n"},
		"generics and types": {"interface A<T> { v: T }\ntype U = A<number> | null\nconst f = <T,>(a: A<T>): T => a.v\nconsole.log(f<number>({ v: 3 } satisfies A<number>) as number, (null as U)?.v ?? 'none')", "3 none\n"},
		"imports":            {"import { readFileSync } from 'fs'\nimport type { Stats } from 'fs'\nimport path = require('path')\nlet s: Stats | undefined\nconsole.log(typeof readFileSync, path.basename('/a/b'), s)", "function b undefined\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantStdout(t, execute(t, program("typescript", c.code)), c.want)
		})
	}
	t.Run("traces point to the source", func(t *testing.T) {
		a := execute(t, program("typescript", "enum E { A,\n B }\ninterface I {\n  x: number }\nfunction f(i: I): never {\n  throw new Error('oh ' + i.x) }\nf({ x: E.B })\n"))
		wantStatus(t, a, "RE")
		for _, part := range []string{"oh 1", "main.ts:6:", "main.ts:7:"} {
			if !strings.Contains(a.Run.Stderr, part) {
				t.Errorf("stderr does not contain %q: %s", part, a.Run.Stderr)
			}
		}
	})
}

// The default memory limit is enough for runtimes that reserve much more than they use.
func TestHelloUnderTheDefaultLimits(t *testing.T) {
	for language, code := range hellos {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			a := execute(t, program(language, strings.ReplaceAll(code, "MARKER", "hello")))
			if wantStdout(t, a, "hello\n"); a.Run.Stderr != "" {
				t.Errorf("stderr %q", a.Run.Stderr)
			}
		})
	}
}
