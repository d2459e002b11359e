package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/runtools/runtools/pkg/wire"
)

// Artifacts of a request are the files of the workspace that match its patterns when the program has ended; they travel in the answer.
//
// The workspace is foreign code's, so as everywhere nobody here opens anything in it: find and cat of the image do, in a jail like that of any
// program, as the jail's user. find takes regular files only and follows no link, not even to a folder. Nothing runs in the workspace
// between the two, so what find saw is what cat opens; if it were not, it could be no more than a program of the request can read. The patterns
// are matched by find as well: a costly one spends the jail's time and memory, not ours.

// Bounds of what a request asks for, and of the list that answers it. How much comes back is the operator's to say.
const (
	maxPatterns      = 32
	maxPattern       = 255      // bytes
	collectListBytes = 1 << 20  // of find's list
	collectNames     = 32 << 10 // bytes of the names of what comes back, as they are sent to cat
	findMissedSome   = 1        // what find exits with when it could not read a folder, and has listed all others
)

// collected are the artifacts of a request.
type collected struct {
	files   []requestFile
	omitted int    // that matched and are not among them
	bytes   int64  // of those
	message string // "": none was omitted
}

func (q *request) readArtifacts(r *jsonReader) *apiError {
	patterns, err := readArgs(r, "artifacts")
	if err != nil {
		return err
	}
	if len(patterns) == 0 || len(patterns) > maxPatterns {
		return invalidField("artifacts", "has %d patterns, want 1 to %d", len(patterns), maxPatterns)
	}
	for i, pattern := range patterns {
		if err := checkPattern(pattern); err != nil {
			return invalidField(fieldIndex("artifacts", i), "%v", err)
		}
	}
	q.artifacts = patterns
	return nil
}

func checkPattern(pattern string) error {
	if pattern == "" || len(pattern) > maxPattern {
		return fmt.Errorf("has %d bytes, want 1 to %d", len(pattern), maxPattern)
	}
	for part := range strings.SplitSeq(pattern, "/") {
		if part == "" || part == "." || part == ".." {
			return fmt.Errorf("%s: want a path below the working directory, such as *.png or out/**", shown(pattern))
		}
	}
	return nil
}

// setArtifacts takes the patterns over, and refuses what does not go with them.
func (p *plan) setArtifacts(q *request) *apiError {
	if q.artifacts != nil && q.tests != nil {
		return invalidField("artifacts", "cannot stand beside tests")
	}
	p.artifacts = q.artifacts
	return nil
}

// regex turns a pattern into a regular expression of find, which matches it against the whole of "./out/a.png". * is any text without a
// slash, ? one character but a slash, ** in place of a folder any folders or none, at the end everything below. The rest stands for itself.
func regex(pattern string) string {
	var b strings.Builder
	b.WriteString(`\./`)
	parts := strings.Split(pattern, "/")
	for i, part := range parts {
		last := i == len(parts)-1
		switch {
		case part == "**" && last:
			b.WriteString(".*")
			continue
		case part == "**":
			b.WriteString("(.*/)?")
			continue
		}
		for _, c := range part {
			switch {
			case c == '*':
				b.WriteString("[^/]*")
			case c == '?':
				b.WriteString("[^/]")
			case strings.ContainsRune(`.[]{}()+^$|\`, c):
				b.WriteString(`\` + string(c))
			default:
				b.WriteRune(c)
			}
		}
		if !last {
			b.WriteByte('/')
		}
	}
	return b.String()
}

// findCommand prints size and path of each file that matches and can be read, NUL-terminated.
func findCommand(patterns []string) []string {
	argv := []string{"/usr/bin/find", ".", "-regextype", "posix-extended", "-type", "f", "-readable", "("}
	for i, pattern := range patterns {
		if i > 0 {
			argv = append(argv, "-o")
		}
		argv = append(argv, "-regex", regex(pattern))
	}
	return append(argv, ")", "-printf", `%s\t%P\0`)
}

// foundFile is a file that matches.
type foundFile struct {
	name string
	size int64
}

func parseFound(list []byte) (files []foundFile) {
	for record := range bytes.SplitSeq(list, []byte{0}) {
		size, name, ok := bytes.Cut(record, []byte{'\t'})
		n, err := strconv.ParseInt(string(size), 10, 64)
		if ok && err == nil && n >= 0 && utf8.Valid(name) {
			files = append(files, foundFile{string(name), n})
		}
	}
	slices.SortFunc(files, func(a, b foundFile) int { return strings.Compare(a.name, b.name) })
	return files
}

// choose takes files in the order of their names while they fit.
func (c *collected) choose(files []foundFile, cfg *artifactsConfig) (chosen []foundFile, size int64) {
	names := 0
	for _, f := range files {
		if len("./"+f.name) >= longPath {
			c.omit(1, f.size)
			c.message = fmt.Sprintf("a file whose path has %d bytes or more cannot be read", longPath)
			continue
		}
		need := encodedLen("./" + f.name)
		if len(chosen) == cfg.MaxFiles || f.size > cfg.MaxBytes-size || names+need > collectNames {
			c.omit(1, f.size)
			c.message = fmt.Sprintf("at most %d files of %d bytes together are returned", cfg.MaxFiles, cfg.MaxBytes)
			continue
		}
		chosen = append(chosen, f)
		size += f.size
		names += need
	}
	return chosen, size
}

// omit counts what is not returned. Two sparse files can have more bytes together than an int64 counts.
func (c *collected) omit(files int, size int64) {
	c.omitted += files
	c.bytes += min(size, math.MaxInt64-c.bytes)
}

// collect reads the artifacts out of the workspace that the program has left.
func (x *execution) collect(ctx context.Context) *apiError {
	c := &collected{}
	x.collected = c
	out, err := x.inWorkspace(ctx, collectListBytes, findCommand(x.plan.artifacts))
	if err.is(wire.CodeFile) { // the program has run, and that is its answer
		c.message = "the program left a working directory that its owner cannot enter"
		return nil
	} else if err != nil {
		return err
	}
	list := out.stdout.data
	if out.stdout.over() { // and find was ended: the last record may be a part of one
		list = list[:bytes.LastIndexByte(list, 0)+1]
	} else if err := out.toolError(); err != nil {
		x.log.Debug("artifacts", "id", x.call.id, "err", err)
		if r := out.result; r.Code != findMissedSome || r.Signal != 0 || r.Limit != "" {
			c.message = "the files could not be listed"
			return nil
		}
		c.message = "what is in folders that their owner cannot read was not looked at"
	}
	files, size := c.choose(parseFound(list), &x.cfg.Artifacts)
	if out.stdout.over() {
		c.message = "more files match than can be listed"
	}
	if len(files) == 0 {
		return nil
	}
	argv := []string{"/usr/bin/cat", "--"}
	for _, f := range files {
		argv = append(argv, "./"+f.name)
	}
	if out, err = x.inWorkspace(ctx, size, argv); err != nil {
		return err
	}
	if err := out.toolError(); err != nil || out.stdout.total != size {
		c.omit(len(files), size)
		c.message = "the files could not be read"
		x.log.Debug("artifacts", "id", x.call.id, "err", err)
		return nil
	}
	data := out.stdout.data
	for _, f := range files {
		c.files = append(c.files, requestFile{name: f.name, content: data[:f.size]})
		data = data[f.size:]
	}
	return nil
}

// inWorkspace runs a tool in the workspace that the run job left.
func (x *execution) inWorkspace(ctx context.Context, most int64, argv []string) (*jobOutput, *apiError) {
	in, err := x.keyToolJob(toolWall, max(most, 1), argv...)
	if err != nil {
		return nil, internal(err)
	}
	out, failed := x.send(ctx, &preparedJob{jobInput: in})
	if failed != nil && (failed.code == errInterrupted || failed.code == errOverloaded) {
		// The program has run: it must not be taken for one that may be run again, as carryOut does where a volume is lost, and clients where there was no room.
		failed = &apiError{code: errInterrupted, message: "the program has run, and its artifacts could not be read: " + failed.message, cause: fmt.Errorf("read the artifacts: %v", failed.cause)}
	}
	return out, failed
}

func (c *collected) append(b []byte) []byte {
	b = append(b, `,"artifacts":[`...)
	for i, f := range c.files {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"name":`...)
		b = appendText(b, []byte(f.name))
		b = append(b, `,"size":`...)
		b = strconv.AppendInt(b, int64(len(f.content)), 10)
		b = append(b, `,"encoding":"base64","content":"`...)
		b = base64.StdEncoding.AppendEncode(b, f.content)
		b = append(b, `"}`...)
	}
	b = append(b, ']')
	if c.message != "" {
		b = append(b, `,"artifacts_omitted":{"count":`...)
		b = strconv.AppendInt(b, int64(c.omitted), 10)
		b = append(b, `,"bytes":`...)
		b = strconv.AppendInt(b, c.bytes, 10)
		b = append(b, `,"message":`...)
		b = appendText(b, []byte(c.message))
		b = append(b, '}')
	}
	return b
}
