/*
 * zygote.c - the only code of ours that runs inside a jail.
 *
 * Theory of operation
 *
 *   sandboxd (Go)
 *      | exec of a copy of its own binary (binary.go) with ZYGOTE_ENV set; the constructor at the end of this file takes over
 *      v
 *   spawner      root, host namespaces but its own small mount tree. Waits for packets; each clones one jail.
 *      | clone(new user, pid, mount, ipc, uts, time namespaces; net was joined before)
 *      v
 *   PID 1        root of the jail's user namespace only. Builds the mounts, spawns the runner; when a job comes it attaches the
 *      |         volumes, drops everything, places files, reaps, reports.
 *      | clone
 *      v
 *   runner       uid 1000 of the jail, no capabilities, filtered, in the job's cgroup. Becomes the program. Where a program may
 *                follow its compiler, it clones as its last step a copy of itself for the compiler, and becomes the program later.
 *
 * All three run the same loop: receive a packet of steps and descriptors from Go, do the steps, reply. There is no policy here, no
 * parsing of text, no allocation and no path building: a step is one or a few system calls with the arguments that Go wrote down.
 * Each process has a control socket of its own, whose other end only sandboxd holds (and, of the runner's, PID 1 during a job). End of file on it means that sandboxd is
 * gone, and the process ends; the end of PID 1 takes the whole jail with it.
 *
 * Trust: packets come from sandboxd alone. The bytes of users inside them are names of files, words of argv and env, and file
 * contents. They are used inside the jail, by processes that have lost every privilege before.
 *
 * This code never returns into Go: a Go runtime cannot fork, and would cost each jail several MiB.
 */
#define _GNU_SOURCE
#include "zygote.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static union {
	struct zygote_packet head;
	char bytes[ZYGOTE_MAX_PACKET];
} packet;

static int fds[ZYGOTE_MAX_FDS];
static char *words[ZYGOTE_MAX_WORDS + 2]; /* argv and env of ZOP_EXEC */
static unsigned fd_count;

static int control;     /* our end of the control socket */
static int in_jail;     /* we are PID 1 or a runner */
static int reply_fd = -1; /* goes along with the next reply */
static struct { struct zygote_reply head; struct rusage use; } whole; /* use: of ZOP_REAP's program; parked runtimes reply without it */

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- the control socket ---- */

/* Receives one packet and its descriptors. Anything malformed means that the other side is not ours: end. */
static void receive_packet(void)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * ZYGOTE_MAX_FDS)];
	} cbuf;
	struct iovec iov = { packet.bytes, sizeof packet.bytes };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &cbuf, .msg_controllen = sizeof cbuf };
	ssize_t n;

	while ((n = recvmsg(control, &msg, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR)
		;
	if (n < (ssize_t)sizeof packet.head || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		_exit(0);
	if (packet.head.size != (size_t)n || packet.head.count > ((size_t)n - sizeof packet.head) / sizeof(struct zygote_step))
		_exit(0);

	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
		fd_count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(c), fd_count * sizeof(int));
	}
}

/* Sends a packet with descriptors beside it. */
static int send_packet(int socket, void *bytes, size_t size, const int *passed, size_t count)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * ZYGOTE_MAX_FDS)];
	} cbuf;
	struct iovec iov = { bytes, size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (count > 0) {
		memset(&cbuf, 0, sizeof cbuf);
		msg.msg_control = &cbuf;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * count);
		cbuf.align.cmsg_level = SOL_SOCKET;
		cbuf.align.cmsg_type = SCM_RIGHTS;
		cbuf.align.cmsg_len = CMSG_LEN(sizeof(int) * count);
		memcpy(CMSG_DATA(&cbuf.align), passed, sizeof(int) * count);
	}
	return sendmsg(socket, &msg, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

static void send_reply(void)
{
	if (send_packet(control, &whole, sizeof whole, &reply_fd, reply_fd >= 0) < 0)
		_exit(0);
	if (reply_fd >= 0)
		close(reply_fd);
	reply_fd = -1;
}

static void close_received(void)
{
	for (unsigned i = 0; i < fd_count; i++)
		close(fds[i]);
	fd_count = 0;
}

/* ---- steps: each returns 0 or -1 with errno ---- */

static const char *str(uint32_t offset)
{
	return packet.bytes + offset;
}

static void serve(void);

static int step_spawn(const struct zygote_step *s)
{
	struct clone_args args = {
		.flags = s->a | (in_jail ? 0 : CLONE_PIDFD), /* sandboxd watches PID 1 alone */
		.pidfd = (uint64_t)(uintptr_t)&reply_fd,
		.exit_signal = SIGCHLD,
	};
	long pid = s->b ? syscall(SYS_clone, s->a, NULL, NULL, NULL, NULL) : syscall(SYS_clone3, &args, sizeof args);
	if (pid < 0) {
		reply_fd = -1; /* the kernel has written a number, and taken the descriptor back */
		return -1;
	}
	if (pid > 0) {
		whole.head.pid = (int32_t)pid;
		return 0;
	}
	/* The child: its own control socket, and none of its parent's. Keeping the parent's would let a jail speak as the spawner. */
	close(control);
	control = fds[s->fd];
	for (unsigned i = 0; i < fd_count; i++)
		if (i != s->fd)
			close(fds[i]);
	fd_count = 0;
	reply_fd = -1;
	in_jail = 1;
	signal(SIGCHLD, SIG_DFL);
	serve();
	return -1; /* not reached */
}

static int step_set_ids(const struct zygote_step *s)
{
	if (syscall(SYS_setgroups, 0, NULL) < 0 || setresgid(s->a, s->a, s->a) < 0 || setresuid(s->b, s->b, s->b) < 0)
		return -1;
	/* A change of uid resets this to fs.suid_dumpable, which may be 1 on a debugging machine. execve makes the program dumpable again. */
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

static int step_fs_ids(const struct zygote_step *s)
{
	/* These two report no errors: they return the value before. */
	setfsgid(s->a);
	setfsuid(s->b);
	if (setfsgid(s->a) == (int)s->a && setfsuid(s->b) == (int)s->b)
		return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* as in step_set_ids */
	errno = EPERM;
	return -1;
}

static int step_bounding(void)
{
	for (int cap = 0; prctl(PR_CAPBSET_DROP, cap) == 0; cap++)
		;
	return errno != EINVAL ? -1 : prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); /* EINVAL: behind the kernel's last */
}

static int step_caps(const struct zygote_step *s)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	uint64_t all = s->a | s->b;
	struct __user_cap_data_struct data[2] = { { (uint32_t)s->a, (uint32_t)all, 0 }, { (uint32_t)(s->a >> 32), (uint32_t)(all >> 32), 0 } };
	return (int)syscall(SYS_capset, &head, data);
}

static int step_filter(const struct zygote_step *s)
{
	struct sock_fprog prog = { .len = s->a / sizeof(struct sock_filter), .filter = (struct sock_filter *)str(s->s1) };
	long listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, s->b, &prog);
	if (listener > 0) /* 0: none was asked for */
		reply_fd = (int)listener;
	return listener < 0 ? -1 : 0;
}

static int step_rlimit(const struct zygote_step *s)
{
	struct rlimit limit = { .rlim_cur = s->b, .rlim_max = s->c };
	return setrlimit((int)s->a, &limit);
}

static int step_pivot(const struct zygote_step *s)
{
	/* pivot_root(".", ".") stacks the old root on the new one, where it can be detached without a folder to hold it: pivot_root(2). */
	if (chdir(str(s->s1)) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0)
		return -1;
	return chdir("/");
}

/* The result of a step, whose errno closing must not change. */
static int then_close(int fd, int result)
{
	int saved = errno;
	close(fd);
	errno = saved;
	return result;
}

static int step_zero(const struct zygote_step *s)
{
	int fd = open(str(s->s1), O_WRONLY | O_CLOEXEC);
	return fd < 0 ? -1 : then_close(fd, write(fd, "0", 1) == 1 ? 0 : -1);
}

static int copy_bytes(int from, int to, off_t offset, uint64_t left)
{
	static char buffer[32 << 10];
	while (left > 0) {
		ssize_t n = pread(from, buffer, left < sizeof buffer ? left : sizeof buffer, offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			if (n == 0)
				errno = ENODATA; /* shorter than announced */
			return -1;
		}
		for (ssize_t done = 0; done < n;) {
			ssize_t w = write(to, buffer + done, n - done);
			if (w < 0 && errno != EINTR)
				return -1;
			if (w > 0)
				done += w;
		}
		offset += n;
		left -= n;
	}
	return 0;
}

static int open_resolving(const char *path, uint64_t flags, uint64_t resolve)
{
	struct open_how how = { .flags = flags | O_CLOEXEC, .resolve = resolve };
	return (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
}

/*
 * The workspace holds whatever an earlier job of the session left in it, so a path in it may lead anywhere: resolution stays below the
 * working directory and takes no magic link (/proc/1/root is ours, not the program's).
 */
static int open_below(const char *path)
{
	return open_resolving(path, O_PATH | O_DIRECTORY, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
}

static int step_folder(const struct zygote_step *s)
{
	int above = open_below(str(s->s1));
	return above < 0 ? -1 : then_close(above, mkdirat(above, str(s->s2), (mode_t)s->a) < 0 && errno != EEXIST ? -1 : 0);
}

static int step_file(const struct zygote_step *s)
{
	int above = open_below(str(s->s1));
	if (above < 0)
		return -1;
	/* What has this name is removed, not opened: a FIFO cannot block us, a link cannot lead elsewhere, a hard link keeps its content. */
	int fd = -1;
	if (unlinkat(above, str(s->s2), 0) == 0 || errno == ENOENT)
		fd = openat(above, str(s->s2), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, (mode_t)s->a);
	return then_close(above, fd < 0 ? -1 : then_close(fd, copy_bytes(fds[s->fd], fd, (off_t)s->b, s->c)));
}

static int step_copy_out(const struct zygote_step *s)
{
	/* Foreign code wrote this file, if it is one: never follow, never block, never trust its size. */
	struct stat st;
	int fd = open(str(s->s1), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0)
		copy_bytes(fd, fds[s->fd], 0, (uint64_t)st.st_size < s->a ? (uint64_t)st.st_size : s->a);
	close(fd);
	return 0;
}

static int step_keep_only(void)
{
	fd_count = 0; /* those of the packet go as well, and their numbers may be others' before it ends */
	if (control > 3 && syscall(SYS_close_range, 3, control - 1, 0) < 0)
		return -1;
	return (int)syscall(SYS_close_range, control + 1, ~0u, 0);
}

/* Sets argv and env to the words of an exec step. */
static int split_words(const struct zygote_step *s, char ***argv, char ***env)
{
	char *p = packet.bytes + s->s1;
	uint64_t argc = s->a, envc = s->b;

	if (argc + envc > ZYGOTE_MAX_WORDS) {
		errno = E2BIG;
		return -1;
	}
	*argv = words;
	*env = words + argc + 1;
	for (uint64_t i = 0; i < argc; i++, p += strlen(p) + 1)
		(*argv)[i] = p;
	for (uint64_t i = 0; i < envc; i++, p += strlen(p) + 1)
		(*env)[i] = p;
	return 0;
}

static int step_exec(const struct zygote_step *s)
{
	char **argv, **env;
	/* Everything but 0, 1 and 2 closes when the program starts; the control socket must live until then to report a failure. */
	if (split_words(s, &argv, &env) < 0 || syscall(SYS_close_range, 3, ~0u, CLOSE_RANGE_CLOEXEC) < 0)
		return -1;
	/* Until execve /proc/self/exe is a copy of sandboxd's own binary: a link to it must not be followed (CVE-2019-5736). Nobody else runs here yet. */
	if (open_resolving(argv[0], O_PATH, RESOLVE_NO_MAGICLINKS) < 0)
		return -1;
	whole.head.ns = now_ns();
	send_reply();
	execve(argv[0], argv, env);
	return -1;
}

static int step_park(const struct zygote_step *s)
{
	char **argv, **env;
	if (split_words(s, &argv, &env) < 0)
		return -1;
	/* Out of the way first: either may have the other's number. */
	int socket = fcntl(control, F_DUPFD_CLOEXEC, 16), end = fcntl(fds[s->fd], F_DUPFD_CLOEXEC, 16);
	if (socket < 0 || end < 0 || syscall(SYS_close_range, 3, ~0u, CLOSE_RANGE_CLOEXEC) < 0)
		return -1;
	control = socket;
	if (dup2(socket, ZYGOTE_PARKED_CONTROL) < 0 || dup2(end, ZYGOTE_PARKED_END) < 0)
		return -1;
	execve(argv[0], argv, env);
	return -1;
}

/* A parked runtime whose program has ended stops itself: the answer need not wait until the kernel has freed its memory. Whoever runs there
 * is foreign, and may say so at any time, with any code: exit would do the same. */
static int says_ended(const struct zygote_step *s, int *status)
{
	uint32_t word;
	if (!WIFSTOPPED(*status) || pread(fds[s->fd], &word, sizeof word, 0) != sizeof word || !(word & ZYGOTE_ENDED))
		return 0;
	*status = (int)(word & 0xff) << 8 | 0x7f; /* as wait(2) gives a stop, with the exit code in the place of the signal */
	return 1;
}

static int step_reap(const struct zygote_step *s)
{
	int status;
	char byte;
	/* While we wait for the program we do not look at the control socket, so the kernel must tell us that sandboxd is gone: the spawner,
	 * our parent, ends with it. A change of ids clears this setting, so it comes last; if the spawner is gone already we are too late,
	 * but then the socket has ended as well. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return -1;
	if (recv(control, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
		_exit(0);
	for (;;) {
		pid_t pid = wait4(-1, &status, s->a ? WUNTRACED : 0, &whole.use);
		if (pid < 0 && errno != EINTR)
			return -1;
		if (pid != (pid_t)s->b)
			continue;
		whole.head.ns = now_ns();
		whole.head.status = status;
		/* Others may be left, and may still write: what they do after the end of the program is lost in any case. */
		if (s->a && says_ended(s, &whole.head.status)) {
			whole.head.same = ZYGOTE_SAME | ZYGOTE_EMPTY;
			return 0;
		}
		if (!WIFSTOPPED(status))
			break;
	}
	/* Orphans become our children, so having none means that no other process is left in the jail. With c a runner waits here besides: sandboxd finds out. */
	while (waitpid(-1, &status, WNOHANG) > 0)
		;
	whole.head.same = s->c || (waitpid(-1, &status, WNOHANG) < 0 && errno == ECHILD) ? ZYGOTE_SAME | ZYGOTE_EMPTY : 0;
	return 0;
}

static int same_bytes(int a, int b, off_t offset, uint64_t left)
{
	static char x[4 << 10], y[4 << 10];
	for (off_t at = 0; left > 0;) {
		size_t want = left < sizeof x ? left : sizeof x;
		if (pread(a, x, want, at) != (ssize_t)want || pread(b, y, want, offset + at) != (ssize_t)want || memcmp(x, y, want))
			return 0;
		at += want;
		left -= want;
	}
	return 1;
}

/* Foreign code had these files. Whoever is left in the jail is about to be killed, but may change them under our hands: links are refused,
 * nothing is opened that could block, and a comparison that comes out wrong is the session's own loss. */
static int step_same(const struct zygote_step *s)
{
	struct stat st;
	if (!(whole.head.same & ZYGOTE_SAME))
		return 0;
	int fd = open_resolving(str(s->s1), O_RDONLY | O_NONBLOCK | O_NOCTTY, RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH);
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_mode != s->a ||
		(S_ISREG(st.st_mode) && (st.st_nlink != 1 || (uint64_t)st.st_size != s->c || !same_bytes(fd, fds[s->fd], (off_t)s->b, s->c))))
		whole.head.same &= ~(uint64_t)ZYGOTE_SAME;
	if (fd >= 0)
		close(fd);
	return 0;
}

static int step_count(const struct zygote_step *s)
{
	struct statfs st;
	if (statfs(str(s->s1), &st) < 0 || st.f_files - st.f_ffree != s->a)
		whole.head.same &= ~s->b;
	return 0;
}

static int do_step(const struct zygote_step *s)
{
	switch (s->op) {
	case ZOP_SPAWN:
		return step_spawn(s);
	case ZOP_SETNS:
		return setns(fds[s->fd], (int)s->a);
	case ZOP_UNSHARE:
		return unshare((int)s->a);
	case ZOP_SETIDS:
		return step_set_ids(s);
	case ZOP_EUID:
		return setresuid(-1, s->a, -1);
	case ZOP_FSIDS:
		return step_fs_ids(s);
	case ZOP_BOUNDING:
		return step_bounding();
	case ZOP_CAPS:
		return step_caps(s);
	case ZOP_NNP:
		return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	case ZOP_FILTER:
		return step_filter(s);
	case ZOP_RLIMIT:
		return step_rlimit(s);
	case ZOP_MOUNT:
		return mount(str(s->s1), str(s->s2), str(s->s1), s->a, str((uint32_t)s->b));
	case ZOP_BIND:
		return mount(str(s->s1), str(s->s2), NULL, MS_BIND, NULL);
	case ZOP_PRIVATE:
		return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
	case ZOP_ATTACH:
		return (int)syscall(SYS_move_mount, fds[s->fd], "", AT_FDCWD, str(s->s1), MOVE_MOUNT_F_EMPTY_PATH);
	case ZOP_UMOUNT:
		return umount2(str(s->s1), UMOUNT_NOFOLLOW);
	case ZOP_PIVOT:
		return step_pivot(s);
	case ZOP_HOSTNAME:
		return sethostname(str(s->s1), strlen(str(s->s1)));
	case ZOP_ZERO:
		return step_zero(s);
	case ZOP_SESSION:
		return setsid() < 0 ? -1 : 0;
	case ZOP_MKDIR:
		return mkdir(str(s->s1), (mode_t)s->a) < 0 && errno != EEXIST ? -1 : 0;
	case ZOP_FOLDER:
		return step_folder(s);
	case ZOP_FILE:
		return step_file(s);
	case ZOP_CHDIR:
		return chdir(str(s->s1));
	case ZOP_STDIO:
		return dup2(fds[s->fd], (int)s->a) < 0 ? -1 : 0;
	case ZOP_OPEN: {
		/* Without O_NOCTTY: a terminal, which only Jail.Start names, becomes that of our session. */
		int fd = open(str(s->s1), O_RDONLY | O_CLOEXEC);
		return fd < 0 || dup2(fd, (int)s->a) < 0 ? -1 : 0; /* dup2(-1) would give its own reason */
	}
	case ZOP_KEEP_ONLY:
		return step_keep_only();
	case ZOP_RELAY:
		return send_packet(fds[s->fd], packet.bytes + s->s1, s->a, fds + s->fd + 1, s->c);
	case ZOP_EXEC:
		return step_exec(s);
	case ZOP_PARK:
		return step_park(s);
	case ZOP_REAP:
		return step_reap(s);
	case ZOP_COPY_OUT:
		return step_copy_out(s);
	case ZOP_SAME:
		return step_same(s);
	case ZOP_COUNT:
		return step_count(s);
	case ZOP_ENTER:
		return write(fds[s->fd], "0", 1) == 1 ? 0 : -1;
	}
	errno = ENOSYS;
	return -1;
}

/* The loop of all three processes. */
static void serve(void)
{
	/* Pages that a job would else be the first to use, at 8 us each: the clock's, and the first of ZOP_EXEC's words. */
	whole.head.ns = now_ns();
	words[0] = NULL;
	for (;;) {
		receive_packet();
		whole.head.index = packet.head.count;
		whole.head.error = 0;
		for (uint32_t i = 0; i < packet.head.count; i++) {
			if (do_step(&packet.head.steps[i]) < 0) {
				whole.head.index = i;
				whole.head.error = errno;
				break;
			}
		}
		close_received();
		send_reply();
		if (whole.head.error && in_jail)
			_exit(127);
	}
}

/*
 * Runs before Go's runtime exists, in every process that loads this binary; does nothing unless the variable is set, which
 * sandboxd alone does, for the child it starts itself.
 */
__attribute__((constructor)) static void zygote_enter(void)
{
	const char *number = getenv(ZYGOTE_ENV);
	if (!number)
		return;
	control = atoi(number);
	/* Whatever sandboxd inherited and Go knows nothing of: every jail's PID 1 would hold it. A parent with a number above 63 shows in FDSize, too. */
	if (step_keep_only() < 0)
		_exit(127);

	/* A program must start with default signals, whatever sandboxd was started with (nohup, a shell's background job). By system call: the
	 * wrappers of libc leave its own two signals, 32 and 33, as they were. */
	static const uint64_t no_signals = 0;
	static const uint64_t default_action[4] = { 0 }; /* struct sigaction of the kernel: SIG_DFL, no flags, no mask */
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &no_signals, NULL, sizeof no_signals);
	for (int sig = 1; sig < NSIG; sig++)
		syscall(SYS_rt_sigaction, sig, default_action, NULL, sizeof no_signals);
	/* Ended jails need no waiting for: sandboxd watches them by pidfd. */
	signal(SIGCHLD, SIG_IGN);
	umask(022);
	/* No process of a jail may read our memory or attach to us, even where it shares our uid. */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	prctl(PR_SET_NAME, "jail", 0, 0, 0);
	serve();
}
