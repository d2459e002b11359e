# The compiler driver of C. The words are those of lang.json: another command line is the plain driver's. That it is taken is what the
# sample fast-path looks at: gold leaves its name in what it links.
before='-pipe -O2 -std=gnu17 -o /build/main' after='-lm -pthread'
sh -eu plan.sh /usr/bin/gcc-13 .c $before '{sources}' $after >plan.h
gcc-13 -O2 -shared -fPIC -Wall -Wextra -Werror -o pages.so pages.c
gcc-13 -O2 -static -Wall -Wextra -Werror -DPAGES="\"$PWD/pages.so\"" -I. -o gcc driver.c
sh -eu same.sh "$PWD/gcc" /usr/bin/gcc-13 .c "$before" "$after"
