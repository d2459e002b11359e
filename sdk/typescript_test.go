package sdk

import (
	"path/filepath"
	"strings"
	"testing"
)

// tsc is the compiler that the SDK is built with.
const tsc = "typescript/node_modules/typescript/bin/tsc"

// readmeOutput is what the examples of typescript/README.md print.
const readmeOutput = "42\n\nOK TO run_timeout\nhello world\n\n3\n 4\ntwo\n\n3\nname? hello Ada\n\nAC,WA,RE\ntable.csv 4\ndone\n true\n3 2\n\nTimeoutError\ninvalid_field 400 run_timeout true\n"

// strict is how a careful user has his program checked; the types of the SDK itself too, which skipLibCheck would not do. Those of
// the compiler itself would take most of the time.
var strict = []string{"--noEmit", "--strict", "--exactOptionalPropertyTypes", "--noUncheckedIndexedAccess", "--skipLibCheck", "false", "--skipDefaultLibCheck", "--target", "es2022"}

// project is an empty project with the package installed as npm delivers it.
func project(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	packed := strings.Fields(run(t, "typescript", "npm", "pack", "--silent", "--pack-destination", dir))
	write(t, filepath.Join(dir, "package.json"), `{"private": true}`)
	run(t, dir, "npm", "install", "--silent", "--offline", "--no-audit", "--no-fund", "./"+packed[len(packed)-1])
	for _, name := range []string{"abort.cjs", "types.ts"} {
		write(t, filepath.Join(dir, name), read(t, filepath.Join("testdata", name)))
	}
	spec := strings.Replace(read(t, "testdata/spec.mjs"), "rt_live_xxx", key, 1)
	write(t, filepath.Join(dir, "spec.mjs"), spec)
	write(t, filepath.Join(dir, "spec.mts"), spec)
	// Without types of their own they are programs in both languages.
	examples := blocks(t, "typescript/README.md", "ts")
	write(t, filepath.Join(dir, "readme.mjs"), examples)
	write(t, filepath.Join(dir, "readme.mts"), examples)
	return dir
}

func TestTypeScript(t *testing.T) {
	dir := project(t)
	t.Run("specification", func(t *testing.T) {
		out := run(t, dir, "node", "spec.mjs")
		if !strings.HasPrefix(out, "Hello from RunTools!\n\nhello\n\n[\n") || !strings.Contains(out, "language: 'python'") {
			t.Errorf("printed\n%s", out)
		}
	})
	t.Run("README", func(t *testing.T) {
		wantOutput(t, run(t, dir, "node", "--import", filepath.Join(repository, "sdk/testdata/websocket.mjs"), "readme.mjs"),
			readmeOutput)
	})
	t.Run("CommonJS, and aborting kills", func(t *testing.T) { run(t, dir, "node", "abort.cjs") })
	compiler, err := filepath.Abs(tsc)
	if err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"types as ES module":  {"--module", "nodenext", "readme.mts", "spec.mts"},
		"types as CommonJS":   {"--module", "nodenext", "types.ts"},
		"types for a bundler": {"--module", "esnext", "--moduleResolution", "bundler", "types.ts"},
		"types of old":        {"--module", "commonjs", "--moduleResolution", "node10", "types.ts"},
	} {
		t.Run(name, func(t *testing.T) { run(t, dir, "node", append(append([]string{compiler}, strict...), args...)...) })
	}
}

// The package names no host, and brings nothing along.
func TestPackageHasNoDependencies(t *testing.T) {
	for _, word := range []string{`"resolved"`, "http"} {
		if strings.Contains(read(t, "typescript/package-lock.json"), word) {
			t.Errorf("package-lock.json has %s: npm install --omit-lockfile-registry-resolved", word)
		}
	}
	if strings.Contains(read(t, "typescript/package.json"), `"dependencies"`) {
		t.Error("package.json has dependencies")
	}
}
