// envkeep.so: lets what a program leaves in its environment outlive it.
//
// sandboxd preloads it, by absolute path, into the main process of a job whose language has keep_env. Before main it takes its own name
// out of LD_PRELOAD, in place: main's envp does not show it, and no child inherits it. At a normal exit it writes the environment to
// /tmp/.environ, each NAME=value ended by NUL, from where PID 1 of the jail hands it out.
//
// It must not be noticed otherwise: no output, no descriptor left open, errno as before, nothing in a forked child.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OUTPUT "/tmp/.environ"
#define OWN_NAME "envkeep.so"
#define PRELOAD "LD_PRELOAD="

extern char **environ;

static pid_t main_process;

static int is_own(const char *word, size_t length) {
	size_t own = strlen(OWN_NAME);
	return length >= own && memcmp(word + length - own, OWN_NAME, own) == 0 && (length == own || word[length - own - 1] == '/');
}

// take_out removes the own name from a list as ld.so reads it: words separated by colons or blanks. Returns what is left of it in place.
static size_t take_out(char *list) {
	char *to = list;
	for (char *from = list; *from != '\0';) {
		size_t length = strcspn(from, ": ");
		if (length > 0 && !is_own(from, length)) {
			if (to != list)
				*to++ = ':';
			memmove(to, from, length);
			to += length;
		}
		from += length + (from[length] != '\0');
	}
	size_t left = (size_t)(to - list);
	memset(to, 0, strlen(list) - left); // else /proc/self/environ would still show the rest
	return left;
}

__attribute__((constructor)) static void hide(void) {
	main_process = getpid();
	char **to = environ;
	for (char **from = environ; from != NULL && *from != NULL; from++) {
		if (strncmp(*from, PRELOAD, strlen(PRELOAD)) == 0 && take_out(*from + strlen(PRELOAD)) == 0) {
			memset(*from, 0, strlen(PRELOAD));
			continue;
		}
		*to++ = *from;
	}
	if (to != NULL)
		*to = NULL;
}

// Bash keeps exported variables in tables of its own and makes an array of them only before it starts a child. It is linked with its
// symbols visible, for loadable builtins; in any other program they are absent.
static char **final_environment(void) {
	void (*make)(void) = (void (*)(void))dlsym(RTLD_DEFAULT, "maybe_make_export_env");
	char ***bash = (char ***)dlsym(RTLD_DEFAULT, "export_env");
	if (make == NULL || bash == NULL)
		return environ;
	make();
	return *bash;
}

// These tell of the process, not of what it leaves.
static int of_the_process(const char *entry) {
	static const char *const names[] = {"_=", "PWD=", "OLDPWD=", "SHLVL="};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (strncmp(entry, names[i], strlen(names[i])) == 0)
			return 1;
	return 0;
}

static void write_all(int fd, const char *data, size_t length) {
	while (length > 0) {
		ssize_t n = write(fd, data, length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		data += n;
		length -= (size_t)n;
	}
}

// A destructor of a preloaded library runs after those of the program and after all atexit handlers and traps: what they change counts.
__attribute__((destructor)) static void hand_out(void) {
	if (getpid() != main_process) // a forked child that ends by exit
		return;
	int before = errno;
	char **entries = final_environment();
	size_t length = 0;
	for (char **e = entries; e != NULL && *e != NULL; e++)
		length += strlen(*e) + 1;
	char *all = malloc(length + 1);
	// O_NOFOLLOW and O_TRUNC: the program may have put anything at this path.
	int fd = all == NULL ? -1 : open(OUTPUT, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0644);
	if (fd >= 0) {
		char *to = all;
		for (char **e = entries; e != NULL && *e != NULL; e++)
			if (!of_the_process(*e))
				to = stpcpy(to, *e) + 1;
		write_all(fd, all, (size_t)(to - all));
		close(fd);
	}
	free(all);
	errno = before;
}
