package e2e

import (
	"strings"
	"testing"
)

// A source so deep that it ends javac's stack is an error of its author's, told in javac's words, and the compile after it works.
func TestTooDeepForJavac(t *testing.T) {
	t.Parallel()
	const parentheses = 9000
	deep := "class Main { static int x = " + strings.Repeat("(", parentheses) + "1" + strings.Repeat(")", parentheses) + "; }"
	a := execute(t, request{"language": "java", "code": deep})
	if wantStatus(t, a, "CE"); !strings.Contains(a.Compile.Stderr, "java.lang.StackOverflowError") || a.Compile.Code == nil || *a.Compile.Code != 3 {
		t.Errorf("want javac's own end: %s", a)
	}
	wantStdout(t, execute(t, request{"language": "java", "code": `class Main { public static void main(String[] a) { System.out.println("after"); } }`}), "after\n")
}
