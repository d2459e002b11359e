package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// linking makes a call that only bash's addition to the base allows, and says what came of it.
const linking = "ln -s a b 2>/dev/null && echo made || echo denied"

const (
	reloads  = "runtools_profile_reloads_total"
	refusals = "runtools_profile_reload_failures_total"
)

// reload has sandboxd read the profiles of a folder, with a table [seccomp], and waits until a counter tells what came of it.
func (s *stack) reload(t *testing.T, folder, trial, counter string) {
	t.Helper()
	before, err := s.metric(counter)
	if err != nil {
		t.Fatal(err)
	}
	settings, err := os.ReadFile(s.path("sandboxd.toml"))
	if err != nil {
		t.Fatal(err)
	}
	start, _, _ := strings.Cut(string(settings), "[seccomp]")
	err = errors.Join(os.WriteFile(s.path("sandboxd.toml"), []byte(start+trial), 0o644), os.Remove(s.path("profiles")), os.Symlink(folder, s.path("profiles")))
	if err != nil {
		t.Fatal(err)
	}
	s.sandboxd.command.Process.Signal(syscall.SIGHUP)
	if err := s.waitMetric(counter, before+1); err != nil {
		t.Fatalf("%v\n%s", err, s.sandboxd.errors())
	}
}

// lesserBash makes a folder of profiles in which bash has no symlinkat, and one of such a candidate, which extends nothing.
func lesserBash(t *testing.T) (folder, candidate string) {
	t.Helper()
	folder, candidate = t.TempDir(), t.TempDir()
	if err := os.CopyFS(folder, os.DirFS(filepath.Join(repository, "seccomp-profiles"))); err != nil {
		t.Fatal(err)
	}
	addition, err := os.ReadFile(filepath.Join(folder, "bash.json"))
	if err != nil {
		t.Fatal(err)
	}
	less := strings.Replace(string(addition), `"symlinkat", `, "", 1)
	var base map[string]any
	var bash struct{ Syscalls []json.RawMessage }
	readJSON(t, filepath.Join(folder, "base.json"), &base)
	if err := json.Unmarshal([]byte(less), &bash); err != nil || less == string(addition) {
		t.Fatal("bash.json has no symlinkat", err)
	}
	// Raw: a float64 has not the bits of a mask.
	var rules struct{ Syscalls []json.RawMessage }
	readJSON(t, filepath.Join(folder, "base.json"), &rules)
	base["syscalls"] = append(rules.Syscalls, bash.Syscalls...)
	whole, err := json.Marshal(base)
	err = errors.Join(err, os.WriteFile(filepath.Join(folder, "bash.json"), []byte(less), 0o644), os.WriteFile(filepath.Join(candidate, "bash.json"), whole, 0o644))
	if err != nil {
		t.Fatal(err)
	}
	return folder, candidate
}

// An operator changes what bash may call, makes a slip, tries a profile in shadow and as a canary, all while callers send. None of them loses a request.
func TestReloadUnderLoad(t *testing.T) {
	whole := filepath.Join(repository, "seccomp-profiles")
	folder, candidate := lesserBash(t)
	stop, answers, load := make(chan struct{}), atomic.Int64{}, sync.WaitGroup{}
	for range 3 {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if a, err := api.try(api.key, program("bash", linking)); err != nil || a.Run.Status != "OK" {
					t.Errorf("a request under load: %v %s", err, a)
				}
				answers.Add(1)
			}
		})
	}
	t.Cleanup(func() {
		close(stop)
		load.Wait()
		api.reload(t, whole, "", reloads)
		if wantStdout(t, execute(t, program("bash", linking)), "made\n"); answers.Load() == 0 {
			t.Error("there was no load")
		}
	})
	// want runs the program, and checks that a denial is named.
	want := func(stdout string) {
		t.Helper()
		a := execute(t, program("bash", linking))
		if wantStdout(t, a, stdout); (len(a.Run.Violations) == 1) != (stdout == "denied\n") {
			t.Errorf("violations: %s", a)
		}
	}

	began := talk(t, program("bash", "echo began; read go; "+linking))
	began.await("began\n")
	api.reload(t, folder, "", reloads)
	for range 4 {
		want("denied\n")
	}
	began.input("go\n") // it keeps what it began with
	began.await("made\n")
	wantStatus(t, began.end(), "OK")

	slip := t.TempDir()
	if err := os.WriteFile(filepath.Join(slip, "bash.json"), []byte("{\n\"syscalls\": x}"), 0o644); err != nil {
		t.Fatal(err)
	}
	api.reload(t, slip, "", refusals)
	if log := api.sandboxd.errors(); !strings.Contains(log, "bash.json: line 2: ") {
		t.Errorf("the log does not tell the line: %s", log)
	}
	want("denied\n") // as before
	api.reload(t, whole, "", reloads)
	want("made\n")

	trial := fmt.Sprintf("[seccomp]\ncandidate = %q\nshare = 0.5\n", candidate)
	api.reload(t, whole, trial+"mode = \"shadow\"\n", reloads)
	err := eventually("the shadow sees a call", func() error {
		want("made\n")
		seen, err := api.metric(`runtools_profile_tried_syscalls_total\{[^}]*syscall="symlinkat",use="shadow"\}`)
		if err == nil && seen == 0 {
			err = errors.New("none")
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	api.reload(t, whole, trial+"mode = \"canary\"\n", reloads)
	made, denied := 0, 0
	err = eventually("the canary denies its share", func() error {
		switch a := execute(t, program("bash", linking)); {
		case a.Run.Stdout == "made\n" && len(a.Run.Violations) == 0:
			made++
		case a.Run.Stdout == "denied\n" && len(a.Run.Violations) == 1 && a.Run.Violations[0].Syscall == "symlinkat":
			denied++
		default:
			t.Errorf("%s", a)
		}
		if made == 0 || denied == 0 {
			return fmt.Errorf("%d were made, %d denied", made, denied)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
