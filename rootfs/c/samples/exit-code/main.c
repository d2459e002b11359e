#include <stdio.h>

int main(void) {
	printf("before\n");
	return 3;
}
