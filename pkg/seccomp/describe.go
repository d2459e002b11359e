package seccomp

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

const (
	MaxText   = 200 // bytes of Describe
	maxString = 64  // bytes of one string of the caller
)

// signatures are the arguments of calls that are denied, or that a profile on trial might deny, a letter each:
//
//	i number   x bits   p string, a path for the most part   * pointer   f descriptor
//	a address family   t type of a socket   c flags of clone
//
// Of a call that is not here all six registers are shown, which hold whatever the caller left in those that the call has no use for.
var signatures = map[string]string{
	"mount": "pppxp", "umount2": "px", "pivot_root": "pp", "chroot": "p", "move_mount": "fpfpx", "open_tree": "fpx", "fsopen": "px",
	"fsconfig": "fippi", "fsmount": "fxx", "fspick": "fpx", "mount_setattr": "fpx*i",
	"unshare": "c", "setns": "fc", "clone": "c****", "clone3": "*i",
	"ptrace": "ii**", "process_vm_readv": "i*i*ix", "process_vm_writev": "i*i*ix", "pidfd_getfd": "ffx", "kcmp": "iiiii", "process_madvise": "f*iix",
	"bpf": "i*i", "perf_event_open": "*iifx", "syslog": "i*i", "acct": "p", "swapon": "px", "swapoff": "p", "reboot": "xxi*",
	"settimeofday": "**", "clock_settime": "i*", "adjtimex": "*", "clock_adjtime": "i*", "sethostname": "pi", "setdomainname": "pi",
	"quotactl": "xpi*", "vhangup": "", "setgroups": "i*", "capset": "**", "fanotify_init": "xx", "name_to_handle_at": "fp**x",
	"io_uring_setup": "i*", "io_uring_enter": "fiix*i", "io_uring_register": "fi*i",
	"keyctl": "iiiii", "add_key": "pp*ii", "request_key": "pppi", "userfaultfd": "x", "seccomp": "ix*",
	"splice": "f*f*ix", "tee": "ffix", "vmsplice": "f*ix",
	"socket": "ati", "socketpair": "ati*", "setsockopt": "fii*i", "sendmsg": "f*x", "recvmsg": "f*x", "sendto": "f*ix*i", "recvfrom": "f*ix**",
	"sendmmsg": "f*ix", "recvmmsg": "f*ix*",
	"fcntl": "fix", "ioctl": "fx*", "fadvise64": "fiii", "personality": "x", "setrlimit": "i*", "prlimit64": "ii**",
	"setxattr": "pp*ix", "lsetxattr": "pp*ix", "fsetxattr": "fp*ix", "removexattr": "pp", "lremovexattr": "pp", "fremovexattr": "fp",
	"mbind": "*ii*ix", "set_mempolicy": "i*i", "get_mempolicy": "**i*x", "migrate_pages": "ii**", "move_pages": "ii***x",
	"sched_setattr": "i*x", "sched_getattr": "i*ix", "ioprio_set": "iii", "ioprio_get": "ii", "pkey_alloc": "xx", "pkey_free": "i", "pkey_mprotect": "*ixi",
	"memfd_secret": "x", "landlock_create_ruleset": "*ix", "rseq": "*ixx", "mq_open": "pxx*", "futex_waitv": "*ix*i", "mknod": "pxx", "mknodat": "fpxx",
	"pidfd_open": "ix", "pidfd_send_signal": "fi*x", "mlockall": "x", "munlockall": "", "mlock": "*i", "mlock2": "*ix", "execveat": "fp**x", "capget": "**",
	"getcpu": "***", "membarrier": "ixi", "time": "*", "copy_file_range": "f*f*ix", "sendfile": "ff*i", "linkat": "fpfpx", "symlinkat": "pfp",
	"mkdirat": "fpx", "renameat": "fpfp", "open": "pxx", "openat": "fpxx", "creat": "px", "stat": "p*", "lstat": "p*", "getxattr": "pp*i",
	"lgetxattr": "pp*i", "fgetxattr": "fp*i", "listxattr": "p*i", "llistxattr": "p*i", "flistxattr": "f*i", "inotify_init": "", "inotify_init1": "x",
	"inotify_add_watch": "fpx", "inotify_rm_watch": "fi", "signalfd": "f*i", "signalfd4": "f*ix", "timerfd_create": "ix", "timerfd_settime": "fx**",
	"timerfd_gettime": "f*", "timer_create": "i**", "timer_settime": "ix**", "timer_gettime": "i*", "timer_getoverrun": "i", "timer_delete": "i",
	"getitimer": "i*", "epoll_create": "i", "eventfd": "i", "pipe": "*", "select": "i****", "epoll_pwait2": "f*i**i", "getpriority": "ii",
	"sched_setparam": "i*", "sched_getparam": "i*", "sched_getscheduler": "i", "sched_get_priority_max": "i", "sched_get_priority_min": "i",
	"getrlimit": "i*", "setgid": "i", "setresuid": "iii", "setresgid": "iii", "setreuid": "ii", "setregid": "ii", "getresgid": "***",
	"preadv": "f*iii", "pwritev": "f*iii", "preadv2": "f*iiix", "pwritev2": "f*iiix", "sync_file_range": "fiix", "readahead": "fii",
	"shmat": "i*x", "shmctl": "ii*", "shmdt": "*", "semop": "i*i", "semctl": "iiix", "semtimedop": "i*i*", "msgsnd": "i*ix", "msgrcv": "i*iix", "msgctl": "ii*",
	"execve": "p**", "read": "f*i", "write": "f*i", "close": "f", "access": "px", "newfstatat": "fp*x", "readlink": "p*i", "unlink": "p", "chdir": "p",
	"link": "pp", "symlink": "pp", "rename": "pp", "renameat2": "fpfpx", "mkdir": "px", "rmdir": "p", "chmod": "px", "truncate": "pi", "unlinkat": "fpx",
	"fchmodat": "fpx", "readlinkat": "fp*i", "faccessat": "fpx", "faccessat2": "fpxx", "statx": "fpxx*", "statfs": "p*", "utimensat": "fp*x",
	"futimesat": "fp*", "utime": "p*", "utimes": "p*", "tkill": "ii", "fork": "", "vfork": "",
	"shmget": "iix", "semget": "iix", "msgget": "ix", "chown": "pii", "lchown": "pii", "fchown": "fii", "fchownat": "fpiix",
	"accept": "f**", "accept4": "f**x", "bind": "f*i", "connect": "f*i", "listen": "fi", "shutdown": "fi", "getsockname": "f**", "getpeername": "f**",
	"getsockopt": "fii**", "dup": "f", "dup2": "ff", "dup3": "ffx", "close_range": "iix", "pipe2": "*x", "lseek": "fii", "readv": "f*i", "writev": "f*i",
	"pread64": "f*ii", "pwrite64": "f*ii", "fallocate": "fxii", "ftruncate": "fi", "fsync": "f", "fdatasync": "f", "flock": "fx", "fstat": "f*",
	"fstatfs": "f*", "fchdir": "f", "fchmod": "fx", "getcwd": "*i", "getdents64": "f*i", "openat2": "fp*i", "memfd_create": "px", "umask": "x",
	"epoll_create1": "x", "epoll_ctl": "fif*", "epoll_wait": "f*ii", "epoll_pwait": "f*ii*i", "eventfd2": "ix", "poll": "*ii", "ppoll": "*i**i",
	"pselect6": "i*****", "brk": "*", "mmap": "*ixxfi", "munmap": "*i", "mprotect": "*ix", "mremap": "*iix*", "madvise": "*ii", "msync": "*ix", "munlock": "*i",
	"futex": "*xi**i", "set_robust_list": "*i", "set_tid_address": "*", "arch_prctl": "x*", "prctl": "ixxxx", "getrandom": "*ix", "uname": "*", "sysinfo": "*",
	"rt_sigaction": "i**i", "rt_sigprocmask": "i**i", "rt_sigreturn": "", "rt_sigpending": "*i", "rt_sigsuspend": "*i", "rt_sigtimedwait": "***i",
	"rt_sigqueueinfo": "ii*", "sigaltstack": "**", "kill": "ii", "tgkill": "iii", "pause": "", "restart_syscall": "", "alarm": "i", "setitimer": "i**",
	"nanosleep": "**", "clock_gettime": "i*", "clock_getres": "i*", "clock_nanosleep": "ix**", "gettimeofday": "**", "times": "*",
	"exit": "i", "exit_group": "i", "wait4": "i*x*", "waitid": "ii*x*", "getrusage": "i*", "setpriority": "iii",
	"sched_yield": "", "sched_getaffinity": "ii*", "sched_setaffinity": "ii*", "sched_setscheduler": "ii*",
	"getpid": "", "getppid": "", "gettid": "", "getuid": "", "geteuid": "", "getgid": "", "getegid": "", "getgroups": "i*", "getresuid": "***",
	"setuid": "i", "setfsuid": "i", "setfsgid": "i", "getpgrp": "", "getpgid": "i", "setpgid": "ii", "getsid": "i", "setsid": "",
}

var families = map[uint64]string{0: "AF_UNSPEC", 1: "AF_UNIX", 2: "AF_INET", 10: "AF_INET6", 15: "AF_KEY", 16: "AF_NETLINK", 17: "AF_PACKET",
	21: "AF_RDS", 29: "AF_CAN", 30: "AF_TIPC", 31: "AF_BLUETOOTH", 38: "AF_ALG", 40: "AF_VSOCK", 44: "AF_XDP"}

var socketTypes = map[uint64]string{1: "SOCK_STREAM", 2: "SOCK_DGRAM", 3: "SOCK_RAW", 4: "SOCK_RDM", 5: "SOCK_SEQPACKET", 10: "SOCK_PACKET"}

// cloneFlags in the order of their bits, of linux/sched.h.
var cloneFlags = []struct {
	bit  uint64
	name string
}{
	{0x80, "CLONE_NEWTIME"}, {0x100, "CLONE_VM"}, {0x20000, "CLONE_NEWNS"}, {0x02000000, "CLONE_NEWCGROUP"}, {0x04000000, "CLONE_NEWUTS"},
	{0x08000000, "CLONE_NEWIPC"}, {0x10000000, "CLONE_NEWUSER"}, {0x20000000, "CLONE_NEWPID"}, {0x40000000, "CLONE_NEWNET"},
}

// describe writes the arguments; read copies from the caller's memory and returns how many bytes it got.
func (c *Call) describe(read func(address uint64, into []byte) int) string {
	name := c.Name()
	signature, known := signatures[name]
	if !known {
		signature = "xxxxxx"
	}
	words := make([]string, 0, len(signature)+1)
	if name == "unknown" {
		words = append(words, fmt.Sprintf("number %d", c.number))
	}
	for i, kind := range signature {
		words = append(words, c.word(kind, c.args[i], read))
	}
	text := strings.Join(words, ", ")
	if len(text) > MaxText {
		text = text[:MaxText-3] + "..."
	}
	return text
}

func (c *Call) word(kind rune, v uint64, read func(address uint64, into []byte) int) string {
	switch kind {
	case 'p':
		return quote(v, read)
	case '*':
		if v == 0 {
			return "NULL"
		}
		return "&" // where it is differs from run to run, and tells nothing
	case 'i':
		return strconv.FormatInt(int64(int32(v)), 10)
	case 'f':
		if int32(v) == -100 {
			return "AT_FDCWD"
		}
		return strconv.FormatInt(int64(int32(v)), 10)
	case 'a':
		return named(families, uint64(uint32(v)))
	case 't':
		const flags = 0o2004000 // SOCK_CLOEXEC, SOCK_NONBLOCK
		return named(socketTypes, uint64(uint32(v))&^flags)
	case 'c':
		return cloneText(v)
	}
	return fmt.Sprintf("%#x", v)
}

func named(names map[uint64]string, v uint64) string {
	if name, ok := names[v]; ok {
		return name
	}
	return strconv.FormatUint(v, 10)
}

func cloneText(v uint64) string {
	var words []string
	for _, f := range cloneFlags {
		if v&f.bit != 0 {
			words = append(words, f.name)
			v &^= f.bit
		}
	}
	if v != 0 || words == nil {
		words = append(words, fmt.Sprintf("%#x", v))
	}
	return strings.Join(words, "|")
}

// quote shows the beginning of a string of the caller, in printable ASCII.
func quote(address uint64, read func(address uint64, into []byte) int) string {
	if address == 0 {
		return "NULL"
	}
	// Page by page: what lies behind the end of the string may not be there.
	const page = 4096
	var b [maxString + 1]byte
	first := min(uint64(len(b)), page-address%page)
	n := min(read(address, b[:first]), int(first))
	if n == int(first) && n < len(b) && bytes.IndexByte(b[:n], 0) < 0 {
		n += min(read(address+first, b[n:]), len(b)-n)
	}
	if n <= 0 {
		return "EFAULT"
	}
	if end := bytes.IndexByte(b[:n], 0); end >= 0 {
		return strconv.QuoteToASCII(string(b[:end]))
	}
	return strconv.QuoteToASCII(string(b[:min(n, maxString)])) + "..."
}
