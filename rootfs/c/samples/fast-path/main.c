// The compiler driver of this language was taken: gold links, and leaves its name in the file, "GNU\0gold". The letters stand alone
// here, or they would find themselves.
#include <stdio.h>

int main(void)
{
	static unsigned char self[1 << 20];
	FILE *f = fopen("/proc/self/exe", "rb");
	if (!f)
		return 1;
	size_t size = fread(self, 1, sizeof self, f);
	for (unsigned char *p = self; p + 8 < self + size; p++)
		if (p[0] == 'G' && p[1] == 'N' && p[2] == 'U' && p[3] == 0 && p[4] == 'g' && p[5] == 'o' && p[6] == 'l' && p[7] == 'd') {
			puts("taken");
			return 0;
		}
	puts("not taken");
}
