package main

import "os"

func main() {
	os.Stdout.Write([]byte{0xff, 0xfe, 0x00, 'A', '\n'})
}
