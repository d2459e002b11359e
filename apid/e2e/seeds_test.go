package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// seedPrograms print what must be new in each process: hash seeds, generators, ids. One value a line, each of 32 bits at least.
var seedPrograms = map[string]struct {
	runs int // of loaded runtimes
	code string
}{
	"python": {300, `import os, random, secrets, tempfile, uuid
print(random.random(), hash("x"), secrets.token_hex(8), uuid.uuid4(), os.urandom(8).hex(), next(tempfile._get_candidate_names()), sep="\n")
print(random.getrandbits(64))`},
	"javascript": {150, `const crypto = require("crypto")
console.log([Math.random(), crypto.randomUUID(), crypto.randomBytes(8).toString("hex")].join("\n"))`},
	"typescript": {50, `import * as crypto from "crypto"
console.log([Math.random(), crypto.randomUUID()].join("\n"))`},
	"ruby": {150, `require "securerandom"
puts rand, "x".hash, Object.new.hash, SecureRandom.hex(8), Random.new_seed, Random.seed, [1, :a].hash`},
	"bash": {250, `echo $SRANDOM$SRANDOM; echo $((RANDOM << 45 | RANDOM << 30 | RANDOM << 15 | RANDOM))`},
	"java": {50, `public class Main { public static void main(String[] a) {
	System.out.println(Math.random());
	System.out.println(new java.util.Random().nextLong());
	System.out.println(java.util.concurrent.ThreadLocalRandom.current().nextLong());
	System.out.println(java.util.UUID.randomUUID());
	System.out.println(new java.util.SplittableRandom().nextLong());
} }`},
	"csharp": {50, `Console.WriteLine(new Random().NextInt64());
Console.WriteLine(Random.Shared.NextInt64());
Console.WriteLine(Guid.NewGuid());
Console.WriteLine(((long)"x".GetHashCode() << 32) + "y".GetHashCode());`},
}

// A parked runtime was started before its request, but none was started from another: in 1,000 runs of loaded runtimes no seed comes twice. Every tenth is in a session.
// A thousand of each language would take minutes, and RANDOM of bash, which has 32 bits, would meet itself by chance.
func TestSeeds(t *testing.T) {
	for language, p := range seedPrograms {
		t.Run(language, func(t *testing.T) { // one after the other: the metric does not tell them apart
			t.Cleanup(func() {
				for worker := range seedWorkers {
					api.deleteSession(t, api.key, seedSession(language, worker))
				}
			})
			seen := map[string]bool{}
			before, ran := parkedRuns(t), 0
			for missing := p.runs; missing > 0; missing = p.runs - (parkedRuns(t) - before) {
				if ran > 20*p.runs {
					t.Fatalf("%d of %d runs had a loaded runtime", p.runs-missing, ran)
				}
				seedRuns(t, language, p.code, missing, seen)
				ran += missing
			}
		})
	}
}

func parkedRuns(t *testing.T) int {
	t.Helper()
	n, err := api.metric("runtools_pool_parked_total")
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

const seedWorkers = 2 // at a time

// seedSession is the session of one of them.
func seedSession(language string, worker int) string {
	return fmt.Sprintf("seeds-%s-%d", language, worker)
}

// seedRuns runs the program so many times, each when a runtime is loaded, and looks for what has been seen. Without the wait every other run would
// have none and count for nothing: loading has a small share of a busy machine.
func seedRuns(t *testing.T, language, code string, runs int, seen map[string]bool) {
	t.Helper()
	var mu sync.Mutex
	var workers sync.WaitGroup
	work := make(chan int)
	for worker := range seedWorkers {
		workers.Go(func() {
			for n := range work {
				if err := api.waitLoaded(language + "/run"); err != nil {
					t.Error(err)
					continue
				}
				change := request{"ephemeral": true}
				if n%10 == 0 {
					change = request{"session_id": seedSession(language, worker)}
				}
				a, err := api.try(api.key, program(language, code).with(change))
				if err != nil || a.Run.Status != "OK" {
					t.Errorf("%v %s", err, a)
					continue
				}
				mu.Lock()
				for value := range strings.Lines(a.Run.Stdout) {
					if seen[value] {
						t.Errorf("%q came twice", value)
					}
					seen[value] = true
				}
				mu.Unlock()
			}
		})
	}
	for n := range runs {
		work <- n
	}
	close(work)
	workers.Wait()
}
