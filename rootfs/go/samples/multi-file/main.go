package main

import "fmt"

func main() {
	fmt.Printf("1 + 2 = %d\n", add(1, 2))
}
