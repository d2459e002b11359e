package main

import (
	"bufio"
	"fmt"
	"os"
	"unicode/utf8"
)

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Scan()
	fmt.Println("héllo wörld, 你好 🌍")
	fmt.Println(utf8.RuneCountInString(in.Text()), in.Text())
}
