package main

import (
	"context"
	"math"
	"net"
	"testing"
	"time"
)

// A server that has seen four thousand million requests still hears its callers hang up.
func TestHangupsCountOn(t *testing.T) {
	h, err := newHangups()
	if err != nil {
		t.Fatal(err)
	}
	defer h.close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	h.next = math.MaxUint32 - 1
	for range 4 {
		caller, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := h.watch(conn, cancel)
		caller.Close()
		select {
		case <-ctx.Done():
		case <-time.After(time.Minute):
			t.Fatalf("nothing was heard of request %d", h.next)
		}
		if context.Cause(ctx) != error(errHungUp) {
			t.Error(context.Cause(ctx))
		}
		stop()
		cancel(nil)
	}
}
