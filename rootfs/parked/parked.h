/*
 * A parked runner is a runtime that was started before its job is known: inside a finished jail, with every restriction on, by
 * ZOP_PARK of zygote.h. It has loaded what a program needs, and waits in parked_wait for the packet that zygote.c would else have
 * carried out itself. What it cannot take over exactly as a fresh process would have done it, it executes: parked_exec is the cold path,
 * inside the same jail.
 *
 *	if (!parked_init())        an ordinary start
 *		return;
 *	...load the runtime...
 *	struct parked_job *job = parked_wait();
 *	if (!fits(job))
 *		parked_exec(job);
 *	parked_begin(job);         from here on the process is the program
 *	exit(run(job));            any exit() ends the job before the kernel has torn the address space down
 *
 * A compiler runs no foreign code, so it may serve one caller more than once, where sandboxd wants it: after each job it calls parked_again
 * in place of exit, makes itself ready, and calls parked_wait.
 *
 * Linked into a library that is preloaded into the real runtime, so that /proc/self/exe and what the runtime makes of its own path are
 * what they always are. Not safe for threads; all of it runs on the main thread.
 */
#ifndef RUNTOOLS_PARKED_H
#define RUNTOOLS_PARKED_H

/* The command as the cold path would have executed it. NULL-terminated; the strings live as long as the process. */
struct parked_job {
	int argc;
	char **argv;
	char **env;
	int again; /* the process may be given another job; /proc does not show it as the command then, and environ stays as it is */
};

/*
 * Returns 1 in a process that was started to be parked, 0 in any other, where nothing has changed. Takes what is ours out of the
 * environment: LD_PRELOAD and ZYGOTE_ENV.
 */
int parked_init(void);

/* Says that the runtime is ready and blocks until its job comes. The working directory and descriptors 0, 1, 2 are the job's then. */
struct parked_job *parked_wait(void);

/*
 * Whether the job's variables that begin with one of the prefixes ("PYTHON", NULL-terminated list) are those that the runtime was started
 * with. The loader's and the locale's are always compared.
 */
int parked_same_env(const struct parked_job *job, const char *const *prefixes);

/* Executes the job's command, as zygote.c does. */
void parked_exec(const struct parked_job *job) __attribute__((noreturn));

/*
 * The program starts now: tells so, lets go of the control socket, and makes the job's environment and arguments those of the process
 * (environ, /proc/self/cmdline, /proc/self/environ, program_invocation_name).
 */
void parked_begin(struct parked_job *job);

/*
 * The program has ended with this code: its handlers ran, its buffers are flushed. Closes 0, 1, 2 and lets the answer leave; the jail is
 * then killed. exit() comes here by itself, after all other exit handlers; a runtime that ends in another way calls it.
 */
void parked_end(int code) __attribute__((noreturn));

/*
 * As parked_end, unless the job said `again`: then it returns when sandboxd has taken the files of the job away and wants the process back.
 * Whatever was open in the job's folders must be closed before, else the jail is dropped. The working directory is / then, and 0, 1, 2 are
 * /dev/null: a runtime that keeps copies of those would keep the job's readers waiting.
 */
void parked_again(int code);

#endif
