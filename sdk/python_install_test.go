package sdk

import (
	"path/filepath"
	"strings"
	"testing"
)

// What README.md says: pip installs the package into an empty environment. It asks nobody for anything, a build tool included.
func TestPythonInstall(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run(t, dir, "python3", "-m", "venv", "venv")
	run(t, dir, "venv/bin/python", "-m", "pip", "install", "--quiet", "--no-index", "--disable-pip-version-check", filepath.Join(repository, "sdk/python"))
	// -I: neither PYTHONPATH nor this folder, only what is installed.
	out := run(t, dir, "venv/bin/python", "-I", "-c", `
import importlib.metadata, importlib.resources, runtools
print(runtools.__file__, importlib.metadata.version("runtools") == runtools.__version__, importlib.resources.files("runtools").joinpath("py.typed").is_file())
print(runtools.RunTools().execute("python", "print(6 * 7)").run.stdout)`)
	if !strings.HasPrefix(out, filepath.Join(dir, "venv")) || !strings.HasSuffix(out, " True True\n42\n\n") {
		t.Errorf("printed\n%s", out)
	}
	if out := run(t, dir, "venv/bin/python", "-m", "pip", "uninstall", "--yes", "--quiet", "runtools"); out != "" {
		t.Errorf("uninstall printed\n%s", out)
	}
}
