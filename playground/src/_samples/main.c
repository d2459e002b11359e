#include <stdio.h>
#include <string.h>

/* A bar for each line "name number" of the input. Name what to leave out in the arguments. */
int main(int argc, char **argv)
{
    char name[32];
    int number;

    while (scanf("%31s %d", name, &number) == 2) {
        int skip = 0;
        for (int i = 1; i < argc; i++)
            skip |= strcmp(argv[i], name) == 0;
        if (skip)
            continue;
        printf("%-8s \033[35m", name);
        for (int i = 0; i < number; i++)
            fputs("█", stdout);
        printf("\033[0m %d\n", number);
    }
}
