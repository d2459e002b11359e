// A compiler driver that does what the plain one would do, in fewer and lighter processes: the compiler proper, piped into the
// assembler, then gold. Left out are what gcc looks up at each start, its temporary .s file, collect2 with the LTO plug-in, and a linker
// that takes 17 ms for "hello" where gold takes 6. pages.c is preloaded into the compiler proper: it saves 7 % of its 16 ms.
//
// plan.h says which command this is for, and which commands `gcc -###` makes of it (plan.sh). Any other command line, or a variable that
// gcc would heed, is the plain driver's. So is all that gold has to say about a program: the plain driver links once more, with the
// default linker, and its words are what the caller reads.
//
// Nothing is printed here. Diagnostics are written by the tools themselves; where two tools would speak, they do so in gcc's order.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

// What words of a plan stand for. They are told by their addresses, so no source can be called like one.
static const char SOURCES[] = "", OBJECTS[] = "", SOURCE[] = "", BASE[] = "", EXTENSION[] = "", OBJECT[] = "";

// PLAIN, the plain driver's path; command[], the words after it; extensions[] of sources; compiler[], assembler[] and linker[], each
// beginning with the path of the tool. Not in quotes: C++ has a plan of its own for this file.
#include <plan.h>

enum { MAX_SOURCES = 64, MAX_WORDS = 256 };

static char **environment;
static char **with_pages; // environment, and LD_PRELOAD=PAGES (pages.c)
static char **plain_argv;

static const char *sources[MAX_SOURCES + 1];
static char objects[MAX_SOURCES][sizeof "/tmp/ccXXXXXX.o"];
static int object_count;

static void remove_objects(void)
{
	while (object_count > 0)
		unlink(objects[--object_count]);
}

static _Noreturn void finish(int code)
{
	remove_objects();
	_exit(code);
}

// plain becomes the compiler's own driver, from the beginning.
static _Noreturn void plain(void)
{
	remove_objects();
	plain_argv[0] = (char *)PLAIN;
	execve(PLAIN, plain_argv, environment);
	perror(PLAIN);
	_exit(1);
}

static int start(const char *const *words, char **env, int in, int out, int err)
{
	posix_spawn_file_actions_t fds;
	posix_spawn_file_actions_init(&fds);
	if (in >= 0)
		posix_spawn_file_actions_adddup2(&fds, in, 0);
	if (out >= 0)
		posix_spawn_file_actions_adddup2(&fds, out, 1);
	if (err >= 0)
		posix_spawn_file_actions_adddup2(&fds, err, 2);
	pid_t pid;
	int error = posix_spawn(&pid, words[0], &fds, NULL, (char *const *)words, env);
	posix_spawn_file_actions_destroy(&fds);
	return error ? -1 : pid;
}

static int wait_for(int pid)
{
	int status;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			plain();
	return status;
}

static void make_pipe(int fd[2])
{
	if (pipe2(fd, O_CLOEXEC) < 0)
		plain();
}

// take_command fills sources, and reports whether the command line is the planned one.
static bool take_command(int argc, char **argv)
{
	int fixed = 0;
	for (const char *const *w = command; *w; w++)
		fixed += *w != SOURCES;
	int count = argc - 1 - fixed;
	if (count < 1 || count > MAX_SOURCES)
		return false;
	char **arg = argv + 1;
	for (const char *const *w = command; *w; w++) {
		if (*w == SOURCES) {
			memcpy(sources, arg, count * sizeof *arg);
			arg += count;
		} else if (strcmp(*arg++, *w) != 0) {
			return false;
		}
	}
	return true;
}

// take_source reports whether gcc would take this name for a source of this language, and find it.
static bool take_source(const char *name, const char **extension)
{
	struct stat st;
	if (name[0] == '-' || name[0] == '@' || stat(name, &st) < 0 || !S_ISREG(st.st_mode) || access(name, R_OK) < 0)
		return false;
	*extension = strrchr(name, '.');
	for (const char *const *e = extensions; *extension && *e; e++)
		if (strcmp(*extension, *e) == 0)
			return true;
	return false;
}

// heeded reports variables by which a caller steers gcc, its search for tools and files, or the default linker.
static bool heeded(const char *variable)
{
	static const char *const names[] = {"GCC_", "COLLECT_", "COMPILER_PATH=", "LIBRARY_PATH=", "LD_", "LDEMULATION=", "GNUTARGET="};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (strncmp(variable, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

// build compiles one source into a new object; false: the tools have said why not.
static bool build(const char *source)
{
	const char *extension;
	take_source(source, &extension);
	const char *slash = strrchr(source, '/');
	const char *base = slash ? slash + 1 : source;
	char *object = strcpy(objects[object_count], "/tmp/ccXXXXXX.o");
	int fd = mkstemps(object, 2);
	if (fd < 0)
		plain();
	close(fd);
	object_count++;

	const char *cc[MAX_WORDS], *as[MAX_WORDS];
	int n = 0;
	for (const char *const *w = compiler; *w; w++)
		cc[n++] = *w == SOURCE ? source : *w == BASE ? base : *w == EXTENSION ? extension : *w;
	cc[n] = NULL;
	n = 0;
	for (const char *const *w = assembler; *w; w++)
		as[n++] = *w == OBJECT ? object : *w;
	as[n] = NULL;

	int text[2];
	make_pipe(text);
	int reader = start(as, environment, text[0], -1, -1); // first: it gets ready while the compiler works
	int writer = start(cc, with_pages, -1, text[1], -1);
	close(text[0]);
	close(text[1]);
	if (reader < 0 || writer < 0)
		plain();
	int compiled = wait_for(writer), assembled = wait_for(reader);
	if (WIFSIGNALED(assembled) || (WIFSIGNALED(compiled) && assembled == 0))
		plain(); // it has a message for that
	return compiled == 0 && assembled == 0;
}

// link_fast lets gold link, and reports whether it did so without a word.
static bool link_fast(void)
{
	const char *words[MAX_WORDS + MAX_SOURCES];
	int n = 0;
	for (const char *const *w = linker; *w; w++) {
		if (*w != OBJECTS) {
			words[n++] = *w;
			continue;
		}
		for (int i = 0; i < object_count; i++)
			words[n++] = objects[i];
	}
	words[n] = NULL;
	int said[2];
	make_pipe(said);
	int pid = start(words, environment, -1, said[1], said[1]);
	close(said[1]);
	char c;
	bool silent = pid >= 0 && read(said[0], &c, 1) == 0;
	close(said[0]);
	return pid >= 0 && wait_for(pid) == 0 && silent;
}

// link_plain lets the plain driver link the same objects.
static int link_plain(void)
{
	const char *words[MAX_WORDS + MAX_SOURCES] = {PLAIN};
	int n = 1;
	for (const char *const *w = command; *w; w++) {
		if (*w != SOURCES) {
			words[n++] = *w;
			continue;
		}
		for (int i = 0; i < object_count; i++)
			words[n++] = objects[i];
	}
	words[n] = NULL;
	int pid = start(words, environment, -1, -1, -1);
	if (pid < 0)
		plain();
	int status = wait_for(pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(int argc, char **argv, char **env)
{
	environment = env;
	plain_argv = argv;
	if (!take_command(argc, argv))
		plain();
	const char *extension;
	for (const char **s = sources; *s; s++)
		if (!take_source(*s, &extension))
			plain();
	int variables = 0;
	for (char **e = env; *e; e++, variables++)
		if (heeded(*e))
			plain();
	char *more[variables + 2];
	memcpy(more, env, variables * sizeof *env);
	more[variables] = "LD_PRELOAD=" PAGES;
	more[variables + 1] = NULL;
	with_pages = more;
	bool good = true;
	for (const char **s = sources; *s; s++) // like gcc: all are compiled, and nothing is linked when one fails
		good = build(*s) && good;
	if (!good)
		finish(1);
	finish(link_fast() ? 0 : link_plain());
}
