#include <ctype.h>
#include <stdio.h>

int main(void) {
	int sum = 0, n;
	char word[100];
	for (int i = 0; i < 3 && scanf("%d", &n) == 1; i++)
		sum += n;
	if (scanf("%99s", word) != 1)
		return 1;
	for (char *c = word; *c; c++)
		*c = (char)toupper((unsigned char)*c);
	printf("%d\n%s\n", sum, word);
}
