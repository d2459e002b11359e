// Test-vm-attacks compiles the attacks in C, for scripts/test-vm, whose guest has no compiler: FOLDER/NAME-ROLE, each a program.
// Those that attack the compiler (compile-*) are left out: it is the image's that they are for.
//
//	go run ./scripts/test-vm-attacks FOLDER
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/rogpeppe/go-internal/txtar"
)

const attacks = "sandboxd/testdata/attack"

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go run ./scripts/test-vm-attacks FOLDER")
		os.Exit(2)
	}
	if err := compileAll(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "test-vm-attacks:", err)
		os.Exit(1)
	}
}

func compileAll(folder string) error {
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	paths, err := filepath.Glob(filepath.Join(attacks, "*.txtar"))
	if err != nil || len(paths) == 0 {
		return fmt.Errorf("no attacks in %s: run this in the folder of the repository: %w", attacks, err)
	}
	var compilers sync.WaitGroup
	turns := make(chan struct{}, runtime.NumCPU())
	var failed atomic.Bool
	for _, path := range paths {
		if strings.HasPrefix(filepath.Base(path), "compile-") {
			continue
		}
		archive, err := txtar.ParseFile(path)
		if err != nil {
			return err
		}
		for _, f := range archive.Files {
			role, isC := strings.CutSuffix(f.Name, ".c")
			if !isC {
				continue
			}
			name := strings.TrimSuffix(filepath.Base(path), ".txtar") + "-" + role
			compilers.Go(func() {
				turns <- struct{}{}
				defer func() { <-turns }()
				if out, err := compile(filepath.Join(folder, name), f.Data); err != nil {
					fmt.Fprintf(os.Stderr, "test-vm-attacks: %s: %v\n%s", name, err, out)
					failed.Store(true)
				}
			})
		}
	}
	compilers.Wait()
	if failed.Load() {
		return errors.New("some do not compile")
	}
	return nil
}

// compile calls gcc as attack_root_test.go does.
func compile(to string, source []byte) (output []byte, err error) {
	gcc := exec.Command("gcc", "-O1", "-w", "-std=gnu17", "-I", attacks, "-x", "c", "-o", to, "-", "-Wl,--as-needed", "-lm", "-pthread")
	gcc.Stdin = strings.NewReader(string(source))
	return gcc.CombinedOutput()
}
