package main

import (
	"errors"
	"io"
	"log/slog"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/runtools/runtools/pkg/jail"
	"github.com/runtools/runtools/pkg/wire"
)

// Whose fault a failed step is goes by its stage. The words are for people: names of files and programs, which callers choose, are in them.
func TestStartErrorGoesByTheStage(t *testing.T) {
	j := &job{server: &server{log: slog.New(slog.NewTextHandler(io.Discard, nil))}, req: &wire.Job{Argv: []string{"/bin/x"}}}
	const lie = "exec /bin/x"
	for _, c := range []struct {
		stage jail.Stage
		want  wire.Code // "": no answer of the contract, the program may have begun
	}{
		{jail.StageSetup, wire.CodeNotBegun}, {jail.StageFile, wire.CodeFile}, {jail.StageWorkDir, wire.CodeFile}, {jail.StageExec, wire.CodeExec}, {jail.StageWait, ""},
	} {
		file, want := -1, 0
		switch c.stage {
		case jail.StageFile:
			file, want = 2, 2
		case jail.StageWorkDir:
			want = -1 // no file could be placed
		}
		err := j.startError(&jail.StepError{Step: lie, Stage: c.stage, File: file, Errno: unix.EACCES})
		var known *wire.Error
		switch {
		case errors.As(err, &known) != (c.want != ""):
			t.Errorf("stage %d: got %v, want %q", c.stage, err, c.want)
		case known != nil && (known.Code != c.want || known.Index != want):
			t.Errorf("stage %d: got %+v, want %q", c.stage, known, c.want)
		}
	}
}
