#!/bin/sh -eu
# same.sh DRIVER PLAIN SUFFIX BEFORE AFTER: with the words BEFORE and AFTER the sources, both drivers must end alike and say the same, byte
# by byte, of programs that are wrong in all the ways there are, and of some that are not. Only temporary names may differ.
driver=$1 plain=$2 suffix=$3 before=$4 after=$5
mkdir -p /tmp/same/sub
cd /tmp/same

try() {
	rm -f /build/main
	code=0
	"$@" $after >said 2>&1 || code=$?
	sed 's#/tmp/cc[A-Za-z0-9]*#/tmp/cc#g' said
	echo "exit $code"
	[ ! -x /build/main ] || /build/main || echo "runs, exit $?"
}
# compare CODE SOURCES...: the exit code that both must have.
compare() {
	code=$1
	shift
	try "$driver" $before "$@" >fast
	try "$plain" $before "$@" >slow
	if ! cmp -s fast slow || ! grep -qx "exit $code" fast; then
		echo "$driver $*: not as $plain, or not exit $code:"
		diff slow fast || cat fast
		exit 1
	fi
}
put() { cat >"$1$suffix"; }

put good <<'END'
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv) { (void)argv; printf("%.3f\n", sqrt(argc + 1)); return atoi("3"); }
END
put warns <<'END'
#warning "so it is"
int main() { int x; return sizeof x == 0; "unused"; }
END
put wrong <<'END'
#include <stdio.h>
int main() { printf("%d\n", undeclared) return oops; }
END
put open <<'END'
int main() { if (1) {
END
put header <<'END'
#include <no/such/header.h>
int main() { return 0; }
END
put reads <<'END'
#include "/etc/passwd"
int main() { return 0; }
END
put calls <<'END'
int missing(int);
int other(void);
int main() { return missing(1) + other(); }
END
put lib <<'END'
int twice(int x) { return 2 * x; }
END
put uses <<'END'
#include "sub/twice.h"
int main() { return twice(21) != 42; }
END
echo 'int twice(int);' >sub/twice.h
cp "lib$suffix" "sub/lib$suffix"
put asm <<'END'
int main() { __asm__("no such instruction"); return 0; }
END
put incbin <<'END'
__asm__(".incbin \"/no/such/file\"");
int main() { return 0; }
END
put risky <<'END'
#include <stdio.h>
int main() { char name[L_tmpnam]; return tmpnam(name) == 0; }
END
put stack <<'END'
__asm__(".section .note.GNU-stack,\"x\",@progbits\n.text");
int main() { return 0; }
END
put nomain <<'END'
int helper(void) { return 1; }
END
put deep <<'END'
#define A(x) x x x x x x x x
int main() { return A(A(A(A(undeclared)))); }
END
put again <<'END'
#include <string.h>
#include <sys/types.h>
char *strlen, *pid_t;
int main() { return 0; }
END
cp "good$suffix" "a b$suffix"
cp "wrong$suffix" "sub/--$suffix"
: >"empty$suffix"
mkdir "folder$suffix"

compare 0 "good$suffix"
compare 0 "./a b$suffix"
compare 0 "warns$suffix"
compare 0 "uses$suffix" "lib$suffix"
compare 0 "sub/lib$suffix" "uses$suffix"
compare 0 "risky$suffix"
compare 0 "stack$suffix"
compare 1 "sub/--$suffix"
compare 1 "wrong$suffix"
compare 1 "wrong$suffix" "good$suffix" "deep$suffix"
compare 1 "open$suffix"
compare 1 "header$suffix"
compare 1 "reads$suffix"
compare 1 "calls$suffix"
compare 1 "uses$suffix" "lib$suffix" "sub/lib$suffix"
compare 1 "good$suffix" "uses$suffix"
compare 1 "asm$suffix"
compare 1 "warns$suffix" "asm$suffix"
compare 1 "incbin$suffix"
compare 1 "nomain$suffix"
compare 1 "deep$suffix"
compare 1 "again$suffix"
compare 1 "empty$suffix"
compare 1 "folder$suffix"
compare 1 "absent$suffix"
compare 1 sub/twice.h "good$suffix"
cd /
rm -r /tmp/same
