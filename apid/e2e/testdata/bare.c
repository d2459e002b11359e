/*
 * PID 1 of the plain machine that jails are compared with (fidelity_bare_test.go): bare PROGRAM ARGUMENTS...
 *
 * It is C because the program must be the second process of its PID namespace, as in a jail (Rust's panics print it), and Go takes more
 * than one number for itself. Descriptors 0, 1 and 2 and the environment are the program's (no 0: /dev/null); 3 gets its wait status.
 * When we end, the kernel kills what is left.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { user = 1000, report = 3 };

static void must(int result, const char *what)
{
	if (result < 0) {
		perror(what);
		_exit(127);
	}
}

int main(int argc, char **argv)
{
	static const uint64_t default_action[4] = { 0 }; /* struct sigaction of the kernel: SIG_DFL, no flags, no mask */
	int status;

	must(argc > 1 ? 0 : -1, "arguments");
	must(umount2("/proc", MNT_DETACH), "unmount the host's /proc");
	must(mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL), "mount /proc");
	must(mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777"), "mount /tmp");
	must(mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777"), "mount /dev/shm");
	if (fcntl(0, F_GETFD) < 0)
		must(open("/dev/null", O_RDONLY), "open /dev/null"); /* here, for its name to be that of this mount namespace */
	pid_t program = fork();
	must(program, "fork");
	if (program == 0) {
		must(fcntl(report, F_SETFD, FD_CLOEXEC), "close on exec");
		/* Whatever the tests were started with: nohup ignores SIGHUP. By system call: libc leaves its own two signals, 32 and 33, as they were. */
		for (int sig = 1; sig < NSIG; sig++)
			syscall(SYS_rt_sigaction, sig, default_action, NULL, 8);
		must(setsid(), "setsid");
		must(setgroups(0, NULL), "setgroups");
		must(setresgid(user, user, user), "setresgid");
		must(setresuid(user, user, user), "setresuid");
		must(chdir("/home/user"), "chdir");
		must(execv(argv[1], argv + 1), argv[1]);
	}
	for (int fd = 0; fd < report; fd++)
		close(fd);
	pid_t ended;
	while ((ended = wait(&status)) != program)
		if (ended < 0)
			return 1;
	return write(report, &status, sizeof status) != sizeof status;
}
