/* Beside every C attack: all headers, and words for what a call answered. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* "name: ok" or "name: EPERM". */
#define TRY(name, call) \
	do { \
		errno = 0; \
		long tried = (long)(call); \
		printf("%s: %s\n", name, tried == -1 ? strerrorname_np(errno) : "ok"); \
		fflush(stdout); \
	} while (0)

/* Does the call in a child, so that a filter that kills is seen: "name: SIGSYS". */
#define TRY_CHILD(name, call) \
	do { \
		fflush(stdout); \
		pid_t child = fork(); \
		if (!child) { \
			errno = 0; \
			long tried = (long)(call); \
			printf("%s: %s\n", name, tried == -1 ? strerrorname_np(errno) : "ok"); \
			fflush(stdout); \
			_exit(0); \
		} \
		int ended; \
		waitpid(child, &ended, 0); \
		if (WIFSIGNALED(ended)) \
			printf("%s: SIG%s\n", name, sigabbrev_np(WTERMSIG(ended))); \
		fflush(stdout); \
	} while (0)

static void say(const char *text)
{
	puts(text);
	fflush(stdout);
}

static int slurp(const char *path, char *into, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	ssize_t n = read(fd, into, size - 1);
	close(fd);
	into[n < 0 ? 0 : n] = 0;
	return (int)n;
}

static int spew(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	ssize_t n = write(fd, text, strlen(text));
	int saved = errno;
	close(fd);
	errno = saved;
	return n < 0 ? -1 : 0;
}

/* Waits until the runner of the test ends the attack's stdin. */
static void until_told(void)
{
	char byte;
	while (read(0, &byte, 1) > 0)
		;
}
