/*
 * late.c - parks any program whose start-up lies before main: the kernel's exec and the dynamic loader have done their work, and main is
 * called when the job comes, with the job's arguments and environment.
 */
#define _GNU_SOURCE
#include "parked.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int main_function(int argc, char **argv, char **env);
typedef int start_function(main_function *main, int argc, char **argv, void (*init)(void), void (*fini)(void), void (*rtld_fini)(void), void *stack_end);

static main_function *real_main;

static int late_main(int argc, char **argv, char **env)
{
	static const char *const none[] = { NULL };
	(void)argc, (void)env;
	struct parked_job *job = parked_wait();
	if (strcmp(job->argv[0], argv[0]) != 0 || !parked_same_env(job, none))
		parked_exec(job);
	parked_begin(job);
	return real_main(job->argc, job->argv, job->env);
}

/* What the program's entry point calls. It registers the loader's own exit handler first, so ours, registered after it, runs before that. */
int __libc_start_main(main_function *main, int argc, char **argv, void (*init)(void), void (*fini)(void), void (*rtld_fini)(void), void *stack_end)
{
	start_function *real = (start_function *)dlsym(RTLD_NEXT, "__libc_start_main");
	if (!real)
		abort();
	if (parked_init()) {
		real_main = main;
		main = late_main;
	}
	return real(main, argc, argv, init, fini, rtld_fini, stack_end);
}
