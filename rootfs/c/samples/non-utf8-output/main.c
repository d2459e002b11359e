#include <stdio.h>

int main(void) {
	fwrite("\xff\xfe\x00" "A\n", 1, 5, stdout);
}
