package sdk

import (
	"path/filepath"
	"testing"
)

// A stock client lists and calls the same tools over both transports.
func TestMCP(t *testing.T) {
	for transport, args := range map[string][]string{"stdio": {filepath.Join(repository, "bin/runtools")}, "http": nil} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			out := run(t, "mcp", "node", append([]string{"client.mjs", transport}, args...)...)
			wantOutput(t, out, "cancel_execution end_session execute fork_session get_execution list_files list_runtimes read_file start_execution write_file\n")
		})
	}
}
