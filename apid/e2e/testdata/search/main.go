package main

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

func main() {
	in, _ := io.ReadAll(os.Stdin)
	words := bytes.Fields(in)
	for _, w := range words {
		slices.Reverse(w)
	}
	for _, root := range os.Args[1:] {
		filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || slices.Contains([]string{"mem", "kmsg", "pagemap", "kcore"}, d.Name()) {
				return nil
			}
			f, err := os.Open(path)
			if err != nil {
				return nil
			}
			defer f.Close()
			content, _ := io.ReadAll(io.LimitReader(f, 1<<20))
			if bytes.Contains(content, words[0]) {
				fmt.Println("SECRET in", path)
			}
			if bytes.Contains(content, words[1]) {
				fmt.Println("own")
			}
			return nil
		})
	}
}
