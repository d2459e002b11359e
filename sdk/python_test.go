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
			"42\n\nOK TO run_timeout\nhello world\n\n3 b'2' 4\ntwo\n3\n['AC', 'WA', 'RE']\n[('table.csv', b'1,2\\n')]\n6 True True\ndone True\n3 2\n\ntimeout\ninvalid_field 400 run_timeout\n['0\\n', '1\\n', '4\\n']\n")
	})
	t.Run("giving up kills", func(t *testing.T) {
		abort, err := filepath.Abs("testdata/abort.py")
		if err != nil {
			t.Fatal(err)
		}
		run(t, dir, "python3", "-W", "error", abort)
	})
}
