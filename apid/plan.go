package main

import (
	"errors"
	"strconv"
	"strings"

	"github.com/runtools/runtools/pkg/lang"
	"github.com/runtools/runtools/pkg/wire"
)

// Bounds that come from the contract with sandboxd.
const (
	maxFiles     = wire.MaxFiles
	maxFileNames = 32 << 10 // bytes of all names: they share one packet of wire.MaxPacket with the words
	maxWords     = wire.MaxWords
	maxWordBytes = wire.MaxWordBytes
)

// plan is a request that can be carried out: everything known, nothing asked of sandboxd yet.
type plan struct {
	runtime   *lang.Runtime
	files     []requestFile // the entry first
	names     []string      // of files
	codeFiles int           // 1 if the first of them is code, which is not in the caller's numbering
	stdin     []byte
	args      []string
	env       map[string]string
	sessionID string
	ephemeral bool
	explain   bool // each stage shows all its limits

	tests         []requestTest // nil: the program runs once, with stdin
	stopOnFailure bool
	artifacts     []string // patterns; nil: none
	repeat        int      // how often the program is run to be measured; 0: once, and nobody measures

	webhook  *webhook       // nil: none
	terminal *wire.Terminal // of an interactive program, or nil: it has pipes

	compile, run stageLimits
	outputLimit  int64
}

// stageLimits are the limits of one job under the names that the request uses for them.
type stageLimits struct {
	stage  string // "run" or "compile"
	wall   int64  // ms
	cpu    int64  // ms; 0: none
	memory int64  // bytes
}

// makePlan checks a request against what is installed and allowed.
func makePlan(q *request, set *lang.Set, limits *limitsConfig) (*plan, *apiError) {
	p := &plan{stdin: q.stdin, args: q.args, env: q.env, sessionID: q.sessionID, ephemeral: q.ephemeral, terminal: q.terminal, explain: q.explain}
	var err *apiError
	if p.runtime, err = resolve(set, q); err != nil {
		return nil, err
	}
	if p.files, err = entryFirst(q, p.runtime.Main); err != nil {
		return nil, err
	}
	if q.code != nil {
		p.codeFiles = 1
	}
	paths, err := checkNames(p.files, p.codeFiles)
	if err != nil {
		return nil, err
	}
	for _, f := range p.files {
		p.names = append(p.names, f.name)
	}
	if q.ephemeral && q.sessionID != "" {
		return nil, invalidField("ephemeral", "true cannot stand beside session_id")
	}
	if err := p.setLimits(q, limits); err != nil {
		return nil, err
	}
	if err := p.setArtifacts(q); err != nil {
		return nil, err
	}
	return p, p.setTests(q, paths)
}

func resolve(set *lang.Set, q *request) (*lang.Runtime, *apiError) {
	if q.language == "" {
		return nil, invalidField("language", "is missing; known are %s", strings.Join(set.Names(), ", "))
	}
	r, err := set.Resolve(q.language, q.version)
	if err == nil {
		return r, nil
	}
	refused := &apiError{field: "version", message: err.Error()}
	var badSelector *lang.SelectorError
	var noVersion *lang.UnknownVersionError
	switch {
	case errors.As(err, &badSelector):
		refused.code = errInvalidField
		refused.message = "version: " + refused.message
	case errors.As(err, &noVersion):
		refused.code = errUnknownVersion
	default:
		refused.code, refused.field = errUnknownLanguage, "language"
	}
	return nil, refused
}

// entryFirst puts the file that is run in front of the others: code under the language's main name, or else the first file.
func entryFirst(q *request, mainName string) ([]requestFile, *apiError) {
	if q.code == nil {
		if len(q.files) == 0 {
			return nil, invalidField("code", "is missing; either code or files must be given")
		}
		return q.files, nil
	}
	if len(q.files) >= maxFiles {
		return nil, invalidField("files", "more than %d files, code included", maxFiles)
	}
	return append([]requestFile{{name: mainName, content: q.code}}, q.files...), nil
}

func fieldIndex(field string, i int) string { return field + "[" + strconv.Itoa(i) + "]" }

func (p *plan) setLimits(q *request, limits *limitsConfig) *apiError {
	p.run.stage, p.compile.stage = "run", "compile"
	runMemory, compileMemory := limits.RunMemoryLimit, limits.CompileMemoryLimit
	runMemory.preferLanguage(p.runtime.Run)
	compileMemory.preferLanguage(p.runtime.Compile)
	for _, l := range []struct {
		field string
		asked *int64
		bound bound
		least int64
		to    *int64
	}{
		{"run_timeout", q.runTimeout, limits.RunTimeout, minTime, &p.run.wall},
		{"compile_timeout", q.compileTimeout, limits.CompileTimeout, minTime, &p.compile.wall},
		{"run_cpu_time", q.runCPUTime, limits.RunCPUTime, minTime, &p.run.cpu},
		{"compile_cpu_time", q.compileCPUTime, limits.CompileCPUTime, minTime, &p.compile.cpu},
		{"run_memory_limit", q.runMemoryLimit, runMemory, minMemory, &p.run.memory},
		{"compile_memory_limit", q.compileMemoryLimit, compileMemory, minMemory, &p.compile.memory},
		{"output_limit", q.outputLimit, limits.OutputLimit, minOutput, &p.outputLimit},
	} {
		*l.to = l.bound.Default
		if l.asked == nil {
			continue
		}
		if *l.asked < l.least || *l.asked > l.bound.Max {
			return outOfRange(l.field, *l.asked, l.least, l.bound.Max)
		}
		*l.to = *l.asked
	}
	return nil
}

// preferLanguage lets a language that needs more than most say so, within what the operator allows.
func (b *bound) preferLanguage(stage *lang.Stage) {
	if stage != nil && stage.Memory > 0 {
		b.Default = min(stage.Memory, b.Max)
	}
}

// maxEncoded bounds words and file names as they are sent; 4 KiB are for all that is in a job besides.
const maxEncoded = wire.MaxPacket - 4<<10

// checkWords refuses what does not fit into one packet, and says how many bytes of one the rest needs at most.
func (p *plan) checkWords(argv []string, env environment) (encoded int, err *apiError) {
	argBytes, envBytes := 0, 0
	for _, w := range argv {
		argBytes += len(w) + 1
		encoded += encodedLen(w)
	}
	for name, value := range env {
		envBytes += len(name) + len(value) + 2
		encoded += encodedLen(name) + encodedLen(value)
	}
	field := "args"
	if envBytes > argBytes {
		field = "env"
	}
	if words := len(argv) + len(env); words > maxWords {
		return 0, invalidField(field, "the command, arguments and environment are %d words together, at most %d", words, maxWords)
	}
	if argBytes+envBytes > maxWordBytes {
		return 0, invalidField(field, "arguments and environment have %d bytes together, at most %d", argBytes+envBytes, maxWordBytes)
	}
	for _, name := range p.names {
		encoded += encodedFile(name)
	}
	if encoded > maxEncoded {
		return 0, invalidField(field, "arguments, environment and file names need %d bytes in JSON, at most %d", encoded, maxEncoded)
	}
	return encoded, nil
}

// encodedFile is at least the length of a wire.File in JSON.
func encodedFile(name string) int {
	return encodedLen(name) + len(`{"name":,"size":9223372036854775807},`)
}

// encodedLen is at least the length of a string in the JSON that encoding/json writes.
func encodedLen(s string) int {
	n := len(s) + len(`"",`)
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			n++
		case c < ' ' || c == '<' || c == '>' || c == '&' || c == 0x7f:
			n += len(`\u0000`) - 1
		case c == 0xe2: // may begin U+2028 or U+2029, three bytes that become six
			n += len(`\u0000`) - 3
		}
	}
	return n
}
