#include <stdio.h>
#include <string.h>

int main(void) {
	char text[100];
	if (scanf("%99s", text) != 1)
		return 1;
	int characters = 0;
	for (char *c = text; *c; c++)
		characters += (*c & 0xc0) != 0x80;
	printf("héllo wörld, 你好 🌍\n%d %s\n", characters, text);
}
