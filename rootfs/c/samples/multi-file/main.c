#include "tools/arithmetic.h"
#include <stdio.h>

int main(void) {
	printf("1 + 2 = %d\n", add(1, 2));
}
