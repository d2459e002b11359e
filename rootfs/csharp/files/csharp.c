/*
 * csharp.c - parks .NET, in two ways.
 *
 * The run host: the real `dotnet exec ... /build/Main.dll` goes its whole way, hostfxr, hostpolicy, coreclr_initialize, and stops where hostpolicy
 * would have the program executed. hostpolicy finds that function by name with dlsym, so it is ours that it finds. /build is empty until the
 * job comes; what the host looks for in it is looked up in a folder of the image with files of the same names, so that it computes what it
 * would compute then.
 *
 * The compiler: compile.dll warms itself up and calls csharp_wait, and csharp_again after each job.
 */
#define _GNU_SOURCE
#include "parked.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#define BUILD "/build"
#define STAND_IN "/usr/lib/runtools/csharp/build"
#define PROGRAM BUILD "/Main.dll"

static volatile int parked; /* started to be parked, and no job yet */
static int is_host;         /* of a program, not the compiler */
static char **command;      /* what the kernel executed: the job's must begin with the same words */
static int command_words;

/* Of a program all variables: coreclr copies the environment when it starts, and has no way to be told of another. */
static const char *const programs[] = { "", NULL };

/*
 * The compiler shows its environment to no source and starts nothing. So for it, those that it reads itself: the names that its assemblies, the
 * framework's and the native libraries have in them, as far as a compilation comes by. hostfxr, hostpolicy and coreclr: DOTNET_, COMPlus_,
 * CORE(HOST, CLR)_, TMPDIR. Framework: DOTNET_, HOME and XDG_ (folders), TMPDIR, TZ and TZDIR; ICU and OpenSSL, which it loads, have theirs. Roslyn:
 * DOTNET_, ROSLYN_, MICROSOFT_DIASYMREADER_, HELIX_; LIB and PATH are of csc.dll and the compiler server, whose Main is not run. TMP and TEMP are
 * what other systems have for TMPDIR. The loader's and the locale's are compared anyhow.
 */
static const char *const compilers[] = { "DOTNET_", "COMPlus_", "CORE", "HOME", "XDG_", "TMP", "TEMP", "TZ", "ICU_", "OPENSSL_", "SSL_", "CLR_", "ROSLYN",
	"MICROSOFT_", "HELIX_", NULL };

/* ---- before the job, /build is looked up elsewhere ---- */

static const char *stand_in(const char *path, char *buffer)
{
	size_t length = sizeof BUILD - 1;
	if (!parked || strncmp(path, BUILD, length) != 0 || (path[length] != '/' && path[length] != '\0') || strlen(path) > PATH_MAX / 2)
		return path;
	return strcat(strcpy(buffer, STAND_IN), path + length);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int access(const char *path, int mode)
{
	static __typeof__(&access) real;
	char buffer[PATH_MAX];
	if (!real)
		real = REAL(access);
	return real(stand_in(path, buffer), mode);
}

int __xstat64(int version, const char *path, struct stat64 *st)
{
	(void)version;
	char buffer[PATH_MAX];
	return stat64(stand_in(path, buffer), st);
}

DIR *opendir(const char *path)
{
	static __typeof__(&opendir) real;
	char buffer[PATH_MAX];
	if (!real)
		real = REAL(opendir);
	return real(stand_in(path, buffer));
}

char *realpath(const char *path, char *resolved)
{
	static char *(*real)(const char *, char *);
	char buffer[PATH_MAX];
	if (!real)
		real = (char *(*)(const char *, char *))dlvsym(RTLD_NEXT, "realpath", "GLIBC_2.3");
	if (stand_in(path, buffer) == path)
		return real(path, resolved);
	if (access(path, F_OK) != 0)
		return NULL;
	return resolved ? strcpy(resolved, path) : strdup(path); /* there are no links in it */
}

/* ---- before the job, no thread ends ---- */

/*
 * The thread of tiered compilation ends when it has had nothing to do for four seconds, and the next method that is called needs a new one. In a
 * program that starts, that is never so: a thread more would give its own threads other hash codes, and its children other numbers.
 */
#define IDLE 2 /* seconds; coreclr's shorter waits are for work that is on its way */

int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until)
{
	static __typeof__(&pthread_cond_timedwait) real;
	struct timespec now;
	if (!real) /* threads may meet here: each finds the same */
		real = (__typeof__(real))dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
	if (parked && clock_gettime(CLOCK_MONOTONIC, &now) == 0 && until->tv_sec - now.tv_sec > IDLE)
		return pthread_cond_wait(cond, mutex);
	return real(cond, mutex, until);
}

/* ---- the run host ---- */

/*
 * Whether the program is all there is in /build. Packages beside it are not on the list of assemblies that the host has made of the folder.
 */
static int alone(void)
{
	DIR *build = opendir(BUILD);
	struct dirent *entry;
	if (!build)
		return 0;
	do
		entry = readdir(build);
	while (entry && (entry->d_name[0] == '.' || strncmp(entry->d_name, "Main.", 5) == 0));
	closedir(build);
	return !entry;
}

typedef int execute_function(void *host, unsigned domain, int argc, const char **argv, const char *assembly, unsigned *code);

static execute_function *real_execute;

static int same_command(const struct parked_job *job)
{
	if (job->argc < command_words)
		return 0;
	for (int i = 0; i < command_words; i++)
		if (strcmp(job->argv[i], command[i]) != 0)
			return 0;
	return parked_same_env(job, is_host ? programs : compilers);
}

/*
 * coreclr makes copies of 0, 1 and 2 when it starts, in this order: they are of /dev/null, of which nothing else has a descriptor. The program can see them: a copy of
 * stdout holds a pipe open that it closes.
 */
static void renew_copies(void)
{
	struct stat st;
	for (int fd = 3, original = 0; original <= 2 && fd < 16; fd++) {
		if (fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
			continue;
		dup3(original, fd, O_CLOEXEC);
		original++;
	}
}

#define MAX_COPY 64 /* a copy above it is closed by the kernel, later */

/*
 * Those, and what Console made of them. Runs after the program's exit handlers and before parked.c's, for the same reason as that closes the originals: who reads
 * them waits for it.
 */
static void close_copies(void)
{
	struct stat originals[3] = { 0 }, st; /* of what is closed inode 0, which no file has */
	fflush(NULL); /* a stream of C's may have one of them, and exit() would write what it holds after us */
	for (int i = 0; i <= 2; i++)
		fstat(i, &originals[i]);
	for (int fd = 3; fd < MAX_COPY; fd++)
		for (int i = 0; i <= 2 && fstat(fd, &st) == 0; i++)
			if (st.st_dev == originals[i].st_dev && st.st_ino == originals[i].st_ino)
				close(fd);
}

static int execute(void *host, unsigned domain, int argc, const char **argv, const char *assembly, unsigned *code)
{
	if (!parked)
		return real_execute(host, domain, argc, argv, assembly, code);
	struct parked_job *job = parked_wait();
	parked = 0;
	if (!same_command(job) || access(PROGRAM, R_OK) != 0 || !alone())
		parked_exec(job);
	renew_copies();
	parked_begin(job);
	return real_execute(host, domain, job->argc - command_words, (const char **)job->argv + command_words, assembly, code);
}

typedef void *dlsym_function(void *handle, const char *name);

void *dlsym(void *handle, const char *name)
{
	static dlsym_function *real;
	if (!real)
		real = (dlsym_function *)dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5");
	if (strcmp(name, "coreclr_execute_assembly") == 0 && parked && is_host) {
		real_execute = (execute_function *)real(handle, name);
		return (void *)execute;
	}
	return real(handle, name); /* a jump, not a call: RTLD_NEXT depends on who called */
}

/* ---- the compiler ---- */

static int again; /* the job may be one of several */

/* Waits for the job and takes it over; the words after the command are the sources. Called by compile.dll. */
int csharp_wait(char ***sources)
{
	struct parked_job *job = parked_wait();
	if (parked)
		command_words--; /* the last one says that it shall park */
	parked = 0;
	if (!same_command(job))
		parked_exec(job);
	again = job->again;
	parked_begin(job);
	*sources = job->argv + command_words;
	return job->argc - command_words;
}

/* Ends the job. Returns if there may be another, which is to be waited for. */
void csharp_again(int code)
{
	if (!again)
		close_copies();
	parked_again(code);
}

__attribute__((constructor)) static void enter(int argc, char **argv)
{
	parked = parked_init();
	command = argv;
	command_words = argc;
	is_host = strcmp(argv[argc - 1], PROGRAM) == 0;
	/*
	 * 64 MiB, hexadecimal, before the first collection; the warm-up and a small compile allocate 25. What is loaded of the reference assemblies is held weakly, and a
	 * collection lets go of it: a hello then takes 40 to 110 ms of CPU, where it takes 20. The file of the runtime's configuration knows no such setting.
	 */
	if (parked && !is_host && setenv("DOTNET_GCgen0size", "4000000", 0) != 0)
		_exit(127);
	if (parked && is_host && atexit(close_copies) != 0)
		_exit(127);
}
