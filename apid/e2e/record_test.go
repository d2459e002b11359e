package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// `sandboxd seccomp record` serves, and writes what its jobs called when it is told to end. It says at once where it could not write.
func TestRecordCommand(t *testing.T) {
	dir := t.TempDir()
	refused, err := exec.Command(filepath.Join(binaries, "sandboxd"), "seccomp", "record", "-o", filepath.Join(dir, "none"), "-image", dir).CombinedOutput()
	if want := "sandboxd: seccomp record: -o must name a folder that is there: make it first\n"; err == nil || string(refused) != want {
		t.Errorf("%v, %q, want an error that says %q", err, refused, want)
	}

	t.Setenv("RUNTOOLS_RECORD", dir)
	t.Run("serve", func(t *testing.T) { // at its end sandboxd is told to end, by SIGTERM
		s := startKnowing(t, []string{"bash"}, "record", "")
		a := s.execute(t, s.key, program("bash", "mkfifo fifo; unshare --ipc true 2>/dev/null; echo done"))
		wantStdout(t, a, "done\n")
		if before, err := os.ReadDir(dir); err != nil || len(before) > 0 {
			t.Errorf("%v, %v: something is written before the end", before, err)
		}
	})
	content, err := os.ReadFile(filepath.Join(dir, "bash.json"))
	if err != nil {
		t.Fatal(err)
	}
	var record struct {
		Language string
		Jobs     int
		Calls    map[string]struct {
			Count, Denied int
			By            []string
			Example       string
		}
	}
	if err := json.Unmarshal(content, &record); err != nil {
		t.Fatal(err)
	}
	if fifo := record.Calls["mknodat"]; record.Language != "bash" || record.Jobs == 0 || fifo.Count != 1 || fifo.Denied > 0 || len(fifo.By) != 1 || fifo.By[0] != "run" {
		t.Errorf("%s, %d jobs, mknodat %+v", record.Language, record.Jobs, fifo)
	}
	if c := record.Calls["unshare"]; c.Count != 1 || c.Denied != 1 || c.Example != "CLONE_NEWIPC" {
		t.Errorf("unshare %+v", c)
	}
}
