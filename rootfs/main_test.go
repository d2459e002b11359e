package main

import (
	"os"
	"testing"
)

// The test binary is also the PID 1 of the boxes that root tests make.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == insideCommand {
		os.Exit(insideMain(os.Args[2]))
	}
	os.Exit(m.Run())
}
