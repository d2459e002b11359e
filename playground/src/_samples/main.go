package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// A bar for each line "name number" of the input. Name what to leave out in the arguments.
func main() {
	var name string
	var number int
	for {
		if n, _ := fmt.Scan(&name, &number); n < 2 {
			return
		}
		if !slices.Contains(os.Args[1:], name) {
			fmt.Printf("%-8s \033[36m%s\033[0m %d\n", name, strings.Repeat("█", number), number)
		}
	}
}
