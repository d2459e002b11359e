package main

import "example.com/not/here"

func main() {
	here.Run()
}
