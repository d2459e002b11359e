package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Scan()
	sum := 0
	for _, word := range strings.Fields(in.Text()) {
		var n int
		fmt.Sscan(word, &n)
		sum += n
	}
	in.Scan()
	fmt.Println(sum)
	fmt.Println(strings.ToUpper(in.Text()))
}
