/*
 * Makes every system call of every ABI that a process of x86-64 can reach, with the same value in all arguments, each in a child of its own,
 * and tells what became of it: "<abi> <value> <number> <outcome>", where the outcome is "killed" by SIGSYS, the errno, or "ran" for everything
 * else: a result, a signal, an end, a wait. Then the calls of a file, a line each, "<number> <six arguments in hex>": "row <line> <number> <outcome>",
 * on stderr, for a pipe holds 64 KiB. A second file is a filter, struct sock_filter after struct sock_filter, that each child installs before its call.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { X86_64, X32, I386 };
static const char *const names[] = { "x86-64", "x32", "i386" };

static long call(int abi, long nr, const long *a)
{
	long result;
	if (abi == I386) {
		asm volatile("int $0x80" : "=a"(result) : "a"(nr), "b"(a[0]), "c"(a[1]), "d"(a[2]), "S"(a[3]), "D"(a[4]) : "memory", "r8", "r9", "r10", "r11");
		return (int)result;
	}
	register long r10 asm("r10") = a[3], r8 asm("r8") = a[4], r9 asm("r9") = a[5];
	asm volatile("syscall" : "=a"(result) : "a"(abi == X32 ? nr | 0x40000000 : nr), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
		: "memory", "rcx", "r11");
	return result;
}

/* Only what waits for ever is ended; a busy machine may take its time. */
static int await(pid_t child)
{
	int status;
	struct timespec start, now;
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (now = start; (now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 < 1500; clock_gettime(CLOCK_MONOTONIC, &now)) {
		if (waitpid(child, &status, WNOHANG) == child)
			return status;
		usleep(250);
	}
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	return status;
}

static volatile long *page; /* shared with the child: whether the call returned, and what */

static struct sock_filter filter[4096];
static struct sock_fprog program = { 0, filter };

static int install(void)
{
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
}

static const char *outcome(int abi, long nr, const long *arguments)
{
	page[0] = 0;
	pid_t child = fork();
	if (child == 0) {
		pid_t self = getpid();
		if (program.len > 0 && !install()) {
			page[0] = 2;
			_exit(0);
		}
		long result = call(abi, nr, arguments);
		if (program.len > 0 || getpid() == self) { /* not in a child that the call made: the filter lets none be made, nor anybody ask for his number */
			page[1] = result;
			page[0] = 1;
		}
		_exit(0);
	}
	int status = await(child);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		return "killed";
	if (page[0] == 2)
		return "unfiltered";
	if (page[0] && page[1] < 0 && page[1] > -4096)
		return strerrorname_np((int)-page[1]) ?: "unnamed";
	return "ran";
}

int main(int argc, char **argv)
{
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	FILE *own = argc > 2 ? fopen(argv[2], "re") : NULL;
	if (argc > 2 && (!own || (program.len = (unsigned short)fread(filter, sizeof *filter, sizeof filter / sizeof *filter, own)) == 0))
		return 1;
	static const long values[] = { 0, -1 };
	/* 547 is the last number of all: those from 512 on are x32's own. */
	for (int abi = X86_64; abi <= I386; abi++)
		for (int i = 0; i < 2; i++) {
			long v = values[i], a[6] = { v, v, v, v, v, v };
			for (long nr = 0; nr < 548; nr++)
				printf("%s %ld %ld %s\n", names[abi], v, nr, outcome(abi, nr, a));
		}
	FILE *rows = argc > 1 ? fopen(argv[1], "re") : NULL;
	unsigned long nr, a[6];
	for (int line = 0; rows && fscanf(rows, "%lu %lx %lx %lx %lx %lx %lx", &nr, &a[0], &a[1], &a[2], &a[3], &a[4], &a[5]) == 7; line++)
		fprintf(stderr, "row %d %lu %s\n", line, nr, outcome(X86_64, (long)nr, (long *)a));
}
