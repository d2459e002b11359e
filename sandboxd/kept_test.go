package main

import (
	"testing"
	"testing/synctest"
)

// A compiler that comes back goes to the first job that waits for it and has room for it, and to no other.
func TestKeptGoesToWhomItFits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		by := keptBy{&template{spec: templateSpec{PoolMax: 1}}, "alice"}
		jail := &readyJail{template: by.template, owner: by.owner, bytes: 100}
		k := newKept()
		k.lend(by)
		k.lend(by)
		small, large := make(chan *readyJail, 1), make(chan *readyJail, 1)
		go func() { small <- k.await(by, 199) }()
		synctest.Wait()
		go func() { large <- k.await(by, 200) }()
		synctest.Wait()
		if surplus := k.put(jail); surplus != nil {
			t.Error("nobody wanted it")
		}
		if got := <-large; got != jail {
			t.Errorf("the job with room for it got %v", got)
		}
		if got := <-small; got != nil { // after keptWait
			t.Error("a job without room for it got it")
		}
		if len(k.waiting) != 0 || k.take(by, 200) != nil {
			t.Error("somebody still waits, or it is there twice")
		}
	})
}
