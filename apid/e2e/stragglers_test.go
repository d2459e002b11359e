package e2e

import (
	"encoding/json"
	"testing"
)

// A session counts for what it holds, whatever the processes write that its program has left: they have ended before that is measured.
func TestStragglersCount(t *testing.T) {
	t.Parallel()
	const code = `
import os, sys, time
for i in range(8):
    if os.fork() == 0:
        file, data = os.open(f"f{i}", os.O_CREAT | os.O_WRONLY), bytes(1 << 20)
        while not os.path.exists("go"): pass
        while True: os.write(file, data)
time.sleep(0.1)
open("go", "w").close()
`
	for _, end := range []string{"", "os._exit(0)\n", "", "os._exit(0)\n"} { // as a parked runtime ends its program, and as a process ends
		id := *execute(t, program("python", code+end)).SessionID
		counts := func() int64 {
			var info struct{ Bytes int64 }
			_, content, err := api.send(t.Context(), api.key, "GET", "/v1/sessions/"+id, nil)
			if err == nil {
				err = json.Unmarshal(content, &info)
			}
			if err != nil {
				t.Fatal(err)
			}
			return info.Bytes
		}
		told := counts()
		api.list(t, id) // a job like any other: its workspace is measured again
		first := counts()
		api.list(t, id)
		if second := counts(); first-told != second-first { // each adds the memory of a cgroup (apid/leaves.go)
			t.Errorf("%q: a session of %d bytes was said to be one of %d", end, first-(second-first), told)
		}
		api.send(t.Context(), api.key, "DELETE", "/v1/sessions/"+id, nil)
	}
}
