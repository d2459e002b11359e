package main

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"
)

// How long a session has been idle is told by the machine's own clock: what the wall clock says, or said, does not matter.
func TestIdleTimeIsNotWallTime(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "state")
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	j, err := openJournal(folder, log, func(*record) {})
	if err != nil {
		t.Fatal(err)
	}
	for name, at := range map[string]time.Duration{
		"just now": sinceBoot(), "9 minutes": sinceBoot() - 9*time.Minute, "11 minutes": sinceBoot() - 11*time.Minute,
		"before the machine was started again": sinceBoot() + time.Hour, "by an apid that wrote no such time": 0,
	} {
		key, volume := keyOf("key", name), newVolume()
		if !j.write(&record{Key: key[:], Volume: volume[:], Owner: "key", At: at, Form: formGiven}) {
			t.Fatal(name)
		}
	}
	j.close()
	table, _ := openTable(t, folder)
	table.cfg.Idle = duration(10 * time.Minute)
	table.expire(time.Now())
	for name, want := range map[string]bool{
		"just now": true, "9 minutes": true, "11 minutes": false, "before the machine was started again": true, "by an apid that wrote no such time": true,
	} {
		if _, there := table.info("key", name); there != want {
			t.Errorf("%s: there is %v", name, there)
		}
	}
	info, _ := table.info("key", "9 minutes")
	if ago := time.Since(info.lastUsed); ago < 9*time.Minute || ago > 10*time.Minute {
		t.Errorf("used %v ago", ago)
	}
}
