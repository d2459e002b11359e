#define _GNU_SOURCE
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char secret[100], own[100], content[1 << 20];

static void read_reversed(char *to)
{
	char line[100] = "";
	int n;
	if (!fgets(line, sizeof line, stdin)) return;
	n = (int)strcspn(line, "\n");
	for (int i = 0; i < n; i++) to[i] = line[n - 1 - i];
}

static int look(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	const char *name = path + at->base;
	int fd;
	(void)st;
	if (kind != FTW_F || !S_ISREG(st->st_mode) || !strcmp(name, "mem") || !strcmp(name, "kmsg") || !strcmp(name, "pagemap") || !strcmp(name, "kcore"))
		return 0;
	if ((fd = open(path, O_RDONLY | O_NONBLOCK)) < 0) return 0;
	ssize_t n = read(fd, content, sizeof content);
	close(fd);
	if (n > 0 && memmem(content, n, secret, strlen(secret))) printf("SECRET in %s\n", path);
	if (n > 0 && memmem(content, n, own, strlen(own))) puts("own");
	return 0;
}

int main(int argc, char **argv)
{
	read_reversed(secret);
	read_reversed(own);
	for (int i = 1; i < argc; i++) nftw(argv[i], look, 30, FTW_PHYS);
	return 0;
}
