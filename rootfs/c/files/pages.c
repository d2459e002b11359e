// Preloaded into the compiler proper, by driver.c. GCC takes its memory from the kernel in pieces of 2 MiB (GGC_QUIRE_SIZE of ggc-page.cc) and fills the first even for
// a small program. As one large page that is one fault and not 512. Where the kernel has no such page to give, nothing changes.
#define _GNU_SOURCE
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PIECE = 2 << 20 };

void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
	void *piece = (void *)syscall(SYS_mmap, address, size, protection, flags, fd, offset);
	if (size == PIECE && (flags & MAP_ANONYMOUS) && piece != MAP_FAILED)
		madvise(piece, size, MADV_HUGEPAGE);
	return piece;
}
