package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
)

// Piston's API v2 for clients that were written for it, over the same execution. docs/piston.md lists where the two differ.

// pistonExecute is POST /api/v2/execute.
func (s *server) pistonExecute(c *call) *apiError {
	if err := s.refusal(c); err != nil {
		return err
	}
	body, release, err := s.readBody(c)
	if err != nil {
		return err
	}
	defer release()
	var output interleaved
	x := &execution{server: s, call: c, onOutput: output.add}
	if x.plan, err = s.planPiston(c, body, false); err != nil {
		return err
	}
	ctx, done := s.whileWanted(c)
	defer done()
	if err := x.perform(ctx); err != nil {
		return err
	}
	a := x.answer()
	made, err := s.unread.room(ctx, c.key.ID, 2*a.raw, 2*(a.raw+a.size)) // everything twice, and as strings before
	if err != nil {
		return err
	}
	defer made()
	c.outcome = x.ran.status
	answer, encodeErr := json.Marshal(x.pistonAnswer(output.data))
	if encodeErr != nil {
		return internal(encodeErr)
	}
	s.unread.reply(c, append(answer, '\n'))
	return nil
}

// planPiston is understand for Piston's form of a request, or of a message.
func (s *server) planPiston(c *call, body []byte, message bool) (*plan, *apiError) {
	q, err := decodePiston(body, message)
	if err != nil {
		return nil, err
	}
	if q.code == nil && len(q.files) == 0 { // else it is refused for want of a field that Piston does not have
		return nil, invalidField("files", `is missing; want at least one {"content": "..."}`)
	}
	q.withinBounds(&s.cfg.Limits)
	p, err := makePlan(q, s.langs, &s.cfg.Limits)
	if err != nil {
		return nil, err
	}
	c.language, c.version = p.runtime.Name, p.runtime.Version
	return p, nil
}

// interleaved is what a program wrote to both streams, in the order in which it came; output_limit bounds it.
type interleaved struct {
	mu   sync.Mutex
	data []byte
}

func (o *interleaved) add(_ int, data []byte) {
	o.mu.Lock()
	o.data = append(o.data, data...)
	o.mu.Unlock()
}

// Piston's defaults, ms.
const (
	pistonRunTimeout     = 3000
	pistonCompileTimeout = 10000
)

// withinBounds lowers what is more than we allow to the most that we allow: Piston's clients do not know our bounds.
func (q *request) withinBounds(limits *limitsConfig) {
	runTimeout, compileTimeout := int64(pistonRunTimeout), int64(pistonCompileTimeout)
	if q.runTimeout == nil {
		q.runTimeout = &runTimeout
	}
	if q.compileTimeout == nil {
		q.compileTimeout = &compileTimeout
	}
	for asked, most := range map[*int64]int64{
		q.runTimeout: limits.RunTimeout.Max, q.compileTimeout: limits.CompileTimeout.Max,
		q.runCPUTime: limits.RunCPUTime.Max, q.compileCPUTime: limits.CompileCPUTime.Max,
		q.runMemoryLimit: limits.RunMemoryLimit.Max, q.compileMemoryLimit: limits.CompileMemoryLimit.Max,
	} {
		if asked != nil {
			*asked = min(*asked, most)
		}
	}
}

// pistonStage is one stage as Piston shows it.
type pistonStage struct {
	Stdout   string  `json:"stdout"`
	Stderr   string  `json:"stderr"`
	Output   string  `json:"output"` // both, in order of arrival
	Code     *int    `json:"code"`
	Signal   *string `json:"signal"`
	Message  *string `json:"message"`
	Status   *string `json:"status"`    // null: it ended with exit code 0
	CPUTime  int64   `json:"cpu_time"`  // ms
	WallTime int64   `json:"wall_time"` // ms
	Memory   int64   `json:"memory"`    // bytes
}

type pistonAnswer struct {
	Language string       `json:"language"`
	Version  string       `json:"version"`
	Run      *pistonStage `json:"run"` // the same as compile if that failed
	Compile  *pistonStage `json:"compile,omitempty"`
}

func (x *execution) pistonAnswer(output []byte) *pistonAnswer {
	a := &pistonAnswer{Language: x.plan.runtime.Name, Version: x.plan.runtime.Version}
	if x.compiled != nil {
		a.Compile = x.compiled.piston(append(slices.Clone(x.compiled.stdout), x.compiled.stderr...))
	}
	if a.Run = a.Compile; x.compiled == nil || x.compiled.status == statusOK {
		a.Run = x.ran.piston(output)
	}
	return a
}

func (a *stageAnswer) piston(output []byte) *pistonStage {
	s := &pistonStage{
		Stdout: string(a.stdout), Stderr: string(a.stderr), Output: string(output), Code: &a.code,
		CPUTime: a.cpu.Milliseconds(), WallTime: a.wall.Milliseconds(), Memory: a.memory,
	}
	if a.signal != "" {
		s.Code, s.Signal = nil, &a.signal
	}
	if a.message != "" {
		s.Message = &a.message
	}
	if a.status != statusOK {
		status := pistonStatus(a.status)
		s.Status = &status
	}
	return s
}

// pistonStatus is the nearest word that Piston has for one of ours.
func pistonStatus(status string) string {
	switch status {
	case statusMemory, statusSyscall:
		return statusSignal
	case statusCompileFailure:
		return statusRuntimeError
	}
	return status
}

// pistonRuntimes is GET /api/v2/runtimes.
func (s *server) pistonRuntimes(c *call) *apiError {
	type row struct {
		Language string   `json:"language"`
		Version  string   `json:"version"`
		Aliases  []string `json:"aliases"`
	}
	rows := []row{}
	for _, r := range s.langs.Installed() {
		rows = append(rows, row{r.Name, r.Version, r.Aliases})
	}
	body, err := json.Marshal(rows)
	if err != nil {
		return internal(err)
	}
	c.reply(append(body, '\n'))
	return nil
}

// decodePiston reads Piston's form of a request. A limit of -1, or one that is not sent, is our default; a higher one than we allow is the
// highest: Piston's clients do not know ours. A message has a type besides.
func decodePiston(body []byte, message bool) (*request, *apiError) {
	q := &request{ephemeral: true}
	r := &jsonReader{buf: body}
	seen := map[string]bool{}
	err := r.document(func(name string) (err *apiError) {
		if seen[name] {
			return invalidField(shownField(name), "is given twice")
		}
		seen[name] = true
		if r.null() {
			return nil
		}
		if name == "type" && message {
			return r.stringInto(name, new(string))
		}
		switch name {
		case "language":
			return r.stringInto(name, &q.language)
		case "version":
			return r.stringInto(name, &q.version)
		case "files":
			err = q.readPistonFiles(r)
		case "stdin":
			q.stdin, err = r.text(name)
		case "args":
			q.args, err = readArgs(r, name)
		case "run_timeout", "compile_timeout", "run_cpu_time", "compile_cpu_time", "run_memory_limit", "compile_memory_limit":
			limit := q.limitField(name)
			*limit = new(int64)
			if **limit, err = r.integer(name); **limit < 0 {
				*limit = nil
			}
		default:
			err = invalidField(shownField(name), "unknown field; known are language, version, files, stdin, args, run_timeout, compile_timeout, "+
				"run_cpu_time, compile_cpu_time, run_memory_limit, compile_memory_limit")
		}
		return err
	})
	return q, err
}

// readPistonFiles reads files of which none needs a name. The first is the one that is run.
func (q *request) readPistonFiles(r *jsonReader) *apiError {
	return r.array("files", func(i int) *apiError {
		path := fieldIndex("files", i)
		if i >= maxFiles {
			return invalidField("files", "more than %d files", maxFiles)
		}
		var f requestFile
		var encoding string
		err := r.object(path, func(name string) (err *apiError) {
			switch field := path + "." + shownField(name); name {
			case "name":
				err = r.stringInto(field, &f.name)
			case "content":
				f.content, err = r.text(field)
			case "encoding":
				err = r.stringInto(field, &encoding)
			default:
				err = invalidField(field, "unknown field; known are name, content, encoding")
			}
			return err
		})
		if err == nil {
			f.content, err = decodeContent(path+".content", path+".encoding", f.content, encoding, "utf8", "base64", "hex")
		}
		switch {
		case f.name != "":
			q.files = append(q.files, f)
		case i == 0:
			q.code = f.content // under the name that the language's main file has
		default:
			f.name = fmt.Sprintf("file%d.code", i) // as Piston calls it
			q.files = append(q.files, f)
		}
		return err
	})
}
