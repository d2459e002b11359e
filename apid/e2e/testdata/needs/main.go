package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime/pprof"
	"time"
)

func main() {
	profile, err := os.Create("profile")
	check(err)
	check(pprof.StartCPUProfile(profile))
	tools := exec.Command("sh", "tools.sh")
	tools.Stdout, tools.Stderr = os.Stdout, os.Stderr
	check(tools.Run())
	check(os.WriteFile("new", make([]byte, 1e5), 0o600))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	go func() {
		c, err := listener.Accept()
		check(err)
		defer c.Close()
		f, err := os.Open("new")
		check(err)
		_, err = io.Copy(c, f)
		check(err)
	}()
	c, err := net.Dial("tcp", listener.Addr().String())
	check(err)
	if n, err := io.Copy(io.Discard, c); n != 1e5 || err != nil {
		panic(fmt.Sprint(n, err))
	}
	check(os.Symlink("new", "link"))
	check(os.Lchown("link", os.Getuid(), -1))
	check(os.Link("new", "hard"))
	check(os.Rename("new", "moved"))
	time.Sleep(time.Millisecond)
	pprof.StopCPUProfile()
	fmt.Println("done")
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
