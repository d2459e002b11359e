package main

import (
	_ "embed"
	"fmt"

	"example.com/greet/words"
)

//go:embed name.txt
var name string

func main() {
	fmt.Println(words.Hello(name))
}
