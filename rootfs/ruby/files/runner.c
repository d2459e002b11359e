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
#include "bytecode.h"
#include "parked.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

typedef uintptr_t VALUE; /* Ruby's: any object */
#define NIL ((VALUE)4)
#define ZERO ((VALUE)1)

VALUE rb_define_singleton_method(VALUE of, const char *name, VALUE (*function)(VALUE self, VALUE argument), int arity);
VALUE rb_funcall(VALUE receiver, uintptr_t method, int count, ...);
uintptr_t rb_intern(const char *name);
size_t rb_gc_obj_slot_size(VALUE object);
VALUE rb_gv_set(const char *name, VALUE value);
VALUE rb_io_gets(VALUE io);
VALUE rb_io_ungetbyte(VALUE io, VALUE bytes);
const void *rb_iseqw_to_iseq(VALUE sequence);
VALUE rb_path2class(const char *name);
void rb_remove_method(VALUE class, const char *name);
char *rb_string_value_cstr(volatile VALUE *string);
char *rb_string_value_ptr(volatile VALUE *string);
VALUE rb_str_new_cstr(const char *text);
VALUE rb_str_new_static(const char *bytes, long size);
void ruby_init_setproctitle(int argc, char **argv);
void ruby_reset_timezone(const char *value);
void ruby_set_argv(int argc, char **argv);
extern const char ruby_version[];

/* What rubygems and ruby read from the environment before they read the script, and what rubygems makes paths of. */
static const char *const read_at_start[] = { "RUBY", "GEM", "BUNDLE", "DEBIAN_", "HOME", "XDG_", "SOURCE_DATE_EPOCH", NULL };

/* Paths of the workspace that a start looks at, absent when this one did: gems of the user's; and, because the built-in features have
 * names that are not absolute, files of such a name, which `require` then takes for loaded. */
static const char *const seen_at_start[] = {
	"/home/user/.gem", "/home/user/.local/share/gem", "thread.rb", "enumerator.so", "fiber.so", NULL,
};

#define MAIN "main.rb"
#define KNOWN "3.3." /* other versions of Ruby may do all this in another order: they are executed when the job comes */

static enum { NOT_PARKED, STARTING, OPENED, HAS_SCRIPT, RUNNING } state;
static VALUE script; /* the File */

static void *next(const char *name)
{
	void *function = dlsym(RTLD_NEXT, name);
	if (!function)
		abort();
	return function;
}

/* ---- the prelude ---- */

static int preludes(void)
{
	return state == STARTING || state == HAS_SCRIPT;
}

static const char *bytecode;
static const struct bytecode *at; /* the entry after that used last: they are used in the order in which they were made */
static size_t bytecode_size;
static VALUE sequence_class;      /* RubyVM::InstructionSequence */

static void open_bytecode(void)
{
	struct stat st;
	int fd = open(BYTECODE_FILE, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) < 0)
		_exit(127);
	bytecode_size = (size_t)st.st_size;
	bytecode = mmap(NULL, bytecode_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (bytecode == MAP_FAILED)
		_exit(127);
	at = (const struct bytecode *)bytecode;
}

static const struct bytecode *find(const char *path, uint32_t string)
{
	const struct bytecode *end = (const struct bytecode *)(bytecode + bytecode_size);

	for (const struct bytecode *b = at; b < end; b = (const struct bytecode *)((const char *)b + b->next)) {
		if (b->string == string && strcmp((const char *)(b + 1), path) == 0) {
			at = (const struct bytecode *)((const char *)b + b->next);
			return b;
		}
	}
	return NULL;
}

static VALUE load(const struct bytecode *b)
{
	const char *data = (const char *)b + BYTECODE_ALIGN(sizeof *b + b->path_size);
	VALUE binary = rb_str_new_static(data, b->data_size);
	VALUE sequence = rb_funcall(sequence_class, rb_intern("load_from_binary"), 1, binary);

	/* It may be garbage for as long as the process lives, and be looked at (Process.warmup), but the file will be unmapped. */
	rb_funcall(binary, rb_intern("clear"), 0);
	return sequence;
}

/* Ruby asks this method, if there is one, before it parses a file that is required. */
static VALUE load_iseq(VALUE self, VALUE path)
{
	(void)self;
	const struct bytecode *b = find(rb_string_value_cstr(&path), 0);
	return b ? load(b) : NIL;
}

/*
 * A string is evaluated in three steps: rb_parser_compile_string_path, rb_iseq_new_eval, and running the result in the frame of the
 * binding. What was recorded for the string takes the place of the second; the first parses next to nothing. None of these strings uses a
 * local variable of where it is evaluated, so it does not matter that their bytecode has no parent.
 */
static VALUE evaluated;

void *rb_parser_compile_string_path(VALUE parser, VALUE path, VALUE string, int line)
{
	static void *(*real)(VALUE, VALUE, VALUE, int);
	if (!real)
		real = next("rb_parser_compile_string_path");
	const struct bytecode *b = preludes() ? find(rb_string_value_cstr(&path), 1) : NULL;
	void *tree = real(parser, path, b ? rb_str_new_static("0", 1) : string, line);
	if (b)
		evaluated = load(b); /* last: the garbage collector does not know of it, and nothing is allocated before it is used */
	return tree;
}

const void *rb_iseq_new_eval(const void *body, VALUE name, VALUE path, VALUE realpath, int line, const void *parent, int depth)
{
	static const void *(*real)(const void *, VALUE, VALUE, VALUE, int, const void *, int);
	if (!real)
		real = next("rb_iseq_new_eval");
	if (preludes() && evaluated) {
		const void *sequence = rb_iseqw_to_iseq(evaluated);
		evaluated = 0;
		return sequence;
	}
	return real(body, name, path, realpath, line, parent, depth);
}

/* ---- the job ---- */

/*
 * Whether Ruby has nothing to say about this file but what its parser says. A first line that names Ruby and gives no options is read, as
 * Ruby reads it, and becomes "#!" for the parser: *shebang.
 */
static int plain_program(const char *path, int *shebang)
{
	char start[256];
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n = fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ? 0 : read(fd, start, sizeof start - 1);

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return 0;
	start[n] = '\0';
	*shebang = start[0] == '#' && start[1] == '!';
	if (!*shebang)
		return 1;
	char *end = strchr(start, '\n');
	if (!end || end[-1] == '\r')
		return 0;
	*end = '\0';
	const char *engine = strstr(start, "ruby");
	return engine && !strstr(engine, " -");
}

static int fits(const struct parked_job *job)
{
	struct stat st;

	if (job->argc < 2 || strcmp(job->argv[0], "/usr/bin/ruby") != 0 || job->argv[1][0] == '-' || !job->argv[1][0])
		return 0;
	if (!parked_same_env(job, read_at_start))
		return 0;
	for (int i = 0; seen_at_start[i]; i++)
		if (lstat(seen_at_start[i], &st) == 0)
			return 0;
	return 1;
}

/* A Ruby string that holds its bytes in itself. There is no function to change one that is frozen. */
struct short_string {
	VALUE flags, class;
	long length;
	char bytes[];
};
#define CODERANGE ((VALUE)3 << 20) /* of the flags: what Ruby found out about the bytes */

/* Gives the program's name, which Ruby made of our command line, another content. 0: it does not fit. */
static int rename_script(VALUE name, const char *to)
{
	struct short_string *s = (struct short_string *)name;
	size_t length = strlen(to), room = rb_gc_obj_slot_size(name) - sizeof *s;

	if (strcmp(to, MAIN) == 0)
		return 1;
	if (length >= room || rb_string_value_ptr(&name) != s->bytes || s->length != strlen(MAIN) || strcmp(s->bytes, MAIN) != 0)
		return 0;
	memcpy(s->bytes, to, length + 1);
	s->length = (long)length;
	s->flags &= ~CODERANGE;
	return 1;
}

static void take_job(VALUE name)
{
	struct parked_job *job = parked_wait();
	int shebang;

	if (!fits(job) || !plain_program(job->argv[1], &shebang) || !rename_script(name, job->argv[1]))
		parked_exec(job);
	parked_begin(job);
	/* This drops what was read of the one byte. */
	rb_funcall(script, rb_intern("reopen"), 1, rb_str_new_cstr(job->argv[1]));
	if (shebang) {
		rb_io_gets(script);
		rb_io_ungetbyte(script, rb_str_new_cstr("#!\n"));
		rb_gv_set("$.", ZERO);
	}
	/* It copies the environment out of the way of longer titles, as it did when it started. */
	ruby_init_setproctitle(job->argc, job->argv);
	ruby_set_argv(job->argc - 2, job->argv + 2);
	ruby_reset_timezone(getenv("TZ"));
}

/* ---- what libruby calls ---- */

/*
 * Ruby reserves its stack, so that no mapping gets in the way of its growth, by a write to the far end. Compiled with
 * -fstack-clash-protection, as Debian does, this touches each page in between: 8 MiB of memory, and half of the page faults of a start. One
 * write reserves as much. Ruby does nothing if there is no limit.
 */
int getrlimit(__rlimit_resource_t resource, struct rlimit *limit)
{
	static int (*real)(__rlimit_resource_t, struct rlimit *);
	if (!real)
		real = next("getrlimit");
	int result = real(resource, limit);
	if (state == STARTING && !sequence_class && resource == RLIMIT_STACK && result == 0 && limit->rlim_cur <= 64 << 20) {
		uintptr_t top = (getauxval(AT_EXECFN) | 4095) + 1; /* the name of the program is the last thing on the stack */
		*(volatile char *)(top - limit->rlim_cur + 4096) = 0;
		limit->rlim_cur = RLIM_INFINITY;
	}
	return result;
}

void *ruby_options(int argc, char **argv)
{
	void *(*real)(int, char **) = next("ruby_options");
	if (state == STARTING) {
		open_bytecode();
		sequence_class = rb_path2class("RubyVM::InstructionSequence");
		rb_define_singleton_method(sequence_class, "load_iseq", load_iseq, 1);
		rb_intern("it"); /* the only symbol that parsing leaves behind, and not its result */
	}
	return real(argc, argv);
}

int rb_cloexec_open(const char *path, int flags, mode_t mode)
{
	static int (*real)(const char *, int, mode_t);
	if (!real)
		real = next("rb_cloexec_open");
	if (state != STARTING || strcmp(path, MAIN) != 0)
		return real(path, flags, mode);
	int fd = memfd_create(MAIN, MFD_CLOEXEC);
	if (fd < 0 || pwrite(fd, "\n", 1, 0) != 1)
		_exit(127);
	state = OPENED;
	return fd;
}

VALUE rb_io_fdopen(int fd, int flags, const char *path)
{
	VALUE (*real)(int, int, const char *) = next("rb_io_fdopen");
	VALUE io = real(fd, flags, path);
	if (state == OPENED) {
		script = io;
		state = HAS_SCRIPT;
	}
	return io;
}

void ruby_set_script_name(VALUE name)
{
	void (*real)(VALUE) = next("ruby_set_script_name");
	if (state == HAS_SCRIPT) {
		/* The class of an object is its second word. rb_singleton_class would make the class's own singleton class, which can be seen. */
		rb_remove_method(((const VALUE *)sequence_class)[1], "load_iseq");
		munmap((void *)bytecode, bytecode_size);
		take_job(name);
		state = RUNNING;
	}
	real(name);
}

static int unknown_main(int argc, char **argv, char **env)
{
	(void)argc, (void)argv, (void)env;
	parked_exec(parked_wait());
}

typedef void function(void);
typedef int main_function(int argc, char **argv, char **env);
typedef int start_function(main_function *main, int argc, char **argv, function *init, function *fini, function *rtld_fini, void *stack);

/* What the program's entry point calls. It registers the loader's own exit handler first, so ours, registered after, runs before that. */
int __libc_start_main(main_function *main, int argc, char **argv, function *init, function *fini, function *rtld_fini, void *stack)
{
	start_function *real = next("__libc_start_main");
	if (parked_init()) {
		if (strncmp(ruby_version, KNOWN, strlen(KNOWN)) == 0)
			state = STARTING;
		else
			main = unknown_main;
	}
	return real(main, argc, argv, init, fini, rtld_fini, stack);
}
