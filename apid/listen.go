package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
)

// firstPassed is the number of the first descriptor that a service manager passes (sd_listen_fds(3)).
const firstPassed = 3

// listen opens the address, or takes over the listening socket that a service manager holds for us. In that one, connections wait while no
// apid runs, so a restart refuses none.
func listen(addr string) (net.Listener, error) {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return net.Listen("tcp", addr)
	}
	if n := os.Getenv("LISTEN_FDS"); n != "1" {
		return nil, fmt.Errorf("%s sockets were passed: want one ListenStream in the socket unit", n)
	}
	f := os.NewFile(firstPassed, "the passed socket")
	defer f.Close()
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("the socket that was passed: %w: want one ListenStream of TCP in the socket unit", err)
	}
	if _, ok := ln.(*net.TCPListener); !ok {
		return nil, fmt.Errorf("the socket that was passed is at %v: want one ListenStream of TCP in the socket unit", ln.Addr())
	}
	return ln, nil
}
