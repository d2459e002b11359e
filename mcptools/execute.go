package mcptools

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/runtools/runtools/pkg/client"
)

// outputSuffix makes the name of the session that keeps what was cut of a session's outputs.
const outputSuffix = ".output"

type executeInput struct {
	Language     string      `json:"language" jsonschema:"name or alias: python, javascript, typescript, bash, c, c++, go, ruby, rust, java, cs; list_runtimes shows all"`
	Version      string      `json:"version,omitempty" jsonschema:"a version of it, such as 3.12 or >=3.11; the newest unless given"`
	Code         string      `json:"code,omitempty" jsonschema:"the program, written to the language's main file and run"`
	Files        []inputFile `json:"files,omitempty" jsonschema:"files of the program; without code the first is run"`
	Stdin        string      `json:"stdin,omitempty" jsonschema:"standard input of the program"`
	Args         []string    `json:"args,omitempty" jsonschema:"arguments of the program"`
	SessionID    string      `json:"session_id,omitempty" jsonschema:"session to work in; without it a new one is made, and named in the answer"`
	RunTimeoutMS int64       `json:"run_timeout_ms,omitempty" jsonschema:"wall time after which the program is ended, milliseconds; the server's maximum unless given"`
}

type inputFile struct {
	Name    string `json:"name" jsonschema:"relative path, such as main.py or lib/util.py"`
	Content string `json:"content" jsonschema:"text of the file"`
}

func (t *toolbox) execute(ctx context.Context, in executeInput) ([]string, error) {
	res, err := t.client.Execute(ctx, in.request())
	if err != nil {
		return nil, err
	}
	return t.report(ctx, res), nil
}

func (in *executeInput) request() *client.Request {
	req := &client.Request{
		Language: in.Language, Version: in.Version, Code: in.Code, Stdin: in.Stdin, Args: in.Args, SessionID: in.SessionID, RunTimeout: in.RunTimeoutMS,
	}
	for _, f := range in.Files {
		req.Files = append(req.Files, client.File{Name: f.Name, Content: f.Content})
	}
	return req
}

// report is what a model is told of a result.
func (t *toolbox) report(ctx context.Context, res *client.Result) []string {
	texts := []string{head(res)}
	add := func(title, name string, data []byte, err error) {
		switch {
		case err != nil:
			texts = append(texts, title+" cannot be shown: "+err.Error())
		case len(data) > 0:
			texts = append(texts, title+":\n"+t.fit(ctx, res.SessionID, name, data))
		}
	}
	if res.Compile != nil {
		words, err := res.Compile.CompilerWords()
		add("compiler", "compiler", words, err)
	}
	if found := places(res); found != "" {
		texts = append(texts, found)
	}
	if res.Run.Status != client.CompilationFailure {
		out, err := res.Run.StdoutBytes()
		add("stdout", "stdout", out, err)
		out, err = res.Run.StderrBytes()
		add("stderr", "stderr", out, err)
	}
	return texts
}

// mostPlaces is how many diagnostics a model is told of: the first are worth mending first.
const mostPlaces = 20

// places are the diagnostics, a line each, in one form for all toolchains: of a compilation, and of a run that its interpreter gave up.
func places(res *client.Result) string {
	var all []client.Diagnostic
	if res.Compile != nil {
		all = res.Compile.Diagnostics
	}
	if res.Run.Status != client.CompilationFailure {
		all = append(slices.Clip(all), res.Run.Diagnostics...)
	}
	if len(all) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("diagnostics, file:line:column:")
	for _, d := range all[:min(len(all), mostPlaces)] {
		fmt.Fprintf(&b, "\n%s:%d:", d.File, d.Line)
		if d.Column != 0 { // else the tool does not tell it
			fmt.Fprintf(&b, "%d:", d.Column)
		}
		fmt.Fprintf(&b, " %s: %s", d.Severity, d.Message)
		if d.Code != "" {
			fmt.Fprintf(&b, " [%s]", d.Code)
		}
	}
	if more := len(all) - mostPlaces; more > 0 {
		fmt.Fprintf(&b, "\nand %d more", more)
	}
	return b.String()
}

// head says how the program ended and where its files are.
func head(res *client.Result) string {
	var b strings.Builder
	switch s := &res.Run; {
	case s.Status == client.CompilationFailure:
		b.WriteString("compilation failed; the program was not run")
	case s.Code != nil:
		fmt.Fprintf(&b, "exit code %d", *s.Code)
	default:
		b.WriteString("killed by " + s.Signal)
	}
	if res.Compile != nil {
		if note := res.Compile.Note(); note != "" {
			b.WriteString("; compile: " + note)
		}
	}
	if note := res.Run.Note(); note != "" && res.Run.Status != client.CompilationFailure {
		b.WriteString("; " + note)
	}
	for _, v := range res.Run.Violations {
		fmt.Fprintf(&b, "; the sandbox denied %s(%s)", v.Syscall, v.Args)
	}
	b.WriteString("\n" + res.Summary())
	if res.SessionCreated {
		b.WriteString("\nthere was no session of this id, so it began empty: if you had files in it, it expired")
	}
	return b.String()
}

// fit cuts an output that is over the budget and keeps the whole of it where read_file finds it: in a session beside that of the program. In
// the program's own it would be a file that no compiler has seen before, so that nothing compiled there could be used again.
func (t *toolbox) fit(ctx context.Context, session, name string, data []byte) string {
	if len(data) <= outputBudget {
		return text(data)
	}
	first := wholeRunes(data[:outputBudget/2])
	last := data[len(data)-outputBudget/2:]
	for len(last) > 0 && !utf8.RuneStart(last[0]) {
		last = last[1:]
	}
	from, left := len(first), len(data)-len(first)-len(last)
	rest := fmt.Sprintf("read them: read_file with session_id %q, path %q, offset %d (kept until the next output that is too long)",
		session+outputSuffix, name, from)
	if err := t.client.WriteFile(ctx, session+outputSuffix, name, data); err != nil {
		rest = fmt.Sprintf("they could not be kept (%v): let the program write to a file and use read_file", err)
	}
	return text(first) + fmt.Sprintf("\n[%d of %d bytes left out here; %s]\n", left, len(data), rest) + text(last)
}

// wholeRunes drops the beginning of a character at the end of data.
func wholeRunes(data []byte) []byte {
	for n := 1; n < utf8.UTFMax && n <= len(data); n++ {
		if at := len(data) - n; utf8.RuneStart(data[at]) {
			if !utf8.FullRune(data[at:]) {
				return data[:at]
			}
			break
		}
	}
	return data
}

// text is for a JSON string, which can hold nothing but UTF-8.
func text(data []byte) string { return strings.ToValidUTF8(string(data), "\ufffd") }
