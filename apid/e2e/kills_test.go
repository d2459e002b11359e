package e2e

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Kills at random moments under load: every request is answered or cut off, no session that a caller was told of loses a file or a
// variable, and nothing is left at the end. CRASH_KILLS is how many, CRASH_SEED repeats the choices of another run.
func TestRandomKills(t *testing.T) {
	kills, seed := number(t, "CRASH_KILLS", 20), number(t, "CRASH_SEED", 1)
	t.Logf("CRASH_KILLS=%d CRASH_SEED=%d", kills, seed)
	random := rand.New(rand.NewPCG(uint64(seed), 0))
	s := startOwn(t, "kills", "[sessions]\nmax_mounted = 2\n", "javascript", "go") // so that sessions are packed and unpacked all the time
	wantStdout(t, s.execute(t, s.key, program("bash", "echo file >f; export V=env; echo x").with(request{"session_id": "witness"})), "x\n")
	wantStdout(t, s.execute(t, s.key, program("bash", "head -c 200000 /dev/zero >large; echo file >f; export V=env; echo x").with(request{"session_id": "lender"})), "x\n")
	lent := s.fork(t, "lender", 4) // one of them is used on the way, the others share what they hold until the end

	l := &load{stack: s, t: t}
	stop := l.start(random)
	victims := []string{"sandboxd", "apid", "PID 1", "runner", "spawner"}
	killed := map[string]int{}
	for i := range kills {
		time.Sleep(time.Duration(random.IntN(150)) * time.Millisecond)
		victim := victims[random.IntN(len(victims))]
		if victim == "apid" {
			l.apids.Add(1)
		}
		if err := s.killOne(victim, random); err != nil {
			t.Fatalf("kill %d, %s: %v", i, victim, err)
		}
		if victim == "apid" {
			l.apids.Add(1)
		}
		killed[victim]++
		a, err := l.until200("witness", `cat f; echo "$V"`)
		if err != nil {
			t.Fatalf("after kill %d, of %s: %v", i, victim, err)
		}
		if a.Run.Stdout != "file\nenv\n" || a.SessionCreated {
			t.Fatalf("after kill %d, of %s, the session is not what it was: %s", i, victim, a)
		}
		if i == kills/2 {
			lent = append(lent, "lender")
			if _, err := l.until200("lender", "echo changed >f; wc -c <large"); err != nil {
				t.Fatal(err)
			}
		}
	}
	stop()
	for _, id := range lent {
		want := "file\nenv\n200000\n"
		if id == "lender" {
			want = "changed\nenv\n200000\n"
		}
		if a, err := l.until200(id, `cat f; echo "$V"; wc -c <large`); err != nil || a.Run.Stdout != want || a.SessionCreated {
			t.Errorf("%s was lent and is not what it was: %v %s", id, err, a)
		}
	}
	if l.good.Load() < int64(kills) {
		t.Errorf("only %d requests were carried out", l.good.Load())
	}
	if l.hit.Load() > kills {
		t.Errorf("%d programs did not end well", l.hit.Load())
	}
	t.Logf("killed %v; %d requests carried out, %d programs hit, %d requests refused or cut off", killed, l.good.Load(), l.hit.Load(), l.bad.Load()-l.hit.Load())
	for _, id := range append(append(l.sessions(), "witness"), lent...) {
		s.deleteSession(t, s.key, id)
	}
	s.wantQuiet(t)
	s.wantNetworks(t)
	s.wantVolumes(t, math.Inf(1)) // what visitors left in sessions is counted there
}

func number(t *testing.T, variable string, otherwise int64) int64 {
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// killOne kills a process of the stack, and starts what a service manager would start again.
func (s *stack) killOne(victim string, random *rand.Rand) error {
	switch victim {
	case "apid":
		s.apid.command.Process.Kill()
		<-s.apid.done
		return s.startApid()
	case "sandboxd":
		s.sandboxd.command.Process.Kill()
		<-s.sandboxd.done
		return s.startSandboxd()
	}
	if err := eventually("a "+victim+" is there and killed", func() error {
		pids := s.jailProcesses(victim)
		if len(pids) == 0 {
			return errors.New("there is none")
		}
		return syscall.Kill(pids[random.IntN(len(pids))], syscall.SIGKILL)
	}); err != nil {
		return err
	}
	if victim != "spawner" {
		return nil
	}
	select { // without it sandboxd can make no jail, and says so by its end
	case <-s.sandboxd.done:
		return s.startSandboxd()
	case <-time.After(hang):
		return errors.New("sandboxd goes on without its spawner")
	}
}

// jailProcesses are of one kind: the "spawner", every "PID 1", or the "runner" of every jail and what that started.
func (s *stack) jailProcesses(kind string) (pids []int) {
	pattern := "init"
	if kind == "runner" {
		pattern = "job-*"
	}
	files, _ := filepath.Glob("/sys/fs/cgroup/*/" + s.cgroup + "/" + pattern + "/cgroup.procs")
	more, _ := filepath.Glob("/sys/fs/cgroup/" + s.cgroup + "/" + pattern + "/cgroup.procs")
	for _, file := range append(files, more...) {
		content, _ := os.ReadFile(file) // the jail may have ended
		for _, word := range strings.Fields(string(content)) {
			status, _ := os.ReadFile("/proc/" + word + "/status")
			_, numbers, _ := strings.Cut(string(status), "\nNSpid:")
			numbers, _, _ = strings.Cut(numbers, "\n")
			depth := len(strings.Fields(numbers)) // 0: it has ended
			if pid, err := strconv.Atoi(word); err == nil && (depth == 1 && kind == "spawner" || depth > 1 && kind != "spawner") {
				pids = append(pids, pid)
			}
		}
	}
	slices.Sort(pids)
	return slices.Compact(pids)
}

// load is callers of many kinds, and what they found.
type load struct {
	*stack
	t         *testing.T
	good, bad atomic.Int64
	hit       atomic.Int64 // of the bad ones: programs that did not end well
	apids     atomic.Int64 // how many apids were killed, or are about to be
}

// counters is how many sessions are counted in; visitors is how many callers come without one.
const counters, visitors = 4, 3

func (l *load) sessions() (ids []string) {
	for i := range counters {
		ids = append(ids, fmt.Sprint("counter", i))
	}
	return ids
}

// start begins; what it returns ends it.
func (l *load) start(random *rand.Rand) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var callers sync.WaitGroup
	for _, id := range l.sessions() {
		callers.Go(func() { l.count(ctx, id) })
	}
	for range visitors {
		choice := rand.New(rand.NewPCG(random.Uint64(), 0))
		callers.Go(func() { l.visit(ctx, choice) })
	}
	for way, once := range map[string]func(request) (string, error){
		"a stream of events": l.countInEvents, "a WebSocket": l.countInSocket, "an execution": l.execution,
	} {
		callers.Go(func() { l.keep(ctx, way, once) })
	}
	return func() { cancel(); callers.Wait() }
}

// once sends a request. The answer is nil if there was none that counts.
func (l *load) once(q request) *answer {
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	response, content, err := l.send(ctx, l.key, http.MethodPost, "/v1/execute", q)
	var a answer
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		l.t.Errorf("neither answered nor cut off within %v", hang)
	case err != nil: // apid was killed
	case response.StatusCode == http.StatusServiceUnavailable:
		if response.Header.Get("Retry-After") == "" {
			l.t.Errorf("no Retry-After: %s", content)
		}
	case response.StatusCode != http.StatusOK:
		l.t.Errorf("%s: %s\n%s%s", response.Status, content, l.sandboxd.errors(), l.apid.errors())
	default:
		if err := strict(content, &a); err != nil {
			l.t.Error(err)
		}
		if a.Run.Status != "OK" { // we killed it, or a process that it started
			l.hit.Add(1)
			break
		}
		l.good.Add(1)
		return &a
	}
	l.bad.Add(1)
	time.Sleep(20 * time.Millisecond)
	return nil
}

func (l *load) until200(id, code string) (*answer, error) {
	for deadline := time.Now().Add(hang); time.Now().Before(deadline); {
		if a := l.once(program("bash", code).with(request{"session_id": id})); a != nil {
			return a, nil
		}
	}
	return nil, fmt.Errorf("no answer within %v", hang)
}

// count counts in a file and in a variable of one session. A request that was not answered may have counted or not; one that was, has.
func (l *load) count(ctx context.Context, id string) {
	file, variable := 0, 0 // what they hold at least
	unknown := 0           // requests since then that were not answered
	for ctx.Err() == nil {
		a := l.once(program("bash", `v=0; [ ! -e n ] || read v <n || exit 9; v=$((v + 1)); echo $v >new && mv new n || exit 9; echo "$v ${V:-0}"; export V=$v`).
			with(request{"session_id": id}))
		if a == nil {
			unknown++
			continue
		}
		var nowFile, nowVariable int
		fmt.Sscan(a.Run.Stdout, &nowFile, &nowVariable)
		if nowFile <= file || nowFile > file+unknown+1 || nowVariable < variable || nowVariable >= nowFile || a.SessionCreated && file > 0 {
			l.t.Errorf("%s: the file had counted to %d at least, the variable to %d, and %d requests were not answered: %s", id, file, variable, unknown, a)
		}
		file, variable, unknown = nowFile, nowFile, 0
	}
}

// visit sends programs of several languages, in no session of before.
func (l *load) visit(ctx context.Context, random *rand.Rand) {
	visits := []request{
		program("bash", "sleep 0.05; echo x"),
		program("bash", "seq 1 20000 >f; tail -n 1 f; rm f; echo x"),
		program("python", "print('x')"),
		program("javascript", "console.log('x')"),
		program("c", "#include <stdio.h>\nint main(void) { puts(\"x\"); }"),
		program("go", "package main\nimport \"os\"\nfunc main() { os.Stdout.WriteString(\"x\\n\") }"),
	}
	for ctx.Err() == nil {
		q := visits[random.IntN(len(visits))]
		if random.IntN(2) == 0 {
			q = q.with(request{"ephemeral": true})
		}
		if a := l.once(q); a != nil && !strings.HasSuffix(a.Run.Stdout, "x\n") {
			l.t.Errorf("%v: %s", q, a)
		}
	}
}
