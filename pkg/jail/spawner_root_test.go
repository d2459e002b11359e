package jail

import (
	"testing"

	"golang.org/x/sys/unix"
)

// Who ends our process group, by Ctrl-C for one, does not end the spawner, with which every jail would die in the middle of its job.
func TestSpawnerIsNotOfOurProcessGroup(t *testing.T) {
	s, err := Start(1)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if group, err := unix.Getpgid(s.PID()); err != nil || group != s.PID() {
		t.Errorf("it is of group %d, %v, and we of %d", group, err, unix.Getpgrp())
	}
}
