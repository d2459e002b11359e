package jail

// #cgo CFLAGS: -std=gnu11 -Wall -Wextra
// #include "zygote.h"
// #include <stddef.h>
// #include <sys/resource.h>
// enum { offsetof_majflt = offsetof(struct rusage, ru_majflt), offsetof_nivcsw = offsetof(struct rusage, ru_nivcsw) };
import "C"

// The numbers of zygote.h, defined there once.
const (
	zygoteEnv      = C.ZYGOTE_ENV
	maxPacket      = C.ZYGOTE_MAX_PACKET
	maxFds         = C.ZYGOTE_MAX_FDS
	maxWords       = C.ZYGOTE_MAX_WORDS
	parkedControl  = C.ZYGOTE_PARKED_CONTROL
	parkedProtocol = C.ZYGOTE_PROTOCOL
	parkedAgain    = C.ZYGOTE_AGAIN
	replySame      = C.ZYGOTE_SAME
	replyEmpty     = C.ZYGOTE_EMPTY
	sizeofPacket   = C.sizeof_struct_zygote_packet
	sizeofStep     = C.sizeof_struct_zygote_step
	sizeofReply    = C.sizeof_struct_zygote_reply
	sizeofRusage   = C.sizeof_struct_rusage // behind it in zygote.c's own replies
	offsetFaults   = sizeofReply + C.offsetof_majflt
	offsetSwitches = sizeofReply + C.offsetof_nivcsw
	opSpawn        = C.ZOP_SPAWN
	opSetns        = C.ZOP_SETNS
	opUnshare      = C.ZOP_UNSHARE
	opSetIDs       = C.ZOP_SETIDS
	opEUID         = C.ZOP_EUID
	opFSIDs        = C.ZOP_FSIDS
	opBounding     = C.ZOP_BOUNDING
	opCaps         = C.ZOP_CAPS
	opNoNewPrivs   = C.ZOP_NNP
	opFilter       = C.ZOP_FILTER
	opRlimit       = C.ZOP_RLIMIT
	opMount        = C.ZOP_MOUNT
	opBind         = C.ZOP_BIND
	opPrivate      = C.ZOP_PRIVATE
	opAttach       = C.ZOP_ATTACH
	opUmount       = C.ZOP_UMOUNT
	opPivot        = C.ZOP_PIVOT
	opHostname     = C.ZOP_HOSTNAME
	opZero         = C.ZOP_ZERO
	opSession      = C.ZOP_SESSION
	opMkdir        = C.ZOP_MKDIR
	opFolder       = C.ZOP_FOLDER
	opFile         = C.ZOP_FILE
	opChdir        = C.ZOP_CHDIR
	opStdio        = C.ZOP_STDIO
	opOpen         = C.ZOP_OPEN
	opKeepOnly     = C.ZOP_KEEP_ONLY
	opRelay        = C.ZOP_RELAY
	opExec         = C.ZOP_EXEC
	opPark         = C.ZOP_PARK
	opReap         = C.ZOP_REAP
	opCopyOut      = C.ZOP_COPY_OUT
	opSame         = C.ZOP_SAME
	opCount        = C.ZOP_COUNT
	opEnter        = C.ZOP_ENTER
)
