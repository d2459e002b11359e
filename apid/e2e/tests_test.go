package e2e

import (
	"fmt"
	"testing"
)

// A judge's day: one compile, many inputs, every verdict.
func TestVerdicts(t *testing.T) {
	for language, code := range map[string]string{
		"c": `#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(void) {
	int a, b;
	if (scanf("%d %d", &a, &b) != 2) return 3;
	if (a == 1) for (;;) ;
	if (a == 2) for (size_t n = 1 << 20;; ) memset(malloc(n), 1, n);
	if (a == 3) for (;;) puts("a line that is too much");
	if (a == 4) abort();
	printf("%d\n", a + b);
}`,
		"python": `
import os
a, b = map(int, input().split())
if a == 1:
    while True: pass
if a == 2: x = [bytearray(1 << 20) for _ in range(10000)]
if a == 3:
    while True: print("a line that is too much")
if a == 4: os.abort()
print(a + b)`,
	} {
		var tests []request
		var want []string
		for _, c := range []struct {
			stdin, expected, verdict string
		}{
			{"10 20", "30", "AC"}, {"10 20", "31", "WA"}, {"1 1", "2", "TO"}, {"2 2", "4", "ML"}, {"3 3", "6", "OL"}, {"4 4", "8", "RE"}, {"x", "", "RE"}, {"7 8", "15", "AC"},
		} {
			tests = append(tests, request{"stdin": c.stdin, "expected_stdout": c.expected})
			want = append(want, c.verdict)
		}
		a := execute(t, program(language, code).with(request{"tests": tests, "run_cpu_time": 3000, "run_memory_limit": 64 << 20, "ephemeral": nil}))
		var got []string
		for _, test := range a.Tests {
			got = append(got, test.Verdict)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) || a.SessionID != nil || a.Run.Stdout != "30\n" {
			t.Errorf("%s: got %v, want %v: %.2000s", language, got, want, a)
		}
	}
	api.wantQuiet(t)
}
