package e2e

import (
	"strings"
	"sync"
	"testing"
)

// seedPrograms print what must be new in each process: hash seeds, generators, ids. One value a line, each of 32 bits at least.
var seedPrograms = map[string]struct {
	runs int
	code string
}{
	"python": {400, `import os, random, secrets, tempfile, uuid
print(random.random(), hash("x"), secrets.token_hex(8), uuid.uuid4(), os.urandom(8).hex(), next(tempfile._get_candidate_names()), sep="\n")
print(random.getrandbits(64))`},
	"javascript": {200, `const crypto = require("crypto")
console.log([Math.random(), crypto.randomUUID(), crypto.randomBytes(8).toString("hex")].join("\n"))`},
	"typescript": {50, `import * as crypto from "crypto"
console.log([Math.random(), crypto.randomUUID()].join("\n"))`},
	"ruby": {200, `require "securerandom"
puts rand, "x".hash, Object.new.hash, SecureRandom.hex(8), Random.new_seed, Random.seed, [1, :a].hash`},
	"bash": {50, `echo $SRANDOM; echo $((RANDOM << 45 | RANDOM << 30 | RANDOM << 15 | RANDOM))`},
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

// A parked runtime was started before its request, but none was started from another: in 1,000 runs no seed comes twice.
func TestSeeds(t *testing.T) {
	for language, p := range seedPrograms {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			seen := map[string]bool{}
			var workers sync.WaitGroup
			work := make(chan struct{})
			for range 2 {
				workers.Go(func() {
					for range work {
						a, err := api.try(api.key, program(language, p.code).with(request{"ephemeral": true}))
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
			for range p.runs {
				work <- struct{}{}
			}
			close(work)
			workers.Wait()
		})
	}
}
