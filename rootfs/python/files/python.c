/*
 * python.c - parks CPython: the interpreter is initialised, site has run, and Py_RunMain is called when the job comes. All of what runs the
 * program is CPython's own, from the choice of sys.path[0] to the exit code; this file gives it what initialisation would have taken from
 * the job's command line and environment.
 */
#define _GNU_SOURCE
#include "cpython.h"
#include "parked.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- before the job ---- */

static char **first_env;       /* what the interpreter was initialised with */
static struct stat streams[3]; /* and of which kind its streams were */
static int ends_quickly;       /* end.c is ready */
static const char *user_site;  /* site.USER_SITE, which site looked for in vain */

/* The interpreter asks its descriptors what they are. These are as those of nearly every job: no stdin, and pipes. */
static void open_streams(void)
{
	int ends[2];
	if (pipe(ends) < 0 || dup2(ends[1], 1) < 0 || dup2(ends[1], 2) < 0)
		_exit(127);
	close(ends[0]);
	close(ends[1]);
	int null = open("/dev/null", O_RDONLY);
	if (null < 0 || dup2(null, 0) < 0)
		_exit(127);
	if (null > 0)
		close(null);
	for (int i = 0; i < 3; i++)
		if (fstat(i, &streams[i]) < 0)
			_exit(127);
}

static void initialise(char *python)
{
	union config config;
	char *argv[] = { python, "main.py" };

	PyConfig_InitPythonConfig(&config);
	if (PyConfig_SetBytesArgv(&config, 2, argv).type || Py_InitializeFromConfig(&config).type)
		_exit(127);
	PyConfig_Clear(&config);

	PyObject *site = PyImport_ImportModule("site");
	PyObject *path = site ? PyObject_GetAttrString(site, "USER_SITE") : NULL;
	user_site = path ? PyUnicode_AsUTF8(path) : NULL; /* the module holds it */
	if (!user_site)
		_exit(127);
	Py_DecRef(path);
	Py_DecRef(site);
	ends_quickly = end_prepare();
}

/* ---- the job ---- */

/* Whether this descriptor is for Python what the stand-in was. A null device and a memfd are the same: seekable, at offset 0. */
static int same_stream(int fd)
{
	struct stat st;
	return fstat(fd, &st) == 0 && st.st_blksize == streams[fd].st_blksize && S_ISFIFO(st.st_mode) == S_ISFIFO(streams[fd].st_mode) &&
		!isatty(fd) && (S_ISFIFO(st.st_mode) || lseek(fd, 0, SEEK_CUR) == 0);
}

/* The session's own packages: site puts their folder into sys.path, and runs .pth files and customize modules if there are any. */
enum user_packages { NONE, PATH_ONLY, RUN_CODE };

static int begins(const char *name, const char *with)
{
	return strncmp(name, with, strlen(with)) == 0;
}

static enum user_packages look_for_packages(void)
{
	enum user_packages found = PATH_ONLY;
	struct stat st;

	if (stat(user_site, &st) < 0 || !S_ISDIR(st.st_mode))
		return NONE;
	DIR *dir = opendir(user_site);
	if (!dir)
		return RUN_CODE;
	for (struct dirent *e; (e = readdir(dir));) {
		size_t length = strlen(e->d_name);
		if ((length > 4 && strcmp(e->d_name + length - 4, ".pth") == 0) || begins(e->d_name, "usercustomize") ||
			begins(e->d_name, "sitecustomize") || begins(e->d_name, "apport_python_hook")) /* what Debian's sitecustomize imports */
			found = RUN_CODE;
	}
	closedir(dir);
	return found;
}

static int fits(const struct parked_job *job, const char *python)
{
	static const char *const read_at_start[] = { "PYTHON", "HOME=", NULL };

	if (job->argc < 2 || strcmp(job->argv[0], python) != 0 || !parked_same_env(job, read_at_start))
		return 0;
	/* An option, the standard input, or what is not below the working directory. */
	if (strchr("-/", job->argv[1][0]) || strcmp(job->argv[1], ".") == 0)
		return 0;
	return same_stream(0) && same_stream(1) && same_stream(2);
}

/* The words as the interpreter decodes them, in memory that it may free. */
static int decode(struct strings *to, char **words, int count)
{
	to->count = count;
	to->items = PyMem_RawMalloc((size_t)count * sizeof *to->items);
	for (int i = 0; i < count; i++)
		if (!to->items || !(to->items[i] = Py_DecodeLocale(words[i], NULL)))
			return 0;
	return 1;
}

static int set_list(const char *name, const struct strings *from)
{
	PyObject *list = PyList_New(from->count);
	for (ssize_t i = 0; list && i < from->count; i++) {
		PyObject *word = PyUnicode_FromWideChar(from->items[i], -1);
		if (!word || PyList_SetItem(list, i, word) < 0)
			return 0;
	}
	if (!list || PySys_SetObject(name, list) < 0)
		return 0;
	Py_DecRef(list);
	return 1;
}

/* The list that Py_GetArgcArgv tells of, which extensions use. Nothing else sets it, so it is looked for in the structure that holds it. */
static struct strings *runtime_argv(void)
{
	Dl_info info;
	const ElfW(Sym) *symbol;
	int argc;
	wchar_t **argv;

	if (!dladdr1(_PyRuntime, &info, (void **)&symbol, RTLD_DL_SYMENT) || !symbol)
		return NULL;
	Py_GetArgcArgv(&argc, &argv);
	for (size_t at = 0; at + sizeof(struct strings) <= symbol->st_size; at += sizeof(void *)) {
		struct strings *list = (struct strings *)(_PyRuntime + at);
		if (list->items == argv && list->count == argc)
			return list;
	}
	return NULL;
}

static int set_argv(const struct parked_job *job)
{
	union config *config = (union config *)_Py_GetConfig();
	struct strings *seen_by_c = runtime_argv();
	char *path;

	if (!seen_by_c || !decode(seen_by_c, job->argv, job->argc))
		return 0;
	if (!decode(&config->orig_argv, job->argv, job->argc) || !decode(&config->argv, job->argv + 1, job->argc - 1))
		return 0;
	char *cwd = getcwd(NULL, 0);
	if (!cwd || asprintf(&path, "%s/%s", cwd, job->argv[1]) < 0)
		return 0;
	config->run_filename = Py_DecodeLocale(path, NULL);
	free(path);
	free(cwd);
	return config->run_filename && set_list("orig_argv", &config->orig_argv) && set_list("argv", &config->argv);
}

static int same_words(char **a, char **b)
{
	for (; *a && *b; a++, b++)
		if (strcmp(*a, *b) != 0)
			return 0;
	return !*a && !*b;
}

/* posix.environ, which is what os.environ is a view of. */
static int set_environ(void)
{
	PyObject *posix = PyImport_ImportModule("posix");
	PyObject *dict = posix ? PyObject_GetAttrString(posix, "environ") : NULL;
	if (!dict)
		return 0;
	PyDict_Clear(dict);
	for (char **e = environ; *e; e++) {
		char *equals = strchr(*e, '=');
		if (!equals)
			continue;
		PyObject *name = PyBytes_FromStringAndSize(*e, equals - *e);
		PyObject *value = PyBytes_FromStringAndSize(equals + 1, (ssize_t)strlen(equals + 1));
		if (!name || !value || !PyDict_SetDefault(dict, name, value))
			return 0;
		Py_DecRef(name);
		Py_DecRef(value);
	}
	Py_DecRef(dict);
	Py_DecRef(posix);
	return 1;
}

static int set_zone(void)
{
	PyObject *time = PyImport_ImportModule("time");
	PyObject *none = time ? PyObject_CallMethod(time, "tzset", NULL) : NULL;
	if (!none)
		return 0;
	Py_DecRef(none);
	Py_DecRef(time);
	return 1;
}

/* What site.main does when the folder is there: it comes before those of the distribution, which are listed anew after it. */
static int add_user_site(void)
{
	static const char *const code =
		"import site, sys\n"
		"after = [path for path in sys.path if path in site.getsitepackages()]\n"
		"sys.path[:] = [path for path in sys.path if path not in after] + [site.USER_SITE] + after\n"
		"for path in after:\n"
		"    sys.path_importer_cache.pop(path, None)\n"
		"site.execusercustomize()\n";
	PyObject *globals = PyDict_New();
	PyObject *none = globals ? PyRun_String(code, FILE_INPUT, globals, globals) : NULL;
	if (!none)
		return 0;
	Py_DecRef(none);
	Py_DecRef(globals);
	return 1;
}

typedef int main_function(int argc, char **argv, char **env);
typedef int start_function(main_function *main, int argc, char **argv, void (*init)(void), void (*fini)(void), void (*rtld_fini)(void),
	void *stack_end);

static main_function *real_main;

/* Of another version we know less: it starts when the job is there, after the kernel's exec and the loader, as late.c has it. */
static int late_main(const char *python)
{
	static const char *const none[] = { NULL };
	struct parked_job *job = parked_wait();
	if (strcmp(job->argv[0], python) != 0 || !parked_same_env(job, none))
		parked_exec(job);
	parked_begin(job);
	return real_main(job->argc, job->argv, job->env);
}

static int parked_main(int argc, char **argv, char **env)
{
	(void)argc;
	if (Py_Version >> 16 != VERSION)
		return late_main(argv[0]);
	first_env = env;
	open_streams();
	initialise(argv[0]);
	struct parked_job *job = parked_wait();
	enum user_packages packages = look_for_packages();
	if (packages == RUN_CODE || !fits(job, argv[0]) || !set_argv(job))
		parked_exec(job);
	parked_begin(job);
	if (!same_words(environ, first_env) && !(set_environ() && set_zone()))
		abort(); /* out of memory */
	if (packages == PATH_ONLY && !add_user_site())
		abort();
	if (ends_quickly)
		end_watch();
	return Py_RunMain();
}

/* What the program's entry point calls. */
int __libc_start_main(main_function *main, int argc, char **argv, void (*init)(void), void (*fini)(void), void (*rtld_fini)(void),
	void *stack_end)
{
	start_function *real = (start_function *)dlsym(RTLD_NEXT, "__libc_start_main");
	if (!real)
		abort();
	if (parked_init()) {
		real_main = main;
		main = parked_main;
	}
	return real(main, argc, argv, init, fini, rtld_fini, stack_end);
}
