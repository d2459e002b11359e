// The kernel's interfaces for processes that talk to each other, and what Unix has had for long. It is C++ as well.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define OK(what) \
	if (!(what)) { \
		perror(#what); \
		exit(1); \
	}

static void caught(int n) { (void)n; }

static void systemV(void) {
	struct sembuf up = {0, 1, 0}, down = {0, -1, 0};
	int shm = shmget(IPC_PRIVATE, 4096, 0600), sem = semget(IPC_PRIVATE, 1, 0600);
	OK(shm >= 0 && sem >= 0);
	char *shared = (char *)shmat(shm, NULL, 0);
	OK(shared != (char *)-1 && shmctl(shm, IPC_RMID, NULL) == 0);
	pid_t child = fork();
	if (child == 0) {
		strcpy(shared, "child");
		_exit(semop(sem, &up, 1));
	}
	OK(semop(sem, &down, 1) == 0 && strcmp(shared, "child") == 0 && waitpid(child, NULL, 0) == child);
	OK(mlock(shared, 4096) == 0 && munlock(shared, 4096) == 0);
	OK(shmdt(shared) == 0 && semctl(sem, 0, IPC_RMID) == 0);
}

static void files(void) {
	int watch = inotify_init1(IN_CLOEXEC), mark = inotify_add_watch(watch, ".", IN_CREATE);
	int f = open("new", O_RDWR | O_CREAT | O_EXCL, 0600);
	char events[4096], a[2], b[2];
	OK(mark > 0 && f > 0 && read(watch, events, sizeof events) > 0 && inotify_rm_watch(watch, mark) == 0);
	OK(fchown(f, getuid(), -1) == 0 && ftruncate(f, 4096) == 0 && fdatasync(f) == 0);
	char *page = (char *)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0);
	OK(page != MAP_FAILED);
	memcpy(page, "page", 4);
	struct iovec parts[2] = {{a, 2}, {b, 2}};
	OK(msync(page, 4096, MS_SYNC) == 0 && readv(f, parts, 2) == 4 && b[1] == 'e');
}

static void signals(sigset_t *set) {
	sigset_t none;
	sigemptyset(&none);
	int descriptor = signalfd(-1, set, SFD_CLOEXEC);
	struct pollfd ready = {descriptor, POLLIN, 0};
	struct signalfd_siginfo info;
	raise(SIGUSR1);
	OK(ppoll(&ready, 1, NULL, NULL) == 1);
	OK(read(descriptor, &info, sizeof info) == sizeof info);
	union sigval value;
	value.sival_int = 7;
	siginfo_t got;
	OK(sigqueue(getpid(), SIGRTMIN, value) == 0 && sigtimedwait(set, &got, NULL) == SIGRTMIN && got.si_value.sival_int == 7);
	signal(SIGUSR1, caught);
	raise(SIGUSR1);
	OK(sigsuspend(&none) == -1);
}

static void timers(sigset_t *set) {
	struct sigevent event;
	memset(&event, 0, sizeof event);
	event.sigev_notify = SIGEV_SIGNAL;
	event.sigev_signo = SIGRTMIN;
	timer_t timer;
	struct itimerspec soon = {{0, 0}, {0, 1}};
	siginfo_t got;
	OK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0 && timer_settime(timer, 0, &soon, NULL) == 0);
	OK(sigtimedwait(set, &got, NULL) == SIGRTMIN && timer_delete(timer) == 0);
	int clock = timerfd_create(CLOCK_MONOTONIC, 0);
	uint64_t times;
	OK(timerfd_settime(clock, 0, &soon, NULL) == 0 && read(clock, &times, sizeof times) == sizeof times);
	struct itimerval often = {{0, 10000}, {0, 10000}}, never = {{0, 0}, {0, 0}}; // often, for one may come before the pause
	signal(SIGALRM, caught);
	OK(setitimer(ITIMER_REAL, &often, NULL) == 0 && pause() == -1 && setitimer(ITIMER_REAL, &never, NULL) == 0);
	struct timeval now;
	OK(syscall(SYS_gettimeofday, &now, NULL) == 0); // as libc does on a host whose clock the vDSO cannot read
}

int main(void) {
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	systemV();
	files();
	signals(&set);
	timers(&set);
	puts("done");
}
