package main

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// levelTime is how long each level of concurrency is kept up.
const levelTime = 3 * time.Second

var levels = []int{1, 2, 8, 32}

// benchThroughput counts runs a second at several levels of concurrency, bare and over HTTP in turn.
func benchThroughput(s *server, b *bare) (any, error) {
	programs, err := loadPrograms(s.image)
	if err != nil {
		return nil, err
	}
	fmt.Printf("runs a second, %v a level     concurrency: ", levelTime)
	for _, n := range levels {
		fmt.Printf("%8d", n)
	}
	fmt.Println()
	rows := map[string]map[string][]float64{}
	for _, name := range []string{"bash", "python", "c"} {
		p, err := find(programs, name)
		if err != nil {
			return nil, err
		}
		rows[name] = map[string][]float64{}
		for _, n := range levels {
			for kind, once := range map[string]func() error{
				"bare": func() error { _, err := p.bareRun(b); return err },
				"http": func() error { _, err := p.httpRun(s); return err },
			} {
				rate, err := rateOf(n, once)
				if err != nil {
					return nil, err
				}
				rows[name][kind] = append(rows[name][kind], rate)
			}
		}
		for _, kind := range []string{"bare", "http"} {
			fmt.Printf("  %-8s %-5s                               ", name, kind)
			for _, rate := range rows[name][kind] {
				fmt.Printf("%8.0f", rate)
			}
			fmt.Println()
		}
	}
	return rows, nil
}

// rateOf calls once from n goroutines for levelTime.
func rateOf(n int, once func() error) (float64, error) {
	var count atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, n)
	start := time.Now()
	for range n {
		wg.Go(func() {
			for time.Since(start) < levelTime {
				if err := once(); err != nil {
					errs <- err
					return
				}
				count.Add(1)
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return 0, err
	default:
		return float64(count.Load()) / time.Since(start).Seconds(), nil
	}
}
