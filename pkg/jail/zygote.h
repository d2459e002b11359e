/*
 * The one definition of what Go may ask of the code inside a jail, and of what it answers.
 * Go uses it through cgo (zygote_unsafe.go); zygote.c interprets it. Go decides, C does.
 */
#ifndef RUNTOOLS_ZYGOTE_H
#define RUNTOOLS_ZYGOTE_H

#include <stdint.h>

/* Name of the environment variable that holds the number of the first control socket. */
#define ZYGOTE_ENV "RUNTOOLS_ZYGOTE_FD"

#define ZYGOTE_MAX_PACKET (512 << 10) /* bytes; Go's end of the socket has room for it */
#define ZYGOTE_MAX_FDS 16             /* descriptors beside one packet */
#define ZYGOTE_MAX_WORDS 8192         /* argv and env together */

/* What a parked runtime finds (ZOP_PARK); its ZYGOTE_ENV is the first of these. rootfs/parked is its side. */
#define ZYGOTE_PARKED_CONTROL 3 /* the control socket */
#define ZYGOTE_PARKED_END 4     /* one page, a uint32_t: 0, or ZYGOTE_ENDED with the exit code when the program has ended and stopped itself */
#define ZYGOTE_ENDED 0x100
#define ZYGOTE_AGAIN 0x200 /* with it: the process can take another job */
#define ZYGOTE_SAME 1 /* flags of zygote_reply.same */
#define ZYGOTE_EMPTY 2
#define ZYGOTE_PROTOCOL 2 /* status of the first reply; to be raised with every change of what a parked runtime reads */

/*
 * A packet is a header, `count` ops, and a data area. Ops run in order and stop at the first that fails.
 * `fd` is an index into the descriptors beside the packet; s1 and s2 are offsets of NUL-terminated strings (or bytes) from the
 * start of the packet. Whatever is not named below is unused.
 */
enum zygote_op {
	ZOP_SPAWN = 1,   /* clone with flags a; the child interprets packets from fd, its PID and, outside jails, its pidfd go into the reply. b: by clone(2), which filters let pass, with an exit signal in a */
	ZOP_SETNS,       /* join namespace fd of type a */
	ZOP_UNSHARE,     /* flags a */
	ZOP_SETIDS,      /* no supplementary groups; gid a, uid b, all three of each */
	ZOP_EUID,        /* effective uid a, until the next: who owns a new namespace, so against whose limits the kernel counts what it uses */
	ZOP_FSIDS,       /* from now on files are made and opened as gid a, uid b */
	ZOP_BOUNDING,    /* empty the capability bounding set */
	ZOP_CAPS,        /* effective becomes a, permitted a and b, inheritable and ambient empty */
	ZOP_NNP,         /* no_new_privs */
	ZOP_FILTER,      /* install the seccomp program of a bytes at s1 with flags b; the listener that they may ask for goes into the reply */
	ZOP_RLIMIT,      /* resource a: soft b, hard c */
	ZOP_MOUNT,       /* type s1 on path s2, flags a, options at b; the source is s1 */
	ZOP_BIND,        /* path s1 on path s2 */
	ZOP_PRIVATE,     /* no mount event enters or leaves this mount namespace any more */
	ZOP_ATTACH,      /* detached mount fd on path s1 */
	ZOP_UMOUNT,      /* path s1; fails while anything of it is in use */
	ZOP_PIVOT,       /* path s1 becomes the root, the old root is detached */
	ZOP_HOSTNAME,    /* s1 */
	ZOP_SESSION,     /* a new session, no controlling terminal */
	ZOP_MKDIR,       /* path s1, mode a; one that exists is fine */
	ZOP_FOLDER,      /* folder s2, mode a, in folder s1 below the working directory; one that exists is fine */
	ZOP_FILE,        /* new file s2, mode a, in s1 likewise: c bytes of fd from offset b. An old one is unlinked, never opened */
	ZOP_CHDIR,       /* path s1 */
	ZOP_STDIO,       /* fd becomes descriptor a */
	ZOP_OPEN,        /* path s1, opened for reading, becomes descriptor a */
	ZOP_KEEP_ONLY,   /* close every descriptor but 0, 1, 2 and the control socket */
	ZOP_ZERO,        /* path s1, a setting of the kernel, becomes 0 */
	ZOP_RELAY,       /* send to socket fd the packet of a bytes at s1, with the c descriptors that follow fd */
	ZOP_EXEC,        /* a words of argv then b words of env, one after the other at s1; replies just before it starts. c: a parked runtime may be given another job */
	ZOP_PARK,        /* exec as ZOP_EXEC, with fd as the end page; the runtime replies when it is ready, and reads the next packet itself */
	ZOP_REAP,        /* from now on die with sandboxd; reap until child b ends, or, if a, says so in end page fd; sets all of `same` if nobody else is left, or if c */
	ZOP_COPY_OUT,    /* at most a bytes of regular file s1 to fd; a missing or odd file is skipped */
	ZOP_SAME,        /* clears ZYGOTE_SAME unless s1 has the mode and type a and, if a file, one name and the c bytes of fd from offset b */
	ZOP_COUNT,       /* clears b, of `same`, unless the filesystem of s1 has a inodes in use */
	ZOP_ENTER,       /* write "0", which is oneself, to fd: a cgroup's list of tasks */
};

struct zygote_step {
	uint32_t op;
	uint32_t fd;
	uint64_t a, b, c;
	uint32_t s1, s2;
};

struct zygote_packet {
	uint32_t count;
	uint32_t size; /* of the whole packet, bytes */
	struct zygote_step steps[];
};

/*
 * One reply per packet. ZOP_EXEC replies before it starts and, only if it failed, again. PID 1 and the runner end after a reply with an
 * error: their jail is of no use any more.
 */
struct zygote_reply {
	uint32_t index; /* of the step that failed; else the number of steps */
	int32_t error;  /* errno, 0: all went well */
	int32_t pid;    /* of ZOP_SPAWN, in the PID namespace of the spawner */
	int32_t status; /* of ZOP_REAP, as wait(2) gives it */
	uint64_t ns;    /* CLOCK_MONOTONIC: when ZOP_EXEC started or ZOP_REAP saw the end */
	uint64_t same;  /* ZYGOTE_SAME: the job left its files as they were given to it; ZYGOTE_EMPTY: and /tmp and /dev/shm empty, whatever became of the files */
};

#endif
