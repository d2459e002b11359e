// A runtime for tests: argv[1] says what the program does once it has been taken over. Linked with rootfs/parked/parked.c.
#define _GNU_SOURCE // sched_getaffinity
#include "parked.h"
#include "zygote.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static void show(const char *path)
{
	char all[4096];
	int fd = open(path, O_RDONLY);
	ssize_t n = read(fd, all, sizeof all);
	for (ssize_t i = 0; i < n; i++)
		putchar(all[i] ? all[i] : '|');
	putchar('\n');
	close(fd);
}

static void handler(void)
{
	printf("handler ");
}

static void stop_for_a_moment(void)
{
	if (fork() == 0) {
		usleep(100000);
		kill(getppid(), SIGCONT);
		_exit(0);
	}
	raise(SIGSTOP);
	wait(NULL);
	printf("went on");
}

static void *grow(void *file)
{
	static const char page[4096];
	while (write(*(int *)file, page, sizeof page) > 0)
		usleep(20);
	return file;
}

static void ignore(int number)
{
	(void)number;
}

/* The stop that says that a program has ended is undone by a timer of its own, again and again. */
static void wake_after_the_end(void)
{
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGCONT };
	struct itimerspec often = { { 0, 50000 }, { 0, 50000 } };
	static int file;
	signal(SIGCONT, ignore); /* with the default the kernel would send it once */
	pthread_t thread;
	timer_t timer;
	if (timer_create(CLOCK_MONOTONIC, &event, &timer) < 0)
		abort();
	timer_settime(timer, 0, &often, NULL);
	file = open("/build/f", O_CREAT | O_WRONLY, 0644);
	pthread_create(&thread, NULL, grow, &file);
	usleep(1000);
}

/* What a runtime with pools of threads makes of the CPUs that it sees when it starts. */
static int cpus_at_start;

static void *idle(void *nothing)
{
	for (;;)
		pause();
	return nothing;
}

static void start_threads(void)
{
	cpu_set_t set;
	sched_getaffinity(0, sizeof set, &set);
	cpus_at_start = CPU_COUNT(&set);
	for (int i = 0; i < 3; i++) {
		pthread_t thread;
		pthread_create(&thread, NULL, idle, NULL);
	}
}

/* The CPUs of each thread, and how many there seemed to be at start. */
static void show_cpus(void)
{
	printf("%d", cpus_at_start);
	DIR *tasks = opendir("/proc/self/task");
	for (struct dirent *t; (t = readdir(tasks));) {
		cpu_set_t set;
		int cpu = 0;
		if (t->d_name[0] == '.' || sched_getaffinity(atoi(t->d_name), sizeof set, &set) < 0)
			continue;
		while (cpu < CPU_SETSIZE && !CPU_ISSET(cpu, &set))
			cpu++;
		printf(" %d of %d", cpu, CPU_COUNT(&set));
	}
	closedir(tasks);
}

static int program(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	if (strcmp(what, "show") == 0) {
		for (char **e = environ; *e; e++)
			printf("%s|", *e);
		putchar('\n');
		show("/proc/self/environ");
		show("/proc/self/cmdline");
	} else if (strcmp(what, "descriptors") == 0) {
		for (int fd = 0; fd < 100; fd++)
			if (fcntl(fd, F_GETFD) >= 0)
				printf("%d ", fd);
	} else if (strcmp(what, "cpus") == 0) {
		show_cpus();
	} else if (strcmp(what, "exit") == 0) {
		atexit(handler);
		printf("buffered ");
		return atoi(argv[2]);
	} else if (strcmp(what, "child exits") == 0) {
		if (fork() == 0)
			exit(9);
		int status;
		wait(&status);
		printf("child %d", WEXITSTATUS(status));
	} else if (strcmp(what, "leaves a child") == 0) {
		if (fork() == 0)
			for (;;)
				pause();
		printf("left");
	} else if (strcmp(what, "large") == 0) {
		memset(malloc(200 << 20), 1, 200 << 20);
		if (argc > 2 && fork() == 0)
			for (;;)
				pause();
	} else if (strcmp(what, "wakes") == 0) {
		wake_after_the_end();
	} else if (strcmp(what, "signal") == 0) {
		raise(SIGSEGV);
	} else if (strcmp(what, "stop") == 0) {
		stop_for_a_moment();
	} else if (strcmp(what, "hang") == 0) {
		raise(SIGSTOP);
	}
	return 0;
}

/* A compiler's job: what it may leave behind for the next one. */
static int compiler(int argc, char **argv)
{
	static int jobs;
	const char *what = argc > 1 ? argv[1] : "";
	printf("job %d ", ++jobs);
	if (argv[argc])
		printf("more words ");
	if (access("source", F_OK) == 0)
		printf("source ");
	if (access("/build/output", F_OK) == 0)
		printf("output ");
	if (strcmp(what, "write") == 0)
		close(open("/build/output", O_CREAT | O_WRONLY, 0644));
	else if (strcmp(what, "hold") == 0)
		open("held", O_CREAT | O_RDWR, 0644);
	else if (strcmp(what, "map") == 0)
		mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, open("held", O_CREAT | O_RDWR, 0644), 0);
	else if (strcmp(what, "litter") == 0)
		close(open("/tmp/litter", O_CREAT | O_WRONLY, 0644));
	else if (strcmp(what, "child") == 0 && fork() == 0)
		for (chdir("/") < 0; ; )
			pause();
	else if (strcmp(what, "hang") == 0)
		pause();
	else if (strcmp(what, "fill") == 0)
		for (size_t chunk = 1 << 20; ; )
			memset(malloc(chunk), 1, chunk);
	else if (strcmp(what, "exit") == 0)
		exit(3);
	else if (strcmp(what, "signal") == 0)
		raise(SIGSEGV);
	return 5;
}

/* In a JVM this is not the first thread. */
static void *serve(void *unused)
{
	(void)unused;
	static const char *const prefixes[] = { "TOY", NULL };
	for (;;) {
		struct parked_job *job = parked_wait();
		if (strcmp(job->argv[0], "/bin/toy") != 0 || !parked_same_env(job, prefixes))
			parked_exec(job);
		parked_begin(job);
		if (!job->again)
			exit(program(job->argc, job->argv));
		parked_again(compiler(job->argc, job->argv));
	}
}

int main(int argc, char **argv)
{
	(void)argc;
	if (getenv("OLD")) {
		struct zygote_reply first = { .index = 1 }; /* of before there were versions */
		return write(ZYGOTE_PARKED_CONTROL, &first, sizeof first) < 0 || pause();
	}
	bool parked = parked_init();
	if (getenv("THREADS"))
		start_threads();
	if (!parked)
		return program(argc, argv);
	if (getenv("BROKEN"))
		exit(3);
	if (getenv("SLOW"))
		pause();
	if (getenv("OPEN")) { /* what a runtime may have changed of its process, and no exec takes back by itself */
		open("/", O_RDONLY);
		signal(SIGPIPE, SIG_IGN);
		sigset_t set;
		sigemptyset(&set);
		sigaddset(&set, SIGQUIT);
		sigprocmask(SIG_BLOCK, &set, NULL);
	}
	if (getenv("STOP"))
		raise(SIGSTOP);
	pthread_t thread;
	if (getenv("THREAD") && pthread_create(&thread, NULL, serve, NULL) == 0)
		pthread_join(thread, NULL);
	serve(NULL);
}
