// gobuild called compiler and linker itself: the build id is its own, which go build's never is. The id stands in two parts here, or it
// would find itself. What go build tells of a program is there nevertheless.
package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime/debug"
)

func main() {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		panic(err)
	}
	id := append([]byte("Go\x00\x00"), "runtools"...)
	fmt.Println("taken:", bytes.Contains(self, id))
	info, ok := debug.ReadBuildInfo()
	fmt.Println(ok, info.Path, info.GoVersion[:6])
}
