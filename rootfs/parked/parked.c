/*
 * parked.c - the parked side of zygote.h; parked.h says what it is for.
 *
 * Trust: the packet comes from sandboxd, and whatever it names is used with the rights of the program. Until parked_begin the process has
 * read no foreign byte. After it, the process is the program's, and this code may do whatever the program wants: nothing relies on it. What
 * parked_end tells is no more than exit could have told.
 */
#define _GNU_SOURCE
#include "parked.h"
#include "zygote.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ENVKEEP "/usr/lib/runtools/envkeep.so"

static union {
	struct zygote_packet head;
	char bytes[ZYGOTE_MAX_PACKET];
} packet;

static int fds[ZYGOTE_MAX_FDS];
static char *words[ZYGOTE_MAX_WORDS + 2];
static struct parked_job job;
static struct zygote_reply reply;
static volatile uint32_t *end_page; /* shared with PID 1 */
static struct prctl_mm_map layout;  /* of this process, as the kernel made it */
static char **first_env;            /* what the runtime was started with */
static void *envkeep;
static int control; /* the control socket */
static int begun;
static pid_t main_process;

/* ---- before the job ---- */

static int is_ours(const char *entry)
{
	return strncmp(entry, "LD_PRELOAD=", 11) == 0 || strncmp(entry, ZYGOTE_ENV "=", sizeof ZYGOTE_ENV) == 0;
}

/* PR_SET_MM_MAP sets all of the addresses or none, so those that shall stay must be known. Done before the job comes: reading this file takes
 * 30 us. The numbers of the fields are those of proc(5). */
static void read_layout(void)
{
	static char text[4096];
	unsigned long long field[53] = { 0 };
	int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return;
	char *p = strrchr(text, ')'); /* ends field 2, which may hold anything */
	for (int i = 3; p && i < 53; i++) {
		p = strchr(p + 1, ' ');
		if (p)
			field[i] = strtoull(p + 1, NULL, 10);
	}
	layout.start_code = field[26];
	layout.end_code = field[27];
	layout.start_stack = field[28];
	layout.start_data = field[45];
	layout.end_data = field[46];
	layout.start_brk = field[47];
	layout.exe_fd = (uint32_t)-1;
}

/* Runs after all exit handlers that were registered later, which is all of the program's. */
static void at_exit(int status, void *unused)
{
	(void)unused;
	if (begun && getpid() == main_process) /* not in a child that the program forked */
		parked_end(status);
}

int parked_init(void)
{
	const char *number = getenv(ZYGOTE_ENV);
	if (!number || atoi(number) != ZYGOTE_PARKED_CONTROL)
		return 0;

	int count = 0;
	while (environ[count])
		count++;
	first_env = calloc((size_t)count + 1, sizeof *first_env);
	char **to = environ;
	for (int i = 0, kept = 0; first_env && i < count; i++)
		if (!is_ours(environ[i]))
			*to++ = first_env[kept++] = environ[i];
	*to = NULL;

	main_process = getpid();
	void *page = mmap(NULL, sizeof *end_page, PROT_READ | PROT_WRITE, MAP_SHARED, ZYGOTE_PARKED_END, 0);
	if (!first_env || page == MAP_FAILED || on_exit(at_exit, NULL) != 0)
		_exit(127);
	close(ZYGOTE_PARKED_END);
	end_page = page;
	/* Away from the low numbers: what the runtime opens for itself has those that it always has. Not above 63, where the table grows. */
	control = fcntl(ZYGOTE_PARKED_CONTROL, F_DUPFD_CLOEXEC, 63);
	if (control < 0)
		_exit(127);
	close(ZYGOTE_PARKED_CONTROL);
	/* Its destructor hands the environment out; it runs when the library is closed, which parked_end does if the job wants it. */
	envkeep = dlopen(ENVKEEP, RTLD_NOW | RTLD_LOCAL);
	read_layout();
	return 1;
}

static void send_reply(void)
{
	if (send(control, &reply, sizeof reply, MSG_NOSIGNAL) != sizeof reply)
		_exit(0); /* sandboxd is gone */
}

static void fail(uint32_t index) __attribute__((noreturn));
static void fail(uint32_t index)
{
	reply.index = index;
	reply.error = errno;
	send_reply();
	_exit(127);
}

static void receive_packet(void)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * ZYGOTE_MAX_FDS)];
	} cbuf;
	struct iovec iov = { packet.bytes, sizeof packet.bytes };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &cbuf, .msg_controllen = sizeof cbuf };
	ssize_t n;

	do
		n = recvmsg(control, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < (ssize_t)sizeof packet.head || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		_exit(0);
	if (packet.head.size != (size_t)n || packet.head.count > ((size_t)n - sizeof packet.head) / sizeof(struct zygote_step))
		_exit(0);
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(fds, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
}

static void split_words(const struct zygote_step *s)
{
	char *p = packet.bytes + s->s1;
	job.argc = (int)s->a;
	job.argv = words;
	job.env = words + s->a + 1;
	for (uint64_t i = 0; i < s->a; i++, p += strlen(p) + 1)
		job.argv[i] = p;
	layout.arg_start = (uintptr_t)(packet.bytes + s->s1);
	layout.arg_end = layout.env_start = (uintptr_t)p;
	for (uint64_t i = 0; i < s->b; i++, p += strlen(p) + 1)
		job.env[i] = p;
	job.argv[s->a] = job.env[s->b] = NULL; /* a job before this one may have had more of them */
	layout.env_end = (uintptr_t)p;
}

struct parked_job *parked_wait(void)
{
	reply.index = 1; /* ZOP_PARK is alone in its packet */
	reply.status = ZYGOTE_PROTOCOL;
	send_reply();
	receive_packet();
	for (uint32_t i = 0; i < packet.head.count; i++) {
		const struct zygote_step *s = &packet.head.steps[i];
		switch (s->op) {
		case ZOP_CHDIR:
			if (chdir(packet.bytes + s->s1) < 0)
				fail(i);
			break;
		case ZOP_STDIO:
			if (dup2(fds[s->fd], (int)s->a) < 0)
				fail(i);
			break;
		case ZOP_OPEN: {
			int fd = open(packet.bytes + s->s1, O_RDONLY | O_NOCTTY | O_CLOEXEC);
			if (fd < 0 || dup2(fd, (int)s->a) < 0)
				fail(i);
			close(fd);
			break;
		}
		case ZOP_EXEC:
			reply.index = i;
			job.again = s->c != 0;
			split_words(s);
			break;
		}
	}
	/* The descriptors came as copies, with numbers above those that are in use. */
	for (uint32_t i = 0; i < packet.head.count; i++)
		if (packet.head.steps[i].op == ZOP_STDIO)
			close(fds[packet.head.steps[i].fd]);
	if (!job.argc)
		_exit(0);
	return &job;
}

/* ---- the decision ---- */

static const char *lookup(char **env, const char *name, size_t length)
{
	for (; *env; env++)
		if (strncmp(*env, name, length) == 0 && (*env)[length] == '=')
			return *env + length + 1;
	return NULL;
}

static int begins(const char *entry, const char *const *prefixes)
{
	for (; *prefixes; prefixes++)
		if (strncmp(entry, *prefixes, strlen(*prefixes)) == 0)
			return 1;
	return 0;
}

/* What apid sets when the session keeps its environment; a program that starts never sees it. */
static int is_envkeep(const char *entry)
{
	return strcmp(entry, "LD_PRELOAD=" ENVKEEP) == 0;
}

static int subset(char **some, char **all, const char *const *prefixes)
{
	for (; *some; some++) {
		if (!begins(*some, prefixes) || is_envkeep(*some))
			continue;
		size_t length = strcspn(*some, "=");
		const char *other = lookup(all, *some, length);
		if (!other || strcmp(other, *some + length + 1) != 0)
			return 0;
	}
	return 1;
}

int parked_same_env(const struct parked_job *j, const char *const *prefixes)
{
	static const char *const always[] = { "LD_", "GLIBC_", "MALLOC_", "LC_", "LANG", "LOCPATH", "GCONV_PATH", NULL };
	const char *const *lists[] = { always, prefixes };
	for (int i = 0; i < 2; i++)
		if (!subset(j->env, first_env, lists[i]) || !subset(first_env, j->env, lists[i]))
			return 0;
	return 1;
}

/* exec takes handlers back, but not what is ignored (Node: SIGPIPE, SIGXFSZ) or blocked (a JVM: SIGQUIT). By system call, as in zygote.c. Handlers
 * stay until then: other threads of the runtime may still need them. */
static void default_signals(void)
{
	static const uint64_t no_signals = 0, default_action[4] = { 0 };
	for (int sig = 1; sig < NSIG; sig++) {
		uint64_t action[4] = { 0 }; /* struct sigaction of the kernel: the handler comes first */
		syscall(SYS_rt_sigaction, sig, NULL, action, sizeof no_signals);
		if (action[0] == (uintptr_t)SIG_IGN)
			syscall(SYS_rt_sigaction, sig, default_action, NULL, sizeof no_signals);
	}
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &no_signals, NULL, sizeof no_signals);
}

void parked_exec(const struct parked_job *j)
{
	struct timespec t;
	uint32_t index = reply.index;

	clock_gettime(CLOCK_MONOTONIC, &t);
	reply.ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
	syscall(SYS_close_range, 3, ~0u, CLOSE_RANGE_CLOEXEC);
	reply.index++;
	send_reply();
	default_signals();
	execve(j->argv[0], j->argv, j->env);
	fail(index);
}

/* ---- the program ---- */

static void become(struct parked_job *j)
{
	int keep = 0;
	char **to = j->env;

	/* The words stay one after the other, as execve lays them out: what /proc shows is a range of memory. */
	char *end = (char *)layout.env_start;
	for (char **from = j->env; *from; from++) {
		if (is_envkeep(*from)) {
			keep = 1;
			continue;
		}
		size_t length = strlen(*from) + 1;
		*to++ = memmove(end, *from, length);
		end += length;
	}
	*to = NULL;
	layout.env_end = (uintptr_t)end;
	if (!keep)
		envkeep = NULL;
	environ = j->env;
	program_invocation_name = j->argv[0];
	program_invocation_short_name = strrchr(j->argv[0], '/') ? strrchr(j->argv[0], '/') + 1 : j->argv[0];
	layout.brk = (uintptr_t)sbrk(0);
	/* Without it the program would see the runner's words in /proc/self/cmdline. Needs CONFIG_CHECKPOINT_RESTORE, no privilege. */
	prctl(PR_SET_MM, PR_SET_MM_MAP, &layout, sizeof layout, 0);
}

void parked_begin(struct parked_job *j)
{
	struct timespec t;

	if (j->again)
		envkeep = NULL;
	else
		become(j);
	begun = 1;
	clock_gettime(CLOCK_MONOTONIC, &t);
	reply.ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
	reply.index++;
	send_reply();
	if (!j->again)
		close(control);
}

/*
 * PID 1 waits for the stop, looks at the page, and reports; sandboxd ends the jail, unless the process is wanted again. The signal is this thread's, which stops before
 * it goes on; one for the process may be taken by another thread, and this one be stopped only when it has looked at the page once more and is about to
 * send the next: that would stop it after sandboxd has let it go on, for good.
 */
static void stop(uint32_t how, int code)
{
	*end_page = how | ((uint32_t)code & 0xff);
	while (*end_page) /* sandboxd clears it before it lets us go on */
		syscall(SYS_tgkill, getpid(), gettid(), SIGSTOP);
}

void parked_end(int code)
{
	fflush(NULL); /* exit() would do it after us */
	if (envkeep)
		dlclose(envkeep);
	/* Who reads the program's output learns now that no more comes; the kernel would close these after it has freed our memory. */
	syscall(SYS_close_range, 0, 2, 0);
	for (;;)
		stop(ZYGOTE_ENDED, code);
}

void parked_again(int code)
{
	if (!job.again)
		parked_end(code);
	fflush(NULL);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0 || chdir("/") < 0)
		parked_end(code);
	for (int fd = 0; fd <= 2; fd++)
		if (dup2(null, fd) < 0)
			parked_end(code);
	close(null);
	begun = 0;
	stop(ZYGOTE_ENDED | ZYGOTE_AGAIN, code);
	memset(&job, 0, sizeof job);
	memset(&reply, 0, sizeof reply);
}
