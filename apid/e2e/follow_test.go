package e2e

import (
	"fmt"
	"testing"
)

// The first run of a program of C or C++ has the jail of its compiler, where PIDs were given before; in a new jail a program's first child is 3.
func TestProgramFollowsItsCompiler(t *testing.T) {
	const source = "#include <stdio.h>\n#include <unistd.h>\n#include <sys/wait.h>\nint main() { int p = fork(); if (!p) _exit(0); wait(0); printf(\"%d %d\", getpid(), p); } // "
	for _, language := range []string{"c", "cpp"} {
		q := program(language, source+randomMarker())
		first, second := execute(t, q), execute(t, q)
		wantCached(t, second, true)
		var me, child, me2, child2 int
		fmt.Sscan(first.Run.Stdout, &me, &child)
		fmt.Sscan(second.Run.Stdout, &me2, &child2)
		if me != 2 || child <= 3 || me2 != 2 || child2 != 3 {
			t.Errorf("%s: %q, then %q", language, first.Run.Stdout, second.Run.Stdout)
		}
	}
}
