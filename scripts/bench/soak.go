package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// act is one thing that callers do, with its share of the load.
type act struct {
	name  string
	share int
	do    func(b *bench) error
}

var acts = []act{
	{"hello", 40, soakHello},
	{"session", 20, soakSession},
	{"limit", 25, soakLimit},
	{"hang up", 15, soakHangUp},
}

// callers at one time: more than two cores carry, so that queue and pools run dry now and then.
const callers = 6

// benchSoak keeps a mixed load up, checks every answer, and fails if anything is left of it afterwards.
func benchSoak(ctx context.Context, b *bench) ([]table, error) {
	warm := min(time.Minute, b.soak/4)
	if err := soakLoad(ctx, b, warm, nil); err != nil { // every pool and cache reaches its size
		return nil, err
	}
	before, err := b.settledFootprint()
	if err != nil {
		return nil, err
	}
	counts := map[string]*atomic.Int64{}
	for _, a := range acts {
		counts[a.name] = new(atomic.Int64)
	}
	if err := soakLoad(ctx, b, b.soak-warm, counts); err != nil {
		return nil, err
	}
	after, err := b.settledFootprint()
	if err != nil {
		return nil, err
	}
	load := table{Title: fmt.Sprintf("Load of %v by %d callers", b.soak-warm, callers), Columns: []column{{"done", "done"}}}
	for _, a := range acts {
		load.Rows = append(load.Rows, row{Name: a.name, Values: map[string]float64{"done": float64(counts[a.name].Load())}})
	}
	return []table{load, growthTable("What is left of it", before, after)}, after.grewFrom(before)
}

// settledFootprint waits until the demand of the load is forgotten, which is after a minute, and pools are back at their floors.
func (b *bench) settledFootprint() (footprint, error) {
	time.Sleep(65 * time.Second)
	if err := b.parked.settle(50); err != nil {
		return footprint{}, err
	}
	return b.parked.footprint()
}

// soakLoad runs acts by chance from all callers, and prints now and then how it goes.
func soakLoad(ctx context.Context, b *bench, window time.Duration, counts map[string]*atomic.Int64) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var wg sync.WaitGroup
	start := time.Now()
	var done atomic.Int64
	for range callers {
		wg.Go(func() {
			for time.Since(start) < window && ctx.Err() == nil {
				a := chooseAct()
				if err := a.do(b); err != nil {
					fail(fmt.Errorf("%s: %w", a.name, err))
					return
				}
				done.Add(1)
				if counts != nil {
					counts[a.name].Add(1)
				}
			}
		})
	}
	ended := make(chan struct{})
	go func() { wg.Wait(); close(ended) }()
	tick := time.NewTicker(15 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return context.Cause(ctx)
		case <-tick.C:
			f, err := b.parked.footprint()
			if err != nil {
				fail(err)
			}
			fmt.Printf("  %4.0f s, %d done: sandboxd %d MiB, %d descriptors; apid %d MiB, %d; %d processes, %d cgroups, %d mounts, %d volumes\n",
				time.Since(start).Seconds(), done.Load(), f.SandboxdKiB>>10, f.Fds, f.ApidKiB>>10, f.ApidFds, f.Processes, f.Cgroups, f.Mounts, f.Volumes)
		}
	}
}

func chooseAct() *act {
	for at := rand.IntN(100); ; {
		for i := range acts {
			if at -= acts[i].share; at < 0 {
				return &acts[i]
			}
		}
	}
}

func soakHello(b *bench) error {
	_, err := programs[rand.IntN(len(programs))].runHTTP(b.parked, fresh())
	return err
}

// sessionScripts write what the next, in another language, must find.
var sessionScripts = []map[string]any{
	{"language": "python", "code": "import os\nopen('kept', 'w').write('NONCE')\nos.environ['KEPT'] = 'NONCE'\nprint('NONCE')"},
	{"language": "bash", "code": "[ \"$KEPT\" = NONCE ] && cat kept && export AGAIN=NONCE; chmod 0 kept"},
	{"language": "ruby", "code": "File.chmod(0600, 'kept'); puts File.read('kept') if ENV['AGAIN'] == 'NONCE'"},
	{"language": "javascript", "code": "console.log(require('fs').readFileSync('kept', 'utf8'))"},
	{"language": "c", "code": "#include <stdio.h>\nint main(void) { char s[99] = \"\"; FILE *f = fopen(\"kept\", \"r\"); return !f || !fgets(s, 99, f) || !puts(s); }"},
}

// soakSession goes through several requests of one session.
func soakSession(b *bench) error {
	nonce := fmt.Sprint(fresh())
	id := "soak-" + nonce
	for _, script := range sessionScripts {
		a, err := b.parked.execute(map[string]any{
			"language": script["language"], "session_id": id, "code": strings.ReplaceAll(script["code"].(string), "NONCE", nonce)})
		if err != nil {
			return err
		}
		if strings.TrimSpace(a.Run.Stdout) != nonce {
			return fmt.Errorf("%s in session %s: status %s, printed %q, %q", script["language"], id, a.Run.Status, a.Run.Stdout, a.Run.Stderr)
		}
	}
	return b.parked.forget(id)
}

// forget deletes a session. Its answer is 204, or what else is allowed.
func (s *server) forget(id string, allowed ...int) error {
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	req.SetRequestURI("http://" + s.addr + "/v1/sessions/" + id)
	req.Header.SetMethod("DELETE")
	req.Header.Set("Authorization", "Bearer "+benchKey)
	if err := s.client.Do(req, resp); err != nil {
		return err
	}
	if code := resp.StatusCode(); code != http.StatusNoContent && !slices.Contains(allowed, code) {
		return fmt.Errorf("delete %s: status %d: %s", id, resp.StatusCode(), resp.Body())
	}
	return nil
}

// limits are programs that run into one, with the status that must come of it.
var limits = []struct {
	want string
	body map[string]any
}{
	{"TO", map[string]any{"language": "python", "code": "while True: pass", "run_timeout": 150}},
	{"TO", map[string]any{"language": "javascript", "code": "setInterval(() => {}, 1000)", "run_timeout": 150}},
	{"TO", map[string]any{"language": "bash", "code": "while :; do :; done", "run_cpu_time": 50}},
	{"ML", map[string]any{"language": "python", "code": "x = bytearray(200 << 20)", "run_memory_limit": 64 << 20}},
	{"ML", map[string]any{"language": "bash", "code": "head -c 100M /dev/zero > /dev/shm/x; sleep 1", "run_memory_limit": 32 << 20}},
	{"OL", map[string]any{"language": "ruby", "code": "loop { puts 'x' * 1000 }", "output_limit": 10000}},
	{"EL", map[string]any{"language": "bash", "code": "yes >&2", "output_limit": 10000}},
	{"RE", map[string]any{"language": "python", "code": "raise SystemExit(3)"}},
	{"SG", map[string]any{"language": "bash", "code": "kill -SEGV $$"}},
	{"CE", map[string]any{"language": "c", "code": "int main(void) { return missing; }"}},
	{"OK", map[string]any{"language": "bash", "code": "bomb() { bomb | bomb & }; bomb 2>/dev/null; sleep 0.05; exit 0"}},
	{"OK", map[string]any{"language": "bash", "code": "(trap '' TERM HUP; sleep 1000) & disown; exit 0"}},
}

func soakLimit(b *bench) error {
	l := limits[rand.IntN(len(limits))]
	body := maps.Clone(l.body)
	body["ephemeral"] = true
	a, err := b.parked.execute(body)
	if err != nil {
		return err
	}
	if a.Run.Status != l.want {
		return fmt.Errorf("%v: status %s, want %s; stderr %.200q", l.body["code"], a.Run.Status, l.want, a.Run.Stderr)
	}
	return nil
}

// soakHangUp sends a request and goes away, at once or while it runs.
func soakHangUp(b *bench) error {
	p := programs[rand.IntN(len(programs))]
	code, file := withNonce(p.code, fresh()), p.file
	language := p.language
	if rand.IntN(2) == 0 {
		language, file, code = "python", "main.py", "import time, subprocess\nsubprocess.Popen(['sleep', '1000'])\ntime.sleep(1000)"
	}
	id := fmt.Sprintf("hang-up-%d", fresh())
	body, err := json.Marshal(map[string]any{"language": language, "session_id": id, "files": []map[string]string{{"name": file, "content": code}}})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rand.Int64N(int64(120*time.Millisecond))))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "POST", "http://"+b.parked.addr+"/v1/execute", strings.NewReader(string(body)))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+benchKey)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err == nil { // it was answered before we went
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("status %d", resp.StatusCode)
		}
	} else if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return b.parked.forget(id, http.StatusNotFound)
}
