package sdk

import (
	"path/filepath"
	"testing"
)

func TestPython(t *testing.T) {
	dir := t.TempDir()
	t.Run("the twin", func(t *testing.T) { run(t, ".", "python3", "python/unasync.py", "--check") })
	t.Run("README", func(t *testing.T) {
		write(t, filepath.Join(dir, "readme.py"), blocks(t, "python/README.md", "python"))
		wantOutput(t, run(t, dir, "python3", "readme.py"),
			"42\n\nOK TO run_timeout\nhello world\n\n3 b'2' 4\ntwo\n3\nname? hello Ada\n['AC', 'WA', 'RE']\n[('table.csv', b'1,2\\n')]\n6 True True\ndone True\n3 2\n\ntimeout\ninvalid_field 400 run_timeout\n['0\\n', '1\\n', '4\\n']\n")
	})
	for name, program := range map[string]string{"giving up kills": "abort.py", "interactive": "interactive.py"} {
		t.Run(name, func(t *testing.T) {
			run(t, dir, "python3", "-W", "error", filepath.Join(repository, "sdk/testdata", program))
		})
	}
}
