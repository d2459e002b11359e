package main

import (
	"bufio"
	"os"
	"strings"
)

func main() {
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	line := strings.Repeat("0123456789abcdef", 4)[:63] + "\n"
	for range 16384 {
		out.WriteString(line)
	}
}
