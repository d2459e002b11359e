package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/runtools/runtools/pkg/lang"
)

// program is one language's hello, with the commands that carry it out.
type program struct {
	runtime *lang.Runtime
	name    string // of the main file
	code    string
	want    string
}

// loadPrograms reads the sample hello of every language in the image.
func loadPrograms(image string) ([]program, error) {
	set, err := lang.Load(image)
	if err != nil {
		return nil, err
	}
	var all []program
	for _, rt := range set.Installed() {
		dir := filepath.Join("rootfs", rt.Folder, "samples/hello")
		data, err := os.ReadFile(filepath.Join(dir, "case.json"))
		if err != nil {
			return nil, err
		}
		var c struct {
			Files []string
			Want  struct{ Stdout string }
		}
		if err := json.Unmarshal(data, &c); err != nil {
			return nil, err
		}
		code, err := os.ReadFile(filepath.Join(dir, c.Files[0]))
		if err != nil {
			return nil, err
		}
		all = append(all, program{runtime: rt, name: c.Files[0], code: string(code), want: c.Want.Stdout})
	}
	return all, nil
}

func (p *program) request() map[string]any {
	return map[string]any{
		"language": p.runtime.Name, "ephemeral": true,
		"files": []map[string]string{{"name": p.name, "content": p.code}},
	}
}

// bareRun compiles and runs the program outside any jail.
func (p *program) bareRun(b *bare) (time.Duration, error) {
	if err := b.write(p.name, p.code); err != nil {
		return 0, err
	}
	in := lang.Inputs{Files: []string{p.name}, Memory: 1 << 30}
	var total time.Duration
	var out string
	for _, stage := range []*lang.Stage{p.runtime.Compile, p.runtime.Run} {
		if stage == nil {
			continue
		}
		var env []string
		for name, value := range p.runtime.ExpandEnv(stage, in) {
			env = append(env, name+"="+value)
		}
		var took time.Duration
		var err error
		if out, took, err = b.run(env, p.runtime.ExpandArgv(stage, in)...); err != nil {
			return 0, err
		}
		total += took
	}
	if out != p.want {
		return 0, fmt.Errorf("bare %s printed %q", p.runtime.Name, out)
	}
	return total, nil
}

func (p *program) httpRun(s *server) (time.Duration, error) {
	a, took, err := s.execute(p.request())
	if err != nil {
		return 0, fmt.Errorf("%s: %w", p.runtime.Name, err)
	}
	if a.Run.Stdout != p.want {
		return 0, fmt.Errorf("%s over HTTP: status %s, printed %q, %q", p.runtime.Name, a.Run.Status, a.Run.Stdout, a.Run.Stderr)
	}
	return took, nil
}

// languageFigures are one row of the table.
type languageFigures struct {
	Bare  quantiles `json:"bare"`
	HTTP  quantiles `json:"http"`
	Ratio float64   `json:"ratio_p50"`
}

// betweenRuns lets the pool refill, as it would between the requests of one person; throughput is measured apart.
const betweenRuns = 20 * time.Millisecond

// benchLanguages runs each hello in turn, bare and over HTTP, one at a time.
func benchLanguages(s *server, b *bare, image string, runs int) (any, error) {
	programs, err := loadPrograms(image)
	if err != nil {
		return nil, err
	}
	fmt.Printf("hello, one at a time, %d runs in turn    bare p50    p99    HTTP p50    p99   ratio p50\n", runs)
	rows := map[string]languageFigures{}
	for _, p := range programs {
		n := runs
		var bareTimes, httpTimes []time.Duration
		for i := range n + 2 { // the first two warm page cache and pool
			bt, err := p.bareRun(b)
			if err != nil {
				return nil, err
			}
			time.Sleep(betweenRuns)
			ht, err := p.httpRun(s)
			if err != nil {
				return nil, err
			}
			time.Sleep(betweenRuns)
			if i >= 2 {
				bareTimes, httpTimes = append(bareTimes, bt), append(httpTimes, ht)
			}
		}
		f := languageFigures{Bare: summarize(bareTimes), HTTP: summarize(httpTimes)}
		f.Ratio = f.HTTP.P50 / f.Bare.P50
		rows[p.runtime.Name] = f
		stages := "run"
		if p.runtime.Compile != nil {
			stages = "compile + run"
		}
		fmt.Printf("  %-12s %-14s              %9.2f %7.1f   %9.2f %7.1f   %7.2f\n", p.runtime.Name, stages, f.Bare.P50, f.Bare.P99, f.HTTP.P50, f.HTTP.P99, f.Ratio)
	}
	return rows, nil
}

// find returns the program of a language.
func find(programs []program, name string) (*program, error) {
	for i := range programs {
		if strings.EqualFold(programs[i].runtime.Name, name) {
			return &programs[i], nil
		}
	}
	return nil, fmt.Errorf("the image has no %s", name)
}
