//go:build runtimes

package sdk

import (
	"path/filepath"
	"strings"
	"testing"
)

// The package under Deno and Bun: `make test-runtimes`, by hand, because the two are 200 MB. The specification, everything in the README,
// WebSockets of their own included, and that aborting kills.
func TestDenoAndBun(t *testing.T) {
	modules := filepath.Join(repository, "sdk/runtimes/node_modules")
	for name, command := range map[string][]string{
		// Read: what is installed. Net, env: what the SDK needs. Deno warns where a permission lacks; it may not ask.
		"deno": {modules + "/@deno/linux-x64-glibc/deno", "run", "--quiet", "--no-prompt", "--node-modules-dir=manual", "--allow-net", "--allow-env", "--allow-read"},
		"bun":  {modules + "/@oven/bun-linux-x64-baseline/bin/bun", "run"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := project(t)
			start := func(program string) string { return run(t, dir, command[0], append(command[1:], program)...) }
			if out := start("spec.mjs"); !strings.HasPrefix(out, "Hello from RunTools!\n\nhello\n\n[\n") || !strings.Contains(out, "python") {
				t.Errorf("printed\n%s", out)
			}
			wantOutput(t, start("readme.mjs"), readmeOutput)
			start("abort.cjs")
		})
	}
}
