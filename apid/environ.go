package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/runtools/runtools/pkg/lang"
)

// The environment of a session outlives its jobs: what requests set, and what programs of a keep_env language left behind.
//
// It is kept as a list of changes to the base environment, ordered by name: "NAME=value", or "NAME" alone for a variable of the base
// that a program removed. Another language's base may differ, so the changes are kept and not the sum.

// Bounds on what foreign code can make us keep.
const (
	maxEnviron     = 128 << 10 // bytes of /tmp/.environ read
	maxSessionEnv  = 64 << 10  // bytes of a session's changes
	maxSessionVars = 4000      // of these changes; half of maxWords, or no job of the session could be sent any more
)

// envkeep writes the final environment of the process it is loaded into; see docs/languages.md.
const envkeep = "/usr/lib/runtools/envkeep.so"

// shellNoise is what shells and loaders set for themselves. What a program leaves in these neither sets nor removes a variable.
var shellNoise = map[string]bool{"_": true, "SHLVL": true, "PWD": true, "OLDPWD": true, "LD_PRELOAD": true}

// environment maps names to values.
type environment map[string]string

// change applies a session's changes, in place.
func (e environment) change(changes []string) environment {
	for _, c := range changes {
		if name, value, set := strings.Cut(c, "="); set {
			e[name] = value
		} else {
			delete(e, name)
		}
	}
	return e
}

// words lists the variables as NAME=value, in order of the names, so that equal requests are equal jobs.
func (e environment) words() []string {
	words := make([]string, 0, len(e))
	for name, value := range e {
		words = append(words, name+"="+value)
	}
	slices.Sort(words)
	return words
}

// baseEnvironment is what a stage gets before sessions and requests add to it.
func (p *plan) baseEnvironment(stage *lang.Stage, limits *stageLimits) environment {
	return p.runtime.ExpandEnv(stage, lang.Inputs{Files: p.names, Memory: limits.memory})
}

// preloadEnvkeep makes a job report its final environment.
func preloadEnvkeep(env environment) {
	if theirs := env["LD_PRELOAD"]; theirs != "" {
		env["LD_PRELOAD"] = envkeep + ":" + theirs
	} else {
		env["LD_PRELOAD"] = envkeep
	}
}

// mergeChanges adds the variables of a request to a session's changes.
func mergeChanges(changes []string, env map[string]string) []string {
	if len(env) == 0 {
		return changes
	}
	merged := environment(env).words()
	for _, c := range changes {
		name, _, _ := strings.Cut(c, "=")
		if _, overridden := env[name]; !overridden {
			merged = append(merged, c)
		}
	}
	slices.Sort(merged)
	return merged
}

// tooMuch says what keeps a session from keeping these changes; "" if nothing does.
func tooMuch(changes []string) string {
	if size := changesSize(changes); size > maxSessionEnv {
		return tooManyBytes(int64(size))
	}
	if len(changes) > maxSessionVars {
		return fmt.Sprintf("%d variables, more than the %d that a session keeps", len(changes), maxSessionVars)
	}
	return ""
}

func tooManyBytes(size int64) string {
	return fmt.Sprintf("%d bytes, more than the %d that a session keeps", size, maxSessionEnv)
}

func changesSize(changes []string) int {
	n := 0
	for _, c := range changes {
		n += len(c) + 1
	}
	return n
}

// leftBehind works out a session's changes from the environment that a program left, beside what they were when it started. The bytes
// were written by foreign code: whatever is no variable is passed over.
func leftBehind(environ []byte, base environment, before []string) []string {
	after := map[string]string{}
	unreadable := map[string]bool{} // cannot travel in JSON: the old value, if any, stands
	for entry := range bytes.SplitSeq(environ, []byte{0}) {
		name, value, ok := bytes.Cut(entry, []byte{'='})
		switch {
		case !ok || len(name) == 0:
		case !utf8.Valid(name):
		case !utf8.Valid(value):
			unreadable[string(name)] = true
		default:
			// The first of two is the one that getenv finds.
			if _, twice := after[string(name)]; !twice {
				after[string(name)] = string(value)
			}
		}
	}
	var changes []string
	for name, value := range after {
		if given, inBase := base[name]; !shellNoise[name] && !(inBase && given == value) {
			changes = append(changes, name+"="+value)
		}
	}
	for name := range base {
		if _, there := after[name]; !there && !shellNoise[name] && !unreadable[name] {
			changes = append(changes, name)
		}
	}
	for _, c := range before {
		name, _, _ := strings.Cut(c, "=")
		_, there := after[name]
		if shellNoise[name] || unreadable[name] && !there {
			changes = append(changes, c)
		}
	}
	slices.Sort(changes)
	return changes
}
