/*
 * runner.c - parks Ruby: all that `ruby main.rb` does before it reads main.rb has been done when the job comes.
 *
 * Ruby itself does it, in its own order and on its own stack; nothing here is a second start-up. libruby calls its own exported functions
 * through the PLT, so a preloaded library can step in where it opens the script and where it has loaded the prelude (RubyGems,
 * error_highlight, did_you_mean, syntax_suggest), which lies between opening and parsing:
 *
 *	ruby_options("ruby", "main.rb")
 *	    rb_cloexec_open("main.rb")        gets a file of one byte instead
 *	    rb_io_fdopen                      the File that will be DATA: kept
 *	    reads a byte, to see if it is a shebang's '#'
 *	    loads the prelude
 *	    ruby_set_script_name              waits for the job; the real main.rb takes the place of the file of one byte
 *	    parses and compiles main.rb
 *	ruby_run_node
 *
 * Headers of Ruby are not in the image; what is used of it is declared below.
 */
#define _GNU_SOURCE
#include "parked.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

typedef uintptr_t VALUE; /* Ruby's: any object */

VALUE rb_io_getbyte(VALUE io);
void ruby_init_setproctitle(int argc, char **argv);
void ruby_reset_timezone(const char *value);
void ruby_set_argv(int argc, char **argv);

/* What rubygems and ruby read from the environment before they read the script, and what rubygems makes paths of. */
static const char *const read_at_start[] = { "RUBY", "GEM", "BUNDLE", "DEBIAN_", "HOME", "XDG_", "SOURCE_DATE_EPOCH", NULL };

/* Paths of the workspace that a start looks at, absent when this one did: gems of the user's; and, because the built-in features have
 * names that are not absolute, files of such a name, which `require` then takes for loaded. */
static const char *const seen_at_start[] = { "/home/user/.gem", "/home/user/.local/share/gem", "thread.rb", "enumerator.so", "fiber.so", NULL };

#define MAIN "main.rb"

static enum { NOT_PARKED, STARTING, HAS_SCRIPT, RUNNING } state;
static VALUE script; /* the File */
static int script_fd;

static void *next(const char *name)
{
	void *function = dlsym(RTLD_NEXT, name);
	if (!function)
		abort();
	return function;
}

/* ---- the job ---- */

/* Opens the program as Ruby would have. -1: whatever is odd about it, Ruby shall say. */
static int open_main(const char *path)
{
	struct stat st;
	char start[2];
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && pread(fd, start, 2, 0) > 0 && start[0] != '#' &&
	    fcntl(fd, F_SETFL, O_RDONLY) == 0)
		return fd;
	close(fd);
	return -1;
}

static int fits(const struct parked_job *job)
{
	struct stat st;

	if (job->argc < 2 || strcmp(job->argv[0], "/usr/bin/ruby") != 0 || strcmp(job->argv[1], MAIN) != 0)
		return 0;
	if (!parked_same_env(job, read_at_start))
		return 0;
	for (int i = 0; seen_at_start[i]; i++)
		if (lstat(seen_at_start[i], &st) == 0)
			return 0;
	return 1;
}

static void take_job(void)
{
	struct parked_job *job = parked_wait();
	int fd;

	if (!fits(job) || (fd = open_main(MAIN)) < 0)
		parked_exec(job);
	parked_begin(job);
	/* Ruby had read the one byte, and put it back. */
	rb_io_getbyte(script);
	dup3(fd, script_fd, O_CLOEXEC);
	close(fd);
	/* It copies the environment out of the way of longer titles, as it did when it started. */
	ruby_init_setproctitle(job->argc, job->argv);
	ruby_set_argv(job->argc - 2, job->argv + 2);
	ruby_reset_timezone(getenv("TZ"));
}

/* ---- what libruby calls ---- */

int rb_cloexec_open(const char *path, int flags, mode_t mode)
{
	static int (*real)(const char *, int, mode_t);
	if (!real)
		real = next("rb_cloexec_open");
	if (state != STARTING || strcmp(path, MAIN) != 0)
		return real(path, flags, mode);
	script_fd = memfd_create(MAIN, MFD_CLOEXEC);
	if (script_fd < 0 || pwrite(script_fd, "\n", 1, 0) != 1)
		_exit(127);
	return script_fd;
}

VALUE rb_io_fdopen(int fd, int flags, const char *path)
{
	VALUE (*real)(int, int, const char *) = next("rb_io_fdopen");
	VALUE io = real(fd, flags, path);
	if (state == STARTING && fd == script_fd) {
		script = io;
		state = HAS_SCRIPT;
	}
	return io;
}

void ruby_set_script_name(VALUE name)
{
	void (*real)(VALUE) = next("ruby_set_script_name");
	if (state == HAS_SCRIPT) {
		take_job();
		state = RUNNING;
	}
	real(name);
}

typedef int main_function(int argc, char **argv, char **env);
typedef int start_function(main_function *main, int argc, char **argv, void (*init)(void), void (*fini)(void), void (*rtld_fini)(void), void *stack_end);

/* What the program's entry point calls. It registers the loader's own exit handler first, so ours, registered after it, runs before that. */
int __libc_start_main(main_function *main, int argc, char **argv, void (*init)(void), void (*fini)(void), void (*rtld_fini)(void), void *stack_end)
{
	start_function *real = next("__libc_start_main");
	if (parked_init())
		state = STARTING;
	return real(main, argc, argv, init, fini, rtld_fini, stack_end);
}
