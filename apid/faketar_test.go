package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/runtools/runtools/pkg/wire"
)

// fakeTar is how the fake's tar behaves: it writes and reads JSON.
type fakeTar struct {
	create, extract string // "": well; "exit", "killed", "warn", "spew", or a code of pkg/wire
	copy            string // of cp: "", "exit", "await", or a code
	takes           time.Duration
	created         int
}

func (j *fakeJob) runTar() {
	j.mu.Lock()
	how := j.tar.extract
	create := j.job.Argv[1] == "--create"
	if create {
		how = j.tar.create
		j.tar.created++
	}
	takes := j.tar.takes
	j.mu.Unlock()
	j.sleep(takes)
	switch how {
	case "":
	case "exit":
		fmt.Fprintln(j.stderr, "tar: oops")
		j.result.Code = 2
	case "killed":
		j.result.Signal = 9
	case "warn":
		fmt.Fprintln(j.stderr, "tar: ./s: socket ignored")
	case "spew":
		j.spew(j.stdout, packedTar+1)
	default:
		j.fail = wire.Errorf(wire.Code(how), "secret detail")
		return
	}
	if create {
		json.NewEncoder(j.stdout).Encode(j.workspace.files)
	} else if err := json.NewDecoder(j.stdin).Decode(&j.workspace.files); err != nil {
		j.t.Errorf("unpack: %v", err)
	}
}

// runCopy copies /build into the workspace, or behaves as fakeTar.copy says.
func (j *fakeJob) runCopy() {
	j.mu.Lock()
	how := j.tar.copy
	j.mu.Unlock()
	maps.Copy(j.workspace.files, j.build.files)
	switch how {
	case "":
	case "exit":
		fmt.Fprintln(j.stderr, "cp: oops")
		j.result.Code = 1
	case "await":
		j.step("await")
	default:
		j.fail = wire.Errorf(wire.Code(how), "secret detail")
	}
}

func (f *fakeSandboxd) volumeCount() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.volumes)
}

// lastJob is the newest that came.
func (f *fakeSandboxd) lastJob() *wire.Job {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.jobs[len(f.jobs)-1]
}

// setTar changes how tar behaves from now on.
func (f *fakeSandboxd) setTar(t fakeTar) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t.created = f.tar.created
	f.tar = t
}

func (f *fakeSandboxd) jobCount() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.jobs)
}

func (f *fakeSandboxd) tarsMade() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tar.created
}

// names lists the files that a job was given.
func names(job *wire.Job) string {
	var all []string
	for _, f := range job.Files {
		all = append(all, f.Name)
	}
	return strings.Join(all, " ")
}
